//! The leader's side: its entries, what it sends, what is committed.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stdx::Instant;

use super::membership::Membership;
use super::message::{Body, Effect, Entry, MemberId, Message, Payload, RequestId, SnapshotMeta};
use super::progress::{Pace, Progress};
use super::quorum::reached;
use super::{Config, Raft, Role};

/// A read that waits for proof that this member still leads.
#[derive(Debug)]
pub(super) struct PendingRead {
    /// The follower that asked, if it was not a local client.
    pub(super) from: Option<MemberId>,
    pub(super) id: RequestId,
    /// What must be applied before it.
    pub(super) index: u64,
    /// The heartbeat round that proves it.
    pub(super) round: u64,
}

/// Leadership under way to another member.
#[derive(Debug)]
pub(super) struct Transfer {
    to: MemberId,
    give_up_at: Instant,
    told: bool,
}

#[derive(Debug)]
pub(super) struct Leader {
    /// The first entry of this leadership; once committed, all before it are known to be.
    pub(super) first_index: u64,
    progress: BTreeMap<MemberId, Progress>,
    heartbeat: Duration,
    heartbeat_due: Instant,
    check_due: Instant,
    round: u64,
    pub(super) reads: VecDeque<PendingRead>,
    pub(super) transfer: Option<Transfer>,
    /// Bytes of entries that are not committed yet.
    pub(super) waiting_bytes: usize,
}

impl Leader {
    pub(super) fn new(first_index: u64, now: Instant, config: &Config) -> Leader {
        Leader {
            first_index,
            progress: BTreeMap::new(),
            heartbeat: config.heartbeat,
            heartbeat_due: now.after(config.heartbeat),
            check_due: now.after(config.election),
            round: 0,
            reads: VecDeque::new(),
            transfer: None,
            waiting_bytes: 0,
        }
    }

    /// A leader without peers has nothing to wait for.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.progress.is_empty() {
            return None;
        }
        let give_up = self.transfer.as_ref().map(|transfer| transfer.give_up_at);
        give_up.into_iter().chain([self.heartbeat_due, self.check_due]).min()
    }

    pub(super) fn sync_members(&mut self, members: &Membership, own: MemberId, next: u64, now: Instant) {
        self.progress.retain(|id, _| members.members.contains_key(id));
        for id in members.members.keys().filter(|id| **id != own) {
            self.progress.entry(*id).or_insert_with(|| Progress::new(next, now));
        }
    }

    /// How many entries `id` lacks on its disk.
    pub(super) fn lag(&self, id: MemberId, last_index: u64) -> u64 {
        self.progress.get(&id).map_or(u64::MAX, |progress| last_index - progress.durable)
    }

    pub(super) fn ask_read(&mut self, from: Option<MemberId>, id: RequestId, index: u64) {
        self.reads.push_back(PendingRead { from, id, index, round: self.round + 1 });
    }

    /// Whether a round should start for the reads that wait: only when the one before is answered, so that
    /// reads share rounds. A lost round is followed by the next heartbeat.
    pub(super) fn wants_round(&self) -> bool {
        let mut waiting = self.reads.iter().filter(|read| read.round <= self.round);
        waiting.next().is_none() && self.reads.back().is_some_and(|read| read.round > self.round)
    }
}

impl Raft {
    /// Append one entry of this leader's own and send it on.
    pub(super) fn append_own(&mut self, now: Instant, payload: Payload, effects: &mut Vec<Effect>) {
        let entry = Entry { term: self.hard.term, index: self.log.last_index() + 1, payload };
        let size = entry.payload.size();
        let changes_members = matches!(entry.payload, Payload::Membership(_));
        self.log.push(entry.clone());
        let Role::Leader(leader) = &mut self.role else { return };
        leader.waiting_bytes += size;
        if changes_members {
            leader.sync_members(self.log.membership(), self.config.id, entry.index, now);
        }
        // Sent before written: the disks of the others work while this one does.
        self.send_all(now, effects);
        effects.push(Effect::Append(alloc::vec![entry]));
    }

    fn send_all(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Role::Leader(leader) = &self.role else { return };
        let peers: Vec<MemberId> = leader.progress.keys().copied().collect();
        for to in peers {
            self.send_entries(now, to, effects);
        }
    }

    /// Send `to` as much as it may have now.
    fn send_entries(&mut self, now: Instant, to: MemberId, effects: &mut Vec<Effect>) {
        let (messages_max, bytes_max) = (self.config.inflight_messages_max, self.config.inflight_bytes_max);
        while let Role::Leader(leader) = &mut self.role {
            let Some(progress) = leader.progress.get_mut(&to) else { return };
            let next = progress.next;
            if !progress.has_room(messages_max, bytes_max) || next > self.log.last_index() {
                return;
            }
            let Some(prev_term) = self.log.term(next - 1) else {
                progress.pace = Pace::Snapshot { index: 0, offset: 0, asked_at: now };
                effects.push(Effect::ReadSnapshot { to, offset: 0 });
                return;
            };
            let entries = self.log.slice(next, self.config.append_bytes_max);
            match &mut progress.pace {
                Pace::Probe { waiting } => *waiting = true,
                _ => {
                    let bytes = entries.iter().map(|entry| entry.payload.size()).sum();
                    progress.note_sent(next + entries.len() as u64 - 1, bytes);
                }
            }
            let (commit, round) = (self.commit, leader.round);
            let body = Body::Append { prev_index: next - 1, prev_term, commit, round, entries };
            self.send(to, self.hard.term, body, effects);
        }
    }

    /// Speak to everyone, with a new number that their answers echo.
    pub(super) fn start_round(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let term = self.hard.term;
        let Role::Leader(leader) = &mut self.role else { return };
        leader.round += 1;
        leader.heartbeat_due = now.after(leader.heartbeat);
        for (to, progress) in &mut leader.progress {
            // Where the logs agree is shown by the entry before the next one; a gap shows itself as a mismatch.
            let prev_index = progress.next - 1;
            let prev_term = self.log.term(prev_index);
            if prev_term.is_none() && !matches!(progress.pace, Pace::Snapshot { .. }) {
                // Compacted away while the member was silent.
                progress.pace = Pace::Snapshot { index: 0, offset: 0, asked_at: now };
                effects.push(Effect::ReadSnapshot { to: *to, offset: 0 });
            }
            let (prev_index, prev_term) = match (progress.pace, prev_term) {
                (Pace::Probe { .. } | Pace::Stream, Some(prev_term)) => (prev_index, prev_term),
                _ => (0, 0),
            };
            if let Pace::Probe { waiting } = &mut progress.pace {
                *waiting = true;
            }
            if let Pace::Snapshot { offset, asked_at, .. } = &mut progress.pace
                && now.since(*asked_at) >= self.config.election
            {
                *asked_at = now;
                effects.push(Effect::ReadSnapshot { to: *to, offset: *offset });
            }
            let body =
                Body::Append { prev_index, prev_term, commit: self.commit, round: leader.round, entries: Vec::new() };
            effects.push(Effect::Send(Message { from: self.config.id, to: *to, term, body }));
        }
    }

    /// The last round that a majority has answered.
    pub(super) fn proved_round(&self) -> u64 {
        let Role::Leader(leader) = &self.role else { return 0 };
        #[cfg(feature = "canary")]
        if self.has_bug(super::Canary::ReadUnproved) {
            return u64::MAX;
        }
        let own = self.config.id;
        reached(self.log.membership(), |id| {
            if id == own { leader.round } else { leader.progress.get(&id).map_or(0, |progress| progress.round) }
        })
    }

    /// Commit what a majority has on disk, and act on what that brings.
    pub(super) fn advance_commit(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Role::Leader(leader) = &self.role else { return };
        let own = self.config.id;
        let durable = |id: MemberId| {
            if id == own { self.log.persisted() } else { leader.progress.get(&id).map_or(0, |p| p.durable) }
        };
        let index = reached(self.log.membership(), durable);
        let mut own_term = self.log.term(index) == Some(self.hard.term);
        #[cfg(feature = "canary")]
        {
            own_term = own_term || self.has_bug(super::Canary::CommitOlderTerm);
        }
        // Only entries of the own term are committed by counting (paper 5.4.2).
        own_term &= index > self.commit;
        if own_term {
            let freed: usize = (self.commit + 1..=index).filter_map(|at| Some(self.log.get(at)?.payload.size())).sum();
            self.commit = index;
            if let Role::Leader(leader) = &mut self.role {
                leader.waiting_bytes = leader.waiting_bytes.saturating_sub(freed);
            }
            self.apply_committed(effects);
            if self.log.membership_index() <= self.commit && !self.log.membership().is_voter(own) {
                // Taken out by an entry that is now committed: its work is done (thesis 4.2.2).
                self.start_round(now, effects);
                self.follow(now, self.hard.term, None, effects);
            }
        }
    }

    /// Note that `from` answered; the rest of what an answer means is for the caller.
    fn answered(&mut self, now: Instant, from: MemberId, round: u64) -> Option<&mut Progress> {
        let Role::Leader(leader) = &mut self.role else { return None };
        let current = leader.round;
        let progress = leader.progress.get_mut(&from)?;
        progress.heard_at = now;
        progress.round = progress.round.max(round.min(current));
        Some(progress)
    }

    pub(super) fn append_reply(
        &mut self,
        now: Instant,
        from: MemberId,
        matched: u64,
        durable: u64,
        round: u64,
        effects: &mut Vec<Effect>,
    ) {
        let last = self.log.last_index();
        let base = self.log.base_index();
        let Some(progress) = self.answered(now, from, round) else { return };
        if matched > last || durable > matched {
            log::debug!(from:% = from, matched, durable; "impossible acknowledgement ignored");
            return;
        }
        progress.durable = progress.durable.max(durable);
        progress.note_matched(matched);
        progress.next = progress.next.max(matched + 1);
        match progress.pace {
            Pace::Probe { .. } if matched + 1 >= progress.next => progress.pace = Pace::Stream,
            // An answer to something older. Only the answer to the probe, or the next heartbeat, goes on:
            // otherwise every doubled answer would be answered, and doubled again.
            Pace::Probe { .. } => {}
            Pace::Snapshot { .. } if matched >= base && matched > 0 => progress.probe_from(matched + 1),
            Pace::Snapshot { .. } | Pace::Stream => {}
        }
        self.settle(now, from, effects);
    }

    pub(super) fn append_mismatch(
        &mut self,
        now: Instant,
        from: MemberId,
        prev_index: u64,
        hint: (u64, u64),
        round: u64,
        effects: &mut Vec<Effect>,
    ) {
        let (hint_index, hint_term) = hint;
        let mut agree = hint_index.min(self.log.last_index());
        while agree > self.log.base_index() && self.log.term(agree).is_some_and(|term| term > hint_term) {
            agree -= 1;
        }
        let Some(progress) = self.answered(now, from, round) else { return };
        let stale = match progress.pace {
            Pace::Probe { .. } => prev_index + 1 != progress.next,
            Pace::Stream => prev_index <= progress.durable,
            Pace::Snapshot { .. } => true,
        };
        if !stale {
            progress.probe_from((agree + 1).min(prev_index.max(1)));
        }
        self.settle(now, from, effects);
    }

    fn settle(&mut self, now: Instant, from: MemberId, effects: &mut Vec<Effect>) {
        self.advance_commit(now, effects);
        self.settle_reads(effects);
        if let Role::Leader(leader) = &self.role
            && leader.wants_round()
        {
            self.start_round(now, effects);
        }
        self.apply_committed(effects);
        self.tell_successor(now, effects);
        self.send_entries(now, from, effects);
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one event")]
    pub(super) fn send_snapshot(
        &mut self,
        now: Instant,
        to: MemberId,
        meta: SnapshotMeta,
        offset: u64,
        bytes: Arc<[u8]>,
        last: bool,
        effects: &mut Vec<Effect>,
    ) {
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(progress) = leader.progress.get_mut(&to) else { return };
        let Pace::Snapshot { index, offset: wanted, asked_at } = &mut progress.pace else { return };
        if *wanted != offset {
            return;
        }
        *asked_at = now;
        if offset == 0 {
            *index = meta.index;
        } else if *index != meta.index {
            // A newer snapshot took the place of the one that was begun: pieces of two do not make one.
            *wanted = 0;
            effects.push(Effect::ReadSnapshot { to, offset: 0 });
            return;
        }
        self.send(to, self.hard.term, Body::Snapshot { meta, offset, bytes, last }, effects);
    }

    pub(super) fn snapshot_reply(
        &mut self,
        now: Instant,
        from: MemberId,
        index: u64,
        (got, offset): (u64, u64),
        installed: bool,
        effects: &mut Vec<Effect>,
    ) {
        if index > self.log.last_index() {
            return;
        }
        let Some(progress) = self.answered(now, from, 0) else { return };
        let Pace::Snapshot { index: sent, offset: wanted, asked_at } = &mut progress.pace else { return };
        if installed {
            progress.durable = progress.durable.max(index);
            progress.probe_from(index + 1);
            self.settle(now, from, effects);
        } else if *sent == index && *wanted == got && got != offset {
            *wanted = offset;
            *asked_at = now;
            effects.push(Effect::ReadSnapshot { to: from, offset });
        }
    }

    /// Hand leadership over; new proposals are refused until it is done or given up.
    pub(super) fn hand_over(&mut self, now: Instant, to: Option<MemberId>, effects: &mut Vec<Effect>) {
        let (own, election) = (self.config.id, self.config.election);
        let membership = Arc::clone(self.log.membership());
        let Role::Leader(leader) = &mut self.role else { return };
        let furthest = || {
            let voters = leader.progress.iter().filter(|(id, _)| membership.is_voter(**id));
            voters.max_by_key(|(_, progress)| progress.durable).map(|(id, _)| *id)
        };
        let Some(to) = to.or_else(furthest).filter(|to| *to != own && membership.is_voter(*to)) else { return };
        leader.transfer = Some(Transfer { to, give_up_at: now.after(election), told: false });
        self.tell_successor(now, effects);
        self.send_entries(now, to, effects);
    }

    /// The successor stands once its log has everything.
    fn tell_successor(&mut self, _now: Instant, effects: &mut Vec<Effect>) {
        let last = self.log.last_index();
        let (own, term) = (self.config.id, self.hard.term);
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(transfer) = leader.transfer.as_mut().filter(|transfer| !transfer.told) else { return };
        if leader.progress.get(&transfer.to).is_some_and(|progress| progress.durable == last) {
            transfer.told = true;
            effects.push(Effect::Send(Message { from: own, to: transfer.to, term, body: Body::TransferNow }));
        }
    }

    pub(super) fn tick_leader(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let election = self.config.election;
        let own = self.config.id;
        let membership = Arc::clone(self.log.membership());
        let Role::Leader(leader) = &mut self.role else { return };
        if leader.transfer.as_ref().is_some_and(|transfer| now >= transfer.give_up_at) {
            leader.transfer = None;
        }
        if now >= leader.check_due {
            leader.check_due = now.after(election);
            // The moment by which a majority, this member included, was last heard.
            let heard = reached(&membership, |id| {
                if id == own { now } else { leader.progress.get(&id).map_or(Instant::START, |p| p.heard_at) }
            });
            if now.since(heard) > election {
                log::debug!(term = self.hard.term; "a majority is silent, stepping down");
                self.follow(now, self.hard.term, None, effects);
                return;
            }
        }
        if now >= leader.heartbeat_due {
            self.start_round(now, effects);
        }
    }
}
