//! How long to wait before trying again.

use core::time::Duration;

use crate::Rng;

/// Exponential back-off with full jitter between half and all of each step.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    attempt: u32,
}

impl Backoff {
    /// Waits that start at `first`, double, and stay at `cap`.
    #[must_use]
    pub const fn new(first: Duration, cap: Duration) -> Backoff {
        Backoff { first, cap, attempt: 0 }
    }

    /// The wait before the next attempt.
    pub fn next(&mut self, rng: &mut Rng) -> Duration {
        let step = self.first.saturating_mul(1 << self.attempt.min(20)).min(self.cap);
        self.attempt = self.attempt.saturating_add(1);
        let half = step / 2;
        let spread = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        half + Duration::from_nanos(rng.below(spread.saturating_add(1)))
    }

    /// Attempts counted since the last success.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempt
    }

    /// Start over after a success.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests;
