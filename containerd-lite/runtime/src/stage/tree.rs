//! Paths inside the root file system. Everything here starts at a descriptor of the root and stays below it, whatever
//! symlinks the image holds: no path of the container is ever resolved from the host's root.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, mkdirat};

/// openat2 answers EAGAIN when a rename elsewhere raced with a `..`.
const RACES_MAX: u32 = 64;

/// What a mount point has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Dir,
    File,
}

/// Whether symlinks of the image may lead to another place inside the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Symlinks {
    /// For what the user named.
    Follow,
    /// For /proc, /sys, /dev and below: an image that replaces them attacks.
    Refuse,
}

/// Open `path` below `root` as a place, not for reading.
pub(super) fn open(root: impl AsFd, path: &Path, symlinks: Symlinks) -> io::Result<OwnedFd> {
    open_with(root, path, OFlag::O_PATH, symlinks)
}

pub(super) fn open_with(root: impl AsFd, path: &Path, flags: OFlag, symlinks: Symlinks) -> io::Result<OwnedFd> {
    let mut resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    if symlinks == Symlinks::Refuse {
        resolve |= ResolveFlag::RESOLVE_NO_SYMLINKS;
    }
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
    for _ in 0..RACES_MAX {
        match openat2(root.as_fd(), path, how) {
            Err(Errno::EAGAIN) => {}
            other => return Ok(other?),
        }
    }
    Err(Errno::EAGAIN.into())
}

/// Open a mount point, making it and the directories above it where they are missing.
pub(super) fn place(root: impl AsFd, path: &Path, kind: Kind, symlinks: Symlinks) -> io::Result<OwnedFd> {
    match open(root.as_fd(), path, symlinks) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return fitting(other?, kind),
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from_raw_os_error(libc::ENOENT));
    };
    // openat2 takes no empty path; a bare name lies in `root` itself.
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let parent = place(root, parent, Kind::Dir, symlinks)?;
    let made = match kind {
        Kind::Dir => mkdirat(&parent, name, Mode::from_bits_truncate(0o755)),
        Kind::File => {
            let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_WRONLY;
            openat(&parent, name, flags, Mode::from_bits_truncate(0o644)).map(drop)
        }
    };
    made?;
    fitting(open(&parent, Path::new(name), Symlinks::Refuse)?, kind)
}

fn fitting(found: OwnedFd, kind: Kind) -> io::Result<OwnedFd> {
    let is_dir = nix::sys::stat::fstat(&found)?.st_mode & libc::S_IFMT == libc::S_IFDIR;
    match (is_dir, kind) {
        (true, Kind::Dir) | (false, Kind::File) => Ok(found),
        (false, Kind::Dir) => Err(io::Error::from_raw_os_error(libc::ENOTDIR)),
        (true, Kind::File) => Err(io::Error::from_raw_os_error(libc::EISDIR)),
    }
}
