//! One file of the log.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::WalError;

/// Length and checksum.
pub(super) const FRAME_HEADER_BYTES: usize = 8;

const RESERVE: &str = "reserve";

#[derive(Debug)]
pub(super) struct Segment {
    path: PathBuf,
    number: u64,
    file: File,
    end: u64,
}

fn failed<'p>(action: &'static str, path: &'p Path) -> impl FnOnce(io::Error) -> WalError + use<'p> {
    move |source| WalError::Io { action, path: path.to_path_buf(), source }
}

/// All segments in order, none missing.
pub(super) fn list(dir: &Path) -> Result<Vec<(u64, PathBuf)>, WalError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed("list", dir))? {
        let path = entry.map_err(failed("list", dir))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_prefix("wal-").and_then(|name| name.strip_suffix(".log"));
        if let Some(number) = number.and_then(|number| u64::from_str_radix(number, 16).ok()) {
            found.push((number, path));
        }
    }
    found.sort();
    for pair in found.windows(2) {
        if pair[1].0 != pair[0].0 + 1 {
            return Err(WalError::Missing { path: path_of(dir, pair[0].0 + 1) });
        }
    }
    Ok(found)
}

pub(super) fn remove(path: &Path) -> Result<(), WalError> {
    fs::remove_file(path).map_err(failed("remove", path))
}

pub(super) fn path_of(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("wal-{number:016x}.log"))
}

/// A frame of a sequence number and records.
pub(super) fn frame(sequence: &[u8], records: &[u8]) -> Vec<u8> {
    let length = sequence.len() + records.len();
    let mut bytes = Vec::with_capacity(FRAME_HEADER_BYTES + length);
    let length = u32::try_from(length).expect("batches are far below 4 GiB (limits.rs)");
    let crc = crc32c::crc32c_append(crc32c::crc32c(sequence), records);
    // An empty frame would look like the zeros behind the end; a sequence number makes it at least a byte.
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(sequence);
    bytes.extend_from_slice(records);
    bytes
}

/// Keep a file that can become a segment when the disk is full.
pub(super) fn make_reserve(dir: &Path, bytes: u64) -> Result<(), WalError> {
    let path = dir.join(RESERVE);
    if path.exists() {
        return Ok(());
    }
    let new = dir.join("reserve.new");
    let made = allocate(&new, bytes).and_then(|file| file.sync_all()).and_then(|()| fs::rename(&new, &path));
    if let Err(source) = made {
        let _ = fs::remove_file(&new);
        return Err(WalError::Io { action: "make", path, source });
    }
    sync_dir(dir)
}

fn allocate(path: &Path, bytes: u64) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let length = i64::try_from(bytes).map_err(io::Error::other)?;
    match nix::fcntl::fallocate(&file, nix::fcntl::FallocateFlags::empty(), 0, length) {
        Ok(()) => Ok(file),
        // Some file systems cannot; then appending allocates, and the length is set all the same.
        Err(nix::Error::EOPNOTSUPP) => file.set_len(bytes).map(|()| file),
        Err(errno) => Err(errno.into()),
    }
}

fn sync_dir(dir: &Path) -> Result<(), WalError> {
    os::file::sync_dir(dir).map_err(|error| WalError::Io {
        action: error.action,
        path: error.path,
        source: error.source,
    })
}

impl Segment {
    /// A new one, whose space is there before its name is.
    pub(super) fn create(dir: &Path, number: u64, bytes: u64) -> Result<Segment, WalError> {
        let path = path_of(dir, number);
        let new = path.with_extension("new");
        let made = allocate(&new, bytes).and_then(|file| {
            file.sync_all()?;
            fs::rename(&new, &path)?;
            Ok(file)
        });
        let file = match made {
            Ok(file) => file,
            Err(source) => {
                let _ = fs::remove_file(&new);
                return Err(WalError::Io { action: "make", path, source });
            }
        };
        sync_dir(dir)?;
        Ok(Segment { path, number, file, end: 0 })
    }

    /// The reserve becomes a segment.
    pub(super) fn from_reserve(dir: &Path, number: u64) -> Result<Segment, WalError> {
        let path = path_of(dir, number);
        let reserve = dir.join(RESERVE);
        fs::rename(&reserve, &path).map_err(failed("rename", &reserve))?;
        sync_dir(dir)?;
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(failed("open", &path))?;
        Ok(Segment { path, number, file, end: 0 })
    }

    /// Go on after `end`, with nothing but zeros behind it.
    pub(super) fn reopen(path: &Path, number: u64, end: u64, bytes: u64) -> Result<Segment, WalError> {
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(failed("open", path))?;
        // Cut and extended again, what was torn is zeros; a full disk is found out at the next rotation.
        file.set_len(end).map_err(failed("cut", path))?;
        let length = i64::try_from(bytes).unwrap_or(i64::MAX);
        let _ = nix::fcntl::fallocate(&file, nix::fcntl::FallocateFlags::empty(), 0, length);
        file.sync_all().map_err(failed("sync", path))?;
        Ok(Segment { path: path.to_path_buf(), number, file, end })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Whether a frame fits; an empty segment takes any.
    pub(super) fn has_room(&self, frame: u64, bytes: u64) -> bool {
        self.end == 0 || self.end + frame <= bytes
    }

    /// Write and sync one frame.
    pub(super) fn append(&mut self, frame: &[u8]) -> io::Result<()> {
        self.file.write_all_at(frame, self.end)?;
        self.file.sync_data()?;
        self.end += frame.len() as u64;
        Ok(())
    }

    /// Give back the space that was not used: a segment that is not the last ends with its last frame.
    pub(super) fn seal(&mut self) -> io::Result<()> {
        self.file.set_len(self.end)?;
        self.file.sync_all()
    }
}
