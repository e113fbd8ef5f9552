//! The cell as this process last saw it, and what a deployment sees in it.

use std::collections::BTreeMap;
use std::time::Duration;

use api::cell::{CLAIMS, ENDED, FORMATIONS, HOSTS, LEADERS, Leader, STATUS, TROUBLE};
use api::controller::{Job, ScaleRequest};
use api::store::{Change, Record, WatchEvent};
use api::table::{Row, Table};
use controller_core::deployment::{Failure, Observed, Seen, Side};
use serde::Serialize;
use serde::de::DeserializeOwned;
use types::app::{Deployment, Event};
use types::cell::{FormationSpec, FormationTrouble};
use types::host::{Claim, EndCause, EndedJob, Host, HostState};
use types::job::{DownReason, JobState, JobStatus, Lifecycle};
use types::{AppId, JobId, ProcessType, ReleaseId};

use crate::jobs::{from_claim, from_ended};
use crate::persist::{json, now_text};

/// The rows of one table.
type Rows<T> = BTreeMap<String, Row<T>>;

/// What is known of the cell, at one revision.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    hosts: Rows<Host>,
    claims: Rows<Claim>,
    status: Rows<JobStatus>,
    formations: Rows<FormationSpec>,
    trouble: Rows<FormationTrouble>,
    ended: Rows<EndedJob>,
    leaders: Rows<Leader>,
    revision: Option<u64>,
}

fn put<T: Serialize + DeserializeOwned>(table: &Table<T>, rows: &mut Rows<T>, record: &Record) -> bool {
    if !record.key.starts_with(table.prefix()) {
        return false;
    }
    match table.decode(record) {
        Ok(row) => drop(rows.insert(row.id.clone(), row)),
        Err(error) => log::error!(key:% = record.key, error:% = os::text::chain(&error); "record not readable"),
    }
    true
}

fn remove<T: Serialize + DeserializeOwned>(table: &Table<T>, rows: &mut Rows<T>, key: &str) {
    if let Some(id) = key.strip_prefix(table.prefix()) {
        rows.remove(id);
    }
}

/// A job's new state, as streams tell of it. It is told, not kept.
pub(super) fn event_of(job: &Job) -> Event {
    Event {
        id: 0,
        app: Some(job.app.clone()),
        object_type: "job".into(),
        object_id: job.id.to_string(),
        data: json(job),
        created_at: Some(now_text()),
    }
}

impl Mirror {
    /// Take in what the watch tells; gives the jobs whose state is another now.
    pub(super) fn apply(&mut self, event: WatchEvent) -> Vec<Job> {
        let mut told = Vec::new();
        match event {
            WatchEvent::Reset { records, revision } => {
                *self = Mirror { revision: Some(revision), ..Mirror::default() };
                records.iter().for_each(|record| self.put(record));
            }
            WatchEvent::Changes { changes, revision } => {
                for change in changes {
                    match change {
                        Change::Put(record) => {
                            let before = self.state_of(&record.key);
                            self.put(&record);
                            told.extend(self.changed(&record.key, before));
                        }
                        Change::Deleted { key, .. } => self.remove(&key),
                    }
                }
                self.revision = Some(revision);
            }
        }
        told
    }

    fn put(&mut self, record: &Record) {
        let _ = put(&STATUS, &mut self.status, record)
            || put(&CLAIMS, &mut self.claims, record)
            || put(&FORMATIONS, &mut self.formations, record)
            || put(&ENDED, &mut self.ended, record)
            || put(&TROUBLE, &mut self.trouble, record)
            || put(&HOSTS, &mut self.hosts, record)
            || put(&LEADERS, &mut self.leaders, record);
    }

    fn remove(&mut self, key: &str) {
        remove(&STATUS, &mut self.status, key);
        remove(&CLAIMS, &mut self.claims, key);
        remove(&FORMATIONS, &mut self.formations, key);
        remove(&ENDED, &mut self.ended, key);
        remove(&TROUBLE, &mut self.trouble, key);
        remove(&HOSTS, &mut self.hosts, key);
        remove(&LEADERS, &mut self.leaders, key);
    }

    fn job(&self, id: &str) -> Option<Job> {
        let claim = self.claims.get(id)?;
        Some(from_claim(&claim.value, self.status.get(id).map(|row| &row.value)))
    }

    fn state_of(&self, key: &str) -> Option<String> {
        let id = key.strip_prefix(STATUS.prefix()).or_else(|| key.strip_prefix(CLAIMS.prefix()))?;
        self.job(id).map(|job| job.state)
    }

    fn changed(&self, key: &str, before: Option<String>) -> Option<Job> {
        if let Some(id) = key.strip_prefix(ENDED.prefix()) {
            // The status has told it, unless the host went away before it could.
            let end = &self.ended.get(id)?.value;
            let host = end.job.host().map(|host| format!("{host}/{}", end.job));
            let told = host.and_then(|id| self.status.get(&id)).is_some_and(|row| row.value.state.is_down());
            return (!told).then(|| from_ended(end));
        }
        let id = key.strip_prefix(STATUS.prefix()).or_else(|| key.strip_prefix(CLAIMS.prefix()))?;
        self.job(id).filter(|job| before.as_ref() != Some(&job.state))
    }

    pub(super) fn ready(&self) -> bool {
        self.revision.is_some()
    }

    /// Whether everything up to a revision of the cell has been seen.
    pub(super) fn caught_up(&self, revision: u64) -> bool {
        self.revision.is_some_and(|seen| seen >= revision)
    }

    pub(super) fn leader(&self, name: &str) -> Option<&Row<Leader>> {
        self.leaders.get(name)
    }

    fn formation(&self, app: &AppId, release: &ReleaseId) -> Option<&Row<FormationSpec>> {
        self.formations.get(&format!("{app}/{release}"))
    }

    /// The keys of a deployment's formations and the revisions at which they were seen.
    pub(super) fn formation_revisions(&self, record: &Deployment) -> Vec<(String, u64)> {
        let releases = record.old_release.iter().chain([&record.new_release]);
        releases
            .map(|release| {
                let revision = self.formation(&record.app, release).map_or(0, |row| row.revision);
                (FORMATIONS.key(&[record.app.as_str(), release.as_str()]), revision)
            })
            .collect()
    }

    /// What a deployment sees. Its failures are those after `since`, a revision.
    pub(super) fn observe(&self, record: &Deployment, since: u64) -> Observed {
        let old = record.old_release.as_ref().map(|release| self.side(&record.app, release)).unwrap_or_default();
        let up = |row: &&Row<Host>| row.value.state == HostState::Up;
        Observed {
            old,
            new: self.side(&record.app, &record.new_release),
            failures: self.failures(record, since),
            hosts: u32::try_from(self.hosts.values().filter(up).count()).unwrap_or(u32::MAX),
        }
    }

    fn claims_of<'a>(
        &'a self,
        app: &'a AppId,
        release: &'a ReleaseId,
    ) -> impl Iterator<Item = (&'a str, &'a Row<Claim>)> {
        self.claims.iter().map(|(id, row)| (id.as_str(), row)).filter(move |(_, row)| {
            let spec = &row.value.spec;
            spec.app == *app && spec.release.as_ref() == Some(release) && spec.lifecycle != Lifecycle::Batch
        })
    }

    fn side(&self, app: &AppId, release: &ReleaseId) -> Side {
        let mut side = Side::default();
        if let Some(row) = self.formation(app, release) {
            let wants = row.value.processes.iter().filter(|(_, want)| want.count > 0);
            side.wanted = wants.map(|(one, want)| (one.clone(), want.count)).collect();
        }
        for (id, claim) in self.claims_of(app, release) {
            let state = self.status.get(id).map(|row| &row.value.state);
            let seen = side.jobs.entry(claim.value.spec.process_type.clone()).or_default();
            count(seen, state, claim.value.stop.is_some());
        }
        if let Some(row) = self.trouble.get(&format!("{app}/{release}")) {
            for (process_type, trouble) in &row.value.processes {
                side.jobs.entry(process_type.clone()).or_default().blocked = trouble.blocked;
            }
        }
        side
    }

    fn failures(&self, record: &Deployment, since: u64) -> Vec<Failure> {
        let mut found: BTreeMap<JobId, (u64, Failure)> = BTreeMap::new();
        for (id, claim) in self.claims_of(&record.app, &record.new_release) {
            let Some(row) = self.status.get(id) else { continue };
            let JobState::Down(reason) = &row.value.state else { continue };
            if claim.value.stop.is_none() && row.revision > since {
                let lived = row.value.ended_ms.saturating_sub(row.value.started_ms);
                let failure =
                    failure(&claim.value.job, &claim.value.spec.process_type, reason, row.value.started_ms, lived);
                found.insert(claim.value.job.clone(), (row.revision, failure));
            }
        }
        let prefix = format!("{}/", record.app);
        for (_, row) in self.ended.range(prefix.clone()..).take_while(|(id, _)| id.starts_with(&prefix)) {
            let end = &row.value;
            let ours =
                end.release.as_ref() == Some(&record.new_release) && record.processes.contains_key(&end.process_type);
            if ours && end.cause == EndCause::Unasked && row.created > since && !found.contains_key(&end.job) {
                let lived = end.ended_ms.saturating_sub(end.started_ms);
                let failure = failure(&end.job, &end.process_type, &end.reason, end.started_ms, lived);
                found.insert(end.job.clone(), (row.revision, failure));
            }
        }
        let mut found: Vec<(u64, Failure)> = found.into_values().collect();
        found.sort_by_key(|(revision, _)| *revision);
        found.into_iter().map(|(_, failure)| failure).collect()
    }

    /// A job of the new release that says most about it: one that is not up.
    pub(super) fn any_job(&self, record: &Deployment) -> Option<JobId> {
        let failed = self.failures(record, 0).pop().map(|failure| failure.job);
        let up = |id: &str| self.status.get(id).is_some_and(|row| row.value.state == JobState::Up);
        let starting = || self.claims_of(&record.app, &record.new_release).find(|(id, _)| !up(id));
        starting().map(|(_, row)| row.value.job.clone()).or(failed)
    }

    /// Whether the jobs of a changed formation are there, and no others.
    pub(super) fn reached(&self, row: &Row<ScaleRequest>) -> bool {
        let (request, hosts) = (&row.value, self.hosts.values().filter(|row| row.value.state == HostState::Up).count());
        let Some(formation) = self.formation(&request.app, &request.release) else { return false };
        if !self.caught_up(row.revision) {
            return false;
        }
        let side = self.side(&request.app, &request.release);
        let known = formation.value.processes.keys().chain(side.jobs.keys());
        known.collect::<std::collections::BTreeSet<_>>().into_iter().all(|one| {
            let want = formation.value.processes.get(one);
            let omni = want.is_some_and(|want| want.template.omni);
            let wanted = want.map_or(0, |want| want.count);
            let wanted = if omni { wanted.saturating_mul(u32::try_from(hosts).unwrap_or(1)) } else { wanted };
            let seen = side.seen(one);
            seen.up == wanted && seen.present() == wanted
        })
    }
}

fn count(seen: &mut Seen, state: Option<&JobState>, asked_to_stop: bool) {
    match state {
        Some(JobState::Down(_)) => {}
        Some(JobState::Stopping) => seen.stopping += 1,
        _ if asked_to_stop => seen.stopping += 1,
        Some(JobState::Up) => seen.up += 1,
        Some(JobState::Pending | JobState::Blocked | JobState::Starting) | None => seen.starting += 1,
    }
}

fn failure(job: &JobId, process_type: &ProcessType, reason: &DownReason, started: u64, lived: u64) -> Failure {
    // One that was never started has not lived since 1970.
    let lived = if started == 0 { Duration::ZERO } else { Duration::from_millis(lived) };
    Failure { job: job.clone(), process_type: process_type.clone(), reason: reason.clone(), lived }
}
