//! Virtual time, and a network that does what networks do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use stdx::{Instant, Rng};

/// What the network does to messages. All chances are out of 1,000.
#[derive(Clone, Debug)]
pub struct Faults {
    /// Lost on the way.
    pub lose: u64,
    /// Delivered twice.
    pub double: u64,
    /// The shortest delay.
    pub delay_min: Duration,
    /// The longest delay; messages overtake one another within it.
    pub delay_max: Duration,
}

impl Faults {
    /// A network without faults: a fixed short delay.
    #[must_use]
    pub fn none() -> Faults {
        let delay = Duration::from_millis(1);
        Faults { lose: 0, double: 0, delay_min: delay, delay_max: delay }
    }
}

/// One thing that happens next.
#[derive(Debug, PartialEq, Eq)]
pub struct Delivery<M> {
    /// Who sent it; a timer comes from its owner.
    pub from: u64,
    /// Whom it reaches.
    pub to: u64,
    /// What it says.
    pub message: M,
}

/// Time, messages under way, and who can reach whom. Members are numbers.
#[derive(Debug)]
pub struct World<M> {
    now: Instant,
    rng: Rng,
    faults: Faults,
    serial: u64,
    due: BTreeMap<(Instant, u64), Delivery<M>>,
    cut: BTreeSet<(u64, u64)>,
}

impl<M: Clone> World<M> {
    /// An empty world in which all depends on `rng`.
    #[must_use]
    pub fn new(rng: Rng, faults: Faults) -> World<M> {
        World { now: Instant::START, rng, faults, serial: 0, due: BTreeMap::new(), cut: BTreeSet::new() }
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The world's own randomness.
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// Change what the network does from here on.
    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// Put a message on the network.
    pub fn send(&mut self, from: u64, to: u64, message: M) {
        if self.rng.chance(self.faults.double, 1_000) {
            self.route(from, to, message.clone());
        }
        self.route(from, to, message);
    }

    /// Let `message` reach `to` at `at`, whatever the network does: a timer, a client's step, a fault.
    pub fn at(&mut self, at: Instant, to: u64, message: M) {
        self.enqueue(at.max(self.now), Delivery { from: to, to, message });
    }

    /// Stop messages from `from` to `to`. The other direction is a call of its own.
    pub fn cut(&mut self, from: u64, to: u64) {
        self.cut.insert((from, to));
    }

    /// Part the members: those in `group` reach only one another, and so do the rest.
    pub fn part(&mut self, members: &[u64], group: &[u64]) {
        for a in members {
            for b in members {
                if group.contains(a) != group.contains(b) {
                    self.cut(*a, *b);
                }
            }
        }
    }

    /// Everyone reaches everyone again.
    pub fn heal(&mut self) {
        self.cut.clear();
    }

    /// Forget what is under way to `to` and its timers: it crashed.
    pub fn forget(&mut self, to: u64) {
        self.due.retain(|_, delivery| delivery.to != to);
    }

    /// When the next delivery is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.due.keys().next().map(|(at, _)| *at)
    }

    /// Move time on to the next delivery and take it.
    #[expect(clippy::should_implement_trait, reason = "an iterator would borrow the world for the whole run")]
    pub fn next(&mut self) -> Option<Delivery<M>> {
        loop {
            let ((at, _), delivery) = self.due.pop_first()?;
            self.now = at;
            // A cut made while the message was under way holds it up too.
            if delivery.from == delivery.to || !self.cut.contains(&(delivery.from, delivery.to)) {
                return Some(delivery);
            }
        }
    }

    /// Let time pass with nothing happening in it, up to the next delivery at most.
    pub fn advance(&mut self, to: Instant) {
        let limit = self.next_due().unwrap_or(to);
        self.now = self.now.max(to.min(limit));
    }

    fn route(&mut self, from: u64, to: u64, message: M) {
        if self.cut.contains(&(from, to)) || self.rng.chance(self.faults.lose, 1_000) {
            return;
        }
        let spread = self.faults.delay_max.saturating_sub(self.faults.delay_min);
        let spread = u64::try_from(spread.as_nanos()).unwrap_or(u64::MAX);
        let extra = Duration::from_nanos(self.rng.below(spread.saturating_add(1)));
        self.enqueue(self.now.after(self.faults.delay_min + extra), Delivery { from, to, message });
    }

    fn enqueue(&mut self, at: Instant, delivery: Delivery<M>) {
        self.serial += 1;
        self.due.insert((at, self.serial), delivery);
    }
}

#[cfg(test)]
mod tests;
