//! How a job ends: stopped, killed, by itself; and what follows.

use stdx::Instant;
use types::host::StopOrder;
use types::job::{DownReason, JobState, Lifecycle};

use super::{Effect, EndSignal, Job, Outcome, Phase};
use crate::limits;

impl Job {
    pub(super) fn stop(&mut self, now: Instant, order: StopOrder, effects: &mut Vec<Effect>) {
        if self.stop != Some(StopOrder::Kill) {
            self.stop = Some(order);
        }
        match self.phase {
            // A worker is busy with it; its answer finds the order.
            Phase::New | Phase::Preparing | Phase::Creating | Phase::Starting => {
                effects.push(Effect::Report(JobState::Stopping));
            }
            Phase::Waiting { .. } => {
                let reason = self.record.last_exit.clone().unwrap_or_else(never_started);
                self.down(reason, effects);
            }
            Phase::AwaitingClient { .. } => self.abandon(effects),
            Phase::Checking { .. } | Phase::Registering | Phase::Announcing { .. } | Phase::Up => {
                effects.push(Effect::StopHealth);
                effects.push(Effect::Report(JobState::Stopping));
                if order == StopOrder::Kill {
                    self.kill(now, effects);
                } else if self.registered {
                    effects.push(Effect::MarkDraining { run: self.record.run });
                    self.phase = Phase::Draining { until: now.after(self.facts.drain) };
                } else {
                    self.end(now, effects);
                }
            }
            Phase::Draining { .. } | Phase::Ending { .. } if order == StopOrder::Kill => self.kill(now, effects),
            Phase::Draining { .. }
            | Phase::Ending { .. }
            | Phase::Killing { .. }
            | Phase::Cleaning { .. }
            | Phase::Down
            | Phase::Removed => {}
        }
    }

    pub(super) fn forget(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.forgotten = true;
        if self.phase == Phase::Down {
            self.remove(effects);
        } else if self.stop.is_none() {
            self.stop(now, StopOrder::Drain, effects);
        }
    }

    fn remove(&mut self, effects: &mut Vec<Effect>) {
        self.phase = Phase::Removed;
        effects.push(Effect::Remove);
    }

    /// SIGTERM, and some time to end.
    pub(super) fn end(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.deregister(effects);
        effects.push(Effect::Signal { run: self.record.run, signal: EndSignal::Term });
        self.phase = Phase::Ending { until: now.after(self.facts.grace) };
    }

    pub(super) fn kill(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.deregister(effects);
        effects.push(Effect::Signal { run: self.record.run, signal: EndSignal::Kill });
        self.phase = Phase::Killing { until: now.after(limits::KILL_AGAIN) };
    }

    /// The first check never passed, or an up job stayed unhealthy: it is ended with that as the reason.
    pub(super) fn never_healthy(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let limit = self.facts.check.unwrap_or_default();
        let why = if self.last_check.is_empty() { "no answer yet" } else { &self.last_check };
        let reason = format!("did not pass its health check within {} s: {why}", limit.as_secs());
        self.doomed = Some(DownReason::Failed { reason });
        effects.push(Effect::StopHealth);
        self.end(now, effects);
    }

    /// A stop order came before the program ran.
    pub(super) fn abandon(&mut self, effects: &mut Vec<Effect>) {
        effects.push(Effect::Report(JobState::Stopping));
        self.clean(Outcome::Ended(never_started()), effects);
    }

    pub(super) fn ended(&mut self, now: Instant, reason: DownReason, effects: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Cleaning { .. } | Phase::Waiting { .. } | Phase::Down | Phase::Removed) {
            return;
        }
        if self.started.is_some_and(|at| now.since(at) >= limits::STABLE_AFTER) {
            self.backoff.reset();
        }
        effects.push(Effect::StopHealth);
        let reason = self.doomed.take().unwrap_or(reason);
        self.clean(Outcome::Ended(reason), effects);
    }

    pub(super) fn clean(&mut self, outcome: Outcome, effects: &mut Vec<Effect>) {
        // Routers are told before anything else: each moment more is a request that finds nobody.
        self.deregister(effects);
        self.phase = Phase::Cleaning { outcome };
        effects.push(Effect::Clean { run: self.record.run });
    }

    pub(super) fn cleaned(&mut self, now: Instant, outcome: Outcome, effects: &mut Vec<Effect>) {
        match outcome {
            Outcome::Ended(reason) if self.stop.is_some() || self.facts.lifecycle != Lifecycle::System => {
                self.down(reason, effects);
            }
            Outcome::Retry(reason) if self.stop.is_some() => self.down(reason, effects),
            Outcome::Again if self.stop.is_some() => self.down(DownReason::Lost, effects),
            Outcome::Again => self.begin(now, effects),
            Outcome::Ended(reason) | Outcome::Retry(reason) => {
                if self.record.begun {
                    self.record.restarts = self.record.restarts.saturating_add(1);
                }
                self.record.last_exit = Some(reason);
                self.phase = Phase::Waiting { until: now.after(self.backoff.next(&mut self.rng)) };
                self.persist(effects);
                effects.push(Effect::Report(JobState::Starting));
            }
        }
    }

    fn down(&mut self, reason: DownReason, effects: &mut Vec<Effect>) {
        self.record.ended = Some(reason.clone());
        self.phase = Phase::Down;
        self.persist(effects);
        effects.push(Effect::Report(JobState::Down(reason)));
        if self.forgotten {
            self.remove(effects);
        }
    }
}

fn never_started() -> DownReason {
    DownReason::Failed { reason: "stopped before it started".to_owned() }
}
