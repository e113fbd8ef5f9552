//! The scheduling framework's API: read the cell, follow it, commit claims on it. For schedulers of one's own.
//!
//! A claim's specification holds the environment of its app, so this API is for those who may see secrets.

use serde::{Deserialize, Serialize};
use types::host::StopOrder;
use types::job::JobSpec;
use types::{HostId, JobId};

use crate::endpoint::{Endpoint, Lines};

/// The name of the service whose sockets offer this.
pub const SERVICE: &str = "scheduler";

/// The whole cell at one revision.
pub const CELL: Endpoint<(), CellLine> = Endpoint::get("/cell");
/// The whole cell, then every change of it.
pub const WATCH: Endpoint<(), Lines<CellLine>> = Endpoint::get("/cell/watch");
/// Commit claims and stop orders.
pub const COMMIT: Endpoint<CommitRequest, CommitReply> = Endpoint::post("/cell/commit");

/// What is in the cell, or what changed in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellLine {
    /// The store's revision that this shows.
    pub revision: u64,
    /// True when `rows` are all that there is: forget what was known.
    pub reset: bool,
    /// The rows, in order.
    pub rows: Vec<CellRow>,
}

/// A row of the cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellRow {
    /// `hosts`, `presence`, `ledger`, `claims`, `status`, `formations`, `oneoffs`, `ended`, `volumes`, `trouble` or `leaders`.
    pub table: String,
    /// The row's id: host, `HOST/JOB`, `APP/RELEASE`, ...
    pub id: String,
    /// The revision at which it was last changed. Of a ledger, it is what a commit names.
    pub revision: u64,
    /// What it holds; absent when it was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<serde_json::Value>,
}

/// Claims and stop orders to commit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommitRequest {
    /// Whether one conflict refuses everything.
    pub mode: CommitMode,
    /// Jobs to run.
    #[serde(default)]
    pub claims: Vec<ClaimRequest>,
    /// Jobs to stop.
    #[serde(default)]
    pub stops: Vec<StopRequest>,
}

/// What a conflict means for the rest of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommitMode {
    /// Everything or nothing.
    AllOrNothing,
    /// As much as is not in conflict.
    Incremental,
}

/// A job to run on a host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClaimRequest {
    /// Where.
    pub host: HostId,
    /// The revision of the host's ledger that was decided on; 0 when the host had none.
    pub ledger_revision: u64,
    /// What.
    pub spec: JobSpec,
}

/// A job to stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopRequest {
    /// Where it runs.
    pub host: HostId,
    /// Which.
    pub job: JobId,
    /// How.
    pub order: StopOrder,
}

/// What came of a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitReply {
    /// The revision that shows all of it; 0 when nothing was committed.
    pub revision: u64,
    /// The jobs of the claims, in their order; none for one in conflict.
    pub jobs: Vec<Option<JobId>>,
    /// What was not done, and why.
    #[serde(default)]
    pub conflicts: Vec<Conflict>,
}

/// A part of a commit that was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// On which host.
    pub host: HostId,
    /// Why, for people.
    pub reason: String,
}
