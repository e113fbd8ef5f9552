//! What a job's machine hears and what it says.

use types::host::StopOrder;
use types::job::{DownReason, JobState};

use crate::stored::Record;

/// What happens to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The claim is new, or the daemon is: this is what there is of the job.
    Found(Found),
    /// Layers, scratch space, volumes and files are there.
    Prepared {
        /// Of this run.
        run: u32,
    },
    /// They are not.
    PrepareFailed {
        /// In this run.
        run: u32,
        /// Why, for people.
        reason: String,
        /// Whether it may pass.
        retry: Retry,
    },
    /// The shim holds the isolated job, which waits for the word to start; its network is there.
    Created {
        /// In this run.
        run: u32,
    },
    /// There is no such thing.
    CreateFailed {
        /// In this run.
        run: u32,
        /// Why, for people.
        reason: String,
    },
    /// A client is attached.
    ClientAttached {
        /// To this run.
        run: u32,
    },
    /// The program runs.
    Started {
        /// In this run.
        run: u32,
    },
    /// The program could not be executed.
    StartFailed {
        /// In this run.
        run: u32,
        /// Why, for people.
        reason: String,
    },
    /// The health check passes.
    Healthy {
        /// In this run.
        run: u32,
    },
    /// The health check fails.
    Unhealthy {
        /// In this run.
        run: u32,
        /// What it said, for people.
        why: String,
    },
    /// The health check did not pass in the time it had. Nothing more is tried.
    NeverHealthy {
        /// In this run.
        run: u32,
        /// What it said, for people.
        why: String,
    },
    /// The instance is in discovery.
    Registered {
        /// In this run.
        run: u32,
    },
    /// Every observer has seen the instance.
    Seen {
        /// In this run.
        run: u32,
    },
    /// Every observer has finished what it had for the instance.
    Drained {
        /// In this run.
        run: u32,
    },
    /// The program ended.
    Ended {
        /// In this run.
        run: u32,
        /// How.
        reason: DownReason,
    },
    /// Nothing is left of the run.
    Cleaned {
        /// Which.
        run: u32,
    },
    /// The claim says so.
    Stop(StopOrder),
    /// The claim is gone.
    Forget,
    /// Time has passed.
    Tick,
}

/// What there is of a job when its machine begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing, or what a power cut left.
    Nothing,
    /// A shim that holds a job that was not started.
    Created,
    /// A shim and a program that runs.
    Running,
    /// A program that ended in this way while nobody looked.
    Ended(DownReason),
}

/// Whether trying again may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It may.
    Later,
    /// It will not.
    Never,
}

/// A signal of the machine's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndSignal {
    /// Please end.
    Term,
    /// End.
    Kill,
}

/// What must be done for a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Keep this across a restart of the daemon, before anything that follows.
    Persist(Record),
    /// Tell the cell. Restarts and the last exit are those of the last `Persist`.
    Report(JobState),
    /// Get layers, scratch space, volumes and files.
    Prepare {
        /// For this run.
        run: u32,
    },
    /// Start a shim, have it create the isolated job, connect its network.
    Create {
        /// For this run.
        run: u32,
    },
    /// Let the program run.
    Start {
        /// In this run.
        run: u32,
    },
    /// Try the health check from now on, and tell each change.
    WatchHealth {
        /// In this run.
        run: u32,
    },
    /// No longer.
    StopHealth,
    /// Put the instance into discovery and tell when observers have seen it.
    Register {
        /// In this run.
        run: u32,
    },
    /// Mark the instance as draining and tell when observers are done with it.
    MarkDraining {
        /// In this run.
        run: u32,
    },
    /// Take the instance out of discovery.
    Deregister,
    /// Send a signal to the program.
    Signal {
        /// In this run.
        run: u32,
        /// Which.
        signal: EndSignal,
    },
    /// Remove everything of the run but its log: program, shim, network, control group, scratch space.
    Clean {
        /// Which.
        run: u32,
    },
    /// Forget the job; its log stays for a while.
    Remove,
}

impl Event {
    /// The run it answers, if it answers one.
    pub(super) fn run(&self) -> Option<u32> {
        match self {
            Event::Found(_) | Event::Stop(_) | Event::Forget | Event::Tick => None,
            Event::Prepared { run }
            | Event::PrepareFailed { run, .. }
            | Event::Created { run }
            | Event::CreateFailed { run, .. }
            | Event::ClientAttached { run }
            | Event::Started { run }
            | Event::StartFailed { run, .. }
            | Event::Healthy { run }
            | Event::Unhealthy { run, .. }
            | Event::NeverHealthy { run, .. }
            | Event::Registered { run }
            | Event::Seen { run }
            | Event::Drained { run }
            | Event::Ended { run, .. }
            | Event::Cleaned { run } => Some(*run),
        }
    }
}
