//! Linearizable reads without writing to the log (ReadIndex, thesis 6.4).

use alloc::vec::Vec;

use stdx::Instant;

use super::message::{Body, Effect, MemberId, Reason, RequestId};
use super::{Raft, Role};

/// More questions than this wait for one leader: a shell that lost count is told so.
const ASKED_MAX: usize = 4096;

impl Raft {
    pub(super) fn read(&mut self, now: Instant, id: RequestId, effects: &mut Vec<Effect>) {
        match (&self.role, self.leader) {
            (Role::Leader(_), _) => self.read_at_leader(now, None, id, effects),
            (_, Some(leader)) if self.asked.len() < ASKED_MAX => {
                self.asked.insert(id, now);
                self.send(leader, self.hard.term, Body::ReadRequest { id }, effects);
            }
            (_, Some(_)) => effects.push(Effect::Reject { id, reason: Reason::Busy }),
            (_, None) => effects.push(Effect::Reject { id, reason: Reason::NotLeader(None) }),
        }
    }

    pub(super) fn read_for(&mut self, now: Instant, from: MemberId, id: RequestId, effects: &mut Vec<Effect>) {
        if matches!(self.role, Role::Leader(_)) {
            self.read_at_leader(now, Some(from), id, effects);
        }
    }

    fn read_at_leader(&mut self, now: Instant, from: Option<MemberId>, id: RequestId, effects: &mut Vec<Effect>) {
        let commit = self.commit;
        let Role::Leader(leader) = &mut self.role else { return };
        if leader.reads.len() >= ASKED_MAX {
            if from.is_none() {
                effects.push(Effect::Reject { id, reason: Reason::Busy });
            }
            return;
        }
        // What an earlier leader committed is known to be committed once the first own entry is.
        leader.ask_read(from, id, commit.max(leader.first_index));
        if leader.wants_round() {
            self.start_round(now, effects);
        }
        self.settle_reads(effects);
        self.apply_committed(effects);
    }

    /// Let go the reads whose round a majority has answered.
    pub(super) fn settle_reads(&mut self, effects: &mut Vec<Effect>) {
        let proved = self.proved_round();
        let Role::Leader(leader) = &mut self.role else { return };
        let mut settled = Vec::new();
        while let Some(read) = leader.reads.pop_front() {
            if read.round > proved {
                leader.reads.push_front(read);
                break;
            }
            settled.push(read);
        }
        for read in settled {
            match read.from {
                None => {
                    self.ready.insert((read.index, read.id), ());
                }
                Some(from) => {
                    let body = Body::ReadReply { id: read.id, index: read.index };
                    self.send(from, self.hard.term, body, effects);
                }
            }
        }
    }

    pub(super) fn read_answered(&mut self, id: RequestId, index: u64, effects: &mut Vec<Effect>) {
        if self.asked.remove(&id).is_some() {
            self.ready.insert((index, id), ());
            self.apply_committed(effects);
        }
    }

    /// A question or its answer was lost: say so rather than keep it.
    pub(super) fn expire_asked(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let election = self.config.election;
        let leader = self.leader;
        self.asked.retain(|id, at| {
            let waits = now.since(*at) < election;
            if !waits {
                effects.push(Effect::Reject { id: *id, reason: Reason::NotLeader(leader) });
            }
            waits
        });
    }
}
