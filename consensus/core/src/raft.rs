//! Raft: who leads, and what is committed.
//!
//! ```text
//!            deadline              majority would             majority did
//! Follower ------------> PreCandidate ------------> Candidate ------------> Leader
//!    ^  ^                     |                         |                     |
//!    |  +--- lost, or heard --+---- lost, or heard -----+                     |
//!    +------------ higher term, or no majority answers for a while -----------+
//! ```
//! After Ongaro's thesis: pre-vote (9.6), check-quorum and leader stickiness (6.2, 4.2.3), ReadIndex (6.4),
//! leadership transfer (3.10), learners (4.2.1), one-at-a-time membership change (4.1).
//!
//! The leader sends entries before they are on its own disk, and counts itself only when
//! [`Event::Persisted`] says so. A follower acknowledges what its disk has. An entry is applied when it is
//! committed and on the own disk, so the applied state never runs ahead of the log.

mod election;
mod follower;
mod leader;
mod log;
mod membership;
mod message;
mod progress;
mod quorum;
mod read;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use stdx::{Instant, Machine, Rng};

use self::leader::Leader;
use self::log::Log;
pub use self::membership::{Change, Member, Membership, Standing};
pub use self::message::{
    Body, Effect, Entry, Event, HardState, MemberId, Message, Payload, Reason, RequestId, SnapshotMeta,
};

/// What a member is told once.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its own id.
    pub id: MemberId,
    /// A follower stands for election after one to two times this without a word from a leader.
    pub election: Duration,
    /// How often a leader speaks.
    pub heartbeat: Duration,
    /// The most bytes of entries in one message (one entry may be more).
    pub append_bytes_max: usize,
    /// The most messages under way to one member.
    pub inflight_messages_max: usize,
    /// The most bytes under way to one member.
    pub inflight_bytes_max: usize,
    /// The most bytes of proposals that wait to be committed.
    pub uncommitted_bytes_max: usize,
    /// Entries kept behind a snapshot, so that a member that is a little behind needs no snapshot.
    pub tail_entries: u64,
    /// A bug to run with, so that a test can show that the simulation finds it.
    #[cfg(feature = "canary")]
    pub canary: Option<Canary>,
}

impl Config {
    /// The usual limits.
    #[must_use]
    pub fn new(id: MemberId, election: Duration, heartbeat: Duration) -> Config {
        Config {
            id,
            election,
            heartbeat,
            append_bytes_max: 1 << 20,
            inflight_messages_max: 256,
            inflight_bytes_max: 16 << 20,
            uncommitted_bytes_max: 32 << 20,
            tail_entries: 10_000,
            #[cfg(feature = "canary")]
            canary: None,
        }
    }
}

/// Bugs that the simulation must find.
#[cfg(feature = "canary")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canary {
    /// Forget the vote: the hard state is never saved.
    VoteUnsaved,
    /// Acknowledge entries that are not on disk.
    AckUnsynced,
    /// Commit an entry of an older term by counting (figure 8 of the paper).
    CommitOlderTerm,
    /// Vote for candidates whose log is behind.
    VoteForStaleLog,
    /// Append without looking at the entry before.
    AppendUnchecked,
    /// Serve reads without proof of leadership.
    ReadUnproved,
    /// Count half of the voters as a majority.
    HalfIsMajority,
}

/// What was found on disk at the start.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The saved term and vote.
    pub hard_state: HardState,
    /// The snapshot, or index 0 with the first members.
    pub snapshot: SnapshotMeta,
    /// All entries after the snapshot.
    pub entries: Vec<Entry>,
}

#[derive(Debug)]
enum Role {
    /// The log agrees with the leader's up to `matched`, as far as this term has shown.
    Follower {
        matched: u64,
        round: u64,
    },
    PreCandidate {
        votes: BTreeMap<MemberId, bool>,
    },
    Candidate {
        votes: BTreeMap<MemberId, bool>,
    },
    Leader(Leader),
}

/// What this member thinks it is, for status and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleName {
    /// Follows.
    Follower,
    /// Asks whether it could be elected.
    PreCandidate,
    /// Stands for election.
    Candidate,
    /// Leads.
    Leader,
}

/// The figures that status shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The current term.
    pub term: u64,
    /// Who leads, as far as is known.
    pub leader: Option<MemberId>,
    /// What this member is.
    pub role: RoleName,
    /// The last entry in the log.
    pub last_index: u64,
    /// The last entry on disk.
    pub persisted: u64,
    /// The last committed entry.
    pub commit: u64,
    /// The last applied entry.
    pub applied: u64,
    /// The entry before the first that is still held.
    pub base_index: u64,
}

/// One member's consensus. Feed it events, execute its effects in order.
#[derive(Debug)]
pub struct Raft {
    config: Config,
    rng: Rng,
    hard: HardState,
    role: Role,
    leader: Option<MemberId>,
    log: Log,
    commit: u64,
    applied: u64,
    /// When to stand for election; of no meaning to a leader.
    election_due: Instant,
    /// When a leader of this term was heard last.
    heard_leader_at: Option<Instant>,
    /// Local proposals by place: index, term, question.
    pending: VecDeque<(u64, u64, RequestId)>,
    /// Reads asked of the leader by this follower, and since when.
    asked: BTreeMap<RequestId, Instant>,
    /// Reads that only wait until this index is applied.
    ready: BTreeMap<(u64, RequestId), ()>,
    /// The snapshot being received: from whom, its last entry, and the byte that comes next.
    receiving: Option<(MemberId, u64, u64)>,
}

impl Raft {
    /// Begin where the disk left off. `seed` must differ between members.
    ///
    /// # Panics
    /// If what was restored contradicts itself.
    #[must_use]
    pub fn new(config: Config, restored: Restored, seed: u64, now: Instant) -> Raft {
        let Restored { hard_state, snapshot, entries } = restored;
        let log = Log::new(&snapshot, entries);
        let mut raft = Raft {
            rng: Rng::new(seed),
            hard: hard_state,
            role: Role::Follower { matched: 0, round: 0 },
            leader: None,
            commit: snapshot.index,
            applied: snapshot.index,
            election_due: now,
            heard_leader_at: None,
            pending: VecDeque::new(),
            asked: BTreeMap::new(),
            ready: BTreeMap::new(),
            receiving: None,
            log,
            config,
        };
        // A group of one need not wait for anyone; the others give a living leader time to speak.
        if !raft.log.membership().is_alone(raft.config.id) {
            raft.reset_election(now);
        }
        raft
    }

    /// The figures for status.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            term: self.hard.term,
            leader: self.leader,
            role: match self.role {
                Role::Follower { .. } => RoleName::Follower,
                Role::PreCandidate { .. } => RoleName::PreCandidate,
                Role::Candidate { .. } => RoleName::Candidate,
                Role::Leader(_) => RoleName::Leader,
            },
            last_index: self.log.last_index(),
            persisted: self.log.persisted(),
            commit: self.commit,
            applied: self.applied,
            base_index: self.log.base_index(),
        }
    }

    /// The members in force.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        self.log.membership()
    }

    /// What a snapshot of the applied state would replace.
    ///
    /// # Panics
    /// Never: the applied entry is always held.
    #[must_use]
    pub fn applied_meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            index: self.applied,
            term: self.log.term(self.applied).expect("the log is compacted only up to what is applied"),
            membership: alloc::sync::Arc::clone(self.log.membership_at(self.applied)),
        }
    }

    /// The term of the entry at `index`, if it is held.
    #[must_use]
    pub fn term_at(&self, index: u64) -> Option<u64> {
        self.log.term(index)
    }

    fn id(&self) -> MemberId {
        self.config.id
    }

    #[cfg(feature = "canary")]
    fn has_bug(&self, canary: Canary) -> bool {
        self.config.canary == Some(canary)
    }

    fn send(&self, to: MemberId, term: u64, body: Body, effects: &mut Vec<Effect>) {
        effects.push(Effect::Send(Message { from: self.id(), to, term, body }));
    }

    fn save(&self, effects: &mut Vec<Effect>) {
        #[cfg(feature = "canary")]
        if self.has_bug(Canary::VoteUnsaved) {
            return;
        }
        effects.push(Effect::SaveState(self.hard));
    }

    fn set_leader(&mut self, leader: Option<MemberId>, effects: &mut Vec<Effect>) {
        if self.leader != leader {
            self.leader = leader;
            effects.push(Effect::Leader { term: self.hard.term, leader });
        }
    }

    fn reset_election(&mut self, now: Instant) {
        let base = u64::try_from(self.config.election.as_nanos()).unwrap_or(u64::MAX);
        let extra = Duration::from_nanos(self.rng.below(base));
        self.election_due = now.after(self.config.election + extra);
    }

    /// Apply what is committed and on this disk, then serve the reads that waited for it.
    fn apply_committed(&mut self, effects: &mut Vec<Effect>) {
        let end = self.commit.min(self.log.persisted());
        while self.applied < end {
            let index = self.applied + 1;
            let entry = self.log.get(index).expect("committed entries after the applied one are held").clone();
            let proposal = self.take_pending(index, entry.term, effects);
            self.applied = index;
            effects.push(Effect::Apply { entry, proposal });
        }
        while let Some(((index, id), ())) = self.ready.pop_first() {
            if index > self.applied {
                self.ready.insert((index, id), ());
                break;
            }
            effects.push(Effect::ReadReady { id });
        }
    }

    /// The local proposal that the entry answers; those before it that were replaced are rejected.
    fn take_pending(&mut self, index: u64, term: u64, effects: &mut Vec<Effect>) -> Option<RequestId> {
        while let Some((at, of, id)) = self.pending.front().copied().filter(|(at, ..)| *at <= index) {
            self.pending.pop_front();
            if at == index && of == term {
                return Some(id);
            }
            effects.push(Effect::Reject { id, reason: Reason::Replaced });
        }
        None
    }

    fn compact(&mut self, index: u64) {
        let keep_from = index.min(self.applied).saturating_sub(self.config.tail_entries);
        if keep_from > self.log.base_index() {
            self.log.compact(keep_from);
        }
    }

    fn propose(&mut self, now: Instant, id: RequestId, payload: Payload, effects: &mut Vec<Effect>) {
        let last = self.log.last_index();
        let refused = match &self.role {
            Role::Leader(leader) if leader.transfer.is_some() => Some(Reason::Transferring),
            Role::Leader(leader) if leader.waiting_bytes > self.config.uncommitted_bytes_max => Some(Reason::Busy),
            Role::Leader(_) => None,
            _ => Some(Reason::NotLeader(self.leader)),
        };
        if let Some(reason) = refused {
            effects.push(Effect::Reject { id, reason });
            return;
        }
        self.pending.push_back((last + 1, self.hard.term, id));
        self.append_own(now, payload, effects);
    }

    fn propose_membership(&mut self, now: Instant, id: RequestId, change: &Change, effects: &mut Vec<Effect>) {
        let Role::Leader(leader) = &self.role else {
            effects.push(Effect::Reject { id, reason: Reason::NotLeader(self.leader) });
            return;
        };
        // Until this term has committed an entry, an older uncommitted change may still surface, and two
        // changes at once need not overlap.
        if self.log.membership_index() > self.commit || self.commit < leader.first_index {
            effects.push(Effect::Reject { id, reason: Reason::ChangePending });
            return;
        }
        let behind = match change {
            Change::Promote(to) => leader.lag(*to, self.log.last_index()) > self.config.tail_entries,
            _ => false,
        };
        match self.log.membership().after(change).filter(|_| !behind) {
            Some(next) => self.propose(now, id, Payload::Membership(alloc::sync::Arc::new(next)), effects),
            None => effects.push(Effect::Reject { id, reason: Reason::BadChange }),
        }
    }

    fn persisted(&mut self, now: Instant, index: u64, term: u64, effects: &mut Vec<Effect>) {
        if !self.log.note_persisted(index, term) {
            return;
        }
        match &self.role {
            Role::Leader(_) => self.advance_commit(now, effects),
            _ => self.acknowledge(effects),
        }
        self.apply_committed(effects);
    }

    fn message(&mut self, now: Instant, message: Message, effects: &mut Vec<Effect>) {
        if message.to != self.id() || message.from == self.id() || !self.admit(now, &message, effects) {
            return;
        }
        let Message { from, term, body, .. } = message;
        match body {
            Body::PreVote { last_index, last_term } => {
                self.answer_pre_vote(now, from, term, (last_term, last_index), effects);
            }
            Body::Vote { last_index, last_term, .. } => {
                self.answer_vote(now, from, (last_term, last_index), effects);
            }
            Body::PreVoteReply { granted } => self.count_pre_vote(now, from, term, granted, effects),
            Body::VoteReply { granted } => self.count_vote(now, from, granted, effects),
            Body::Append { prev_index, prev_term, commit, round, entries } => {
                self.heard_leader(now, from, round, effects);
                self.append(from, (prev_index, prev_term), commit, entries, effects);
            }
            Body::Snapshot { meta, offset, bytes, last } => {
                let round = self.round();
                self.heard_leader(now, from, round, effects);
                self.take_snapshot(from, meta, offset, bytes, last, effects);
            }
            Body::AppendReply { matched, durable, round } => {
                self.append_reply(now, from, matched, durable, round, effects);
            }
            Body::AppendMismatch { prev_index, hint_index, hint_term, round } => {
                self.append_mismatch(now, from, prev_index, (hint_index, hint_term), round, effects);
            }
            Body::SnapshotReply { index, got, offset, installed } => {
                self.snapshot_reply(now, from, index, (got, offset), installed, effects);
            }
            Body::TransferNow => self.take_over(now, effects),
            Body::ReadRequest { id } => self.read_for(now, from, id, effects),
            Body::ReadReply { id, index } => self.read_answered(id, index, effects),
        }
    }

    /// Compare terms; false if the message needs no more attention.
    fn admit(&mut self, now: Instant, message: &Message, effects: &mut Vec<Effect>) -> bool {
        let term = message.term;
        if term > self.hard.term {
            match message.body {
                Body::PreVote { .. } => return !self.is_led(now),
                Body::Vote { transfer: false, .. } if self.is_led(now) => return false,
                // A granted pre-vote carries the term that would begin.
                Body::PreVoteReply { granted: true } => return true,
                _ => {}
            }
            let leader = match message.body {
                Body::Append { .. } | Body::Snapshot { .. } => Some(message.from),
                _ => None,
            };
            self.follow(now, term, leader, effects);
        } else if term < self.hard.term {
            match message.body {
                // Whoever speaks of an old term learns the new one from the answer.
                Body::Append { .. } | Body::Snapshot { .. } => {
                    let round = self.round();
                    let body = Body::AppendReply { matched: 0, durable: 0, round };
                    self.send(message.from, self.hard.term, body, effects);
                }
                Body::PreVote { .. } => {
                    self.send(message.from, self.hard.term, Body::PreVoteReply { granted: false }, effects);
                }
                Body::Vote { .. } => {
                    self.send(message.from, self.hard.term, Body::VoteReply { granted: false }, effects);
                }
                _ => {}
            }
            return false;
        }
        true
    }

    fn tick(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        match &self.role {
            Role::Leader(_) => self.tick_leader(now, effects),
            _ => {
                self.expire_asked(now, effects);
                if now >= self.election_due && self.log.membership().is_voter(self.id()) {
                    self.stand(now, effects);
                }
            }
        }
    }

    fn check_invariants(&self) {
        debug_assert!(self.applied <= self.commit, "applied {} past commit {}", self.applied, self.commit);
        debug_assert!(self.applied <= self.log.persisted(), "applied {} past the disk", self.applied);
        debug_assert!(self.commit <= self.log.last_index(), "commit {} past the log", self.commit);
        debug_assert!(self.log.base_index() <= self.applied, "compacted past what is applied");
        if let Role::Leader(_) = self.role {
            debug_assert_eq!(self.leader, Some(self.id()), "a leader follows itself");
        }
    }
}

impl Machine for Raft {
    type Event = Event;
    type Effect = Effect;

    fn handle(&mut self, now: Instant, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Message(message) => self.message(now, message, effects),
            Event::Propose { id, command } => self.propose(now, id, Payload::Command(command), effects),
            Event::ProposeMembership { id, change } => self.propose_membership(now, id, &change, effects),
            Event::Read { id } => self.read(now, id, effects),
            Event::Persisted { index, term } => self.persisted(now, index, term, effects),
            Event::Compact { index } => self.compact(index),
            Event::SnapshotChunk { to, meta, offset, bytes, last } => {
                self.send_snapshot(now, to, meta, offset, bytes, last, effects);
            }
            Event::SnapshotInstalled { meta } => self.snapshot_installed(&meta, effects),
            Event::Transfer { to } => self.hand_over(now, to, effects),
            Event::Tick => self.tick(now, effects),
        }
        self.check_invariants();
    }

    fn deadline(&self) -> Option<Instant> {
        let own = match &self.role {
            Role::Leader(leader) => leader.deadline(),
            _ if self.log.membership().is_voter(self.id()) => Some(self.election_due),
            _ => None,
        };
        let asked = self.asked.values().min().map(|at| at.after(self.config.election));
        own.into_iter().chain(asked).min()
    }
}
