//! The state as a sequence of pieces, read while commands go on being applied.
//!
//! The store keeps every version down to the compacted revision, so the state at the revision where the
//! snapshot began can be read step by step: later versions are left out, and [`Store::prune`] must not be
//! called until the last piece is out. Pieces: a header, keys in order, the order of changes, an end that counts.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;

use super::Store;
use super::command::{Key, Value};
use super::kv::{Change, Keys, Slot};
use super::lease::LeaseId;
use crate::codec::{DecodeError, Reader, Writer};

const HEADER: u8 = 1;
const KEYS: u8 = 2;
const HISTORY: u8 = 3;
const END: u8 = 4;

/// About how large one piece is.
pub const SNAPSHOT_PIECE_BYTES: usize = 256 * 1024;

#[derive(Debug)]
enum Place {
    Header,
    KeysAfter(Option<Key>),
    History { next: usize },
    End,
    Done,
}

/// A snapshot being read.
#[derive(Debug)]
pub struct SnapshotReader {
    revision: u64,
    compacted: u64,
    leases: Vec<(LeaseId, u64)>,
    place: Place,
    keys: u64,
}

impl SnapshotReader {
    /// Begin, with the state as it is now.
    #[must_use]
    pub fn new(store: &Store) -> SnapshotReader {
        SnapshotReader {
            revision: store.revision(),
            compacted: store.keys.compacted(),
            leases: store.leases.iter().collect(),
            place: Place::Header,
            keys: 0,
        }
    }

    /// The next piece, or `None` after the last.
    pub fn next(&mut self, store: &Store) -> Option<Vec<u8>> {
        let mut out = Writer::new();
        match core::mem::replace(&mut self.place, Place::Done) {
            Place::Header => {
                out.tag(HEADER);
                out.number(self.revision);
                out.number(self.compacted);
                out.count(self.leases.len());
                for (id, ttl) in &self.leases {
                    out.signed(*id);
                    out.number(*ttl);
                }
                self.place = Place::KeysAfter(None);
            }
            Place::KeysAfter(after) => {
                out.tag(KEYS);
                self.place = match self.write_keys(&store.keys, after, &mut out) {
                    Some(last) => Place::KeysAfter(Some(last)),
                    None => Place::History { next: 0 },
                };
            }
            Place::History { next } => {
                out.tag(HISTORY);
                self.place = match self.write_history(&store.keys, next, &mut out) {
                    Some(next) => Place::History { next },
                    None => Place::End,
                };
            }
            Place::End => {
                out.tag(END);
                out.number(self.keys);
            }
            Place::Done => return None,
        }
        Some(out.into_bytes())
    }

    /// Write keys; the last one if there may be more.
    fn write_keys(&mut self, keys: &Keys, after: Option<Key>, out: &mut Writer) -> Option<Key> {
        let from = match &after {
            Some(key) => Bound::Excluded(&**key),
            None => Bound::Unbounded,
        };
        for (key, record) in keys.index.range::<[u8], _>((from, Bound::Unbounded)) {
            let slots: Vec<&Slot> = record.slots().filter(|slot| slot.modified <= self.revision).collect();
            if slots.is_empty() {
                continue;
            }
            self.keys += 1;
            out.bytes(key);
            out.count(slots.len());
            slots.iter().for_each(|slot| write_slot(slot, out));
            if out.len() >= SNAPSHOT_PIECE_BYTES {
                return Some(Arc::clone(key));
            }
        }
        None
    }

    fn write_history(&self, keys: &Keys, next: usize, out: &mut Writer) -> Option<usize> {
        for (place, change) in keys.history.iter().enumerate().skip(next) {
            if change.revision > self.revision {
                return None;
            }
            out.number(change.revision);
            out.bytes(&change.key);
            if out.len() >= SNAPSHOT_PIECE_BYTES {
                return Some(place + 1);
            }
        }
        None
    }
}

fn write_slot(slot: &Slot, out: &mut Writer) {
    out.number(slot.modified);
    match &slot.value {
        None => out.tag(0),
        Some(value) => {
            out.tag(1);
            out.number(slot.created);
            out.number(slot.version);
            out.signed(slot.lease);
            out.bytes(value);
        }
    }
}

fn read_slot(reader: &mut Reader<'_>) -> Result<Slot, DecodeError> {
    let modified = reader.number()?;
    match reader.tag()? {
        0 => Ok(Slot { modified, created: 0, version: 0, lease: 0, value: None }),
        1 => {
            let (created, version, lease) = (reader.number()?, reader.number()?, reader.signed()?);
            let value: Value = reader.shared()?;
            Ok(Slot { modified, created, version, lease, value: Some(value) })
        }
        tag => Err(DecodeError::Tag(tag)),
    }
}

/// A snapshot being loaded.
#[derive(Debug, Default)]
pub struct SnapshotLoader {
    store: Store,
    keys: u64,
    complete: bool,
}

impl SnapshotLoader {
    /// Begin with nothing.
    #[must_use]
    pub fn new() -> SnapshotLoader {
        SnapshotLoader::default()
    }

    /// Take the next piece.
    ///
    /// # Errors
    /// If it is none.
    pub fn piece(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new(bytes);
        match reader.tag()? {
            HEADER => {
                let (revision, compacted) = (reader.number()?, reader.number()?);
                self.store.keys.load(revision, compacted);
                for (id, ttl) in reader.list(|reader| Ok((reader.signed()?, reader.number()?)))? {
                    // Ids in a snapshot are distinct, so this cannot be refused.
                    let _ = self.store.leases.grant(id, ttl);
                }
            }
            KEYS => {
                while !reader.is_empty() {
                    let key: Key = reader.shared()?;
                    let slots = reader.list(read_slot)?;
                    if let Some(slot) = slots.last().filter(|slot| slot.value.is_some()) {
                        self.store.leases.attach(slot.lease, &key);
                    }
                    self.store.keys.load_record(key, slots);
                    self.keys += 1;
                }
            }
            HISTORY => {
                while !reader.is_empty() {
                    let revision = reader.number()?;
                    let name = reader.bytes()?;
                    let held = self.store.keys.index.get_key_value(name);
                    let key = held.map_or_else(|| Key::from(name), |(key, _)| Arc::clone(key));
                    self.store.keys.history.push_back(Change { revision, key });
                }
            }
            END => {
                let keys = reader.number()?;
                self.complete = keys == self.keys;
            }
            tag => return Err(DecodeError::Tag(tag)),
        }
        reader.finish()
    }

    /// The store, if the snapshot was whole.
    #[must_use]
    pub fn finish(self) -> Option<Store> {
        self.complete.then_some(self.store)
    }
}

impl Store {
    /// Whether two stores hold the same, for tests and for comparing members.
    #[must_use]
    pub fn same_as(&self, other: &Store) -> bool {
        let pieces = |store: &Store| {
            let mut reader = SnapshotReader::new(store);
            let mut pieces = Vec::new();
            while let Some(piece) = reader.next(store) {
                pieces.push(piece);
            }
            pieces
        };
        let attached = |store: &Store| -> BTreeSet<(LeaseId, Vec<Key>)> {
            store.leases().map(|(id, _)| (id, store.lease_keys(id))).collect()
        };
        pieces(self) == pieces(other) && attached(self) == attached(other)
    }
}
