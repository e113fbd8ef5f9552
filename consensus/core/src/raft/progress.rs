//! What the leader knows of each other member, and how much it sends ahead.

use alloc::collections::VecDeque;

use stdx::Instant;

/// How entries are sent to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Where the logs agree is not known: one message, then wait for the answer or the next heartbeat.
    Probe { waiting: bool },
    /// They agree: send ahead of the answers.
    Stream,
    /// The entries it needs are gone: send it a snapshot, piece by piece.
    /// `index` is that of the snapshot whose first piece went out; a newer one starts over.
    Snapshot { index: u64, offset: u64, asked_at: Instant },
}

#[derive(Debug)]
pub(super) struct Progress {
    pub(super) pace: Pace,
    /// The next entry to send.
    pub(super) next: u64,
    /// On its disk up to here.
    pub(super) durable: u64,
    /// When it answered last.
    pub(super) heard_at: Instant,
    /// The last heartbeat round it answered.
    pub(super) round: u64,
    /// Last index and bytes of each message sent ahead.
    inflight: VecDeque<(u64, usize)>,
    inflight_bytes: usize,
}

impl Progress {
    pub(super) fn new(next: u64, now: Instant) -> Progress {
        Progress {
            pace: Pace::Probe { waiting: false },
            next,
            durable: 0,
            heard_at: now,
            round: 0,
            inflight: VecDeque::new(),
            inflight_bytes: 0,
        }
    }

    /// Whether another message with entries may go out.
    pub(super) fn has_room(&self, messages_max: usize, bytes_max: usize) -> bool {
        match self.pace {
            Pace::Probe { waiting } => !waiting,
            Pace::Stream => self.inflight.len() < messages_max && self.inflight_bytes < bytes_max,
            Pace::Snapshot { .. } => false,
        }
    }

    pub(super) fn note_sent(&mut self, last_index: u64, bytes: usize) {
        self.inflight.push_back((last_index, bytes));
        self.inflight_bytes += bytes;
        self.next = last_index + 1;
    }

    pub(super) fn note_matched(&mut self, matched: u64) {
        while let Some((_, bytes)) = self.inflight.front().filter(|(index, _)| *index <= matched).copied() {
            self.inflight.pop_front();
            self.inflight_bytes -= bytes;
        }
    }

    pub(super) fn probe_from(&mut self, next: u64) {
        self.pace = Pace::Probe { waiting: false };
        self.next = next.max(self.durable + 1);
        self.inflight.clear();
        self.inflight_bytes = 0;
    }
}
