//! `host start`: bring the daemon up, and wait for the platform's own apps.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use api::Client;
use api::controller as controller_api;
use api::host::HostStatus;
use types::app::META_SYSTEM_APP;

use super::{ask_status, check_ports, last_lines, log_file, unit};
use crate::config::Config;
use crate::{datadir, role, term};

/// How long the daemon may take to answer after its start.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the system apps may take: the first start makes stack layers from packages.
const SYSTEM_TIMEOUT: Duration = Duration::from_secs(900);

pub(super) fn start(config: &Config, wait: bool) -> Result<()> {
    let began = os::clock::now();
    if let Some(status) = ask_status(config) {
        term::note(&format!("host {} is running already (pid {})", status.host.id, status.pid));
    } else {
        check_ports(config)?;
        let status = bring_up(config)?;
        let took = term::duration(os::clock::now().since(began));
        term::note(&format!("host {} started in {took} (pid {})", status.host.id, status.pid));
    }
    if wait { wait_for_system(config) } else { Ok(()) }
}

fn bring_up(config: &Config) -> Result<HostStatus> {
    let mut child = None;
    if unit::is_used() {
        unit::start(config)?;
    } else {
        child = Some(spawn(config)?);
    }
    wait_for_answer(config, child.as_mut())
}

/// Start the daemon as a child that outlives this command.
pub(super) fn spawn(config: &Config) -> Result<Child> {
    let path = log_file(config);
    let mut options = OpenOptions::new();
    let log = options
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("open the log {}", path.display()))?;
    let binary = std::env::current_exe().context("find this binary")?;
    let mut command = Command::new(binary);
    command
        .arg("--config")
        .arg(&config.file)
        .arg("host")
        .env(role::host::LOG_FILE, &path)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Its own group: a Ctrl-C in this terminal is not for the daemon.
        .process_group(0);
    command.spawn().context("start the daemon")
}

/// Until the daemon answers, has ended, or took too long.
pub(super) fn wait_for_answer(config: &Config, mut child: Option<&mut Child>) -> Result<HostStatus> {
    let mut ended = None;
    let up = os::clock::wait_for(START_TIMEOUT, || {
        if let Some(status) = ask_status(config) {
            return Some(Some(status));
        }
        ended = child.as_mut().and_then(|child| child.try_wait().ok().flatten());
        // Ours gave way to one that was started a moment earlier: that one will answer.
        let other = ended.is_some() && datadir::is_locked(config);
        (ended.is_some() && !other).then_some(None)
    });
    if let Some(Some(status)) = up {
        return Ok(status);
    }
    let what = match ended {
        Some(status) => format!("the daemon ended at once ({status})"),
        None => format!("the host does not answer after {}", term::duration(START_TIMEOUT)),
    };
    let log = log_file(config);
    let tail = last_lines(&log, 15).unwrap_or_default();
    bail!("{what}\n{tail}the whole log: {}", log.display());
}

/// Wait until every system app has its jobs up, and show what is still missing.
fn wait_for_system(config: &Config) -> Result<()> {
    let controller = Client::service(&config.run_dir, controller_api::SERVICE).timeout(Some(Duration::from_secs(5)));
    let mut told = String::new();
    let done = os::clock::wait_for(SYSTEM_TIMEOUT, || {
        let missing = match missing_apps(&controller) {
            Ok(missing) => missing,
            Err(_) => vec!["controller".to_owned()],
        };
        if missing.is_empty() {
            return Some(());
        }
        let line = format!("waiting for {}", missing.join(", "));
        if line != told {
            term::note(&line);
            told = line;
        }
        os::clock::pause(Duration::from_millis(100));
        None
    });
    match done {
        Some(()) => Ok(()),
        None => {
            bail!("{told} for {}; `slipway host ps` and `slipway host log` tell why", term::duration(SYSTEM_TIMEOUT))
        }
    }
}

/// System apps that the host must have and whose jobs are not up.
fn missing_apps(controller: &Client) -> Result<Vec<String>, api::CallError> {
    let apps = controller.call_query(&controller_api::APPS, &[], &[("system", "only")], &())?;
    let jobs = controller.call(&controller_api::ACTIVE_JOBS, &[], &())?;
    let up = |name: &str| {
        let app = apps.iter().find(|app| app.name.as_str() == name && app.meta.contains_key(META_SYSTEM_APP));
        app.is_some_and(|app| jobs.iter().any(|job| job.app == app.id && job.state == "up"))
    };
    Ok(crate::bootstrap::SYSTEM_APPS.iter().filter(|name| !up(name)).map(|name| (*name).to_owned()).collect())
}
