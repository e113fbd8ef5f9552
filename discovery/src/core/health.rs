//! When a job counts as well. Pure: the shell probes and tells.
//!
//! ```text
//!  Starting --passed--> Well --threshold failures in a row--> Ill --passed--> Well
//!      `----start_timeout without a pass----> Failed (for good)
//! ```
//! The script tests in `tests/scripts/health_*.txt` walk each edge.

use core::time::Duration;

use stdx::{Instant, Machine};
use types::job::HealthCheck;

/// The first probe comes at once and the next ones soon: a job that starts in 20 ms is seen in 40.
const START_PAUSE_FIRST: Duration = Duration::from_millis(10);

/// And no later than this: a job that takes a second to start is not found out a second after it has.
const START_PAUSE_MAX: Duration = Duration::from_millis(100);

/// The shortest time between probes that a check may ask for.
const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A probe passed.
    Passed {
        /// Which one.
        number: u64,
    },
    /// A probe failed or took too long.
    Failed {
        /// Which one.
        number: u64,
        /// Why.
        reason: String,
    },
    /// Time has passed.
    Tick,
}

/// What the shell must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Try it, and tell how it went.
    Probe {
        /// To be given back with the result.
        number: u64,
        /// How long it may take.
        timeout: Duration,
    },
    /// It is well now, for the first time or again.
    Healthy,
    /// It was well and is no longer.
    Unhealthy {
        /// Why the last probe failed.
        reason: String,
    },
    /// It never became well in the time it had; nothing more is tried.
    StartFailed {
        /// Why the last probe failed.
        reason: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Starting { until: Instant, pause: Duration },
    Well { failures: u32 },
    Ill,
    Failed,
}

/// The health of one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthMachine {
    interval: Duration,
    timeout: Duration,
    threshold: u32,
    state: State,
    /// Counts probes, so that a late result of an abandoned one is known.
    number: u64,
    /// Whether the probe of that number is under way.
    probing: bool,
    /// When the next probe is due, if none is under way.
    next: Instant,
    last_failure: String,
}

impl HealthMachine {
    /// A job that starts now.
    #[must_use]
    pub fn new(now: Instant, check: &HealthCheck) -> HealthMachine {
        let start = Duration::from_millis(check.start_timeout_ms);
        HealthMachine {
            interval: Duration::from_millis(check.interval_ms).max(INTERVAL_MIN),
            timeout: Duration::from_millis(check.timeout_ms).max(INTERVAL_MIN),
            threshold: check.threshold.max(1),
            state: State::Starting { until: now.after(start), pause: START_PAUSE_FIRST },
            number: 0,
            probing: false,
            next: now,
            last_failure: "it has not answered yet".to_owned(),
        }
    }

    /// A job that was well before this program began to look, and counts as well until shown otherwise.
    #[must_use]
    pub fn known_well(now: Instant, check: &HealthCheck) -> HealthMachine {
        HealthMachine { state: State::Well { failures: 0 }, ..HealthMachine::new(now, check) }
    }

    fn passed(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let was_well = matches!(self.state, State::Well { .. });
        self.state = State::Well { failures: 0 };
        self.next = now.after(self.interval);
        if !was_well {
            effects.push(Effect::Healthy);
        }
    }

    fn failed(&mut self, now: Instant, reason: String, effects: &mut Vec<Effect>) {
        self.next = now.after(self.interval);
        match &mut self.state {
            State::Starting { pause, .. } => {
                // Not before its time is up does a failure count; until then the question is when, not whether.
                self.next = now.after(*pause);
                *pause = (*pause * 2).min(START_PAUSE_MAX).min(self.interval);
            }
            State::Well { failures } => {
                *failures += 1;
                if *failures >= self.threshold {
                    self.state = State::Ill;
                    effects.push(Effect::Unhealthy { reason: reason.clone() });
                }
            }
            State::Ill | State::Failed => {}
        }
        self.last_failure = reason;
    }

    fn tick(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        match self.state {
            State::Failed => return,
            State::Starting { until, .. } if now >= until => {
                self.state = State::Failed;
                effects.push(Effect::StartFailed { reason: self.last_failure.clone() });
                return;
            }
            _ => {}
        }
        if !self.probing && now >= self.next {
            self.number += 1;
            self.probing = true;
            effects.push(Effect::Probe { number: self.number, timeout: self.timeout });
        }
    }
}

impl Machine for HealthMachine {
    type Event = Event;
    type Effect = Effect;

    fn handle(&mut self, now: Instant, event: Event, effects: &mut Vec<Effect>) {
        let number = match &event {
            Event::Passed { number } | Event::Failed { number, .. } => Some(*number),
            Event::Tick => None,
        };
        // Once it has failed for good, and for probes other than the one under way, results say nothing.
        let expected = self.probing && number == Some(self.number) && self.state != State::Failed;
        match event {
            Event::Tick => self.tick(now, effects),
            Event::Passed { .. } if expected => {
                self.probing = false;
                self.passed(now, effects);
            }
            Event::Failed { reason, .. } if expected => {
                self.probing = false;
                self.failed(now, reason, effects);
            }
            Event::Passed { .. } | Event::Failed { .. } => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let next = (!self.probing).then_some(self.next);
        match self.state {
            State::Failed => None,
            State::Starting { until, .. } => Some(next.map_or(until, |next| next.min(until))),
            State::Well { .. } | State::Ill => next,
        }
    }
}
