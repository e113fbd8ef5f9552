//! The follower's side of replication.

use alloc::sync::Arc;
use alloc::vec::Vec;

use stdx::Instant;

use super::message::{Body, Effect, Entry, MemberId, Reason, SnapshotMeta};
use super::{Raft, Role};

impl Raft {
    /// The last heartbeat round heard from the leader of this term.
    pub(super) fn round(&self) -> u64 {
        match &self.role {
            Role::Follower { round, .. } => *round,
            _ => 0,
        }
    }

    /// The leader of this term spoke.
    pub(super) fn heard_leader(&mut self, now: Instant, from: MemberId, heard: u64, effects: &mut Vec<Effect>) {
        match &mut self.role {
            Role::Follower { round, .. } => *round = (*round).max(heard),
            Role::Leader(_) => {
                // Two leaders of one term cannot be; a forged or foreign message is not worth dying for.
                log::debug!(from:% = from; "append from another leader of this term ignored");
                return;
            }
            _ => self.role = Role::Follower { matched: 0, round: heard },
        }
        self.set_leader(Some(from), effects);
        self.heard_leader_at = Some(now);
        self.reset_election(now);
    }

    pub(super) fn append(
        &mut self,
        from: MemberId,
        prev: (u64, u64),
        commit: u64,
        mut entries: Vec<Entry>,
        effects: &mut Vec<Effect>,
    ) {
        if matches!(self.role, Role::Leader(_)) || !is_contiguous(prev, &entries) {
            return;
        }
        let (mut prev_index, mut prev_term) = prev;
        // What is committed here agrees with every leader; it may be compacted, so look only behind it.
        if prev_index < self.commit {
            let known = usize::try_from(self.commit - prev_index).unwrap_or(usize::MAX).min(entries.len());
            entries.drain(..known);
            prev_index = self.commit;
            prev_term = self.log.term(self.commit).unwrap_or(prev_term);
        }
        let mut agrees = self.log.term(prev_index) == Some(prev_term);
        #[cfg(feature = "canary")]
        if self.has_bug(super::Canary::AppendUnchecked) {
            agrees = agrees || prev_index <= self.log.last_index();
        }
        if !agrees {
            self.refuse(from, prev_index, prev_term, effects);
            return;
        }
        agrees = self.merge(entries, prev_index, commit, effects);
        if agrees {
            self.acknowledge(effects);
            self.apply_committed(effects);
        }
    }

    /// Append what is new, after removing what contradicts it.
    fn merge(&mut self, entries: Vec<Entry>, prev_index: u64, commit: u64, effects: &mut Vec<Effect>) -> bool {
        let end = prev_index + entries.len() as u64;
        let new: Vec<Entry> =
            entries.into_iter().skip_while(|entry| self.log.term(entry.index) == Some(entry.term)).collect();
        if let Some(first) = new.first().map(|entry| entry.index) {
            if first <= self.commit {
                log::debug!(index = first; "append that contradicts a committed entry ignored");
                return false;
            }
            if first <= self.log.last_index() {
                self.log.truncate(first);
                self.drop_pending(first, effects);
            }
            for entry in &new {
                self.log.push(entry.clone());
            }
            effects.push(Effect::Append(new));
        }
        if let Role::Follower { matched, .. } = &mut self.role {
            *matched = (*matched).max(end);
            self.commit = self.commit.max(commit.min(*matched));
        }
        true
    }

    /// Proposals of an earlier time as leader, whose entries are gone.
    fn drop_pending(&mut self, from_index: u64, effects: &mut Vec<Effect>) {
        while let Some((_, _, id)) = self.pending.back().copied().filter(|(at, ..)| *at >= from_index) {
            self.pending.pop_back();
            effects.push(Effect::Reject { id, reason: Reason::Replaced });
        }
    }

    /// Tell the leader how far the logs agree, and how far that is on disk.
    pub(super) fn acknowledge(&self, effects: &mut Vec<Effect>) {
        let (Role::Follower { matched, round }, Some(leader)) = (&self.role, self.leader) else { return };
        let mut durable = (*matched).min(self.log.persisted());
        #[cfg(feature = "canary")]
        if self.has_bug(super::Canary::AckUnsynced) {
            durable = *matched;
        }
        durable = durable.max(self.commit.min(self.log.persisted()));
        let body = Body::AppendReply { matched: (*matched).max(self.commit), durable, round: *round };
        self.send(leader, self.hard.term, body, effects);
    }

    fn refuse(&self, from: MemberId, prev_index: u64, prev_term: u64, effects: &mut Vec<Effect>) {
        // Entries of later terms than the leader's cannot agree: skip them all at once.
        let mut hint_index = prev_index.min(self.log.last_index());
        while hint_index > self.commit && self.log.term(hint_index).is_some_and(|term| term > prev_term) {
            hint_index -= 1;
        }
        let hint_term = self.log.term(hint_index).unwrap_or(0);
        let body = Body::AppendMismatch { prev_index, hint_index, hint_term, round: self.round() };
        self.send(from, self.hard.term, body, effects);
    }

    pub(super) fn take_snapshot(
        &mut self,
        from: MemberId,
        meta: SnapshotMeta,
        offset: u64,
        bytes: Arc<[u8]>,
        last: bool,
        effects: &mut Vec<Effect>,
    ) {
        if matches!(self.role, Role::Leader(_)) {
            return;
        }
        if meta.index <= self.commit {
            // What it brings is here already.
            let body = Body::SnapshotReply { index: meta.index, got: 0, offset: 0, installed: true };
            self.send(from, self.hard.term, body, effects);
            return;
        }
        let index = meta.index;
        let expected = match self.receiving {
            Some((of, at, expected)) if (of, at) == (from, index) => expected,
            _ => 0,
        };
        // Pieces come in order or not at all; after a restart of this member from the first again.
        let next = if offset == expected { offset + bytes.len() as u64 } else { expected };
        self.receiving = Some((from, index, next));
        if offset == expected {
            effects.push(Effect::WriteSnapshot { meta, offset, bytes, last });
        }
        if !last || offset != expected {
            let body = Body::SnapshotReply { index, got: offset, offset: next, installed: false };
            self.send(from, self.hard.term, body, effects);
        }
    }

    pub(super) fn snapshot_installed(&mut self, meta: &SnapshotMeta, effects: &mut Vec<Effect>) {
        self.receiving = None;
        if meta.index <= self.applied {
            return;
        }
        self.log.restore(meta);
        self.commit = self.commit.max(meta.index);
        self.applied = meta.index;
        // Their entries, if they were committed, are inside the snapshot.
        while let Some((_, _, id)) = self.pending.front().copied().filter(|(at, ..)| *at <= meta.index) {
            self.pending.pop_front();
            effects.push(Effect::Reject { id, reason: Reason::Unknown });
        }
        if let Role::Follower { matched, .. } = &mut self.role {
            *matched = (*matched).max(meta.index);
        }
        if let (Role::Follower { .. }, Some(leader)) = (&self.role, self.leader) {
            let body = Body::SnapshotReply { index: meta.index, got: 0, offset: 0, installed: true };
            self.send(leader, self.hard.term, body, effects);
        }
        self.apply_committed(effects);
    }
}

/// A peer's entries must follow one another; one that breaks this is not listened to.
fn is_contiguous(prev: (u64, u64), entries: &[Entry]) -> bool {
    let mut last = (prev.1, prev.0);
    entries.iter().all(|entry| {
        let fits = entry.index == last.1.wrapping_add(1) && entry.term >= last.0;
        last = (entry.term, entry.index);
        fits
    })
}
