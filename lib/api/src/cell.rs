//! The cell state: hosts, what is committed on them, and what they say of it.
//!
//! A host's ledger row guards every commit on it: whoever adds or removes a claim compares the revision at
//! which it saw the ledger, and writes the ledger again in the same transaction. A stop order is put into a
//! claim without the ledger: it changes nothing that others count.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use types::host::{Claim, EndedJob, Host, Ledger};
use types::job::{JobSpec, JobStatus};
use types::{AppId, AppName, HostId, JobId, ProcessType, ReleaseId};

use crate::table::Table;

/// Hosts, by id.
pub const HOSTS: Table<Host> = Table::new("cell/hosts/");
/// Hosts that are there, by id, each under its lease.
pub const PRESENCE: Table<Presence> = Table::new("cell/presence/");
/// What each host's claims hold, by host id.
pub const LEDGERS: Table<Ledger> = Table::new("cell/ledger/");
/// Claims, by host id and job id.
pub const CLAIMS: Table<Claim> = Table::new("cell/claims/");
/// What hosts say of jobs, by host id and job id.
pub const STATUS: Table<JobStatus> = Table::new("cell/status/");
/// What must be kept running, by app id and release id.
pub const FORMATIONS: Table<FormationSpec> = Table::new("cell/formations/");
/// Jobs to run once, by job uuid.
pub const ONEOFFS: Table<OneOff> = Table::new("cell/oneoffs/");
/// What was left of jobs, by app id and job id.
pub const ENDED: Table<EndedJob> = Table::new("cell/ended/");
/// Who acts as scheduler, under its lease, by the scheduler's name.
pub const LEADERS: Table<Leader> = Table::new("cell/leaders/");

/// A host is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Which host.
    pub host: HostId,
    /// A number that is new each time its daemon starts.
    #[serde(default)]
    pub run: u64,
}

/// What must be kept running of one release of an app. Written by the controller, acted on by the service scheduler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormationSpec {
    /// Of which app.
    pub app: AppId,
    /// The app's name.
    pub app_name: AppName,
    /// Of which release.
    pub release: ReleaseId,
    /// How many jobs of each process type, and what each is. A type that is not named is wanted no more.
    pub processes: BTreeMap<ProcessType, ProcessCount>,
    /// Grows with every change the controller makes, so that a late writer is noticed.
    #[serde(default)]
    pub generation: u64,
}

/// How many jobs of a process type are wanted, and what each is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessCount {
    /// How many; on each host when `omni`.
    pub count: u32,
    /// Whether the count is per host.
    #[serde(default)]
    pub omni: bool,
    /// The job.
    pub spec: JobSpec,
    /// Tags that a host must have.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// A job to run once. Written by the controller, placed by the ephemeral scheduler, which then deletes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneOff {
    /// The UUID part of the job's id: the id is complete when a host is chosen.
    pub uuid: String,
    /// The job.
    pub spec: JobSpec,
    /// Tags that a host must have.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Milliseconds since 1970 when it was asked for.
    #[serde(default)]
    pub created_ms: u64,
}

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// The job that acts.
    pub job: JobId,
}
