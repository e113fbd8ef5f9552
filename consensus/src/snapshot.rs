//! Snapshots on disk: `snapshot-<index>.snap`, written under another name, synced, renamed, and its folder synced.
//!
//! ```text
//! "SLIPSNAP" | version u32 | { length u32 | crc32c u32 | piece } ...
//! ```
//! The first piece says which cluster and up to which entry; the others are the store's.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use consensus_core::codec::{DecodeError, Reader, Writer, decode_meta, encode_meta};
use consensus_core::raft::SnapshotMeta;
use consensus_core::store::Store;
use consensus_core::store::snapshot::SnapshotLoader;

use crate::limits::FRAME_BYTES_MAX;

const MAGIC: &[u8; 8] = b"SLIPSNAP";
const VERSION: u32 = 1;

/// Why a snapshot could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file system refused.
    #[error("{action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The bytes are damaged or end too early.
    #[error("snapshot {} is damaged at byte {offset}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Where.
        offset: u64,
    },
    /// A piece is whole but makes no sense.
    #[error("decode snapshot {} at byte {offset}", path.display())]
    Decode {
        /// Which.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// Why.
        source: DecodeError,
    },
    /// Written by a later version, or no snapshot at all.
    #[error("{} is no snapshot that this program can read", path.display())]
    Format {
        /// Which.
        path: PathBuf,
    },
    /// It belongs to another cluster.
    #[error("snapshot {} belongs to cluster {cluster_id:x}", path.display())]
    Foreign {
        /// Which.
        path: PathBuf,
        /// To which.
        cluster_id: u64,
    },
}

fn failed<'p>(action: &'static str, path: &'p Path) -> impl Fn(io::Error) -> SnapshotError + use<'p> {
    move |source| SnapshotError::Io { action, path: path.to_path_buf(), source }
}

/// The latest snapshot in `dir`, if there is one.
///
/// # Errors
/// If the folder cannot be read.
pub fn latest(dir: &Path) -> Result<Option<PathBuf>, SnapshotError> {
    Ok(list(dir)?.pop().map(|(_, path)| path))
}

fn list(dir: &Path) -> Result<Vec<(u64, PathBuf)>, SnapshotError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed("list", dir))? {
        let path = entry.map_err(failed("list", dir))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let index = name.strip_prefix("snapshot-").and_then(|name| name.strip_suffix(".snap"));
        if let Some(index) = index.and_then(|index| u64::from_str_radix(index, 16).ok()) {
            found.push((index, path));
        }
    }
    found.sort();
    Ok(found)
}

/// Remove all snapshots before `index`.
///
/// # Errors
/// If one cannot be removed.
pub fn remove_before(dir: &Path, index: u64) -> Result<(), SnapshotError> {
    for (_, path) in list(dir)?.into_iter().filter(|(at, _)| *at < index) {
        fs::remove_file(&path).map_err(failed("remove", &path))?;
    }
    Ok(())
}

/// The name that the snapshot up to `index` has when it is whole.
#[must_use]
pub fn path_of(dir: &Path, index: u64) -> PathBuf {
    dir.join(format!("snapshot-{index:016x}.snap"))
}

/// A snapshot being written.
#[derive(Debug)]
pub struct SnapshotWriter {
    path: PathBuf,
    new: PathBuf,
    file: File,
    bytes: u64,
}

impl SnapshotWriter {
    /// Begin one that replaces the log up to `meta`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn begin(dir: &Path, cluster_id: u64, meta: &SnapshotMeta) -> Result<SnapshotWriter, SnapshotError> {
        let mut writer = SnapshotWriter::raw(dir, meta.index)?;
        writer.write(MAGIC)?;
        writer.write(&VERSION.to_le_bytes())?;
        let mut head = Writer::new();
        head.number(cluster_id);
        encode_meta(meta, &mut head);
        writer.piece(&head.into_bytes())?;
        Ok(writer)
    }

    /// One whose bytes come from elsewhere as they are.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn raw(dir: &Path, index: u64) -> Result<SnapshotWriter, SnapshotError> {
        let path = path_of(dir, index);
        let new = path.with_extension("new");
        let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new);
        Ok(SnapshotWriter { file: opened.map_err(failed("create", &new))?, path, new, bytes: 0 })
    }

    /// Append bytes as they are.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.file.write_all(bytes).map_err(failed("write", &self.new))?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Append one piece.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn piece(&mut self, piece: &[u8]) -> Result<(), SnapshotError> {
        let length = u32::try_from(piece.len()).expect("pieces hold one key more than 256 KiB at most");
        self.write(&length.to_le_bytes())?;
        self.write(&crc32c::crc32c(piece).to_le_bytes())?;
        self.write(piece)
    }

    /// How many bytes were written.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.bytes
    }

    /// Whether none were.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Make it durable, then give it its name.
    ///
    /// # Errors
    /// If any step fails; then it does not count.
    pub fn finish(self) -> Result<PathBuf, SnapshotError> {
        self.file.sync_all().map_err(failed("sync", &self.new))?;
        fs::rename(&self.new, &self.path).map_err(failed("rename", &self.new))?;
        let dir = self.path.parent().unwrap_or(Path::new("/"));
        os::file::sync_dir(dir).map_err(|error| SnapshotError::Io {
            action: error.action,
            path: error.path,
            source: error.source,
        })?;
        Ok(self.path)
    }

    /// Give up and leave nothing behind.
    pub fn discard(self) {
        let _ = fs::remove_file(&self.new);
    }
}

/// What a snapshot replaces, without reading the rest of it.
///
/// # Errors
/// See [`SnapshotError`].
pub fn meta(path: &Path, cluster_id: u64) -> Result<SnapshotMeta, SnapshotError> {
    read_head(&mut Input::open(path)?, cluster_id)
}

/// Read and check a snapshot.
///
/// # Errors
/// See [`SnapshotError`].
pub fn load(path: &Path, cluster_id: u64) -> Result<(SnapshotMeta, Store), SnapshotError> {
    let mut input = Input::open(path)?;
    let meta = read_head(&mut input, cluster_id)?;
    let mut loader = SnapshotLoader::new();
    while let Some(piece) = input.piece()? {
        let decode = |source| SnapshotError::Decode { path: path.to_path_buf(), offset: input.offset, source };
        loader.piece(&piece).map_err(decode)?;
    }
    let damaged = || SnapshotError::Damaged { path: path.to_path_buf(), offset: input.offset };
    let store = loader.finish().ok_or_else(damaged)?;
    Ok((meta, store))
}

fn read_head(input: &mut Input<'_>, cluster_id: u64) -> Result<SnapshotMeta, SnapshotError> {
    let path = input.path;
    let mut magic = [0; 12];
    let whole = input.fill(&mut magic)?;
    if !whole || magic[..8] != MAGIC[..] || magic[8..] != VERSION.to_le_bytes() {
        return Err(SnapshotError::Format { path: path.to_path_buf() });
    }
    let damaged = |offset| SnapshotError::Damaged { path: path.to_path_buf(), offset };
    let decode = |source, offset| SnapshotError::Decode { path: path.to_path_buf(), offset, source };
    let head = input.piece()?.ok_or_else(|| damaged(input.offset))?;
    let mut reader = Reader::new(&head);
    let found = reader.number().map_err(|error| decode(error, 12))?;
    if found != cluster_id {
        return Err(SnapshotError::Foreign { path: path.to_path_buf(), cluster_id: found });
    }
    decode_meta(&mut reader).map_err(|error| decode(error, 12))
}

struct Input<'p> {
    path: &'p Path,
    file: BufReader<File>,
    offset: u64,
}

impl<'p> Input<'p> {
    fn open(path: &'p Path) -> Result<Input<'p>, SnapshotError> {
        let file = File::open(path).map_err(failed("open", path))?;
        Ok(Input { path, file: BufReader::with_capacity(256 * 1024, file), offset: 0 })
    }

    /// Fill `out`; false if the file ends right here.
    fn fill(&mut self, out: &mut [u8]) -> Result<bool, SnapshotError> {
        let mut have = 0;
        while have < out.len() {
            match self.file.read(&mut out[have..]).map_err(failed("read", self.path))? {
                0 if have == 0 => return Ok(false),
                0 => return Err(SnapshotError::Damaged { path: self.path.to_path_buf(), offset: self.offset }),
                got => have += got,
            }
        }
        self.offset += have as u64;
        Ok(true)
    }

    fn piece(&mut self) -> Result<Option<Vec<u8>>, SnapshotError> {
        let mut header = [0; 8];
        if !self.fill(&mut header)? {
            return Ok(None);
        }
        let [a, b, c, d, e, f, g, h] = header;
        let (length, crc) = (u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes([e, f, g, h]));
        let damaged = SnapshotError::Damaged { path: self.path.to_path_buf(), offset: self.offset };
        if length > FRAME_BYTES_MAX {
            return Err(damaged);
        }
        let mut piece = vec![0; length];
        if !self.fill(&mut piece)? || crc32c::crc32c(&piece) != crc {
            return Err(damaged);
        }
        Ok(Some(piece))
    }
}
