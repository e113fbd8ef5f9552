//! What `/proc` says of processes.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::PathBuf;

use crate::stored::StoredProcess;

/// When a process started, in clock ticks since the machine did: with the number, this names one process for ever
/// (until the next boot). `None` when it is gone or only waits to be reaped.
#[must_use]
pub fn started(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, so fields are counted from its closing parenthesis: state is the third.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let is_zombie = matches!(*fields.first()?, "Z" | "X");
    if is_zombie { None } else { fields.get(19)?.parse().ok() }
}

/// Whether exactly this process still runs.
#[must_use]
pub fn is_alive(process: StoredProcess) -> bool {
    process.pid > 0 && started(process.pid) == Some(process.started)
}

/// The path of `name` in an open directory, however long the directory's own path is.
#[must_use]
pub fn by_descriptor(dir: &impl AsFd, name: &str) -> PathBuf {
    let fd: BorrowedFd<'_> = dir.as_fd();
    PathBuf::from(format!("/proc/self/fd/{}/{name}", fd.as_raw_fd()))
}
