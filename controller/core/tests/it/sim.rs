//! Random deployments in which jobs are slow, crash or find no room, and the controller dies between any two
//! effects. Whatever happens, the barrier holds at each moment and the end is one of the two allowed ones.

use std::time::Duration;

use controller_core::barrier::{Overlap, ceiling, floor};
use controller_core::deployment::{Counts, Deployer, Effect, Event, Order};
use stdx::{Instant, Machine, Rng};
use types::ProcessType;
use types::app::Strategy;
use types::job::DownReason;

use crate::cell::{Cell, State, Which};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Record {
    Running,
    GoingBack,
    Complete,
    Failed,
}

struct Sim {
    rng: Rng,
    now: Instant,
    cell: Cell,
    order: Order,
    deployer: Deployer,
    record: Record,
    /// Chance out of 100 that the next job that changes state fails, and that the controller dies at an effect.
    faulty: u64,
    deadly: u64,
    deaths: u32,
}

fn some_counts(rng: &mut Rng) -> Counts {
    let mut counts = Counts::new();
    for name in ["clock", "web", "worker"] {
        let count = u32::try_from(rng.below(6)).unwrap();
        if count > 0 && rng.chance(2, 3) {
            counts.insert(ProcessType::parse(name).unwrap(), count);
        }
    }
    counts
}

impl Sim {
    fn new(seed: u64) -> Sim {
        let mut rng = Rng::new(seed);
        let strategies = [Strategy::AllAtOnce, Strategy::OneByOne, Strategy::OneDownOneUp, Strategy::InBatches];
        let original = some_counts(&mut rng);
        let target = if rng.chance(1, 2) { original.clone() } else { some_counts(&mut rng) };
        let order = Order {
            strategy: strategies[rng.index(4)],
            batch: 1 + u32::try_from(rng.below(3)).unwrap(),
            timeout: Duration::from_secs(120),
            start_timeout: Duration::from_secs(60),
            original,
            target,
            omni: [].into(),
        };
        let mut cell = Cell::default();
        cell.set(order.original.clone(), Counts::new());
        cell.settle();
        let deployer = Deployer::new(order.clone());
        let faulty = [0, 0, 5, 40][rng.index(4)];
        let deadly = [0, 10, 50][rng.index(3)];
        Sim { rng, now: Instant::START, cell, order, deployer, record: Record::Running, faulty, deadly, deaths: 0 }
    }

    fn resume(&mut self) {
        self.deaths += 1;
        self.deployer = match self.record {
            Record::GoingBack => Deployer::going_back(self.order.clone(), "recorded".into()),
            _ => Deployer::new(self.order.clone()),
        };
    }

    /// The controller's loop until it waits or dies.
    fn control(&mut self) -> Result<(), String> {
        let mut event = Event::Observed(self.cell.observed());
        if self.rng.chance(1, 400) {
            event = Event::Abort { by: "somebody".into() };
        }
        for _ in 0..50 {
            let mut effects = Vec::new();
            self.deployer.handle(self.now, event, &mut effects);
            let mut again = false;
            for effect in effects {
                if self.rng.chance(self.deadly, 100) {
                    self.resume();
                    return Ok(());
                }
                again |= self.execute(effect)?;
                if self.rng.chance(self.deadly, 100) {
                    self.resume();
                    return Ok(());
                }
            }
            if !again {
                return Ok(());
            }
            event = Event::Observed(self.cell.observed());
        }
        Err("the controller spins".into())
    }

    fn execute(&mut self, effect: Effect) -> Result<bool, String> {
        match effect {
            Effect::SetFormations { old, new } => {
                self.check_order(&old, &new)?;
                self.cell.set(old, new);
            }
            Effect::Wait(_) => return Ok(false),
            Effect::Rollback(_) => self.record = Record::GoingBack,
            Effect::Finish => self.record = Record::Complete,
            Effect::Fail(_) => self.record = Record::Failed,
        }
        Ok(self.record == Record::Running || self.record == Record::GoingBack)
    }

    /// What is asked for stays within the strategy, forward.
    fn check_order(&self, old: &Counts, new: &Counts) -> Result<(), String> {
        let pace = self.order.pace();
        if self.record == Record::GoingBack {
            return Ok(());
        }
        for one in self.order.original.keys().chain(self.order.target.keys()) {
            let of = |counts: &Counts| counts.get(one).copied().unwrap_or(0);
            let (before, after) = (of(&self.order.original), of(&self.order.target));
            let most = ceiling(&pace, before, after);
            if of(old) + of(new) > most {
                return Err(format!("{one}: asks for {} and {}, over {most}", of(old), of(new)));
            }
            let up = self.cell.number(Which::New, one, &[State::Up]).min(of(new));
            let least = floor(&pace, before, after);
            if of(old) < self.cell.wanted(Which::Old, one) && of(old) + up < least {
                return Err(format!("{one}: leaves {} and {up} up, under {least}", of(old)));
            }
        }
        Ok(())
    }

    /// What runs stays within the strategy, at every moment, while no job fails.
    fn check_cell(&self) -> Result<(), String> {
        let pace = self.order.pace();
        for one in self.order.original.keys().chain(self.order.target.keys()) {
            let of = |counts: &Counts| counts.get(one).copied().unwrap_or(0);
            let (before, after) = (of(&self.order.original), of(&self.order.target));
            let up = |side| self.cell.number(side, one, &[State::Up]);
            let least = floor(&pace, before, after);
            if self.faulty == 0 && up(Which::Old) + up(Which::New) < least {
                return Err(format!("{one}: {} old and {} new up, under {least}", up(Which::Old), up(Which::New)));
            }
            let all = [State::Blocked, State::Starting, State::Up, State::Stopping];
            let present = self.cell.number(Which::Old, one, &all) + self.cell.number(Which::New, one, &all);
            if pace.overlap == Overlap::Forbidden && present > ceiling(&pace, before, after) {
                return Err(format!("{one}: {present} side by side"));
            }
        }
        Ok(())
    }

    /// One job goes on.
    fn happen(&mut self) {
        self.now = self.now.after(Duration::from_millis(self.rng.below(500)));
        if self.cell.jobs.is_empty() {
            return;
        }
        let at = self.rng.index(self.cell.jobs.len());
        let fails = self.cell.jobs[at].side == Which::New && self.rng.chance(self.faulty, 100);
        if fails {
            self.cell.fail(at, DownReason::Exited { code: 1 }, Duration::from_millis(5));
            return;
        }
        match self.cell.jobs[at].state {
            State::Starting => self.cell.jobs[at].state = State::Up,
            State::Stopping => {
                self.cell.jobs.remove(at);
            }
            State::Up | State::Blocked => {}
        }
    }

    fn run(&mut self) -> Result<(), String> {
        for _ in 0..testkit::steps(4_000) {
            self.control()?;
            self.check_cell()?;
            match self.record {
                Record::Complete => return self.check_end(&Counts::new(), &self.order.target.clone()),
                Record::Failed => return self.check_end(&self.order.original.clone(), &Counts::new()),
                Record::Running | Record::GoingBack => self.happen(),
            }
        }
        Err(format!("not at its end after all steps: {:?}", self.cell.wanted))
    }

    fn check_end(&self, old: &Counts, new: &Counts) -> Result<(), String> {
        let wanted = |side| self.cell.wanted.get(&side).cloned().unwrap_or_default();
        if (&wanted(Which::Old), &wanted(Which::New)) == (old, new) {
            return Ok(());
        }
        Err(format!("{:?}, but the formations ask for {:?}", self.record, self.cell.wanted))
    }
}

#[test]
fn sim_barrier_holds_and_deployment_ends() {
    let (mut complete, mut failed, mut deaths) = (0, 0, 0);
    testkit::sweep("sim_barrier_holds_and_deployment_ends", |seed| {
        let mut sim = Sim::new(seed);
        let verdict = sim.run().map_err(|why| format!("{why}\n{:?}", sim.order));
        deaths += sim.deaths;
        match sim.record {
            Record::Complete => complete += 1,
            _ => failed += 1,
        }
        verdict
    });
    // A sweep that never kills, never completes or never fails proves nothing.
    if std::env::var("SIM_SEED").is_err() {
        assert!(complete > 20 && failed > 20 && deaths > 100, "{complete} complete, {failed} failed, {deaths} deaths");
    }
}
