//! Files that are whole after a power cut: new content is written beside the old, synced, then renamed over it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Why a file operation failed.
#[derive(Debug, thiserror::Error)]
#[error("{action} {}", path.display())]
pub struct FileError {
    /// What was tried, e.g. `write`.
    pub action: &'static str,
    /// On which file.
    pub path: PathBuf,
    /// What the kernel said.
    pub source: io::Error,
}

/// Whether the content must be on the disk before the call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Survives a power cut once the call has returned.
    Synced,
    /// Survives the death of this program, and is never seen half written.
    Atomic,
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_path_buf();
    move |source| FileError { action, path, source }
}

/// Replace the file at `path`, with permission bits `mode`.
///
/// # Errors
/// The old content stays whole when this fails.
pub fn replace(path: &Path, content: &[u8], mode: u32, durability: Durability) -> Result<(), FileError> {
    /// Two threads may replace one file at a time: the last rename wins, and both contents are whole.
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".new-{}-{}", std::process::id(), SERIAL.fetch_add(1, Ordering::Relaxed)));
    let new = PathBuf::from(new);
    let placed = write_new(&new, content, mode, durability)
        .and_then(|()| fs::rename(&new, path).map_err(failed("rename over", path)));
    if placed.is_err() {
        // On a full disk it would hold what room is left.
        let _ = fs::remove_file(&new);
        return placed;
    }
    match path.parent() {
        Some(parent) if durability == Durability::Synced => sync_dir(parent),
        _ => Ok(()),
    }
}

fn write_new(new: &Path, content: &[u8], mode: u32, durability: Durability) -> Result<(), FileError> {
    // A power cut may have left one with this name.
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode);
    let mut file = options.open(new).map_err(failed("create", new))?;
    file.write_all(content).map_err(failed("write", new))?;
    if durability == Durability::Synced {
        file.sync_all().map_err(failed("sync", new))?;
    }
    Ok(())
}

/// Make the entries of a directory survive a power cut.
///
/// # Errors
/// When the directory cannot be opened or synced.
pub fn sync_dir(path: &Path) -> Result<(), FileError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(failed("sync", path))
}

/// The whole content, or `None` when there is no such file.
///
/// # Errors
/// Any failure but absence.
pub fn read_if_exists(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// Make a directory and its parents, with permission bits `mode` on the last one. One that is there keeps its own: it
/// may be somebody else's.
///
/// # Errors
/// When it cannot be made and is not there.
pub fn make_dir(path: &Path, mode: u32) -> Result<(), FileError> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed("make directory", parent))?;
    }
    match fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
        Err(error) => return Err(failed("make directory", path)(error)),
    }
    // Whatever the umask took.
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed("set the mode of", path))
}

/// Remove a file; absence is success.
///
/// # Errors
/// Any failure but absence.
pub fn remove_if_exists(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("remove", path)(error)),
    }
}

#[cfg(test)]
mod tests;
