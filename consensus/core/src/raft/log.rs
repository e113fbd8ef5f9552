//! The part of the log that is in memory: everything after the last compaction.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::membership::Membership;
use super::message::{Entry, Payload, SnapshotMeta};

#[derive(Debug)]
pub(super) struct Log {
    /// The entry before the first in memory.
    base_index: u64,
    base_term: u64,
    entries: VecDeque<Entry>,
    /// On disk up to here.
    persisted: u64,
    /// The memberships in force, by the index that brought each; never empty, the first is that of the base.
    memberships: Vec<(u64, Arc<Membership>)>,
}

impl Log {
    pub(super) fn new(base: &SnapshotMeta, entries: Vec<Entry>) -> Log {
        let mut log = Log {
            base_index: base.index,
            base_term: base.term,
            entries: VecDeque::new(),
            persisted: base.index,
            memberships: alloc::vec![(base.index, Arc::clone(&base.membership))],
        };
        for entry in entries {
            assert_eq!(entry.index, log.last_index() + 1, "the restored log has a hole");
            log.push(entry);
        }
        log.persisted = log.last_index();
        log
    }

    pub(super) fn last_index(&self) -> u64 {
        self.base_index + self.entries.len() as u64
    }

    pub(super) fn last_term(&self) -> u64 {
        self.entries.back().map_or(self.base_term, |entry| entry.term)
    }

    pub(super) fn base_index(&self) -> u64 {
        self.base_index
    }

    pub(super) fn persisted(&self) -> u64 {
        self.persisted
    }

    /// The term of the entry at `index`, if it is known.
    pub(super) fn term(&self, index: u64) -> Option<u64> {
        if index == self.base_index {
            return Some(self.base_term);
        }
        self.get(index).map(|entry| entry.term)
    }

    pub(super) fn get(&self, index: u64) -> Option<&Entry> {
        let place = index.checked_sub(self.base_index + 1)?;
        self.entries.get(usize::try_from(place).ok()?)
    }

    /// Entries from `from` on, at least one if there is one, and no more than about `bytes_max`.
    pub(super) fn slice(&self, from: u64, bytes_max: usize) -> Vec<Entry> {
        let mut bytes = 0;
        let mut slice = Vec::new();
        let mut index = from;
        while let Some(entry) = self.get(index) {
            bytes += entry.payload.size();
            if bytes > bytes_max && !slice.is_empty() {
                break;
            }
            slice.push(entry.clone());
            index += 1;
        }
        slice
    }

    pub(super) fn push(&mut self, entry: Entry) {
        assert_eq!(entry.index, self.last_index() + 1, "the log would get a hole");
        if let Payload::Membership(membership) = &entry.payload {
            self.memberships.push((entry.index, Arc::clone(membership)));
        }
        self.entries.push_back(entry);
    }

    /// Drop the entries from `index` on.
    pub(super) fn truncate(&mut self, index: u64) {
        let keep = index.saturating_sub(self.base_index + 1);
        self.entries.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
        self.persisted = self.persisted.min(index - 1);
        self.memberships.retain(|(at, _)| *at < index);
        assert!(!self.memberships.is_empty(), "truncated into the base");
    }

    /// News from the disk. Ignored if the entry was replaced since: an equal term at an equal index means
    /// that everything before is equal too (Log Matching).
    pub(super) fn note_persisted(&mut self, index: u64, term: u64) -> bool {
        if index <= self.persisted || self.term(index) != Some(term) {
            return false;
        }
        self.persisted = index;
        true
    }

    /// The members in force, which are those of the latest entry, committed or not (thesis 4.1).
    pub(super) fn membership(&self) -> &Arc<Membership> {
        &self.memberships[self.memberships.len() - 1].1
    }

    /// The index that brought the members in force.
    pub(super) fn membership_index(&self) -> u64 {
        self.memberships[self.memberships.len() - 1].0
    }

    /// The members at `index`.
    pub(super) fn membership_at(&self, index: u64) -> &Arc<Membership> {
        let at = self.memberships.iter().rev().find(|(at, _)| *at <= index);
        &at.unwrap_or(&self.memberships[0]).1
    }

    /// Drop the entries up to and with `index`.
    pub(super) fn compact(&mut self, index: u64) {
        let Some(term) = self.term(index) else { return };
        let membership = Arc::clone(self.membership_at(index));
        let drop = usize::try_from(index - self.base_index).unwrap_or(usize::MAX);
        self.entries.drain(..drop.min(self.entries.len()));
        self.base_index = index;
        self.base_term = term;
        self.memberships.retain(|(at, _)| *at > index);
        self.memberships.insert(0, (index, membership));
    }

    /// Start over from a snapshot that came from the leader. What follows the snapshot stays if it belongs to it.
    pub(super) fn restore(&mut self, meta: &SnapshotMeta) {
        if self.term(meta.index) == Some(meta.term) {
            self.compact(meta.index);
            self.persisted = self.persisted.max(meta.index);
        } else {
            *self = Log::new(meta, Vec::new());
        }
    }
}

#[cfg(test)]
mod tests;
