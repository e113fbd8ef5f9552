//! When to look at a session again. One entry per session is armed; later deadlines wait for it to fire.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use stdx::Instant;

/// Entries by time. A session whose deadline moved later keeps its entry; one whose deadline moved earlier gets a
/// second one, and the first fires for nothing.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, usize, u64)>>,
}

/// What a session remembers of its entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Armed {
    at: Option<Instant>,
    serial: u64,
}

impl Armed {
    /// For a new session with that number, never used before.
    pub(crate) fn new(serial: u64) -> Armed {
        Armed { at: None, serial }
    }
}

impl Timers {
    /// Have `key` fire no later than `deadline`.
    pub(crate) fn arm(&mut self, key: usize, armed: &mut Armed, deadline: Option<Instant>) {
        let Some(deadline) = deadline else { return };
        if armed.at.is_none_or(|at| deadline < at) {
            armed.at = Some(deadline);
            self.heap.push(Reverse((deadline, key, armed.serial)));
        }
    }

    /// The next entry that is due: its key and the serial it was armed with.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(usize, u64, Instant)> {
        let Reverse((at, ..)) = self.heap.peek()?;
        if *at > now {
            return None;
        }
        self.heap.pop().map(|Reverse((at, key, serial))| (key, serial, at))
    }

    /// When the next entry is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }
}

impl Armed {
    /// Whether an entry is this session's current one; then it is no longer armed.
    pub(crate) fn fired(&mut self, serial: u64, at: Instant) -> bool {
        let mine = self.serial == serial && self.at == Some(at);
        if mine {
            self.at = None;
        }
        mine
    }
}

#[cfg(test)]
mod tests;
