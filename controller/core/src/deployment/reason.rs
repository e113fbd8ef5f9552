//! What a deployment waits for and why it goes back, in words for people.

use alloc::string::String;
use core::fmt;
use core::time::Duration;

use types::job::DownReason;
use types::{JobId, ProcessType};

/// What must happen before the next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Jobs must come up.
    Up {
        /// Of which process type.
        process_type: ProcessType,
        /// How many are.
        up: u32,
        /// How many must be.
        wanted: u32,
        /// How many no host can take.
        blocked: u32,
    },
    /// Jobs must leave.
    Down {
        /// Of which process type.
        process_type: ProcessType,
        /// How many are left.
        left: u32,
        /// How many may be.
        wanted: u32,
    },
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Waiting::Up { process_type, up, wanted, blocked: 0 } => write!(f, "{process_type}: {up} of {wanted} up"),
            Waiting::Up { process_type, up, wanted, blocked } => {
                write!(f, "{process_type}: {up} of {wanted} up, no host has room for {blocked}")
            }
            Waiting::Down { process_type, left, wanted } => {
                write!(f, "{process_type}: {left} jobs still there, {wanted} expected")
            }
        }
    }
}

/// Why a deployment goes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The new jobs end by themselves.
    Crashed {
        /// Of which process type.
        process_type: ProcessType,
        /// The job to look at.
        job: JobId,
        /// How many jobs have ended unasked.
        count: u32,
        /// How that job ended.
        reason: DownReason,
    },
    /// A step took longer than it may.
    StepTimeout {
        /// What did not happen.
        waiting: Waiting,
        /// Within which time.
        after: Duration,
        /// How the last failed job ended, if one did.
        last: Option<DownReason>,
    },
    /// Somebody asked for it.
    Aborted {
        /// Who.
        by: String,
    },
    /// The reason that an earlier controller recorded.
    Recorded {
        /// Its words.
        text: String,
    },
}

impl Reason {
    /// The job whose last words explain this, when there is one.
    #[must_use]
    pub fn job(&self) -> Option<&JobId> {
        match self {
            Reason::Crashed { job, .. } => Some(job),
            Reason::StepTimeout { .. } | Reason::Aborted { .. } | Reason::Recorded { .. } => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Crashed { process_type, count: 1, reason, .. } => {
                write!(f, "{process_type} did not start: {reason}")
            }
            Reason::Crashed { process_type, count, reason, .. } => {
                write!(f, "{process_type} ended {count} times, the last time: {reason}")
            }
            Reason::StepTimeout { waiting, after, last } => {
                write!(f, "{waiting} after {} s", after.as_secs())?;
                last.as_ref().map_or(Ok(()), |last| write!(f, "; the last job to fail: {last}"))
            }
            Reason::Aborted { by } => write!(f, "aborted by {by}"),
            Reason::Recorded { text } => f.write_str(text),
        }
    }
}
