//! The life of one job on its host.
//!
//! ```text
//!  New -> Preparing -> Creating -> (AwaitingClient) -> Starting -> (Checking) -> (Registering -> Announcing) -> Up
//!   ^         |            |               |               |           |   ^                                    |
//!   |         v            v               v               v           v   +---------- unhealthy ---------------+
//!   |   +---------------- Cleaning <- (Killing <- Ending <- Draining) <- stop, or too long unhealthy -----------+
//!   |   v        ^
//!  Waiting       +-- exit, from any state          Cleaning -> Down, once the job is not to run again
//! ```
//! A job of the platform goes from `Cleaning` to `Waiting` and begins another run, unless it was asked to stop.
//! Every effect that takes time carries the number of the run; answers to an earlier run are dropped.
//! `tests/scripts` walks every edge.

use std::time::Duration;

use stdx::{Backoff, Instant, Machine, Rng};
use types::host::StopOrder;
use types::job::{DownReason, JobSpec, JobState, Lifecycle, Stdio};

use crate::limits;
use crate::stored::Record;

mod end;
mod words;

pub use words::{Effect, EndSignal, Event, Found, Retry};

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    New,
    Waiting { until: Instant },
    Preparing,
    Creating,
    AwaitingClient { until: Instant },
    Starting,
    Checking { until: Instant },
    Registering,
    Announcing { until: Instant },
    Up,
    Draining { until: Instant },
    Ending { until: Instant },
    Killing { until: Instant },
    Cleaning { outcome: Outcome },
    Down,
    Removed,
}

/// What follows when a run is cleaned up.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// The run ended in this way.
    Ended(DownReason),
    /// What was left of an interrupted run is gone: begin anew at once.
    Again,
    /// It could not be prepared, for a reason that may pass.
    Retry(DownReason),
}

/// What the machine needs to know of a [`JobSpec`].
#[derive(Clone, Debug)]
struct Facts {
    lifecycle: Lifecycle,
    awaits_client: bool,
    is_service: bool,
    check: Option<Duration>,
    grace: Duration,
    drain: Duration,
}

/// One job of this host.
#[derive(Debug)]
pub struct Job {
    facts: Facts,
    record: Record,
    phase: Phase,
    stop: Option<StopOrder>,
    forgotten: bool,
    registered: bool,
    /// Why the host itself ends the run, which tells more than the signal that does it.
    doomed: Option<DownReason>,
    last_check: String,
    preparing_since: Option<Instant>,
    started: Option<Instant>,
    backoff: Backoff,
    rng: Rng,
}

impl Job {
    /// A job of which `record` is what is known; [`Event::Found`] sets it going.
    #[must_use]
    pub fn new(spec: &JobSpec, record: Record, rng: Rng) -> Job {
        let service = spec.service.as_ref();
        Job {
            facts: Facts {
                lifecycle: spec.lifecycle,
                awaits_client: spec.stdio != Stdio::Log,
                is_service: service.is_some(),
                check: service
                    .and_then(|s| s.check.as_ref())
                    .map(|check| Duration::from_millis(check.start_timeout_ms)),
                grace: Duration::from_millis(spec.grace_ms),
                drain: Duration::from_millis(spec.drain_ms),
            },
            record,
            phase: Phase::New,
            stop: None,
            forgotten: false,
            registered: false,
            doomed: None,
            last_check: String::new(),
            preparing_since: None,
            started: None,
            backoff: Backoff::new(limits::RESTART_FIRST, limits::RESTART_LONGEST),
            rng,
        }
    }

    /// The number of the run that is or was last.
    #[must_use]
    pub fn run(&self) -> u32 {
        self.record.run
    }

    /// What was persisted last.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Which stop order it has taken.
    #[must_use]
    pub fn stop_order(&self) -> Option<StopOrder> {
        self.stop
    }

    /// Whether its claim is gone.
    #[must_use]
    pub fn is_forgotten(&self) -> bool {
        self.forgotten
    }

    /// Whether nothing is left to do for it and it will not run again.
    #[must_use]
    pub fn is_down(&self) -> bool {
        matches!(self.phase, Phase::Down | Phase::Removed)
    }

    /// Whether it waits for a client to attach.
    #[must_use]
    pub fn awaits_client(&self) -> bool {
        matches!(self.phase, Phase::AwaitingClient { .. })
    }

    /// The phase's name, for people and traces.
    #[must_use]
    pub fn phase(&self) -> &'static str {
        match self.phase {
            Phase::New => "new",
            Phase::Waiting { .. } => "waiting",
            Phase::Preparing => "preparing",
            Phase::Creating => "creating",
            Phase::AwaitingClient { .. } => "awaiting client",
            Phase::Starting => "starting",
            Phase::Checking { .. } => "checking",
            Phase::Registering => "registering",
            Phase::Announcing { .. } => "announcing",
            Phase::Up => "up",
            Phase::Draining { .. } => "draining",
            Phase::Ending { .. } => "ending",
            Phase::Killing { .. } => "killing",
            Phase::Cleaning { .. } => "cleaning",
            Phase::Down => "down",
            Phase::Removed => "removed",
        }
    }

    fn persist(&self, effects: &mut Vec<Effect>) {
        effects.push(Effect::Persist(self.record.clone()));
    }

    fn found(&mut self, now: Instant, found: Found, effects: &mut Vec<Effect>) {
        if self.phase != Phase::New {
            return;
        }
        if let Some(reason) = self.record.ended.clone() {
            self.phase = Phase::Down;
            effects.push(Effect::Report(JobState::Down(reason)));
            return;
        }
        match found {
            Found::Nothing if self.record.run == 0 => self.begin(now, effects),
            Found::Nothing if self.facts.lifecycle == Lifecycle::Batch && self.record.begun => {
                self.clean(Outcome::Ended(DownReason::Lost), effects);
            }
            Found::Nothing => self.clean(Outcome::Again, effects),
            Found::Created => self.created(now, effects),
            Found::Running if self.record.announced => {
                // Its lease may have run out meanwhile, so it is registered again; nobody waits for observers.
                self.started = Some(now);
                self.phase = Phase::Up;
                self.watch_health(effects);
                self.register(effects);
                effects.push(Effect::Report(JobState::Up));
            }
            Found::Running => self.started(now, effects),
            Found::Ended(reason) => self.ended(now, reason, effects),
        }
    }

    fn begin(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.record.run += 1;
        self.record.begun = false;
        self.record.announced = false;
        self.doomed = None;
        self.last_check.clear();
        self.started = None;
        self.preparing_since.get_or_insert(now);
        self.phase = Phase::Preparing;
        self.persist(effects);
        effects.push(Effect::Report(JobState::Starting));
        effects.push(Effect::Prepare { run: self.record.run });
    }

    fn created(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.preparing_since = None;
        if self.facts.awaits_client {
            self.phase = Phase::AwaitingClient { until: now.after(limits::ATTACH_WAIT) };
        } else {
            self.start(effects);
        }
    }

    fn start(&mut self, effects: &mut Vec<Effect>) {
        // Durable before the program runs: a job that runs once must not run twice after a power cut.
        self.record.begun = true;
        self.phase = Phase::Starting;
        self.persist(effects);
        effects.push(Effect::Start { run: self.record.run });
    }

    fn started(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.started = Some(now);
        match self.facts.check {
            Some(limit) => {
                self.phase = Phase::Checking { until: now.after(limit + limits::CHECK_SLACK) };
                self.watch_health(effects);
            }
            None => self.healthy(effects),
        }
    }

    fn watch_health(&mut self, effects: &mut Vec<Effect>) {
        if self.facts.check.is_some() {
            effects.push(Effect::WatchHealth { run: self.record.run });
        }
    }

    fn register(&mut self, effects: &mut Vec<Effect>) {
        if self.facts.is_service {
            self.registered = true;
            effects.push(Effect::Register { run: self.record.run });
        }
    }

    fn healthy(&mut self, effects: &mut Vec<Effect>) {
        if self.facts.is_service {
            self.phase = Phase::Registering;
            self.register(effects);
        } else {
            self.up(effects);
        }
    }

    fn up(&mut self, effects: &mut Vec<Effect>) {
        self.phase = Phase::Up;
        if !self.record.announced {
            self.record.announced = true;
            self.persist(effects);
        }
        effects.push(Effect::Report(JobState::Up));
    }

    fn unhealthy(&mut self, now: Instant, why: String, effects: &mut Vec<Effect>) {
        self.last_check = why;
        let serving = matches!(self.phase, Phase::Registering | Phase::Announcing { .. } | Phase::Up);
        if let (true, Some(limit)) = (serving, self.facts.check) {
            self.deregister(effects);
            self.phase = Phase::Checking { until: now.after(limit) };
            effects.push(Effect::Report(JobState::Starting));
        }
    }

    fn deregister(&mut self, effects: &mut Vec<Effect>) {
        if std::mem::take(&mut self.registered) {
            effects.push(Effect::Deregister);
        }
    }

    /// Events that answer an effect of one run.
    fn answered(&mut self, now: Instant, event: Event, effects: &mut Vec<Effect>) {
        match (event, &self.phase) {
            (Event::Ended { reason, .. }, _) => self.ended(now, reason, effects),
            (Event::Cleaned { .. }, Phase::Cleaning { outcome }) => {
                let outcome = outcome.clone();
                self.cleaned(now, outcome, effects);
            }
            // What was begun before a stop order ends in its clean-up.
            (Event::Prepared { .. }, Phase::Preparing) if self.stop.is_some() => self.abandon(effects),
            (Event::Created { .. }, Phase::Creating) if self.stop.is_some() => self.abandon(effects),
            (Event::Prepared { .. }, Phase::Preparing) => {
                self.phase = Phase::Creating;
                effects.push(Effect::Create { run: self.record.run });
            }
            (Event::PrepareFailed { reason, retry, .. }, Phase::Preparing) => {
                self.prepare_failed(now, reason, retry, effects);
            }
            (Event::Created { .. }, Phase::Creating) => self.created(now, effects),
            (Event::CreateFailed { reason, .. }, Phase::Creating)
            | (Event::StartFailed { reason, .. }, Phase::Starting) => {
                self.clean(Outcome::Ended(DownReason::Failed { reason }), effects);
            }
            (Event::ClientAttached { .. }, Phase::AwaitingClient { .. }) => self.start(effects),
            (Event::Started { .. }, Phase::Starting) => {
                self.started(now, effects);
                if let Some(order) = self.stop {
                    self.stop(now, order, effects);
                }
            }
            (Event::Healthy { .. }, Phase::Checking { .. }) => self.healthy(effects),
            (Event::Unhealthy { why, .. }, _) => self.unhealthy(now, why, effects),
            (Event::NeverHealthy { why, .. }, Phase::Checking { .. }) => {
                self.last_check = why;
                self.never_healthy(now, effects);
            }
            (Event::Registered { .. }, Phase::Registering) => {
                self.phase = Phase::Announcing { until: now.after(limits::SEEN_WAIT) };
            }
            (Event::Seen { .. }, Phase::Registering | Phase::Announcing { .. }) => self.up(effects),
            (Event::Drained { .. }, Phase::Draining { .. }) => self.end(now, effects),
            // Late, doubled or of no matter in this phase.
            _ => {}
        }
    }

    fn prepare_failed(&mut self, now: Instant, reason: String, retry: Retry, effects: &mut Vec<Effect>) {
        let since = self.preparing_since.unwrap_or(now);
        let patient = self.facts.lifecycle == Lifecycle::System
            || (retry == Retry::Later && now.since(since) < limits::PREPARE_WAIT);
        let failed = DownReason::Failed { reason };
        let outcome = if patient { Outcome::Retry(failed) } else { Outcome::Ended(failed) };
        self.clean(outcome, effects);
    }

    fn tick(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.deadline().is_none_or(|at| now < at) {
            return;
        }
        match self.phase {
            Phase::Waiting { .. } => self.begin(now, effects),
            Phase::AwaitingClient { .. } => {
                let reason = format!("no client attached within {} s", limits::ATTACH_WAIT.as_secs());
                self.clean(Outcome::Ended(DownReason::Failed { reason }), effects);
            }
            Phase::Checking { .. } => self.never_healthy(now, effects),
            Phase::Announcing { .. } => self.up(effects),
            Phase::Draining { .. } => self.end(now, effects),
            Phase::Ending { .. } | Phase::Killing { .. } => self.kill(now, effects),
            _ => {}
        }
    }
}

impl Machine for Job {
    type Event = Event;
    type Effect = Effect;

    fn handle(&mut self, now: Instant, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Found(found) => self.found(now, found, effects),
            Event::Stop(order) => self.stop(now, order, effects),
            Event::Forget => self.forget(now, effects),
            Event::Tick => self.tick(now, effects),
            answer if answer.run() == Some(self.record.run) => self.answered(now, answer, effects),
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Waiting { until }
            | Phase::AwaitingClient { until }
            | Phase::Checking { until }
            | Phase::Announcing { until }
            | Phase::Draining { until }
            | Phase::Ending { until }
            | Phase::Killing { until } => Some(until),
            _ => None,
        }
    }
}
