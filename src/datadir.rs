//! The data directory as something that is ours: a mark says so, and only what has it is ever removed.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use os::file::Durability;
use serde::{Deserialize, Serialize};

use crate::config::Config;

/// The file that `slipway init` leaves in a data directory.
const MARK: &str = ".slipway";

/// The lock of the daemon, and of whoever works on the data without one.
const LOCK: &str = "host.lock";

/// How long a daemon that does not answer may take to end.
const END_WAIT: Duration = Duration::from_secs(10);

/// Whose data this is.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    cluster: String,
    host: String,
}

fn mark(dir: &Path) -> Result<Option<Mark>> {
    let path = dir.join(MARK);
    let Some(text) = os::file::read_if_exists(&path)? else { return Ok(None) };
    serde_json::from_slice(&text).map(Some).with_context(|| format!("read {}", path.display()))
}

/// Take a directory into use: one that is new, empty, or this cluster's already.
pub(crate) fn claim(config: &Config) -> Result<()> {
    let dir = &config.data_dir;
    os::file::make_dir(dir, 0o711)?;
    match mark(dir)? {
        Some(mark) if mark.cluster == config.cluster => return Ok(()),
        Some(mark) => bail!(
            "{} has the data of another cluster, {} with host {}; choose another --data-dir, or empty it",
            dir.display(),
            mark.cluster,
            mark.host
        ),
        None => {}
    }
    let has = |entry: fs::DirEntry| (entry.file_name() != "lost+found").then(|| entry.file_name());
    let listed = fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))?;
    if let Some(found) = listed.flatten().find_map(has) {
        bail!(
            "{} is in use by something else: it has {}; choose another --data-dir, or empty it",
            dir.display(),
            found.display()
        );
    }
    let mark = Mark { cluster: config.cluster.clone(), host: config.host.to_string() };
    let text = serde_json::to_vec(&mark).context("write the mark as JSON")?;
    Ok(os::file::replace(&dir.join(MARK), &text, 0o600, Durability::Synced)?)
}

/// Refuse a directory that is not this cluster's. One that is gone already is fine.
pub(crate) fn check_ours(config: &Config) -> Result<()> {
    let dir = &config.data_dir;
    if !dir.exists() {
        return Ok(());
    }
    match mark(dir)? {
        Some(mark) if mark.cluster == config.cluster => Ok(()),
        _ => bail!(
            "{} has no mark of cluster {} ({MARK}), so nothing is removed; remove it by hand if it is its data",
            dir.display(),
            config.cluster
        ),
    }
}

/// Two daemons on one data directory would run every job twice, and a purge under a daemon would pull it away.
pub(crate) fn lock(config: &Config) -> Result<File> {
    let path = config.data_dir.join(LOCK);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("open {}", path.display()))?;
    if file.try_lock().is_err() {
        bail!("another daemon uses {}; `slipway host status` shows it", config.data_dir.display());
    }
    // For whoever finds the lock held by a daemon that does not answer.
    file.set_len(0)?;
    (&file).write_all(std::process::id().to_string().as_bytes())?;
    Ok(file)
}

/// Whether a daemon or a purge holds the data directory.
pub(crate) fn is_locked(config: &Config) -> bool {
    File::options().write(true).open(config.data_dir.join(LOCK)).is_ok_and(|file| file.try_lock().is_err())
}

/// The same, if need be from a daemon that does not answer any more: it is ended.
pub(crate) fn seize(config: &Config) -> Result<File> {
    let held = match lock(config) {
        Ok(file) => return Ok(file),
        Err(held) => held,
    };
    let text = fs::read_to_string(config.data_dir.join(LOCK)).unwrap_or_default();
    let Ok(pid) = text.trim().parse::<i32>() else { return Err(held) };
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        // Its holder wrote the number, and holds it still.
        let _ = kill(Pid::from_raw(pid), signal);
        if let Some(lock) = os::clock::wait_for(END_WAIT, || lock(config).ok()) {
            return Ok(lock);
        }
    }
    Err(held)
}

/// Remove the data, the sockets and the configuration: what is ours, and no folder that anybody else may use. To be
/// called with the lock held and after [`check_ours`].
pub(crate) fn remove(config: &Config) -> Result<()> {
    remove_data(&config.data_dir)?;
    let run = &config.run_dir;
    // The last is what the git receiver tells the command line.
    for file in [api::paths::store_socket(run), api::paths::host_socket(run), api::paths::ssh_host_key(run)] {
        os::file::remove_if_exists(&file)?;
    }
    remove_tree(&run.join("services"))?;
    // One with files of others stays.
    let _ = fs::remove_dir(run);
    os::file::remove_if_exists(&config.file)?;
    // A folder that somebody chose is somebody's.
    let usual = Path::new("/etc/slipway");
    if config.file.parent() == Some(usual) {
        let _ = fs::remove_dir(usual);
    }
    Ok(())
}

fn remove_data(dir: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(dir) else { return Ok(()) };
    // The mark goes last, so that an interrupted purge can be done again.
    let is_last = |name: &std::ffi::OsStr| name == MARK || name == LOCK;
    for entry in entries.flatten().filter(|entry| !is_last(&entry.file_name())) {
        remove_tree(&entry.path())?;
    }
    os::file::remove_if_exists(&dir.join(LOCK))?;
    os::file::remove_if_exists(&dir.join(MARK))?;
    // A mount point stays.
    let _ = fs::remove_dir(dir);
    Ok(())
}

fn remove_tree(path: &Path) -> Result<()> {
    let is_dir = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    let removed = if is_dir { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
