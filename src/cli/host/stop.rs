//! `host stop`: in good order through the daemon, or without it when it cannot be had; and the purge.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use api::host as endpoints;

use super::{ask_status, client, log_file, start, unit};
use crate::config::Config;
use crate::{bootstrap, datadir, role, term};

/// How long an orderly stop may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(180);

pub(super) fn stop(config: &Config, purge: bool, yes: bool) -> Result<()> {
    if purge {
        // Nothing is stopped for a purge that would be refused.
        datadir::check_ours(config)?;
        if !yes {
            confirm(config)?;
        }
    }
    match ask_status(config) {
        Some(status) => stop_daemon(config, status.pid)?,
        None if bootstrap::leftovers(config) => stop_leftovers(config)?,
        None => term::note("the host is not running"),
    }
    unit::remove(config)?;
    if purge {
        // A daemon that starts meanwhile waits for nobody: it is refused, or this is.
        let lock = config.data_dir.exists().then(|| datadir::lock(config)).transpose()?;
        // Also what an orderly stop could not know of.
        sweep(config)?;
        datadir::remove(config)?;
        drop(lock);
        term::note("removed its data and its configuration");
    }
    Ok(())
}

fn confirm(config: &Config) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        bail!("removing all data of host {} needs --yes when nobody can be asked", config.host);
    }
    term::note(&format!("This removes all apps, volumes and settings of host {}. Type its id to go on:", config.host));
    let mut typed = String::new();
    std::io::stdin().read_line(&mut typed)?;
    if typed.trim() != config.host.as_str() {
        bail!("nothing was stopped or removed");
    }
    Ok(())
}

/// Jobs without a daemon: one that takes them back ends them in good order. If none comes up, they end all the same.
fn stop_leftovers(config: &Config) -> Result<()> {
    // A unit would start another one beside ours.
    unit::remove(config)?;
    term::note("the daemon is not running and jobs of it may be; starting it to take them back");
    let mut child = start::spawn(config)?;
    match start::wait_for_answer(config, Some(&mut child)) {
        Ok(status) => return stop_daemon(config, status.pid),
        Err(error) => term::note(&format!("{error:#}")),
    }
    term::note("no daemon comes up; ending what is left of it without one");
    // It is this command's own child, and of no use.
    let _ = child.kill();
    let _ = child.wait();
    let _lock = datadir::seize(config)?;
    sweep(config)
}

/// End jobs and remove what they had of this machine. Data stays. To be called with the lock held.
fn sweep(config: &Config) -> Result<()> {
    let killed = containerd_lite::sweep(&config.data_dir, &config.instance)?;
    if killed > 0 {
        term::note(&format!("ended {killed} programs"));
    }
    let bridge = std::path::Path::new("/sys/class/net").join(bootstrap::bridge(config));
    if bridge.exists() {
        role::host::network(config)?.teardown().context("remove the network of jobs")?;
    }
    Ok(())
}

fn stop_daemon(config: &Config, pid: u32) -> Result<()> {
    let client = client(config).timeout(Some(STOP_TIMEOUT));
    for progress in client.lines(&endpoints::STOP, &[], &[], &())? {
        match progress {
            Ok(progress) => term::note(&format!("  {}", progress.step)),
            // The daemon's end is also the stream's.
            Err(_) => break,
        }
    }
    let proc = PathBuf::from(format!("/proc/{pid}"));
    // A daemon that this machine's first process has not reaped yet has no files open any more.
    let gone = || (!proc.exists() || std::fs::read_link(proc.join("exe")).is_err()).then_some(());
    match os::clock::wait_for(STOP_TIMEOUT, gone) {
        Some(()) => {
            term::note("host stopped");
            Ok(())
        }
        None => bail!("the daemon (pid {pid}) has not ended; its log: {}", log_file(config).display()),
    }
}
