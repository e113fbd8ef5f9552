//! What is said on a shim's socket: one JSON line asks; JSON lines answer, or `flynn-attach/0` frames for a client
//! that attaches.

use serde::{Deserialize, Serialize};
use types::job::DownReason;

use crate::stored::StoredProcess;

/// A request: the first and only JSON line of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Answered with one [`State`] at once, and one at each change until the job has ended.
    Watch,
    /// Let the program run. Answered with a [`Reply`].
    Start,
    /// Send a signal to the program. Answered with a [`Reply`].
    Signal(i32),
    /// Answered with frames.
    Attach(AttachWish),
    /// Run one more program. Answered with frames.
    Exec(Box<ExecWish>),
}

/// What an attached client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachWish {
    /// Its frames of standard input go to the job.
    pub stdin: bool,
    /// It gets standard output.
    pub stdout: bool,
    /// It gets standard error.
    pub stderr: bool,
}

/// One more program in the job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecWish {
    /// What to run.
    pub program: runtime::Program,
    /// Rows and columns of its terminal, if it wants one.
    #[serde(default)]
    pub terminal: Option<(u16, u16)>,
}

/// The answer to a request that only succeeds or fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// It is done.
    Done,
    /// It is not, and why.
    Failed(String),
}

/// Where a shim's job is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Which run.
    pub run: u32,
    /// The job's first process.
    pub job: StoredProcess,
    /// How far it is.
    pub phase: ShimPhase,
    /// Clients attached to the job now.
    pub clients: u32,
}

/// How far a shim's job is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShimPhase {
    /// Made, waiting for the word to start.
    Created,
    /// Its program runs.
    Running,
    /// It ended.
    Ended(DownReason),
}

/// What a shim says on its standard output, once: the job is made, or why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ready {
    /// It is made.
    Created(StoredProcess),
    /// It is not.
    Failed(String),
}
