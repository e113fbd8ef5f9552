//! Reading the log back.

use std::fs;
use std::path::Path;

use consensus_core::codec::{DecodeError, Reader, decode_entry, decode_hard_state};
use consensus_core::raft::{Entry, HardState};

use super::segment::FRAME_HEADER_BYTES;
use super::{BASE, ENTRY, HARD_STATE, IDENTITY, Identity, VERSION, WalError};
use crate::limits::FRAME_BYTES_MAX;

/// What the log holds.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Whose it is, if there is one.
    pub identity: Option<Identity>,
    /// The last hard state.
    pub hard_state: HardState,
    /// The entries that are in force, in order and without holes.
    pub entries: Vec<Entry>,
    /// Bytes of a write that was under way when the power went.
    pub torn_bytes: u64,
    pub(super) last_index: u64,
    pub(super) sequence: u64,
}

/// Read one segment; gives where its last whole frame ends. Only the last segment may end in a torn write.
pub(super) fn scan(path: &Path, last: bool, recovered: &mut Recovered) -> Result<u64, WalError> {
    let bytes = fs::read(path).map_err(|source| WalError::Io { action: "read", path: path.to_path_buf(), source })?;
    let mut offset = 0;
    while let Some((sequence, records)) = frame_at(&bytes, offset, recovered.sequence) {
        apply(records, recovered).map_err(|error| error.at(path, offset))?;
        recovered.sequence = sequence;
        offset += FRAME_HEADER_BYTES + frame_length(&bytes, offset).unwrap_or(0);
    }
    let rest = &bytes[offset..];
    let is_end = if last { rest.iter().all(|byte| *byte == 0) } else { rest.is_empty() };
    if !is_end {
        let synced_behind = || (offset + 1..bytes.len()).any(|at| frame_at(&bytes, at, recovered.sequence).is_some());
        if !last || synced_behind() {
            return Err(WalError::Corrupt { path: path.to_path_buf(), offset: offset as u64 });
        }
        let torn = rest.iter().rposition(|byte| *byte != 0).map_or(0, |place| place + 1);
        recovered.torn_bytes += torn as u64;
    }
    Ok(offset as u64)
}

fn frame_length(bytes: &[u8], offset: usize) -> Option<usize> {
    let header = bytes.get(offset..offset + 4)?;
    let length = u32::from_le_bytes(header.try_into().ok()?) as usize;
    (length > 0 && length <= FRAME_BYTES_MAX).then_some(length)
}

/// The sequence number and the records of a whole frame that comes after frame `after`.
fn frame_at(bytes: &[u8], offset: usize, after: u64) -> Option<(u64, &[u8])> {
    let length = frame_length(bytes, offset)?;
    let start = offset + FRAME_HEADER_BYTES;
    let body = bytes.get(start..start.checked_add(length)?)?;
    let crc = u32::from_le_bytes(bytes.get(offset + 4..start)?.try_into().ok()?);
    if crc32c::crc32c(body) != crc {
        return None;
    }
    let mut reader = Reader::new(body);
    let sequence = reader.number().ok()?;
    (sequence > after).then(|| (sequence, reader.rest()))
}

enum RecordError {
    Decode(DecodeError),
    Version(u64),
}

impl From<DecodeError> for RecordError {
    fn from(error: DecodeError) -> RecordError {
        RecordError::Decode(error)
    }
}

impl RecordError {
    fn at(self, path: &Path, offset: usize) -> WalError {
        let path = path.to_path_buf();
        match self {
            RecordError::Decode(source) => WalError::Decode { path, offset: offset as u64, source },
            RecordError::Version(version) => WalError::Version { path, version },
        }
    }
}

fn apply(records: &[u8], recovered: &mut Recovered) -> Result<(), RecordError> {
    let mut reader = Reader::new(records);
    while !reader.is_empty() {
        let tag = reader.tag()?;
        let payload = reader.bytes()?;
        match tag {
            IDENTITY => {
                let mut fields = Reader::new(payload);
                let version = fields.number()?;
                if version != VERSION {
                    return Err(RecordError::Version(version));
                }
                let identity = Identity { cluster_id: fields.number()?, member_id: fields.number()? };
                recovered.identity = Some(identity);
            }
            HARD_STATE => recovered.hard_state = decode_hard_state(payload)?,
            ENTRY => push(decode_entry(payload)?, recovered),
            BASE => {
                let mut fields = Reader::new(payload);
                let (index, term) = (fields.number()?, fields.number()?);
                rebase(index, term, recovered);
            }
            tag => return Err(DecodeError::Tag(tag).into()),
        }
    }
    Ok(())
}

fn push(entry: Entry, recovered: &mut Recovered) {
    let keep = recovered.entries.partition_point(|kept| kept.index < entry.index);
    recovered.entries.truncate(keep);
    recovered.last_index = entry.index;
    recovered.entries.push(entry);
}

/// What follows the snapshot stays if it belongs to it, as in the raft log.
fn rebase(index: u64, term: u64, recovered: &mut Recovered) {
    let belongs = recovered.entries.iter().any(|entry| entry.index == index && entry.term == term);
    if belongs {
        recovered.entries.retain(|entry| entry.index > index);
    } else {
        recovered.entries.clear();
    }
    recovered.last_index = recovered.last_index.max(index);
}

impl Recovered {
    /// The entries that follow a snapshot at `index` of `term`; those it covers are dropped.
    ///
    /// # Errors
    /// The index at which an entry is missing.
    pub fn entries_after(&mut self, index: u64) -> Result<Vec<Entry>, u64> {
        let mut entries = std::mem::take(&mut self.entries);
        entries.retain(|entry| entry.index > index);
        for (entry, wanted) in entries.iter().zip(index + 1..) {
            if entry.index != wanted {
                return Err(wanted);
            }
        }
        Ok(entries)
    }
}
