//! What this crate keeps on the host's disk. Each form carries its version; fields are only added.

use serde::{Deserialize, Serialize};
use types::host::Claim;
use types::job::DownReason;

/// The version of every form here.
pub const VERSION: u32 = 1;

/// What is known of a job's runs: enough for a new daemon to go on where the last one was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The number of the run, from 1; 0 before the first.
    pub run: u32,
    /// Runs that were ended and followed by another in place.
    #[serde(default)]
    pub restarts: u32,
    /// Whether the program of this run was let go.
    #[serde(default)]
    pub begun: bool,
    /// Whether this run was up.
    #[serde(default)]
    pub announced: bool,
    /// What ended the run before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<DownReason>,
    /// What ended the job for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<DownReason>,
}

/// `state.json` of a job's directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredState {
    /// [`VERSION`] of its writer.
    pub version: u32,
    /// The machine's own.
    pub record: Record,
    /// Milliseconds since 1970 when the run was started.
    #[serde(default)]
    pub started_ms: u64,
    /// Milliseconds since 1970 when it ended.
    #[serde(default)]
    pub ended_ms: u64,
    /// Its address, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Whether the claim is gone and only the log is left.
    #[serde(default)]
    pub forgotten: bool,
}

/// `spec.json` of a job's directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredClaim {
    /// [`VERSION`] of its writer.
    pub version: u32,
    /// The claim as it was when the job was first seen.
    pub claim: Claim,
}

/// `exit.json` of a job's directory, written by the shim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredExit {
    /// [`VERSION`] of its writer.
    pub version: u32,
    /// Which run.
    pub run: u32,
    /// How it ended.
    pub reason: DownReason,
    /// Milliseconds since 1970.
    pub ended_ms: u64,
}

/// `shim.json` of a job's directory, written by the shim when the job is created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredShim {
    /// [`VERSION`] of its writer.
    pub version: u32,
    /// Which run.
    pub run: u32,
    /// The shim.
    pub shim: StoredProcess,
    /// The job's first process.
    pub job: StoredProcess,
}

/// A process that cannot be mistaken for another one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredProcess {
    /// Its number.
    pub pid: i32,
    /// When it started, in clock ticks since the machine did.
    pub started: u64,
}
