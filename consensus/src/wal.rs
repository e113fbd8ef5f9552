//! The write-ahead log: what must not be forgotten, in the order it came.
//!
//! Segments `wal-<number>.log`, preallocated, appended to, synced with `fdatasync`. One sync writes one frame:
//!
//! ```text
//! length u32 | crc32c u32 | sequence varint | { tag u8 | length varint | payload } ...
//! ```
//! The length and the checksum cover all that follows them. A frame is written only after the one before
//! it was synced, so a damaged frame with a valid later one behind it means that the disk lost synced bytes:
//! that is an error. A damaged frame with nothing valid behind it is a write that was under way when the
//! power went, was never acknowledged, and is cut off. Every segment begins with who it belongs to and the
//! hard state, so that older segments can go once a snapshot covers them.

mod scan;
mod segment;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use consensus_core::codec::{DecodeError, Writer, encode_entry, encode_hard_state};
use consensus_core::raft::{Entry, HardState, SnapshotMeta};

pub use self::scan::Recovered;
use self::segment::Segment;

const IDENTITY: u8 = 1;
const HARD_STATE: u8 = 2;
const ENTRY: u8 = 3;
/// The log begins anew after a snapshot that came from the leader.
const BASE: u8 = 4;

/// The format's version, in the identity record.
const VERSION: u64 = 1;

/// Length, checksum and the longest sequence number.
const FRAME_OVERHEAD_BYTES_MAX: u64 = 18;

/// Whose log it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: u64,
    /// The member.
    pub member_id: u64,
}

/// Why the log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
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
    /// Synced bytes are damaged. The member must be added anew; the others still have the data.
    #[error("WAL segment {} is corrupt at byte {offset}: synced data is damaged", path.display())]
    Corrupt {
        /// Which segment.
        path: PathBuf,
        /// Where.
        offset: u64,
    },
    /// A frame is whole but makes no sense.
    #[error("decode WAL segment {} at byte {offset}", path.display())]
    Decode {
        /// Which segment.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// Why.
        source: DecodeError,
    },
    /// A segment between two others is gone.
    #[error("WAL segment {} is missing", path.display())]
    Missing {
        /// Which.
        path: PathBuf,
    },
    /// Written by a later version.
    #[error("WAL segment {} has format version {version}, this program knows {VERSION}", path.display())]
    Version {
        /// Which.
        path: PathBuf,
        /// Its version.
        version: u64,
    },
    /// It belongs to someone else.
    #[error("WAL belongs to member {:x} of cluster {:x}", found.member_id, found.cluster_id)]
    Foreign {
        /// To whom.
        found: Identity,
    },
}

/// Why records could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// No space is left, not even in the reserve.
    #[error("the disk of the store is full")]
    Full,
    /// Nothing is known about what is on the disk now: the only way on is to stop and read it again.
    #[error("write WAL segment {}", path.display())]
    Fatal {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// How much space there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Enough.
    Ample,
    /// The last segment is the reserve: only what frees space should be written.
    Reserve,
}

/// The log, open for appending.
#[derive(Debug)]
pub struct Wal {
    dir: PathBuf,
    segment_bytes: u64,
    identity: Identity,
    hard_state: HardState,
    /// Full segments with the last entry that each holds.
    sealed: Vec<(PathBuf, u64)>,
    active: Segment,
    last_index: u64,
    sequence: u64,
    /// Records that wait for the next sync.
    pending: Writer,
    space: Space,
}

impl Wal {
    /// Open the log in `dir`, or begin one. Gives back all records after cutting off a torn end.
    ///
    /// # Errors
    /// See [`WalError`].
    pub fn open(dir: &Path, identity: Identity, segment_bytes: u64) -> Result<(Wal, Recovered), WalError> {
        let paths = segment::list(dir)?;
        let mut recovered = Recovered::default();
        let mut sealed = Vec::new();
        let mut active = None;
        for (place, (number, path)) in paths.iter().enumerate() {
            let last = place + 1 == paths.len();
            let end = scan::scan(path, last, &mut recovered)?;
            if recovered.identity.is_some_and(|found| found != identity) {
                return Err(WalError::Foreign { found: recovered.identity.unwrap_or(identity) });
            }
            if last && end > 0 {
                active = Some(Segment::reopen(path, *number, end, segment_bytes)?);
            } else if last {
                // Begun and never synced: nothing in it was acknowledged.
                segment::remove(path)?;
            } else {
                sealed.push((path.clone(), recovered.last_index));
            }
        }
        let first_number = paths.last().map_or(1, |(number, _)| *number + u64::from(active.is_some()));
        let fresh = active.is_none();
        let active = match active {
            Some(active) => active,
            None => Segment::create(dir, first_number, segment_bytes)?,
        };
        let mut wal = Wal {
            dir: dir.to_path_buf(),
            segment_bytes,
            identity,
            hard_state: recovered.hard_state,
            sealed,
            active,
            last_index: recovered.last_index,
            sequence: recovered.sequence,
            pending: Writer::new(),
            space: Space::Ample,
        };
        if fresh {
            wal.begin_segment();
            wal.sync().map_err(|error| match error {
                AppendError::Full => {
                    WalError::Io { action: "write", path: dir.to_path_buf(), source: io::ErrorKind::StorageFull.into() }
                }
                AppendError::Fatal { path, source } => WalError::Io { action: "sync", path, source },
            })?;
        }
        wal.refill_reserve();
        Ok((wal, recovered))
    }

    /// Keep the hard state; durable after [`Wal::sync`].
    pub fn save_state(&mut self, state: HardState) {
        self.hard_state = state;
        let mut record = Writer::new();
        encode_hard_state(&state, &mut record);
        self.record(HARD_STATE, &record.into_bytes());
    }

    /// Keep entries; the first replaces its own index and what follows. Durable after [`Wal::sync`].
    pub fn append(&mut self, entries: &[Entry]) {
        for entry in entries {
            let mut record = Writer::new();
            encode_entry(entry, &mut record);
            self.record(ENTRY, &record.into_bytes());
            self.last_index = entry.index;
        }
    }

    /// Begin anew after a snapshot from the leader. Durable after [`Wal::sync`].
    pub fn rebase(&mut self, meta: &SnapshotMeta) {
        let mut record = Writer::new();
        record.number(meta.index);
        record.number(meta.term);
        self.record(BASE, &record.into_bytes());
        self.last_index = self.last_index.max(meta.index);
    }

    /// Bytes that wait for the next sync.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    /// Write what waits and make it durable.
    ///
    /// # Errors
    /// [`AppendError::Full`] leaves what waits waiting. [`AppendError::Fatal`] is the end: after a failed
    /// sync the kernel may have dropped the bytes and say yes the next time.
    pub fn sync(&mut self) -> Result<(), AppendError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending).into_bytes();
        let written = self.write_frame(&pending);
        if matches!(written, Err(AppendError::Full)) {
            self.put_back(&pending);
        }
        written
    }

    fn write_frame(&mut self, records: &[u8]) -> Result<(), AppendError> {
        let room = records.len() as u64 + FRAME_OVERHEAD_BYTES_MAX;
        if !self.active.has_room(room, self.segment_bytes) {
            self.rotate()?;
        }
        self.write_here(records)
    }

    fn write_here(&mut self, records: &[u8]) -> Result<(), AppendError> {
        let mut sequence = Writer::new();
        sequence.number(self.sequence + 1);
        let frame = segment::frame(&sequence.into_bytes(), records);
        match self.active.append(&frame) {
            Ok(()) => {
                self.sequence += 1;
                Ok(())
            }
            // Nothing was synced, and the next try begins at the same place.
            Err(source) if source.kind() == io::ErrorKind::StorageFull => Err(AppendError::Full),
            Err(source) => Err(AppendError::Fatal { path: self.active.path().to_path_buf(), source }),
        }
    }

    /// Remove the segments that hold nothing after `index`.
    pub fn remove_through(&mut self, index: u64) {
        let gone = self.sealed.iter().take_while(|(_, last)| *last <= index).count();
        for (path, _) in self.sealed.drain(..gone) {
            // A segment that stays costs space and nothing else; the next start finds it harmless.
            if let Err(error) = segment::remove(&path) {
                log::warn!(error:% = os::text::chain(&error); "old WAL segment stays");
            }
        }
        self.refill_reserve();
    }

    /// How much space there is.
    #[must_use]
    pub fn space(&self) -> Space {
        self.space
    }

    /// Bytes on disk, without the reserve.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sealed.len() as u64 * self.segment_bytes + self.active.end()
    }

    /// Try to get the reserve back after it was used; true if there is ample space now.
    pub fn refill_reserve(&mut self) -> bool {
        self.space = match segment::make_reserve(&self.dir, self.segment_bytes) {
            Ok(()) => Space::Ample,
            Err(error) => {
                log::debug!(error:% = os::text::chain(&error); "no space for the reserve");
                Space::Reserve
            }
        };
        self.space == Space::Ample
    }

    fn record(&mut self, tag: u8, payload: &[u8]) {
        self.pending.tag(tag);
        self.pending.bytes(payload);
    }

    fn put_back(&mut self, pending: &[u8]) {
        let mut again = Writer::new();
        again.raw(pending);
        self.pending = again;
    }

    /// Close the active segment and open the next, out of the reserve if there is no other space.
    fn rotate(&mut self) -> Result<(), AppendError> {
        let fatal = |path: &Path, source| AppendError::Fatal { path: path.to_path_buf(), source };
        let number = self.active.number() + 1;
        let next = match Segment::create(&self.dir, number, self.segment_bytes) {
            Ok(next) => next,
            Err(error) => {
                log::warn!(error:% = os::text::chain(&error); "no space for a WAL segment, using the reserve");
                self.space = Space::Reserve;
                match Segment::from_reserve(&self.dir, number) {
                    Ok(next) => next,
                    Err(_) => return Err(AppendError::Full),
                }
            }
        };
        self.active.seal().map_err(|source| fatal(self.active.path(), source))?;
        let old = std::mem::replace(&mut self.active, next);
        self.sealed.push((old.path().to_path_buf(), self.last_index));
        self.begin_segment();
        let head = std::mem::take(&mut self.pending).into_bytes();
        self.write_here(&head)
    }

    fn begin_segment(&mut self) {
        let mut record = Writer::new();
        record.number(VERSION);
        record.number(self.identity.cluster_id);
        record.number(self.identity.member_id);
        self.record(IDENTITY, &record.into_bytes());
        self.save_state(self.hard_state);
    }
}

/// Make `dir`, with nothing readable by others in it.
pub(crate) fn make_dir(dir: &Path) -> Result<(), WalError> {
    os::file::make_dir(dir, 0o700).map_err(|error| WalError::Io {
        action: error.action,
        path: error.path,
        source: error.source,
    })
}

/// Remove what an interrupted write of a snapshot or a reserve left.
pub(crate) fn remove_leftovers(dir: &Path) -> Result<(), WalError> {
    let failed = |source| WalError::Io { action: "list", path: dir.to_path_buf(), source };
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "new") {
            segment::remove(&path)?;
        }
    }
    Ok(())
}
