//! What is to be done: every choice with its reason, as a value that a test can print.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use stdx::{Instant, Rng};
use types::cell::{FormationTrouble, OneOff};
use types::host::{EndedJob, StopOrder};
use types::job::JobSpec;
use types::{AppId, HostId, JobId, ProcessType, ReleaseId};

use crate::cell::Cell;
use crate::desired::Desired;
use crate::draft::Draft;
use crate::{cleanup, ephemeral, service};

/// Which apps to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every one.
    All,
    /// These, and those that wait for room.
    Apps(BTreeSet<AppId>),
}

impl Scope {
    /// Look at `app` too.
    pub fn add_app(&mut self, app: AppId) {
        if let Scope::Apps(apps) = self {
            apps.insert(app);
        }
    }

    /// Look at all of `other` too.
    pub fn add(&mut self, other: Scope) {
        match (&mut *self, other) {
            (Scope::All, _) => {}
            (_, Scope::All) => *self = Scope::All,
            (Scope::Apps(apps), Scope::Apps(more)) => apps.extend(more),
        }
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Scope::Apps(apps) if apps.is_empty())
    }
}

/// What to do, and when to look again.
#[derive(Debug, Default)]
pub struct Plan {
    /// In the order of urgency.
    pub proposals: Vec<Proposal>,
    /// When something is due that no change of the store will announce.
    pub wake: Option<Wake>,
}

/// Look again then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wake {
    /// When.
    pub at: Instant,
    /// At what.
    pub scope: Scope,
}

/// Steps that are done together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The steps.
    pub steps: Vec<Step>,
}

/// One thing to do, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What.
    pub action: Action,
    /// Why.
    pub why: Why,
}

/// What a new claim comes from. Its revision guards the claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A formation.
    Formation {
        /// Of which app.
        app: AppId,
        /// Of which release.
        release: ReleaseId,
        /// Which process type.
        process_type: ProcessType,
        /// The formation's revision.
        revision: u64,
    },
    /// A one-off request.
    Request {
        /// The request as it will be after this.
        one_off: Box<OneOff>,
        /// The request's revision.
        revision: u64,
    },
    /// A caller of the framework; only the ledger guards it.
    Caller,
}

/// Whether a claim goes because its job ended, or because its host did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The host said so.
    Down,
    /// The host is gone; void if it is back when this is committed.
    HostLost,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make a claim.
    Place {
        /// What it comes from.
        source: Source,
        /// What to run.
        spec: Arc<JobSpec>,
        /// Where.
        host: HostId,
        /// As which job.
        job: JobId,
    },
    /// Order a job to end.
    Stop {
        /// Where it runs.
        host: HostId,
        /// Which.
        job: JobId,
        /// The claim's revision.
        revision: u64,
        /// How.
        order: StopOrder,
    },
    /// Delete a claim and its status, and keep a record.
    End {
        /// Where it ran.
        host: HostId,
        /// Why it can go.
        ending: Ending,
        /// The record; its time is filled in at the commit when the host told none.
        record: Box<EndedJob>,
    },
    /// Write how far a request is.
    Settle {
        /// The request as it will be.
        one_off: Box<OneOff>,
        /// Its revision before.
        revision: u64,
    },
    /// Delete a request that is done with.
    Close {
        /// Which.
        id: JobId,
        /// Its revision.
        revision: u64,
        /// The record, when no claim had one.
        record: Option<Box<EndedJob>>,
    },
    /// Delete a status that belongs to no claim.
    Sweep {
        /// Who wrote it.
        host: HostId,
        /// Of which job.
        job: JobId,
    },
    /// Delete an old record.
    Forget {
        /// Of which app.
        app: AppId,
        /// Of which job.
        job: JobId,
    },
    /// Say what keeps a formation from being what it should be.
    Report(Box<FormationTrouble>),
    /// Say that it is what it should be.
    Clear {
        /// Of which app.
        app: AppId,
        /// Of which release.
        release: ReleaseId,
    },
}

/// Why something is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Fewer jobs stand than are wanted.
    Missing {
        /// How many stand.
        have: u32,
        /// How many are wanted.
        want: u32,
    },
    /// A job's host is lost, and another can take it.
    HostLost(HostId),
    /// A job's host is being emptied or no longer qualifies.
    Leaving(HostId),
    /// More jobs stand than are wanted.
    Surplus {
        /// How many stand.
        have: u32,
        /// How many are wanted.
        want: u32,
    },
    /// Its app's formations no longer hold its release and process type.
    NotWanted,
    /// It was asked to run once.
    Asked,
    /// Who asked for it wants it to end.
    Cancelled,
    /// Nobody attached to it in time.
    NotAttached,
    /// Its job ended.
    Ended,
    /// No host can take it.
    Blocked(String),
    /// It belongs to nothing.
    Stray,
    /// There are enough newer ones.
    Old,
    /// What was reported changed.
    Changed,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Missing { have, want } => write!(f, "{have} of {want}"),
            Why::HostLost(host) => write!(f, "{host} is lost"),
            Why::Leaving(host) => write!(f, "{host} is to be left"),
            Why::Surplus { have, want } => write!(f, "{have}, but {want} wanted"),
            Why::NotWanted => f.write_str("no formation wants it"),
            Why::Asked => f.write_str("asked for once"),
            Why::Cancelled => f.write_str("cancelled"),
            Why::NotAttached => f.write_str("nobody attached to it in time"),
            Why::Ended => f.write_str("it ended"),
            Why::Blocked(reason) => f.write_str(reason),
            Why::Stray => f.write_str("it belongs to nothing"),
            Why::Old => f.write_str("there are enough newer ones"),
            Why::Changed => f.write_str("it changed"),
        }
    }
}

/// What has to be done for what is observed to become what is asked for.
pub fn plan(desired: &Desired, cell: &Cell, scope: &Scope, now: Instant, rng: &mut Rng) -> Plan {
    let mut draft = Draft::new(desired, cell, now, rng);
    let apps = widened(desired, cell, scope);
    cleanup::plan(&mut draft, &apps);
    service::plan(&mut draft, &apps);
    ephemeral::plan(&mut draft, &apps);
    draft.finish()
}

/// What waits for room is looked at whatever changed: the change may have made room.
fn widened(desired: &Desired, cell: &Cell, scope: &Scope) -> BTreeSet<AppId> {
    let mut apps = match scope {
        Scope::All => {
            let mut apps = desired.apps();
            apps.extend(cell.apps());
            return apps;
        }
        Scope::Apps(apps) => apps.clone(),
    };
    apps.extend(cell.blocked_apps().cloned());
    apps.extend(ephemeral::waiting_apps(desired).cloned());
    apps
}

/// The claims of a caller that has chosen its host itself, to be committed under that host's ledger.
#[must_use]
pub fn for_caller(host: &HostId, claims: Vec<(JobId, JobSpec)>) -> Plan {
    let proposals = claims.into_iter().map(|(job, spec)| {
        let (host, spec) = (host.clone(), Arc::new(spec));
        let action = Action::Place { source: Source::Caller, spec, host, job };
        Proposal { steps: alloc::vec![Step { action, why: Why::Asked }] }
    });
    Plan { proposals: proposals.collect(), wake: None }
}
