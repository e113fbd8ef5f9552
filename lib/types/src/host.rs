//! Hosts and the commitments made on them.

use alloc::collections::BTreeMap;
use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::id::{AppId, AppName, HostId, JobId, ProcessType, ReleaseId};
use crate::job::{DownReason, JobSpec};

/// A host of the cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Which host.
    pub id: HostId,
    /// Whether it takes jobs.
    pub state: HostState,
    /// What it has to give.
    pub capacity: Capacity,
    /// The failure zone it stands in; empty when not told.
    #[serde(default)]
    pub zone: String,
    /// What placement may ask for.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Where other hosts reach it.
    #[serde(default)]
    pub address: String,
    /// The version it runs.
    #[serde(default)]
    pub version: String,
    /// Milliseconds since 1970 when its daemon started.
    #[serde(default)]
    pub started_ms: u64,
}

/// Whether a host takes jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostState {
    /// It does.
    Up,
    /// It keeps what it has until that moved, and takes nothing new.
    Draining,
    /// Its presence ran out.
    Down,
}

/// An amount of what hosts have and jobs hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Bytes.
    pub memory_bytes: u64,
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// Number of jobs.
    pub jobs: u64,
}

/// The summary that guards commits on one host: a commit compares the revision at which it was last changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// What the claims hold together.
    pub held: Capacity,
}

/// A job that a host must run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Which job.
    pub job: JobId,
    /// On which host.
    pub host: HostId,
    /// What to run.
    pub spec: JobSpec,
    /// Set once when the job is to end; never taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<StopOrder>,
    /// Milliseconds since 1970 when it was committed.
    #[serde(default)]
    pub created_ms: u64,
}

/// How a job is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopOrder {
    /// Out of discovery, in-flight requests finished, SIGTERM, grace, SIGKILL.
    Drain,
    /// SIGKILL at once.
    Kill,
}

/// What was left of a job that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedJob {
    /// Which job.
    pub job: JobId,
    /// Of which app.
    pub app: AppId,
    /// The app's name then.
    pub app_name: AppName,
    /// Of which release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseId>,
    /// Its process type.
    pub process_type: ProcessType,
    /// How it ended.
    pub reason: DownReason,
    /// Whether the scheduler had asked for it.
    pub cause: EndCause,
    /// Milliseconds since 1970 when it was started.
    #[serde(default)]
    pub started_ms: u64,
    /// Milliseconds since 1970 when it ended.
    pub ended_ms: u64,
}

/// Whether a job's end was wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndCause {
    /// The scheduler or an operator asked for it.
    Asked,
    /// It ended by itself.
    Unasked,
}
