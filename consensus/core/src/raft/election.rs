//! Elections: standing, voting, winning, stepping down.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use stdx::Instant;

use super::leader::Leader;
use super::message::{Body, Effect, MemberId, Reason};
use super::quorum::{Tally, tally};
use super::{Raft, Role};

impl Raft {
    /// Whether a leader that is worth protecting was heard within the shortest election time (thesis 4.2.3).
    pub(super) fn is_led(&self, now: Instant) -> bool {
        match &self.role {
            // A leader that lost its majority steps down by itself; until then it protects itself.
            Role::Leader(_) => true,
            _ => self.leader.is_some() && self.heard_leader_at.is_some_and(|at| now.since(at) < self.config.election),
        }
    }

    /// Follow `leader`, or nobody yet, in `term`.
    pub(super) fn follow(&mut self, now: Instant, term: u64, leader: Option<MemberId>, effects: &mut Vec<Effect>) {
        if term > self.hard.term {
            self.hard.term = term;
            self.hard.vote = None;
            self.save(effects);
            self.heard_leader_at = None;
        }
        if let Role::Leader(old) = &mut self.role {
            for read in core::mem::take(&mut old.reads) {
                if read.from.is_none() {
                    effects.push(Effect::Reject { id: read.id, reason: Reason::NotLeader(leader) });
                }
            }
        }
        self.drop_asked(leader, effects);
        self.role = Role::Follower { matched: 0, round: 0 };
        self.set_leader(leader, effects);
        self.reset_election(now);
    }

    /// Ask whether an election could be won, before disturbing anyone with a new term.
    pub(super) fn stand(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.drop_asked(None, effects);
        self.set_leader(None, effects);
        self.reset_election(now);
        let votes = BTreeMap::from([(self.id(), true)]);
        if self.tally(&votes) == Tally::Won {
            self.campaign(now, false, effects);
            return;
        }
        self.role = Role::PreCandidate { votes };
        let body = Body::PreVote { last_index: self.log.last_index(), last_term: self.log.last_term() };
        self.ask_voters(self.hard.term + 1, &body, effects);
    }

    /// Begin a new term and ask for votes. The own vote is saved before others are asked (paper 5.2).
    fn campaign(&mut self, now: Instant, transfer: bool, effects: &mut Vec<Effect>) {
        self.drop_asked(None, effects);
        self.hard.term += 1;
        self.hard.vote = Some(self.id());
        self.save(effects);
        self.heard_leader_at = None;
        self.set_leader(None, effects);
        self.reset_election(now);
        let votes = BTreeMap::from([(self.id(), true)]);
        if self.tally(&votes) == Tally::Won {
            self.lead(now, effects);
            return;
        }
        self.role = Role::Candidate { votes };
        let body = Body::Vote { last_index: self.log.last_index(), last_term: self.log.last_term(), transfer };
        self.ask_voters(self.hard.term, &body, effects);
    }

    /// Whom these reads were asked of no longer leads, as far as is known.
    fn drop_asked(&mut self, leader: Option<MemberId>, effects: &mut Vec<Effect>) {
        for (id, _) in core::mem::take(&mut self.asked) {
            effects.push(Effect::Reject { id, reason: Reason::NotLeader(leader) });
        }
    }

    fn tally(&self, votes: &BTreeMap<MemberId, bool>) -> Tally {
        #[cfg(feature = "canary")]
        if self.has_bug(super::Canary::HalfIsMajority) {
            let half = self.log.membership().voters().count() / 2;
            return if votes.values().filter(|vote| **vote).count() >= half.max(1) { Tally::Won } else { Tally::Open };
        }
        tally(self.log.membership(), votes)
    }

    fn ask_voters(&self, term: u64, body: &Body, effects: &mut Vec<Effect>) {
        for to in self.log.membership().voters().filter(|to| *to != self.id()) {
            self.send(to, term, body.clone(), effects);
        }
    }

    /// Whether a log that ends in `last` (term, index) has at least what this one has (paper 5.4.1).
    fn is_up_to_date(&self, last: (u64, u64)) -> bool {
        #[cfg(feature = "canary")]
        if self.has_bug(super::Canary::VoteForStaleLog) {
            return true;
        }
        last >= (self.log.last_term(), self.log.last_index())
    }

    pub(super) fn answer_pre_vote(
        &mut self,
        now: Instant,
        from: MemberId,
        term: u64,
        last: (u64, u64),
        effects: &mut Vec<Effect>,
    ) {
        let granted = term > self.hard.term && !self.is_led(now) && self.is_up_to_date(last);
        let reply_term = if granted { term } else { self.hard.term };
        self.send(from, reply_term, Body::PreVoteReply { granted }, effects);
    }

    pub(super) fn answer_vote(&mut self, now: Instant, from: MemberId, last: (u64, u64), effects: &mut Vec<Effect>) {
        let free = match self.hard.vote {
            None => self.leader.is_none(),
            Some(voted) => voted == from,
        };
        let granted = free && self.is_up_to_date(last);
        if granted {
            if self.hard.vote.is_none() {
                self.hard.vote = Some(from);
                self.save(effects);
            }
            self.reset_election(now);
        }
        self.send(from, self.hard.term, Body::VoteReply { granted }, effects);
    }

    pub(super) fn count_pre_vote(
        &mut self,
        now: Instant,
        from: MemberId,
        term: u64,
        granted: bool,
        effects: &mut Vec<Effect>,
    ) {
        let Role::PreCandidate { votes } = &mut self.role else { return };
        // An answer to a question of an earlier term says nothing about this one.
        if granted && term != self.hard.term + 1 {
            return;
        }
        votes.insert(from, granted);
        let votes = votes.clone();
        match self.tally(&votes) {
            Tally::Won => self.campaign(now, false, effects),
            Tally::Lost => self.role = Role::Follower { matched: 0, round: 0 },
            Tally::Open => {}
        }
    }

    pub(super) fn count_vote(&mut self, now: Instant, from: MemberId, granted: bool, effects: &mut Vec<Effect>) {
        let Role::Candidate { votes } = &mut self.role else { return };
        votes.insert(from, granted);
        let votes = votes.clone();
        match self.tally(&votes) {
            Tally::Won => self.lead(now, effects),
            Tally::Lost => self.role = Role::Follower { matched: 0, round: 0 },
            Tally::Open => {}
        }
    }

    /// The leader hands over: stand at once, without the question whether a leader lives.
    pub(super) fn take_over(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if matches!(self.role, Role::Follower { .. }) && self.log.membership().is_voter(self.id()) {
            self.campaign(now, true, effects);
        }
    }

    fn lead(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let first = self.log.last_index() + 1;
        let mut leader = Leader::new(first, now, &self.config);
        leader.sync_members(self.log.membership(), self.id(), first, now);
        self.role = Role::Leader(leader);
        self.set_leader(Some(self.id()), effects);
        self.append_own(now, super::Payload::Blank, effects);
    }
}
