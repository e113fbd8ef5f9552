//! All versions of all keys, and the order in which they came.

use alloc::boxed::Box;
use alloc::collections::btree_map::Entry;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::command::{Failure, Key, KeyRange, KeyValue, RangeQuery, RangeReply, SortOrder, SortTarget, Value};
use super::lease::{LeaseId, NO_LEASE};

/// One version of a key: a value, or a tombstone.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) modified: u64,
    pub(super) created: u64,
    pub(super) version: u64,
    pub(super) lease: LeaseId,
    /// `None` is a tombstone.
    pub(super) value: Option<Value>,
}

/// The versions of a key. Most keys have one, which therefore costs no allocation of its own.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) head: Slot,
    /// Oldest first.
    #[expect(clippy::box_collection, reason = "8 bytes instead of 24 in every record, and most have none")]
    older: Option<Box<Vec<Slot>>>,
}

impl Record {
    pub(super) fn new(head: Slot) -> Record {
        Record { head, older: None }
    }

    /// Oldest first.
    pub(super) fn slots(&self) -> impl DoubleEndedIterator<Item = &Slot> {
        self.older.iter().flat_map(|older| older.iter()).chain(core::iter::once(&self.head))
    }

    /// Put `slot` on top. A second change at one revision replaces the first.
    pub(super) fn push(&mut self, slot: Slot) {
        let old = core::mem::replace(&mut self.head, slot);
        if old.modified != self.head.modified {
            self.older.get_or_insert_default().push(old);
        }
    }

    fn at(&self, revision: u64) -> Option<&Slot> {
        self.slots().rev().find(|slot| slot.modified <= revision).filter(|slot| slot.value.is_some())
    }

    /// Drop what cannot be read at `compacted` or later; returns the bytes freed and whether nothing is left.
    fn prune(&mut self, compacted: u64) -> (usize, bool) {
        let mut freed = 0;
        if let Some(older) = &mut self.older {
            // The newest slot at or before the compacted revision stays readable, unless it is an older tombstone.
            let mut first = older.partition_point(|slot| slot.modified <= compacted);
            let keeps = |slot: &Slot| slot.value.is_some() || slot.modified == compacted;
            if self.head.modified > compacted && first > 0 && keeps(&older[first - 1]) {
                first -= 1;
            }
            freed = older.drain(..first).map(|slot| slot.value.map_or(0, |value| value.len())).sum();
            if older.is_empty() {
                self.older = None;
            } else {
                older.shrink_to_fit();
            }
        }
        let gone = self.older.is_none() && self.head.value.is_none() && self.head.modified < compacted;
        (freed, gone)
    }
}

/// One change, in the order of changes.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) revision: u64,
    pub(super) key: Key,
}

#[derive(Debug)]
pub(super) struct Keys {
    pub(super) index: BTreeMap<Key, Record>,
    pub(super) history: VecDeque<Change>,
    revision: u64,
    compacted: u64,
    live: u64,
    bytes: u64,
}

impl Default for Keys {
    fn default() -> Keys {
        Keys { index: BTreeMap::new(), history: VecDeque::new(), revision: 1, compacted: 0, live: 0, bytes: 0 }
    }
}

impl Keys {
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn compacted(&self) -> u64 {
        self.compacted
    }

    pub(super) fn live(&self) -> u64 {
        self.live
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn history_len(&self) -> u64 {
        self.history.len() as u64
    }

    /// The revision that the changes of a command will have.
    pub(super) fn begin(&self) -> u64 {
        self.revision + 1
    }

    pub(super) fn commit(&mut self, revision: u64) {
        self.revision = revision;
    }

    pub(super) fn commit_if(&mut self, revision: u64, changed: bool) {
        if changed {
            self.revision = revision;
        }
    }

    /// The current version of a key.
    pub(super) fn get(&self, key: &[u8]) -> Option<(&Key, &Slot)> {
        let (key, record) = self.index.get_key_value(key)?;
        record.head.value.is_some().then_some((key, &record.head))
    }

    /// Write one key; returns what was there.
    pub(super) fn put(&mut self, revision: u64, key: &Key, value: Value, lease: LeaseId) -> Option<KeyValue> {
        self.bytes += value.len() as u64;
        let fresh = Slot { modified: revision, created: revision, version: 1, lease, value: Some(value) };
        let mut occupied = match self.index.entry(Arc::clone(key)) {
            Entry::Vacant(vacant) => {
                self.bytes += key.len() as u64;
                self.live += 1;
                vacant.insert(Record::new(fresh));
                self.history.push_back(Change { revision, key: Arc::clone(key) });
                return None;
            }
            Entry::Occupied(occupied) => occupied,
        };
        let shared = Arc::clone(occupied.key());
        let record = occupied.get_mut();
        let previous = record.head.value.is_some().then(|| key_value(&shared, &record.head));
        let slot = match &previous {
            Some(old) => Slot { created: old.create_revision, version: old.version + 1, ..fresh },
            None => fresh,
        };
        record.push(slot);
        self.live += u64::from(previous.is_none());
        self.history.push_back(Change { revision, key: shared });
        previous
    }

    /// Remove one key; returns what was there.
    pub(super) fn delete(&mut self, revision: u64, key: &[u8]) -> Option<KeyValue> {
        let shared = Arc::clone(self.get(key)?.0);
        let record = self.index.get_mut(key)?;
        let previous = key_value(&shared, &record.head);
        record.push(Slot { modified: revision, created: 0, version: 0, lease: NO_LEASE, value: None });
        self.live -= 1;
        self.history.push_back(Change { revision, key: shared });
        Some(previous)
    }

    /// The keys in a range that exist now.
    pub(super) fn existing(&self, range: &KeyRange) -> impl Iterator<Item = (&Key, &Slot)> {
        self.records(range).filter(|(_, record)| record.head.value.is_some()).map(|(key, record)| (key, &record.head))
    }

    fn records(&self, range: &KeyRange) -> impl Iterator<Item = (&Key, &Record)> {
        range.bounds().into_iter().flat_map(|bounds| self.index.range::<[u8], _>(bounds))
    }

    /// Look at a range. The revision was checked; `current` goes into the answer.
    pub(super) fn range(&self, query: &RangeQuery, current: u64) -> RangeReply {
        let at = if query.revision == 0 { u64::MAX } else { query.revision };
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let sorts = query.order == SortOrder::Descend || query.target != SortTarget::Key;
        let filters = query.mod_revisions != (0, 0) || query.create_revisions != (0, 0);
        // Without sorting and filtering nothing past the limit is needed but the count.
        let room = if limit == 0 || sorts || filters { usize::MAX } else { limit };
        let mut found: Vec<(&Key, &Slot)> = Vec::new();
        let mut count = 0;
        for (key, record) in self.records(&query.range) {
            let Some(slot) = record.at(at) else { continue };
            count += 1;
            if !query.count_only && found.len() < room && passes(slot, query) {
                found.push((key, slot));
            }
        }
        let mut more = !query.count_only && room != usize::MAX && count > limit as u64;
        if sorts {
            sort(&mut found, query.order, query.target);
        }
        if limit != 0 && found.len() > limit {
            found.truncate(limit);
            more = true;
        }
        let empty: Value = Arc::from(&[][..]);
        let kvs = found.into_iter().map(|(key, slot)| {
            let full = key_value(key, slot);
            if query.keys_only { KeyValue { value: Arc::clone(&empty), ..full } } else { full }
        });
        RangeReply { revision: current, kvs: kvs.collect(), more, count }
    }

    pub(super) fn compact(&mut self, revision: u64) -> Result<(), Failure> {
        if revision <= self.compacted {
            return Err(Failure::Compacted);
        }
        if revision > self.revision {
            return Err(Failure::FutureRevision);
        }
        self.compacted = revision;
        Ok(())
    }

    pub(super) fn prune(&mut self, budget: usize) -> bool {
        for _ in 0..budget {
            let Some(change) = self.history.front().filter(|change| change.revision < self.compacted) else {
                return false;
            };
            if let Some(record) = self.index.get_mut(&*change.key) {
                let (freed, gone) = record.prune(self.compacted);
                self.bytes -= freed as u64;
                if gone {
                    self.bytes -= change.key.len() as u64;
                    self.index.remove(&*change.key);
                }
            }
            self.history.pop_front();
        }
        true
    }

    /// The version that a change made, and the one before it if it is still held.
    pub(super) fn version_at(&self, key: &[u8], revision: u64) -> Option<(&Slot, Option<&Slot>)> {
        let record = self.index.get(key)?;
        let mut slots = record.slots().rev().skip_while(|slot| slot.modified > revision);
        let slot = slots.next().filter(|slot| slot.modified == revision)?;
        Some((slot, slots.next().filter(|slot| slot.value.is_some())))
    }

    /// Fill an empty store from a snapshot.
    pub(super) fn load(&mut self, revision: u64, compacted: u64) {
        self.revision = revision;
        self.compacted = compacted;
    }

    pub(super) fn load_record(&mut self, key: Key, slots: Vec<Slot>) {
        let mut slots = slots.into_iter();
        let Some(first) = slots.next() else { return };
        self.bytes += key.len() as u64 + first.value.as_ref().map_or(0, |value| value.len()) as u64;
        let mut record = Record::new(first);
        for slot in slots {
            self.bytes += slot.value.as_ref().map_or(0, |value| value.len()) as u64;
            record.push(slot);
        }
        self.live += u64::from(record.head.value.is_some());
        self.index.insert(key, record);
    }
}

pub(super) fn key_value(key: &Key, slot: &Slot) -> KeyValue {
    KeyValue {
        key: Arc::clone(key),
        value: slot.value.clone().unwrap_or_default(),
        create_revision: slot.created,
        mod_revision: slot.modified,
        version: slot.version,
        lease: slot.lease,
    }
}

fn passes(slot: &Slot, query: &RangeQuery) -> bool {
    let within = |value: u64, (min, max): (u64, u64)| value >= min && (max == 0 || value <= max);
    within(slot.modified, query.mod_revisions) && within(slot.created, query.create_revisions)
}

fn sort(found: &mut [(&Key, &Slot)], order: SortOrder, target: SortTarget) {
    match target {
        SortTarget::Key => {}
        SortTarget::Version => found.sort_by_key(|(_, slot)| slot.version),
        SortTarget::Create => found.sort_by_key(|(_, slot)| slot.created),
        SortTarget::Mod => found.sort_by_key(|(_, slot)| slot.modified),
        SortTarget::Value => found.sort_by(|(_, a), (_, b)| a.value.cmp(&b.value)),
    }
    if order == SortOrder::Descend {
        found.reverse();
    }
}
