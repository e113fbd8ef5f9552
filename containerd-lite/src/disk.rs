//! Room on the disk, and trees of files.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use types::{ApiError, Code};

use crate::limits::{DISK_RESERVE_BYTES_MAX, DISK_RESERVE_PERCENT};

/// The disk is short of room.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the disk of {} is full: {} MB are free and {} MB are kept for the platform",
    path.display(), free_bytes >> 20, reserve_bytes >> 20
)]
pub struct DiskError {
    /// A directory on it.
    pub path: PathBuf,
    /// What is free.
    pub free_bytes: u64,
    /// What must stay free.
    pub reserve_bytes: u64,
}

impl From<DiskError> for ApiError {
    fn from(error: DiskError) -> ApiError {
        ApiError::new(Code::DiskFull, error.to_string())
            .hint("free some space on that disk, or move the data directory to a larger one")
    }
}

/// Free and all bytes of the disk under `path`.
///
/// # Errors
/// When there is no such path.
pub(crate) fn room(path: &Path) -> io::Result<(u64, u64)> {
    let stat = nix::sys::statvfs::statvfs(path)?;
    let block = stat.fragment_size();
    Ok((stat.blocks_available().saturating_mul(block), stat.blocks().saturating_mul(block)))
}

/// Refuse to begin something new when what is free is below the platform's reserve.
///
/// # Errors
/// Says how much is free and how much must be.
pub(crate) fn check_room(path: &Path) -> Result<(), DiskError> {
    // A disk that cannot be asked will refuse the write itself.
    let Ok((free_bytes, all)) = room(path) else { return Ok(()) };
    let reserve_bytes = (all / 100 * DISK_RESERVE_PERCENT).min(DISK_RESERVE_BYTES_MAX);
    if free_bytes >= reserve_bytes {
        return Ok(());
    }
    Err(DiskError { path: path.to_path_buf(), free_bytes, reserve_bytes })
}

/// Remember that this was used now.
pub(crate) fn touch(path: &Path) {
    use nix::sys::stat::{UtimensatFlags, utimensat};
    use nix::sys::time::TimeSpec;
    // Only the order in which unnamed layers go depends on it.
    let _ = utimensat(
        nix::fcntl::AT_FDCWD,
        path,
        &TimeSpec::UTIME_NOW,
        &TimeSpec::UTIME_NOW,
        UtimensatFlags::NoFollowSymlink,
    );
}

/// Have everything below `path` survive a power cut: one call instead of one per file.
///
/// # Errors
/// What the kernel says.
pub(crate) fn sync_filesystem(path: &Path) -> io::Result<()> {
    let dir = File::open(path)?;
    nix::unistd::syncfs(dir.as_fd()).map_err(io::Error::from)
}

/// Remove a tree, also one whose directories forbid it. Nothing there is success.
///
/// # Errors
/// What the kernel says.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
