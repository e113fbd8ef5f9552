//! From proposals to transactions: each guarded by what the plan was made from.
//!
//! A plan is first tried as one transaction (or as few as the store's limit allows). In [`Mode::Incremental`]
//! one that is refused is tried again host by host, so that a race on one host does not hold up the others;
//! what is refused then too comes back as a conflict, and is planned again from a newer picture.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use types::cell::{FormationTrouble, OneOff};
use types::host::{Capacity, Claim, EndedJob, Ledger, StopOrder};
use types::{AppId, HostId, JobId, ReleaseId, VolumeName};

use crate::cell::{Cell, add, need, subtract};
use crate::limits::OPS_PER_TRANSACTION_MAX;
use crate::plan::{Action, Ending, Plan, Proposal, Scope, Source, Step};

/// What a refusal of one part means for the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everything in one transaction, or nothing.
    AllOrNothing,
    /// As much as is not in conflict.
    Incremental,
}

/// What a commit carries beside its proposals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Milliseconds since 1970, for records.
    pub wall_ms: u64,
    /// The revision at which this scheduler became the acting one; a deposed one is refused. `None` for
    /// who acts without being the acting scheduler: bootstrap, and users of the framework.
    pub leads_since: Option<u64>,
}

/// A condition of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guard {
    /// Who commits is still the acting scheduler.
    Leads {
        /// The revision at which the leadership was taken.
        since: u64,
    },
    /// A host's ledger is at this revision.
    Ledger {
        /// Whose.
        host: HostId,
        /// The revision.
        revision: u64,
    },
    /// A formation is at this revision.
    Formation {
        /// Of which app.
        app: AppId,
        /// Of which release.
        release: ReleaseId,
        /// The revision.
        revision: u64,
    },
    /// A request is at this revision.
    Request {
        /// Which.
        id: JobId,
        /// The revision.
        revision: u64,
    },
    /// A claim is at this revision.
    Claim {
        /// On which host.
        host: HostId,
        /// Of which job.
        job: JobId,
        /// The revision.
        revision: u64,
    },
    /// There is no such claim.
    NoClaim {
        /// On which host.
        host: HostId,
        /// Of which job.
        job: JobId,
    },
    /// A host's presence is gone.
    Absent {
        /// Whose.
        host: HostId,
    },
    /// A volume has no host yet.
    Homeless {
        /// Which.
        volume: VolumeName,
    },
}

/// A write of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is a key of the store and its value, named as everywhere")]
pub enum Write {
    Ledger {
        host: HostId,
        ledger: Ledger,
    },
    Claim(Box<Claim>),
    /// Put the order into the claim as it is at the guarded revision.
    Stop {
        host: HostId,
        job: JobId,
        order: StopOrder,
    },
    ClaimGone {
        host: HostId,
        job: JobId,
    },
    StatusGone {
        host: HostId,
        job: JobId,
    },
    Volume {
        volume: VolumeName,
        host: HostId,
    },
    Request(Box<OneOff>),
    RequestGone(JobId),
    Ended(Box<EndedJob>),
    EndedGone {
        app: AppId,
        job: JobId,
    },
    Trouble(Box<FormationTrouble>),
    TroubleGone {
        app: AppId,
        release: ReleaseId,
    },
}

/// If all guards hold, all writes are done at one revision; else none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// The conditions.
    pub guards: Vec<Guard>,
    /// The writes, no key twice.
    pub writes: Vec<Write>,
}

/// What came of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done at this revision.
    Committed {
        /// The revision.
        revision: u64,
    },
    /// A guard did not hold.
    Refused,
}

/// A plan on its way into the store. Ask for a transaction, run it, say what came of it, until there is none.
#[derive(Debug)]
pub struct Execution {
    mode: Mode,
    stamp: Stamp,
    queue: VecDeque<Vec<Proposal>>,
    running: Option<Running>,
    /// Ledgers as they are after what this execution committed.
    ledgers: BTreeMap<HostId, (u64, Capacity)>,
    claims: BTreeMap<JobId, (u64, Capacity)>,
    volumes: BTreeSet<VolumeName>,
    committed: Vec<Proposal>,
    refused: Vec<Proposal>,
    revision: u64,
}

#[derive(Debug)]
struct Running {
    proposals: Vec<Proposal>,
    ledgers: BTreeMap<HostId, Capacity>,
    volumes: BTreeSet<VolumeName>,
}

impl Execution {
    /// Carry out `plan`, which was made from `cell`.
    #[must_use]
    pub fn new(cell: &Cell, plan: Plan, mode: Mode, stamp: Stamp) -> Execution {
        let mut execution = Execution {
            mode,
            stamp,
            queue: VecDeque::new(),
            running: None,
            ledgers: BTreeMap::new(),
            claims: BTreeMap::new(),
            volumes: BTreeSet::new(),
            committed: Vec::new(),
            refused: Vec::new(),
            revision: 0,
        };
        for step in plan.proposals.iter().flat_map(|proposal| &proposal.steps) {
            execution.look_up(cell, &step.action);
        }
        execution.queue = batches(plan.proposals, mode);
        execution
    }

    /// Keep of the cell what the transactions of this plan will need, so that it may move on meanwhile.
    fn look_up(&mut self, cell: &Cell, action: &Action) {
        for host in ledgers_of(action) {
            let entry = cell.host_ix(host).map(|ix| cell.host(ix));
            let ledger = entry.map_or((0, Capacity::default()), |entry| (entry.ledger_revision, entry.held));
            self.ledgers.insert(host.clone(), ledger);
        }
        match action {
            Action::End { record, .. } => {
                if let Some(claim) = cell.claim(&record.job) {
                    self.claims.insert(record.job.clone(), (claim.revision, claim.held));
                }
            }
            Action::Place { spec, .. } => {
                let homes = spec.volumes.iter().filter(|mount| cell.volume_home(&mount.volume).is_some());
                self.volumes.extend(homes.map(|mount| mount.volume.clone()));
            }
            _ => {}
        }
    }

    /// The next transaction to run.
    pub fn next_transaction(&mut self) -> Option<Transaction> {
        assert!(self.running.is_none(), "the last transaction's outcome was not told");
        let proposals = self.queue.pop_front()?;
        let mut building = Building::new(self);
        for step in proposals.iter().flat_map(|proposal| &proposal.steps) {
            building.add(&step.action);
        }
        let (transaction, ledgers, volumes) = building.finish();
        self.running = Some(Running { proposals, ledgers, volumes });
        Some(transaction)
    }

    /// What came of the transaction that was asked for last.
    pub fn done(&mut self, outcome: Outcome) {
        let Some(running) = self.running.take() else { return };
        match outcome {
            Outcome::Committed { revision } => {
                self.revision = self.revision.max(revision);
                for (host, held) in running.ledgers {
                    self.ledgers.insert(host, (revision, held));
                }
                self.volumes.extend(running.volumes);
                self.committed.extend(running.proposals);
            }
            Outcome::Refused => {
                let split = if self.mode == Mode::Incremental { by_hosts(&running.proposals) } else { Vec::new() };
                if split.len() > 1 {
                    for batch in split.into_iter().rev() {
                        self.queue.push_front(batch);
                    }
                } else {
                    self.refused.extend(running.proposals);
                }
            }
        }
    }

    /// What was committed so far.
    #[must_use]
    pub fn committed(&self) -> &[Proposal] {
        &self.committed
    }

    /// What was refused.
    #[must_use]
    pub fn refused(&self) -> &[Proposal] {
        &self.refused
    }

    /// The revision that a picture must have reached before the next plan is made from it.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }
}

/// What to look at again after proposals were refused.
#[must_use]
pub fn scope_of(proposals: &[Proposal]) -> Scope {
    let mut apps = BTreeSet::new();
    for step in proposals.iter().flat_map(|proposal| &proposal.steps) {
        match &step.action {
            Action::Place { spec, .. } => drop(apps.insert(spec.app.clone())),
            Action::End { record, .. } => drop(apps.insert(record.app.clone())),
            Action::Settle { one_off, .. } => drop(apps.insert(one_off.spec.app.clone())),
            Action::Report(trouble) => drop(apps.insert(trouble.app.clone())),
            Action::Clear { app, .. } | Action::Forget { app, .. } => drop(apps.insert(app.clone())),
            // These do not name their app; they are rarely refused, so all is looked at.
            Action::Stop { .. } | Action::Close { .. } => return Scope::All,
            Action::Sweep { .. } => {}
        }
    }
    Scope::Apps(apps)
}

fn batches(proposals: Vec<Proposal>, mode: Mode) -> VecDeque<Vec<Proposal>> {
    let mut batches = VecDeque::new();
    let mut batch = Vec::new();
    let (mut ops, mut hosts) = (1, BTreeSet::new());
    for proposal in proposals {
        let cost: usize = proposal.steps.iter().map(cost).sum();
        let new: BTreeSet<HostId> = proposal.steps.iter().flat_map(|step| ledgers_of(&step.action)).cloned().collect();
        let total = ops + cost + hosts.union(&new).count();
        if mode == Mode::Incremental && !batch.is_empty() && total > OPS_PER_TRANSACTION_MAX {
            batches.push_back(core::mem::take(&mut batch));
            (ops, hosts) = (1, BTreeSet::new());
        }
        ops += cost;
        hosts.extend(new);
        batch.push(proposal);
    }
    if !batch.is_empty() {
        batches.push_back(batch);
    }
    batches
}

/// The proposals apart by the hosts they touch, in their order.
fn by_hosts(proposals: &[Proposal]) -> Vec<Vec<Proposal>> {
    let mut apart: BTreeMap<Vec<HostId>, Vec<Proposal>> = BTreeMap::new();
    if proposals.len() < 2 {
        return Vec::new();
    }
    let mut single: Vec<Vec<Proposal>> = Vec::new();
    for proposal in proposals {
        let mut hosts: Vec<HostId> = proposal.steps.iter().flat_map(|step| ledgers_of(&step.action)).cloned().collect();
        hosts.sort();
        hosts.dedup();
        if hosts.is_empty() {
            single.push(alloc::vec![proposal.clone()]);
        } else {
            apart.entry(hosts).or_default().push(proposal.clone());
        }
    }
    if apart.len() + single.len() < 2 {
        // All on one host: one by one, so that a formation that changed does not hold up the others.
        return proposals.iter().map(|proposal| alloc::vec![proposal.clone()]).collect();
    }
    apart.into_values().chain(single).collect()
}

fn ledgers_of(action: &Action) -> impl Iterator<Item = &HostId> {
    match action {
        Action::Place { host, .. } | Action::End { host, .. } => Some(host).into_iter(),
        _ => None.into_iter(),
    }
}

/// The most guards or writes that a step adds, but for its ledger's.
fn cost(step: &Step) -> usize {
    match &step.action {
        Action::Place { spec, .. } => 2 + spec.volumes.len(),
        Action::End { .. } => 3,
        Action::Close { .. } => 2,
        _ => 1,
    }
}

struct Building<'a> {
    execution: &'a Execution,
    guards: BTreeSet<Guard>,
    writes: Vec<Write>,
    ledgers: BTreeMap<HostId, Capacity>,
    volumes: BTreeSet<VolumeName>,
}

impl<'a> Building<'a> {
    fn new(execution: &'a Execution) -> Building<'a> {
        let guards = execution.stamp.leads_since.map(|since| Guard::Leads { since });
        Building {
            execution,
            guards: guards.into_iter().collect(),
            writes: Vec::new(),
            ledgers: BTreeMap::new(),
            volumes: BTreeSet::new(),
        }
    }

    fn finish(mut self) -> (Transaction, BTreeMap<HostId, Capacity>, BTreeSet<VolumeName>) {
        for (host, held) in &self.ledgers {
            self.writes.push(Write::Ledger { host: host.clone(), ledger: Ledger { held: *held } });
        }
        (Transaction { guards: self.guards.into_iter().collect(), writes: self.writes }, self.ledgers, self.volumes)
    }

    fn ledger(&mut self, host: &HostId, change: impl FnOnce(Capacity) -> Capacity) {
        let (revision, held) = self.execution.ledgers.get(host).copied().unwrap_or_default();
        self.guards.insert(Guard::Ledger { host: host.clone(), revision });
        let held = self.ledgers.get(host).copied().unwrap_or(held);
        self.ledgers.insert(host.clone(), change(held));
    }

    fn add(&mut self, action: &Action) {
        match action {
            Action::Place { .. } => self.place(action),
            Action::Stop { host, job, revision, order } => {
                let (host, job, order) = (host.clone(), job.clone(), *order);
                self.guards.insert(Guard::Claim { host: host.clone(), job: job.clone(), revision: *revision });
                self.writes.push(Write::Stop { host, job, order });
            }
            Action::End { host, ending, record } => self.end(host, *ending, record),
            Action::Settle { one_off, revision } => {
                self.guards.insert(Guard::Request { id: one_off.id.clone(), revision: *revision });
                self.writes.push(Write::Request(one_off.clone()));
            }
            Action::Close { id, revision, record } => {
                self.guards.insert(Guard::Request { id: id.clone(), revision: *revision });
                self.writes.push(Write::RequestGone(id.clone()));
                if let Some(record) = record {
                    self.record(record);
                }
            }
            Action::Sweep { host, job } => {
                let (host, job) = (host.clone(), job.clone());
                self.guards.insert(Guard::NoClaim { host: host.clone(), job: job.clone() });
                self.writes.push(Write::StatusGone { host, job });
            }
            Action::Forget { app, job } => {
                self.writes.push(Write::EndedGone { app: app.clone(), job: job.clone() });
            }
            Action::Report(trouble) => self.writes.push(Write::Trouble(trouble.clone())),
            Action::Clear { app, release } => {
                self.writes.push(Write::TroubleGone { app: app.clone(), release: release.clone() });
            }
        }
    }

    fn place(&mut self, action: &Action) {
        let Action::Place { source, spec, host, job } = action else { return };
        match source {
            Source::Formation { app, release, revision, .. } => {
                let (app, release) = (app.clone(), release.clone());
                self.guards.insert(Guard::Formation { app, release, revision: *revision });
            }
            Source::Request { one_off, revision } => {
                self.guards.insert(Guard::Request { id: one_off.id.clone(), revision: *revision });
                self.writes.push(Write::Request(one_off.clone()));
            }
            Source::Caller => {
                self.guards.insert(Guard::NoClaim { host: host.clone(), job: job.clone() });
            }
        }
        let need = need(&spec.resources);
        self.ledger(host, |held| add(held, need));
        for mount in &spec.volumes {
            let known = self.execution.volumes.contains(&mount.volume);
            if !known && self.volumes.insert(mount.volume.clone()) {
                self.guards.insert(Guard::Homeless { volume: mount.volume.clone() });
                self.writes.push(Write::Volume { volume: mount.volume.clone(), host: host.clone() });
            }
        }
        self.writes.push(Write::Claim(Box::new(Claim {
            job: job.clone(),
            host: host.clone(),
            spec: (**spec).clone(),
            stop: None,
            created_ms: self.execution.stamp.wall_ms,
        })));
    }

    fn end(&mut self, host: &HostId, ending: Ending, record: &EndedJob) {
        let job = record.job.clone();
        let (revision, held) = self.execution.claims.get(&job).copied().unwrap_or_default();
        if ending == Ending::HostLost {
            self.guards.insert(Guard::Absent { host: host.clone() });
        }
        // The ledger guards the claim's existence; this one, that it was not told to stop meanwhile.
        self.guards.insert(Guard::Claim { host: host.clone(), job: job.clone(), revision });
        self.ledger(host, |now| subtract(now, held));
        self.writes.push(Write::ClaimGone { host: host.clone(), job: job.clone() });
        self.writes.push(Write::StatusGone { host: host.clone(), job });
        self.record(record);
    }

    fn record(&mut self, record: &EndedJob) {
        let mut record = record.clone();
        if record.ended_ms == 0 {
            record.ended_ms = self.execution.stamp.wall_ms;
        }
        self.writes.push(Write::Ended(Box::new(record)));
    }
}
