//! Many hosts, racing schedulers, slow starts, crashes and lost hosts, from a seed.
//!
//! Checked at every commit: no host holds more than it has, every ledger says what the claims hold, no formation
//! gets more jobs than it wants, no request runs twice, no job that runs loses its claim. Checked at the end, when the faults are over: everything
//! asked for stands, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use scheduler_core::limits::LOST_AFTER;
use scheduler_core::{Execution, Guard, Mode, Outcome, Stamp, Transaction, View, Write};
use stdx::{Instant, Rng};
use testkit::{Faults, World};
use types::cell::{FormationSpec, OneOff, OneOffState};
use types::host::{Capacity, HostState};
use types::job::{DownReason, JobState, Lifecycle};
use types::{HostId, JobId};

use crate::model::{Store, Value, change, host, spec, status, want};

const MIB: u64 = 1 << 20;
const SCHEDULERS: usize = 3;

#[derive(Clone, Debug)]
enum Tick {
    Scheduler(usize),
    Host(usize),
    Client,
    Fault,
    Return(usize),
}

struct Scheduler {
    view: View,
    fed: usize,
    /// The revision of the leadership that it believes in.
    since: Option<u64>,
    running: Option<Execution>,
    /// It plans only when its view has come this far.
    wait_for: u64,
    rng: Rng,
}

#[derive(Default)]
struct HostModel {
    down: bool,
    /// When it does the next thing about a job.
    jobs: BTreeMap<JobId, (Instant, JobState)>,
}

struct Sim {
    world: World<Tick>,
    rng: Rng,
    store: Store,
    schedulers: Vec<Scheduler>,
    hosts: Vec<HostModel>,
    capacity: Capacity,
    requests: u32,
    placed: BTreeMap<String, u32>,
    calm: bool,
    refused: u64,
    committed: u64,
}

type Checked = Result<(), String>;

macro_rules! ensure {
    ($holds:expr, $($why:tt)*) => { if !$holds { return Err(format!($($why)*)); } };
}

fn host_id(n: usize) -> HostId {
    format!("h{n}").parse().unwrap()
}

impl Sim {
    fn new(seed: u64) -> Sim {
        let mut rng = Rng::new(seed);
        let world = World::new(rng.fork(1), Faults::none());
        let schedulers = (0..SCHEDULERS)
            .map(|n| Scheduler {
                view: View::new(),
                fed: 0,
                since: None,
                running: None,
                wait_for: 0,
                rng: rng.fork(100 + n as u64),
            })
            .collect();
        let count = 2 + rng.index(12);
        let capacity = Capacity { memory_bytes: 1_000 * MIB, cpu_milli: 4_000, jobs: 8 };
        let mut sim = Sim {
            world,
            rng,
            store: Store::default(),
            schedulers,
            hosts: (0..count).map(|_| HostModel::default()).collect(),
            capacity,
            requests: 0,
            placed: BTreeMap::new(),
            calm: false,
            refused: 0,
            committed: 0,
        };
        for n in 0..count {
            sim.write_host(n, HostState::Up);
            sim.store.put(&format!("presence/h{n}"), Value::Presence);
            sim.world.at(Instant::START, 100 + n as u64, Tick::Host(n));
        }
        for n in 0..SCHEDULERS {
            sim.world.at(Instant::START, n as u64, Tick::Scheduler(n));
        }
        sim.elect(0);
        sim.world.at(Instant::START, 50, Tick::Client);
        sim.world.at(Instant::from_millis(3_000), 51, Tick::Fault);
        sim
    }

    fn write_host(&mut self, n: usize, state: HostState) {
        let mut record = host(host_id(n).as_str(), &format!("z{}", n % 3), self.capacity);
        record.state = state;
        self.store.put(&format!("host/h{n}"), Value::Host(record));
    }

    /// `n` becomes the acting scheduler. The one before does not know yet.
    fn elect(&mut self, n: usize) {
        let since = self.store.put("leader", Value::Leader);
        self.schedulers[n].since = Some(since);
        self.schedulers[n].running = None;
        self.schedulers[n].wait_for = since;
    }

    fn again(&mut self, tick: Tick, low_ms: u64, high_ms: u64) {
        let wait = Duration::from_millis(low_ms + self.rng.below(high_ms - low_ms + 1));
        self.world.at(self.world.now().after(wait), 0, tick);
    }

    fn run(&mut self, steps: u64) -> Checked {
        for _ in 0..steps {
            self.step()?;
        }
        self.calm_down();
        // Long enough for the longest back-off, and for starts after it.
        let end = self.world.now().after(Duration::from_secs(90));
        while self.world.now() < end {
            self.step()?;
        }
        self.check_converged()
    }

    fn step(&mut self) -> Checked {
        let delivery = self.world.next().expect("every actor comes again");
        match delivery.message {
            Tick::Scheduler(n) => {
                self.schedule(n)?;
                self.again(Tick::Scheduler(n), 1, 40);
            }
            Tick::Host(n) => {
                self.host_step(n);
                self.again(Tick::Host(n), 5, 200);
            }
            Tick::Client => {
                if !self.calm {
                    self.client()?;
                }
                self.again(Tick::Client, 50, 2_000);
            }
            Tick::Fault => {
                if !self.calm {
                    self.fault();
                }
                self.again(Tick::Fault, 200, 5_000);
            }
            Tick::Return(n) => {
                if self.store.revision_of(&format!("presence/h{n}")) == 0 {
                    self.revive(n);
                }
            }
        }
        Ok(())
    }

    fn schedule(&mut self, n: usize) -> Checked {
        let now = self.world.now();
        let behind = self.store.log.len() - self.schedulers[n].fed;
        let take = if self.calm { behind } else { self.rng.index(behind + 1) };
        let scheduler = &mut self.schedulers[n];
        for _ in 0..take {
            let (revision, key, value) = self.store.log[scheduler.fed].clone();
            scheduler.fed += 1;
            if let Some(change) = change(revision, &key, value) {
                scheduler.view.apply(now, change);
            }
        }
        if let Some(execution) = scheduler.running.take() {
            return self.commit(n, execution);
        }
        let Some(since) = scheduler.since else { return Ok(()) };
        let fed = scheduler.fed.checked_sub(1).map_or(0, |last| self.store.log[last].0);
        // A revision is shown whole or not at all.
        let whole = self.store.log.get(scheduler.fed).is_none_or(|(next, ..)| *next > fed);
        if fed < scheduler.wait_for || !whole {
            return Ok(());
        }
        let plan = scheduler.view.plan(now, &mut scheduler.rng);
        if !plan.proposals.is_empty() {
            let mode = Mode::Incremental;
            let stamp = Stamp { wall_ms: now.millis(), leads_since: Some(since) };
            scheduler.running = Some(Execution::new(&scheduler.view.cell, plan, mode, stamp));
        }
        Ok(())
    }

    /// One transaction of a scheduler's plan; others act before the next.
    fn commit(&mut self, n: usize, mut execution: Execution) -> Checked {
        if let Some(transaction) = execution.next_transaction() {
            let running = self.running(&transaction);
            let outcome = self.store.transact(&transaction);
            if let Outcome::Committed { .. } = outcome {
                self.committed += 1;
                ensure!(running.is_empty(), "{running:?} lost their claims on hosts that are here");
                self.check_commit(&transaction)?;
            } else {
                self.refused += 1;
            }
            execution.done(outcome);
            self.schedulers[n].running = Some(execution);
            return Ok(());
        }
        let leads = self.schedulers[n].since == Some(self.store.revision_of("leader"));
        let scheduler = &mut self.schedulers[n];
        scheduler.wait_for = scheduler.wait_for.max(execution.revision());
        scheduler.view.touch(scheduler_core::commit::scope_of(execution.refused()));
        if !execution.refused().is_empty() && !leads {
            scheduler.since = None;
        }
        Ok(())
    }

    fn host_step(&mut self, n: usize) {
        if self.hosts[n].down {
            return;
        }
        let now = self.world.now();
        let id = host_id(n);
        let claims: Vec<_> = self.store.claims().filter(|claim| claim.host == id).cloned().collect();
        let known: BTreeSet<JobId> = claims.iter().map(|claim| claim.job.clone()).collect();
        self.hosts[n].jobs.retain(|job, _| known.contains(job));
        for claim in claims {
            let slow = Duration::from_millis(self.rng.below(3_000));
            let entry = self.hosts[n].jobs.get(&claim.job).cloned();
            let next = match (entry, claim.stop) {
                (None, _) => Some(JobState::Starting),
                (Some((_, JobState::Down(_))), _) => None,
                (Some((due, _)), Some(_)) if now >= due => Some(JobState::Down(DownReason::Exited { code: 0 })),
                (Some((due, JobState::Starting)), None) if now >= due => Some(JobState::Up),
                (Some((due, JobState::Up)), None) if now >= due => {
                    let batch = claim.spec.lifecycle == Lifecycle::Batch;
                    let crash = !self.calm && self.rng.chance(1, 12);
                    (batch || crash).then_some(JobState::Down(DownReason::Exited { code: 1 }))
                }
                _ => None,
            };
            if let Some(state) = next {
                self.hosts[n].jobs.insert(claim.job.clone(), (now.after(slow), state.clone()));
                let ended = if state.is_down() { now.millis() } else { 0 };
                let status = status(&claim.job, state, 1, ended);
                self.store.put(&format!("status/{id}/{}", claim.job), Value::Status(status));
            }
        }
    }

    fn client(&mut self) -> Checked {
        let app = format!("app{}", self.rng.index(4));
        let release = format!("r{}", self.rng.index(2));
        match self.rng.index(5) {
            0 => self.store.delete(&format!("formation/{app}/{release}")),
            1 => {
                self.requests += 1;
                let mut spec = spec(&app, None, "run", Lifecycle::Batch);
                spec.resources.memory_bytes = Some(self.rng.below(500) * MIB);
                let one_off = OneOff {
                    id: OneOff::request_id(&format!("{:08}", self.requests)),
                    spec,
                    tags: BTreeMap::new(),
                    wait_ms: 4_000,
                    stop: None,
                    state: OneOffState::Pending,
                    created_ms: 0,
                };
                self.store.put(&format!("oneoff/{}", one_off.id), Value::OneOff(one_off));
            }
            2 => return self.foreign(),
            _ => {
                let count = u32::try_from(self.rng.below(5)).unwrap();
                let mut spec = spec(&app, Some(&release), "web", Lifecycle::Service);
                spec.resources.memory_bytes = Some(100 * MIB);
                let mut want = want(count, spec);
                want.template.omni = app == "app3";
                want.count = if app == "app3" { count.min(1) } else { count };
                let processes = [("web".parse().unwrap(), want)].into();
                let formation = FormationSpec {
                    app: app.parse().unwrap(),
                    app_name: app.parse().unwrap(),
                    release: release.parse().unwrap(),
                    processes,
                };
                self.store.put(&format!("formation/{app}/{release}"), Value::Formation(formation));
            }
        }
        Ok(())
    }

    /// A user's own scheduler places a batch job, seeing what some scheduler of ours saw.
    fn foreign(&mut self) -> Checked {
        let n = self.rng.index(SCHEDULERS);
        let host = host_id(self.rng.index(self.hosts.len()));
        let cell = &self.schedulers[n].view.cell;
        let Some(entry) = cell.host_ix(&host).map(|ix| cell.host(ix)) else { return Ok(()) };
        if entry.held.jobs >= self.capacity.jobs || entry.held.memory_bytes >= self.capacity.memory_bytes {
            return Ok(());
        }
        let job = JobId::on(&host, &format!("f{}", self.rng.next_u64()));
        let plan = scheduler_core::plan::for_caller(&host, vec![(job, spec("foreign", None, "x", Lifecycle::Batch))]);
        let stamp = Stamp { wall_ms: 0, leads_since: None };
        let mut execution = Execution::new(cell, plan, Mode::AllOrNothing, stamp);
        let transaction = execution.next_transaction().unwrap();
        if self.store.transact(&transaction) != Outcome::Refused {
            self.check_commit(&transaction)?;
        }
        Ok(())
    }

    fn fault(&mut self) {
        let n = self.rng.index(self.hosts.len());
        match self.rng.index(6) {
            0 | 1 => {
                if self.hosts[n].down {
                    self.revive(n);
                } else {
                    // It keeps on its disk which jobs ended.
                    self.hosts[n].jobs.retain(|_, (_, state)| state.is_down());
                    self.hosts[n].down = true;
                    self.store.delete(&format!("presence/h{n}"));
                }
            }
            2 if self.rng.chance(1, 3) => self.write_host(n, HostState::Draining),
            // A partition: the presence runs out while the jobs run on.
            3 => {
                self.store.delete(&format!("presence/h{n}"));
                self.hosts[n].down = true;
                // Often it ends just when the schedulers give the host up.
                if self.rng.chance(3, 4) {
                    let lost = u64::try_from(LOST_AFTER.as_millis()).unwrap();
                    self.again(Tick::Return(n), lost, lost + 150);
                }
            }
            4 => {
                let next = self.rng.index(SCHEDULERS);
                self.elect(next);
            }
            _ => {
                // A scheduler restarts and reads everything again.
                let now = self.world.now();
                let n = self.rng.index(SCHEDULERS);
                let scheduler = &mut self.schedulers[n];
                scheduler.view = View::new();
                scheduler.running = None;
                scheduler.fed = self.store.log.len();
                for (key, (revision, value)) in &self.store.keys {
                    if let Some(change) = change(*revision, key, Some(value.clone())) {
                        scheduler.view.apply(now, change);
                    }
                }
            }
        }
    }

    fn revive(&mut self, n: usize) {
        self.hosts[n].down = false;
        self.store.put(&format!("presence/h{n}"), Value::Presence);
        // A host that comes back marks its batch jobs as lost, and starts the others anew.
        let id = host_id(n);
        let batch = |claim: &&types::host::Claim| claim.host == id && claim.spec.lifecycle == Lifecycle::Batch;
        let lost: Vec<JobId> = self.store.claims().filter(batch).map(|claim| claim.job.clone()).collect();
        for job in lost {
            let state = JobState::Down(DownReason::Lost);
            self.hosts[n].jobs.insert(job.clone(), (self.world.now(), state.clone()));
            self.store.put(&format!("status/{id}/{job}"), Value::Status(status(&job, state, 1, 2)));
        }
    }

    fn calm_down(&mut self) {
        self.calm = true;
        for n in 0..self.hosts.len() {
            self.write_host(n, HostState::Up);
            if self.store.revision_of(&format!("presence/h{n}")) == 0 {
                self.revive(n);
            }
        }
        self.elect(1);
        // What is asked for in the end fits even on one host: nothing moves to make room for an omni job.
        let apps: Vec<(String, FormationSpec)> = self.formations();
        for (key, mut formation) in apps {
            for want in formation.processes.values_mut() {
                want.count = want.count.min(1);
            }
            self.store.put(&key, Value::Formation(formation));
        }
    }

    fn formations(&self) -> Vec<(String, FormationSpec)> {
        let of = |(key, (_, value)): (&String, &(u64, Value))| match value {
            Value::Formation(formation) => Some((key.clone(), formation.clone())),
            _ => None,
        };
        self.store.keys.iter().filter_map(of).collect()
    }

    /// The jobs that would lose their claims though their hosts are here and did not say that they ended.
    fn running(&self, transaction: &Transaction) -> Vec<JobId> {
        let runs = |write: &Write| {
            let Write::ClaimGone { host, job } = write else { return None };
            let here = self.store.revision_of(&format!("presence/{host}")) > 0;
            let claim = self.store.claims().find(|claim| claim.job == *job)?;
            let ended = self.store.status(claim).is_some_and(|status| status.state.is_down());
            (here && !ended).then(|| job.clone())
        };
        transaction.writes.iter().filter_map(runs).collect()
    }

    fn check_commit(&mut self, transaction: &Transaction) -> Checked {
        for write in &transaction.writes {
            match write {
                Write::Ledger { host, ledger } => self.check_host(host, ledger.held)?,
                Write::Claim(claim) if claim.spec.lifecycle == Lifecycle::Batch => {
                    let runs = self.placed.entry(claim.job.uuid().to_owned()).or_insert(0);
                    *runs += 1;
                    ensure!(*runs == 1, "{} was placed twice", claim.job);
                }
                Write::Claim(claim) => self.check_formation(claim)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn check_host(&self, host: &HostId, held: Capacity) -> Checked {
        let claims: Vec<_> = self.store.claims().filter(|claim| claim.host == *host).collect();
        let memory: u64 = claims.iter().filter_map(|claim| claim.spec.resources.memory_bytes).sum();
        ensure!(held.jobs == claims.len() as u64, "the ledger of {host} counts its claims");
        ensure!(held.memory_bytes == memory, "the ledger of {host} counts their memory");
        ensure!(held.jobs <= self.capacity.jobs, "{host} holds {} jobs", held.jobs);
        ensure!(held.memory_bytes <= self.capacity.memory_bytes, "{host} holds {memory} bytes");
        Ok(())
    }

    fn check_formation(&self, placed: &types::host::Claim) -> Checked {
        let release = placed.spec.release.clone().unwrap();
        let key = format!("formation/{}/{release}", placed.spec.app);
        let Some((_, Value::Formation(formation))) = self.store.keys.get(&key) else {
            return Err(format!("{} was placed for no formation", placed.job));
        };
        let want = &formation.processes[&placed.spec.process_type];
        let counts = |claim: &&types::host::Claim| {
            let same = claim.spec.app == placed.spec.app && claim.spec.release == placed.spec.release;
            let standing = claim.stop.is_none() && self.store.status(claim).is_none_or(|s| !s.state.is_down());
            let present = self.store.revision_of(&format!("presence/{}", claim.host)) > 0;
            let here = !want.template.omni || claim.host == placed.host;
            let leaving = matches!(self.store.keys.get(&format!("host/{}", claim.host)),
                Some((_, Value::Host(host))) if host.state == HostState::Draining);
            same && standing && present && here && !leaving
        };
        let standing = self.store.claims().filter(counts).count();
        ensure!(standing <= want.count as usize, "{key}: {standing} stand, {} are wanted", want.count);
        Ok(())
    }

    fn check_converged(&self) -> Checked {
        let mut expected = 0;
        for (key, formation) in self.formations() {
            for want in formation.processes.values() {
                let each = if want.template.omni { self.hosts.len() } else { 1 };
                let mine = |claim: &&types::host::Claim| {
                    claim.spec.app == formation.app && claim.spec.release.as_ref() == Some(&formation.release)
                };
                let up = |claim: &&types::host::Claim| {
                    claim.stop.is_none() && self.store.status(claim).is_some_and(|s| s.state == JobState::Up)
                };
                let standing = self.store.claims().filter(mine).filter(up).count();
                ensure!(standing == want.count as usize * each, "{key} is not as wanted");
                expected += standing;
            }
        }
        let claims = self.store.claims().count();
        ensure!(claims == expected, "claims beyond what is wanted");
        let left: Vec<&String> =
            self.store.keys.keys().filter(|key| key.starts_with("oneoff/") || key.starts_with("trouble/")).collect();
        ensure!(left.is_empty(), "left over: {left:?}");
        let statuses = self.store.keys.keys().filter(|key| key.starts_with("status/")).count();
        ensure!(statuses == claims, "statuses of no claim");
        Ok(())
    }
}

#[test]
fn sim_schedulers_race_and_converge() {
    let (mut refused, mut committed) = (0, 0);
    testkit::sweep("sim_schedulers_race_and_converge", |seed| {
        let mut sim = Sim::new(seed);
        let verdict = sim.run(testkit::steps(8_000));
        refused += sim.refused;
        committed += sim.committed;
        verdict
    });
    println!("{committed} committed, {refused} refused");
    if std::env::var("SIM_SEED").is_err() {
        assert!(refused > 0, "no race was ever lost: the simulation is too tame");
    }
}

/// A guard's name, which guards the store overlooks, and what must come of that.
type Blind = (&'static str, fn(&Guard) -> bool, &'static str);

/// A store that overlooks a kind of guard must be caught: otherwise the guard is not needed, or the checks see nothing.
#[test]
fn sim_missing_guards_are_noticed() {
    let blind: [Blind; 5] = [
        ("ledger", |guard| matches!(guard, Guard::Ledger { .. }), "the ledger of"),
        ("leadership", |guard| matches!(guard, Guard::Leads { .. }), "are wanted"),
        ("formation", |guard| matches!(guard, Guard::Formation { .. }), "are wanted"),
        ("request", |guard| matches!(guard, Guard::Request { .. } | Guard::Leads { .. }), "was placed twice"),
        ("absence", |guard| matches!(guard, Guard::Absent { .. }), "lost their claims"),
    ];
    for (name, blind_to, expected) in blind {
        let found = testkit::find(256, |seed| {
            let mut sim = Sim::new(seed);
            sim.store.blind_to = blind_to;
            // What else goes wrong is not for the lack of this guard alone.
            sim.run(testkit::steps(8_000)).or_else(|why| if why.contains(expected) { Err(why) } else { Ok(()) })
        });
        let (seed, why) = found.unwrap_or_else(|| panic!("nothing was noticed without the {name} guard"));
        println!("without the {name} guard, seed {seed}: {why}");
    }
}
