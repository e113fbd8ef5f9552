//! A deployment as one level-triggered machine over four strategies.

pub mod all_at_once;
pub mod in_batches;
pub mod one_by_one;
pub mod one_down_one_up;
mod reason;
mod roll;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use stdx::{Instant, Machine};
use types::app::Strategy;
use types::job::DownReason;
use types::{JobId, ProcessType};

use crate::barrier::Pace;
use crate::limits::{CRASHES_MAX, ROLLBACK_STEP, START_SLACK};

pub use reason::{Reason, Waiting};
pub use roll::{Plan, plan, plan_back};

/// Jobs per process type.
pub type Counts = BTreeMap<ProcessType, u32>;

/// What a deployment is to reach; fixed when it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// How jobs are replaced.
    pub strategy: Strategy,
    /// Jobs at a time, for `in-batches`.
    pub batch: u32,
    /// How long one step may take.
    pub timeout: Duration,
    /// How long a job may take to pass its first health check.
    pub start_timeout: Duration,
    /// The old release's counts before the deployment: what going back restores.
    pub original: Counts,
    /// The new release's counts after it.
    pub target: Counts,
    /// Process types that run once per host for each count.
    pub omni: BTreeSet<ProcessType>,
}

impl Order {
    /// How far and how fast the strategy goes.
    #[must_use]
    pub fn pace(&self) -> Pace {
        match self.strategy {
            Strategy::AllAtOnce => all_at_once::pace(),
            Strategy::OneByOne => one_by_one::pace(),
            Strategy::OneDownOneUp => one_down_one_up::pace(),
            Strategy::InBatches => in_batches::pace(self.batch),
        }
    }
}

/// Jobs of one process type of one release, by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Placed or being placed, not healthy yet.
    pub starting: u32,
    /// No host can take them.
    pub blocked: u32,
    /// Known to every router.
    pub up: u32,
    /// Draining or asked to end.
    pub stopping: u32,
}

impl Seen {
    /// Jobs that nobody has asked to end.
    #[must_use]
    pub fn staying(&self) -> u32 {
        self.starting + self.up
    }

    /// Jobs that have not ended.
    #[must_use]
    pub fn present(&self) -> u32 {
        self.staying() + self.stopping
    }
}

/// One release's part of what is observed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// What its formation asks for.
    pub wanted: Counts,
    /// What there is.
    pub jobs: BTreeMap<ProcessType, Seen>,
}

impl Side {
    /// What the formation asks for of one process type.
    #[must_use]
    pub fn wanted(&self, process_type: &ProcessType) -> u32 {
        self.wanted.get(process_type).copied().unwrap_or(0)
    }

    /// The jobs of one process type.
    #[must_use]
    pub fn seen(&self, process_type: &ProcessType) -> Seen {
        self.jobs.get(process_type).copied().unwrap_or_default()
    }

    /// Jobs that carry traffic, of all process types.
    #[must_use]
    pub fn up(&self) -> u32 {
        self.jobs.values().map(|seen| seen.up).sum()
    }
}

/// A job of the new release that ended unasked since the deployment began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which job.
    pub job: JobId,
    /// Of which process type.
    pub process_type: ProcessType,
    /// How it ended.
    pub reason: DownReason,
    /// How long it lived.
    pub lived: Duration,
}

/// What the cell looks like to a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The release that is to go.
    pub old: Side,
    /// The release that is to come.
    pub new: Side,
    /// The failures, oldest first.
    pub failures: Vec<Failure>,
    /// Hosts that take jobs: what an omni count is multiplied by.
    pub hosts: u32,
}

/// What the deployer hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The cell as it is now. Sent after every change and after every executed effect.
    Observed(Observed),
    /// Somebody wants it to end and the old release back.
    Abort {
        /// Who, for the record.
        by: String,
    },
    /// Time has passed.
    Tick,
}

/// What the shell must do. Each is one store transaction guarded by the deployment's revision, or a line of log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make the two formations ask for this.
    SetFormations {
        /// The old release's counts.
        old: Counts,
        /// The new release's counts.
        new: Counts,
    },
    /// Nothing to do until this has happened; told when it changes.
    Wait(Waiting),
    /// Record that it goes back, and why, before anything is undone.
    Rollback(Reason),
    /// The new release has taken over: make it the app's, remove the old formation, record the end.
    Finish,
    /// The old formation is as it was: remove the new one, record the end.
    Fail(Reason),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Forward,
    Back(Reason),
    Ended,
}

/// One deployment under way.
#[derive(Clone, Debug)]
pub struct Deployer {
    order: Order,
    phase: Phase,
    /// The step under way and since when: the counts that were asked for.
    step: Option<(Counts, Counts, Instant)>,
    waiting: Option<Waiting>,
    last: Option<Observed>,
}

impl Deployer {
    /// Begin, or go on with what another controller began: the formations say how far it is.
    #[must_use]
    pub fn new(order: Order) -> Deployer {
        Deployer { order, phase: Phase::Forward, step: None, waiting: None, last: None }
    }

    /// Go on with one that was already going back, for the recorded reason.
    #[must_use]
    pub fn going_back(order: Order, why: String) -> Deployer {
        Deployer { phase: Phase::Back(Reason::Recorded { text: why }), ..Deployer::new(order) }
    }

    /// Whether nothing more will come of it.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    fn observe(&mut self, now: Instant, observed: Observed, effects: &mut Vec<Effect>) {
        let wanted = (&observed.old.wanted, &observed.new.wanted);
        let same = self.step.as_ref().is_some_and(|(old, new, _)| (old, new) == wanted);
        if !same {
            self.step = Some((observed.old.wanted.clone(), observed.new.wanted.clone(), now));
        }
        match self.phase.clone() {
            Phase::Forward => self.forward(now, &observed, effects),
            Phase::Back(reason) => self.back(now, &observed, reason, effects),
            Phase::Ended => {}
        }
        self.last = Some(observed);
    }

    fn forward(&mut self, now: Instant, observed: &Observed, effects: &mut Vec<Effect>) {
        if let Some(reason) = self.crashed(observed) {
            self.go_back(reason, effects);
            return;
        }
        match plan(&self.order, observed) {
            Plan::Set { old, new } => self.set(now, old, new, effects),
            Plan::Done => {
                self.phase = Phase::Ended;
                effects.push(Effect::Finish);
            }
            Plan::Wait(waiting) => {
                if self.elapsed(now) >= self.order.timeout {
                    let last = observed.failures.last().map(|failure| failure.reason.clone());
                    self.go_back(Reason::StepTimeout { waiting, after: self.order.timeout, last }, effects);
                } else {
                    self.wait(waiting, effects);
                }
            }
        }
    }

    fn back(&mut self, now: Instant, observed: &Observed, reason: Reason, effects: &mut Vec<Effect>) {
        match plan_back(&self.order, observed) {
            Plan::Set { old, new } => self.set(now, old, new, effects),
            Plan::Done => {
                self.phase = Phase::Ended;
                effects.push(Effect::Fail(reason));
            }
            Plan::Wait(waiting) if self.elapsed(now) < self.rollback_step() => self.wait(waiting, effects),
            Plan::Wait(_) => {
                // The old jobs are asked for; the scheduler goes on bringing them after this deployment has ended.
                effects.push(Effect::SetFormations { old: self.order.original.clone(), new: Counts::new() });
                effects.push(Effect::Fail(reason));
                self.phase = Phase::Ended;
            }
        }
    }

    fn set(&mut self, now: Instant, old: Counts, new: Counts, effects: &mut Vec<Effect>) {
        self.waiting = None;
        self.step = Some((old.clone(), new.clone(), now));
        effects.push(Effect::SetFormations { old, new });
    }

    fn wait(&mut self, waiting: Waiting, effects: &mut Vec<Effect>) {
        if self.waiting.as_ref() != Some(&waiting) {
            self.waiting = Some(waiting.clone());
            effects.push(Effect::Wait(waiting));
        }
    }

    fn go_back(&mut self, reason: Reason, effects: &mut Vec<Effect>) {
        self.phase = Phase::Back(reason.clone());
        self.step = None;
        self.waiting = None;
        effects.push(Effect::Rollback(reason));
    }

    fn crashed(&self, observed: &Observed) -> Option<Reason> {
        let failures = &observed.failures;
        // Each job may end once without harm, as when what it needs is not there yet: ten that do are one bad moment.
        let others = observed.new.wanted.values().sum::<u32>().saturating_sub(1);
        let most = CRASHES_MAX.saturating_add(others);
        let last = failures.last()?;
        // A job that had its whole start time and never answered will not answer the next time either.
        let hopeless = failures.iter().find(|f| {
            matches!(f.reason, DownReason::Failed { .. }) && f.lived + START_SLACK >= self.order.start_timeout
        });
        let count = u32::try_from(failures.len()).unwrap_or(u32::MAX);
        let failure = match hopeless {
            Some(failure) => failure,
            None if count >= most => last,
            None => return None,
        };
        Some(Reason::Crashed {
            process_type: failure.process_type.clone(),
            job: failure.job.clone(),
            count,
            reason: failure.reason.clone(),
        })
    }

    fn elapsed(&self, now: Instant) -> Duration {
        self.step.as_ref().map_or(Duration::ZERO, |(_, _, since)| now.since(*since))
    }

    fn rollback_step(&self) -> Duration {
        ROLLBACK_STEP.min(self.order.timeout)
    }
}

impl Machine for Deployer {
    type Event = Event;
    type Effect = Effect;

    fn handle(&mut self, now: Instant, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Observed(observed) => self.observe(now, observed, effects),
            Event::Abort { by } if self.phase == Phase::Forward => self.go_back(Reason::Aborted { by }, effects),
            Event::Abort { .. } => {}
            Event::Tick => {
                if let Some(observed) = self.last.take() {
                    self.observe(now, observed, effects);
                }
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let (_, _, since) = self.step.as_ref()?;
        match self.phase {
            Phase::Forward => Some(since.after(self.order.timeout)),
            Phase::Back(_) => Some(since.after(self.rollback_step())),
            Phase::Ended => None,
        }
    }
}
