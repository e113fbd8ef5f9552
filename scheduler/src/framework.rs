//! The framework's API: the cell as rows, and commits guarded by the ledgers that the caller saw.

use std::collections::BTreeMap;

use api::cell::{CLAIMS, HOSTS};
use api::scheduling::{
    CELL, COMMIT, CellLine, CellRow, ClaimRequest, CommitMode, CommitReply, CommitRequest, Conflict, StopRequest, WATCH,
};
use api::serve::{ListenError, Listening, Service};
use api::store::{Change, Record, StoreClient, StoreError, WatchEvent};
use os::signal::Shutdown;
use scheduler_core::cell::need;
use scheduler_core::plan::{Action, Plan, Proposal, Step, Why, for_caller};
use scheduler_core::{Execution, Mode, Stamp};
use types::job::JobSpec;
use types::{ApiError, Code, HostId, JobId};

use crate::limits::COMMIT_ITEMS_MAX;
use crate::{Options, feed, place, txn};

struct State {
    store: StoreClient,
    shutdown: Shutdown,
}

pub(crate) fn listen(options: &Options, store: &StoreClient, shutdown: &Shutdown) -> Result<Listening, ListenError> {
    let state = State { store: store.clone(), shutdown: shutdown.clone() };
    let socket = api::paths::service_socket(&options.run_dir, api::scheduling::SERVICE, &options.job);
    Service::new(std::sync::Arc::new(state))
        .on(&CELL, |state, _, ()| {
            let listing = state.store.list(feed::PREFIX)?;
            Ok(whole(&listing.records, listing.revision))
        })
        .lines(&WATCH, |state, _, (), out| {
            for event in state.store.watch(feed::PREFIX, &state.shutdown) {
                out.send(&line(event))?;
                if out.client_gone() {
                    break;
                }
            }
            Ok(())
        })
        .on(&COMMIT, |state, _, request| commit(&state.store, request))
        .listen(&socket, shutdown)
}

fn whole(records: &[Record], revision: u64) -> CellLine {
    CellLine { revision, reset: true, rows: records.iter().map(row).collect() }
}

fn line(event: WatchEvent) -> CellLine {
    match event {
        WatchEvent::Reset { records, revision } => whole(&records, revision),
        WatchEvent::Changes { changes, revision } => {
            let rows = changes.into_iter().map(|change| match change {
                Change::Put(record) => row(&record),
                Change::Deleted { key, revision } => bare(&key, revision),
            });
            CellLine { revision, reset: false, rows: rows.collect() }
        }
    }
}

fn row(record: &Record) -> CellRow {
    let stored = serde_json::from_slice::<serde_json::Value>(&record.value).ok();
    let value = stored.and_then(|mut stored| stored.get_mut("value").map(serde_json::Value::take));
    CellRow { value, ..bare(&record.key, record.revision) }
}

fn bare(key: &str, revision: u64) -> CellRow {
    let path = key.strip_prefix(feed::PREFIX).unwrap_or(key);
    let (table, id) = path.split_once('/').unwrap_or((path, ""));
    CellRow { table: table.to_owned(), id: id.to_owned(), revision, value: None }
}

fn commit(store: &StoreClient, request: CommitRequest) -> Result<CommitReply, ApiError> {
    let items = request.claims.len() + request.stops.len();
    if items > COMMIT_ITEMS_MAX {
        let why = format!("{items} claims and stops in one commit; {COMMIT_ITEMS_MAX} are the most");
        return Err(ApiError::new(Code::Validation, why).hint("commit in parts"));
    }
    let mut prepared = Prepared::new(&request);
    for (host, claims) in by_host(&request.claims) {
        prepared.claims(store, &host, &claims)?;
    }
    for stop in &request.stops {
        prepared.stop(store, stop)?;
    }
    prepared.run(store, request.mode)
}

fn by_host(claims: &[ClaimRequest]) -> BTreeMap<HostId, Vec<(usize, ClaimRequest)>> {
    let mut hosts: BTreeMap<HostId, Vec<(usize, ClaimRequest)>> = BTreeMap::new();
    for (at, claim) in claims.iter().enumerate() {
        hosts.entry(claim.host.clone()).or_default().push((at, claim.clone()));
    }
    hosts
}

/// A commit after its conflicts with the present were found.
struct Prepared {
    cell: scheduler_core::Cell,
    proposals: Vec<Proposal>,
    jobs: Vec<Option<JobId>>,
    conflicts: Vec<Conflict>,
}

impl Prepared {
    fn new(request: &CommitRequest) -> Prepared {
        let jobs = request.claims.iter().map(|_| None).collect();
        Prepared { cell: scheduler_core::Cell::default(), proposals: Vec::new(), jobs, conflicts: Vec::new() }
    }

    fn refuse(&mut self, host: &HostId, reason: impl Into<String>) {
        self.conflicts.push(Conflict { host: host.clone(), reason: reason.into() });
    }

    fn claims(
        &mut self,
        store: &StoreClient,
        host: &HostId,
        claims: &[(usize, ClaimRequest)],
    ) -> Result<(), StoreError> {
        let Some(record) = HOSTS.get(store, &[host.as_str()])? else {
            self.refuse(host, "there is no such host");
            return Ok(());
        };
        let ledger = place::load(store, host, &mut self.cell)?.0;
        let ix = self.cell.host_ix(host);
        let mut held = ix.map(|ix| self.cell.host(ix).held).unwrap_or_default();
        let capacity = record.value.capacity;
        for (at, claim) in claims {
            let need = need(&claim.spec.resources);
            held.memory_bytes = held.memory_bytes.saturating_add(need.memory_bytes);
            held.cpu_milli = held.cpu_milli.saturating_add(need.cpu_milli);
            held.jobs += 1;
            let fits = held.memory_bytes <= capacity.memory_bytes
                && held.cpu_milli <= capacity.cpu_milli
                && held.jobs <= capacity.jobs;
            if claim.ledger_revision != ledger {
                self.refuse(
                    host,
                    format!("its ledger is at {ledger}, the claim was made at {}", claim.ledger_revision),
                );
            } else if fits {
                self.claim(*at, host, &claim.spec);
            } else {
                self.refuse(host, "it has too little room left");
            }
        }
        Ok(())
    }

    fn claim(&mut self, at: usize, host: &HostId, spec: &JobSpec) {
        let job = JobId::on(host, &os::entropy::uuid());
        self.jobs[at] = Some(job.clone());
        self.proposals.extend(for_caller(host, vec![(job, spec.clone())]).proposals);
    }

    fn stop(&mut self, store: &StoreClient, stop: &StopRequest) -> Result<(), StoreError> {
        match CLAIMS.get(store, &[stop.host.as_str(), stop.job.as_str()])? {
            None => self.refuse(&stop.host, format!("it has no claim for {}", stop.job)),
            Some(row) if row.value.stop.is_some() => {}
            Some(row) => {
                let action = Action::Stop {
                    host: stop.host.clone(),
                    job: stop.job.clone(),
                    revision: row.revision,
                    order: stop.order,
                };
                self.proposals.push(Proposal { steps: vec![Step { action, why: Why::Asked }] });
            }
        }
        Ok(())
    }

    fn run(mut self, store: &StoreClient, mode: CommitMode) -> Result<CommitReply, ApiError> {
        let mode = match mode {
            CommitMode::AllOrNothing if !self.conflicts.is_empty() => return Ok(self.reply(0, &[])),
            CommitMode::AllOrNothing => Mode::AllOrNothing,
            CommitMode::Incremental => Mode::Incremental,
        };
        let stamp = Stamp { wall_ms: os::clock::wall().unix_millis(), leads_since: None };
        let plan = Plan { proposals: std::mem::take(&mut self.proposals), wake: None };
        let mut execution = Execution::new(&self.cell, plan, mode, stamp);
        txn::execute(store, "", &mut execution)?;
        for step in execution.refused().iter().flat_map(|proposal| &proposal.steps) {
            if let Action::Place { host, .. } | Action::Stop { host, .. } = &step.action {
                self.conflicts.push(Conflict { host: host.clone(), reason: "somebody else was first".to_owned() });
            }
        }
        Ok(self.reply(execution.revision(), execution.committed()))
    }

    fn reply(self, revision: u64, committed: &[Proposal]) -> CommitReply {
        let done = |job: &JobId| {
            let placed = |step: &Step| matches!(&step.action, Action::Place { job: other, .. } if other == job);
            committed.iter().flat_map(|proposal| &proposal.steps).any(placed)
        };
        let jobs = self.jobs.into_iter().map(|job| job.filter(done)).collect();
        CommitReply { revision, jobs, conflicts: self.conflicts }
    }
}
