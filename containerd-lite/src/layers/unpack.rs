//! A tar into a directory, as if its author wanted to get out of it.
//!
//! Nothing is resolved by path from outside: every name is opened below the directory by `openat2` with
//! `RESOLVE_IN_ROOT`, where links, however they change meanwhile, cannot leave it. What a layer cannot need is
//! refused (absolute names, `..`, devices, pipes) or dropped (set-uid and set-gid bits, extended attributes).

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, futimens, mkdirat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, linkat, symlinkat, unlinkat};
use tar::EntryType;

use super::TarLimits;
use crate::disk::DiskError;
use crate::limits::USER_RANGE;

/// Directories below one another; more is an attempt at something.
const DEPTH_MAX: usize = 128;
/// PATH_MAX.
const NAME_BYTES_MAX: usize = 4_096;
/// The disk is looked at again after each of so many bytes.
const ROOM_STEP_BYTES: u64 = 64 << 20;
/// Who owns a file whose owner has no number inside a job: nobody.
const NOBODY: u32 = 65_534;

/// Why a tar was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It is broken, or its bytes stopped coming.
    #[error("read the tar")]
    Read {
        /// What the reader said.
        source: io::Error,
    },
    /// An entry of it is not allowed.
    #[error("entry {name:?} {rule}")]
    Refused {
        /// Its name.
        name: String,
        /// What it breaks.
        rule: &'static str,
    },
    /// It is too large.
    #[error("it has more than {limit} {unit}")]
    TooLarge {
        /// How many are allowed.
        limit: u64,
        /// Of what.
        unit: &'static str,
    },
    /// The disk is short of room.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The kernel refused to make an entry.
    #[error("make {name:?}")]
    Make {
        /// Its name.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
}

struct Unpacker<'a> {
    root: OwnedFd,
    limits: TarLimits,
    entries: u64,
    bytes: u64,
    room: &'a dyn Fn() -> Result<(), DiskError>,
}

/// Unpack a tar, plain or compressed with gzip, into the empty directory `dir`.
///
/// # Errors
/// What was made so far is left to the caller.
pub(super) fn unpack(
    content: &mut dyn Read,
    dir: &Path,
    limits: TarLimits,
    room: &dyn Fn() -> Result<(), DiskError>,
) -> Result<(), UnpackError> {
    let make = |source: nix::Error| UnpackError::Make { name: ".".to_owned(), source: source.into() };
    let root = nix::fcntl::open(dir, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
    let root = root.map_err(make)?;
    nix::sys::stat::fchmodat(
        AT_FDCWD,
        dir,
        Mode::from_bits_truncate(0o755),
        nix::sys::stat::FchmodatFlags::FollowSymlink,
    )
    .map_err(make)?;
    let mut content = BufReader::with_capacity(64 * 1024, content);
    let magic = io::BufRead::fill_buf(&mut content).map_err(|source| UnpackError::Read { source })?;
    let mut unpacker = Unpacker { root, limits, entries: 0, bytes: 0, room };
    if magic.starts_with(&[0x1f, 0x8b]) {
        unpacker.run(&mut flate2::bufread::GzDecoder::new(content))
    } else {
        unpacker.run(&mut content)
    }
}

impl Unpacker<'_> {
    fn run(&mut self, content: &mut dyn Read) -> Result<(), UnpackError> {
        let read = |source| UnpackError::Read { source };
        let mut archive = tar::Archive::new(content);
        for entry in archive.entries().map_err(read)? {
            let mut entry = entry.map_err(read)?;
            self.entries += 1;
            if self.entries > self.limits.entries {
                return Err(UnpackError::TooLarge { limit: self.limits.entries, unit: "entries" });
            }
            self.entry(&mut entry)?;
        }
        Ok(())
    }

    fn entry<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> Result<(), UnpackError> {
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            return Ok(());
        }
        let bytes = entry.path_bytes().into_owned();
        let name = Name::parse(&bytes)?;
        let Some((parents, last)) = name.split() else {
            // The root itself: its mode and owner are ours.
            return if kind.is_dir() { Ok(()) } else { Err(name.refuse("names no file")) };
        };
        let parent = self.make_parents(&name, parents)?;
        let owner = owner(entry.header());
        let mode = entry.header().mode().unwrap_or(0o644);
        match kind {
            EntryType::Directory => self.directory(&name, &parent, last, mode, owner),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.file(&name, &parent, last, entry, mode, owner)
            }
            EntryType::Symlink => {
                let target = link_target(entry, &name)?;
                self.clear(&name, &parent, last)?;
                symlinkat(OsStr::from_bytes(&target), &parent, last).map_err(|error| name.failed(error))?;
                fchownat(&parent, last, Some(owner.0), Some(owner.1), AtFlags::AT_SYMLINK_NOFOLLOW)
                    .map_err(|error| name.failed(error))
            }
            EntryType::Link => {
                let target = link_target(entry, &name)?;
                self.hard_link(&name, &parent, last, &target)
            }
            EntryType::Char | EntryType::Block => Err(name.refuse("is a device")),
            EntryType::Fifo => Err(name.refuse("is a pipe")),
            _ => Err(name.refuse("is of no kind that a layer holds")),
        }
    }

    fn open_in_root(&self, path: &OsStr, flags: OFlag) -> nix::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS | ResolveFlag::RESOLVE_NO_XDEV);
        openat2(&self.root, path, how)
    }

    /// The directory of these components, made where missing.
    fn make_parents(&self, name: &Name, parents: &[&OsStr]) -> Result<OwnedFd, UnpackError> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let mut path = std::ffi::OsString::from(".");
        for parent in parents {
            path.push("/");
            path.push(parent);
        }
        match self.open_in_root(&path, flags) {
            Err(nix::Error::ENOENT) => {}
            other => return other.map_err(|error| name.failed(error)),
        }
        let mut path = std::ffi::OsString::from(".");
        for parent in parents {
            let above = self.open_in_root(&path, flags).map_err(|error| name.failed(error))?;
            path.push("/");
            path.push(parent);
            if matches!(self.open_in_root(&path, flags), Err(nix::Error::ENOENT)) {
                mkdirat(&above, *parent, Mode::from_bits_truncate(0o755)).map_err(|error| name.failed(error))?;
            }
        }
        self.open_in_root(&path, flags).map_err(|error| name.failed(error))
    }

    /// Remove what an earlier entry put at this name, unless it is a directory with something in it.
    fn clear(&self, name: &Name, parent: &OwnedFd, last: &OsStr) -> Result<(), UnpackError> {
        match unlinkat(parent, last, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(nix::Error::ENOENT) => Ok(()),
            Err(nix::Error::EISDIR) => {
                unlinkat(parent, last, UnlinkatFlags::RemoveDir).map_err(|error| name.failed(error))
            }
            Err(error) => Err(name.failed(error)),
        }
    }

    fn directory(
        &self,
        name: &Name,
        parent: &OwnedFd,
        last: &OsStr,
        mode: u32,
        owner: (Uid, Gid),
    ) -> Result<(), UnpackError> {
        let open = || {
            let how = OpenHow::new()
                .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
                .resolve(ResolveFlag::RESOLVE_BENEATH);
            openat2(parent, last, how)
        };
        let dir = match open() {
            Ok(dir) => dir,
            Err(nix::Error::ENOENT | nix::Error::ENOTDIR | nix::Error::ELOOP) => {
                self.clear(name, parent, last)?;
                mkdirat(parent, last, Mode::from_bits_truncate(0o700)).map_err(|error| name.failed(error))?;
                open().map_err(|error| name.failed(error))?
            }
            Err(error) => return Err(name.failed(error)),
        };
        fchown(&dir, Some(owner.0), Some(owner.1)).map_err(|error| name.failed(error))?;
        // The sticky bit protects files in shared directories and grants nothing.
        let mode = Mode::from_bits_truncate(mode & 0o1777);
        nix::sys::stat::fchmod(&dir, mode).map_err(|error| name.failed(error))
    }

    fn file<R: Read>(
        &mut self,
        name: &Name,
        parent: &OwnedFd,
        last: &OsStr,
        entry: &mut tar::Entry<'_, R>,
        mode: u32,
        owner: (Uid, Gid),
    ) -> Result<(), UnpackError> {
        self.clear(name, parent, last)?;
        let how = OpenHow::new()
            .flags(OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
            .mode(Mode::from_bits_truncate(0o600))
            .resolve(ResolveFlag::RESOLVE_BENEATH);
        let file = openat2(parent, last, how).map_err(|error| name.failed(error))?;
        let mut file = File::from(file);
        self.copy(name, entry, &mut file)?;
        let failed = |error| name.failed(error);
        fchown(&file, Some(owner.0), Some(owner.1)).map_err(failed)?;
        nix::sys::stat::fchmod(&file, Mode::from_bits_truncate(mode & 0o777)).map_err(failed)?;
        let time = i64::try_from(entry.header().mtime().unwrap_or(0)).unwrap_or(0);
        // Interpreters compare the times of sources and of what they compiled from them.
        let time = TimeSpec::new(time, 0);
        futimens(&file, &time, &time).map_err(failed)
    }

    fn copy<R: Read>(
        &mut self,
        name: &Name,
        entry: &mut tar::Entry<'_, R>,
        file: &mut File,
    ) -> Result<(), UnpackError> {
        let mut buffer = [0; 32 * 1024];
        loop {
            let count = entry.read(&mut buffer).map_err(|source| UnpackError::Read { source })?;
            if count == 0 {
                return Ok(());
            }
            let before = self.bytes;
            self.bytes += count as u64;
            if self.bytes > self.limits.bytes {
                return Err(UnpackError::TooLarge { limit: self.limits.bytes, unit: "bytes" });
            }
            if before / ROOM_STEP_BYTES != self.bytes / ROOM_STEP_BYTES {
                (self.room)()?;
            }
            let written = file.write_all(&buffer[..count]);
            written.map_err(|source| UnpackError::Make { name: name.text(), source })?;
        }
    }

    fn hard_link(&self, name: &Name, parent: &OwnedFd, last: &OsStr, target: &[u8]) -> Result<(), UnpackError> {
        let target = Name::parse(target)?;
        let Some((parents, file)) = target.split() else { return Err(name.refuse("links to a directory")) };
        let mut path = std::ffi::OsString::from(".");
        for part in parents.iter().chain([&file]) {
            path.push("/");
            path.push(part);
        }
        let found = self.open_in_root(&path, OFlag::O_PATH | OFlag::O_NOFOLLOW).map_err(|error| name.failed(error))?;
        let kind = nix::sys::stat::fstat(&found).map_err(|error| name.failed(error))?.st_mode & libc::S_IFMT;
        if kind == libc::S_IFDIR {
            return Err(name.refuse("links to a directory"));
        }
        self.clear(name, parent, last)?;
        // By descriptor: what was checked is what is linked.
        let by_descriptor = format!("/proc/self/fd/{}", found.as_fd().as_raw_fd());
        linkat(AT_FDCWD, by_descriptor.as_str(), parent, last, AtFlags::AT_SYMLINK_FOLLOW)
            .map_err(|error| name.failed(error))
    }
}

/// A name of an entry, known to be relative and to go down only.
struct Name<'a> {
    parts: Vec<&'a OsStr>,
}

impl<'a> Name<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Name<'a>, UnpackError> {
        let refuse = |rule| {
            Err(UnpackError::Refused { name: String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into(), rule })
        };
        if bytes.len() > NAME_BYTES_MAX {
            return refuse("is longer than a path may be");
        }
        if bytes.first() == Some(&b'/') {
            return refuse("is absolute");
        }
        if bytes.contains(&0) {
            return refuse("has a zero byte");
        }
        let parts: Vec<&OsStr> = bytes
            .split(|b| *b == b'/')
            .filter(|part| !part.is_empty() && *part != b".")
            .map(OsStr::from_bytes)
            .collect();
        if parts.iter().any(|part| part.as_bytes() == b"..") {
            return refuse("has `..` in it");
        }
        if parts.len() > DEPTH_MAX {
            return refuse("is too deep");
        }
        Ok(Name { parts })
    }

    fn split(&self) -> Option<(&[&'a OsStr], &'a OsStr)> {
        self.parts.split_last().map(|(last, parents)| (parents, *last))
    }

    fn text(&self) -> String {
        let parts: Vec<_> = self.parts.iter().map(|part| part.to_string_lossy()).collect();
        parts.join("/")
    }

    fn refuse(&self, rule: &'static str) -> UnpackError {
        UnpackError::Refused { name: self.text(), rule }
    }

    fn failed(&self, error: nix::Error) -> UnpackError {
        UnpackError::Make { name: self.text(), source: error.into() }
    }
}

fn owner(header: &tar::Header) -> (Uid, Gid) {
    let bounded = |id: io::Result<u64>| match id.ok().and_then(|id| u32::try_from(id).ok()) {
        Some(id) if id < USER_RANGE => id,
        _ => NOBODY,
    };
    (Uid::from_raw(bounded(header.uid())), Gid::from_raw(bounded(header.gid())))
}

fn link_target<R: Read>(entry: &tar::Entry<'_, R>, name: &Name<'_>) -> Result<Vec<u8>, UnpackError> {
    let target = entry.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default();
    if target.is_empty() || target.len() > NAME_BYTES_MAX || target.contains(&0) {
        return Err(name.refuse("links to nothing"));
    }
    Ok(target)
}
