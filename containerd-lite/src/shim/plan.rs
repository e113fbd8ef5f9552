//! What a daemon tells the shim it starts.

use serde::{Deserialize, Serialize};
use types::JobId;

/// `run.json` of a job's directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShimPlan {
    /// Version of its writer.
    pub version: u32,
    /// Which job.
    pub job: JobId,
    /// Which run of it.
    pub run: u32,
    /// What to create.
    pub spec: runtime::Spec,
    /// How its streams are wired.
    pub wiring: Wiring,
    /// Whether standard output goes to the log.
    pub logs_output: bool,
    /// Whether standard error does.
    pub logs_error: bool,
    /// Its memory limit, for messages.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
}

/// How a job's streams are wired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wiring {
    /// No input.
    Output,
    /// Input comes from whoever attaches.
    Pipes,
    /// A terminal of this size.
    Terminal {
        /// Rows.
        rows: u16,
        /// Columns.
        columns: u16,
    },
}
