//! Requests and their answers.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use consensus_core::codec::encode_command;
use consensus_core::raft::{Event, MemberId, Reason, RequestId};
use consensus_core::store::check;
use consensus_core::store::command::{Command, Outcome, RangeQuery, Txn};
use consensus_core::store::lease::LeaseId;
use stdx::Instant;

use super::owner::Owner;
use super::{Answer, Ask, Freshness, Heading, Refusal, StatusAnswer};
use crate::limits::{REQUEST_BYTES_MAX, REQUEST_TIMEOUT};
use crate::wal::Space;

/// Where an answer goes. It has room for one, so answering never waits.
pub(super) type Reply = SyncSender<(Heading, Answer)>;

/// A request that the raft is busy with.
#[derive(Debug)]
pub(super) enum Waiting {
    Write(Reply),
    Range(RangeQuery, Reply),
    ReadTxn(Txn, Reply),
    KeepAlive(LeaseId, Reply),
    TimeToLive(LeaseId, Reply),
    Leases(Reply),
    /// The end of a lease, proposed by this leader itself.
    Expiry(LeaseId),
    /// A compaction, proposed by this leader itself.
    Compaction,
}

impl Owner {
    pub(super) fn heading(&self) -> Heading {
        Heading {
            cluster_id: self.identity.cluster_id,
            member_id: self.identity.member_id,
            revision: self.store.revision(),
            term: self.raft.status().term,
        }
    }

    pub(super) fn leads(&self) -> bool {
        self.raft.status().leader == Some(MemberId(self.identity.member_id))
    }

    pub(super) fn answer(&self, reply: &Reply, answer: Answer) {
        // Whoever asked may have given up.
        let _ = reply.try_send((self.heading(), answer));
    }

    pub(super) fn take_ask(&mut self, now: Instant, ask: Ask, reply: Reply) {
        match ask {
            Ask::Write(command) => self.write(now, &command, reply),
            Ask::Range(query, freshness) => match check::check_query(&query) {
                Err(failure) => self.answer(&reply, Answer::Refused(failure.into())),
                Ok(()) if freshness == Freshness::Local => self.answer_range(&query, &reply),
                Ok(()) => self.read(now, Waiting::Range(query, reply)),
            },
            Ask::ReadTxn(txn) => match check::check_txn(&txn) {
                Err(failure) => self.answer(&reply, Answer::Refused(failure.into())),
                Ok(()) => self.read(now, Waiting::ReadTxn(txn, reply)),
            },
            Ask::KeepAlive(id) => self.read(now, Waiting::KeepAlive(id, reply)),
            Ask::TimeToLive(id) => self.read(now, Waiting::TimeToLive(id, reply)),
            Ask::Leases => self.read(now, Waiting::Leases(reply)),
            Ask::Status => self.answer(&reply, Answer::Status(Box::new(self.status()))),
            Ask::Members => self.answer(&reply, Answer::Members(self.raft.membership().clone())),
            Ask::Watch { id, spec, from } => match self.watchers.poll(&self.store, id, &spec, from) {
                Some(found) => self.answer(&reply, Answer::Watch(found)),
                None => {
                    self.watching.insert(id, reply);
                }
            },
        }
    }

    fn write(&mut self, now: Instant, command: &Command, reply: Reply) {
        if let Err(failure) = check::check(command) {
            self.answer(&reply, Answer::Refused(failure.into()));
            return;
        }
        if self.wal.space() == Space::Reserve && !frees_space(command) && !self.wal.refill_reserve() {
            self.answer(&reply, Answer::Refused(Refusal::DiskFull));
            return;
        }
        let bytes = encode_command(command);
        if bytes.len() > REQUEST_BYTES_MAX {
            let failure = consensus_core::store::command::Failure::TooLarge;
            self.answer(&reply, Answer::Refused(failure.into()));
            return;
        }
        self.propose(now, &bytes, Waiting::Write(reply));
    }

    /// Put a command into the log; `waiting` hears what comes of it.
    pub(super) fn propose(&mut self, now: Instant, bytes: &[u8], waiting: Waiting) {
        let id = self.enlist(now, waiting);
        self.feed(now, Event::Propose { id, command: Arc::from(bytes) });
    }

    fn read(&mut self, now: Instant, waiting: Waiting) {
        let id = self.enlist(now, waiting);
        self.feed(now, Event::Read { id });
    }

    fn enlist(&mut self, now: Instant, waiting: Waiting) -> RequestId {
        self.next_request += 1;
        self.waiting.insert(self.next_request, waiting);
        self.give_up.push_back((now.after(REQUEST_TIMEOUT), self.next_request));
        self.next_request
    }

    /// Whoever waited too long is told so.
    pub(super) fn give_up(&mut self, now: Instant) {
        while let Some((at, id)) = self.give_up.front().copied() {
            // Most have been answered long before.
            if at > now && self.waiting.contains_key(&id) {
                return;
            }
            self.give_up.pop_front();
            if let Some(waiting) = self.waiting.remove(&id) {
                self.refuse(now, waiting, Refusal::TimedOut);
            }
        }
    }

    pub(super) fn rejected(&mut self, now: Instant, id: RequestId, reason: Reason) {
        let Some(waiting) = self.waiting.remove(&id) else { return };
        let refusal = match reason {
            Reason::NotLeader(_) | Reason::Transferring | Reason::ChangePending | Reason::BadChange => {
                Refusal::NoLeader
            }
            Reason::Busy => Refusal::Busy,
            Reason::Replaced => Refusal::LeaderChanged,
            Reason::Unknown => Refusal::TimedOut,
        };
        self.refuse(now, waiting, refusal);
    }

    fn refuse(&mut self, now: Instant, waiting: Waiting, refusal: Refusal) {
        match waiting {
            Waiting::Write(reply)
            | Waiting::Range(_, reply)
            | Waiting::ReadTxn(_, reply)
            | Waiting::KeepAlive(_, reply)
            | Waiting::TimeToLive(_, reply)
            | Waiting::Leases(reply) => self.answer(&reply, Answer::Refused(refusal)),
            Waiting::Expiry(id) => self.lease_clock.retry(id, now.after(self.options.election)),
            Waiting::Compaction => {}
        }
    }

    /// A read may see the state as it is now.
    pub(super) fn read_ready(&mut self, now: Instant, id: RequestId) {
        match self.waiting.remove(&id) {
            Some(Waiting::Range(query, reply)) => self.answer_range(&query, &reply),
            Some(Waiting::ReadTxn(txn, reply)) => {
                let answer = self.store.read_txn(&txn).map_or_else(|e| Answer::Refused(e.into()), Answer::Txn);
                self.answer(&reply, answer);
            }
            Some(Waiting::KeepAlive(id, reply)) => {
                let ttl = self.store.lease_ttl(id).filter(|ttl| self.leads() && self.lease_clock.renew(id, *ttl, now));
                self.answer(&reply, Answer::KeptAlive(ttl));
            }
            Some(Waiting::TimeToLive(id, reply)) => {
                let found = self.store.lease_ttl(id).map(|ttl| {
                    let remaining = self.lease_clock.remaining(id, now).map_or(ttl, |left| left.as_secs());
                    (ttl, remaining, self.store.lease_keys(id))
                });
                self.answer(&reply, Answer::TimeToLive(found));
            }
            Some(Waiting::Leases(reply)) => {
                let ids = self.store.leases().map(|(id, _)| id).collect();
                self.answer(&reply, Answer::Leases(ids));
            }
            Some(Waiting::Write(_) | Waiting::Expiry(_) | Waiting::Compaction) | None => {}
        }
    }

    /// A proposal of this member was applied.
    pub(super) fn proposal_applied(&mut self, id: RequestId, outcome: Outcome) {
        if let Some(Waiting::Write(reply)) = self.waiting.remove(&id) {
            let answer = match outcome {
                Outcome::Failed(failure) => Answer::Refused(failure.into()),
                outcome => Answer::Outcome(outcome),
            };
            self.answer(&reply, answer);
        }
    }

    fn answer_range(&self, query: &RangeQuery, reply: &Reply) {
        let answer = self.store.range(query).map_or_else(|e| Answer::Refused(e.into()), Answer::Range);
        self.answer(reply, answer);
    }

    fn status(&self) -> StatusAnswer {
        StatusAnswer {
            raft: self.raft.status(),
            store: self.store.status(),
            disk_bytes: self.wal.bytes() + self.snapshots.file_bytes(),
            disk_full: self.wal.space() == Space::Reserve,
        }
    }
}

/// Whether a command is let through when the disk is full.
fn frees_space(command: &Command) -> bool {
    match command {
        Command::Delete(_) | Command::Compact { .. } | Command::Revoke { .. } => true,
        Command::Put(_) | Command::Txn(_) | Command::Grant { .. } => false,
    }
}
