//! The whole picture, fed change by change, and which apps a change concerns.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;

use stdx::{Instant, Rng};
use types::cell::{FormationSpec, FormationTrouble, OneOff};
use types::host::{Claim, EndedJob, Host};
use types::job::JobStatus;
use types::{AppId, HostId, JobId, ReleaseId, VolumeName};

use crate::cell::{Cell, Presence};
use crate::desired::Desired;
use crate::plan::{Plan, Scope, Wake, plan};

/// Something that changed in the store.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each variant is a key of the store and its value, named as everywhere")]
pub enum Change {
    Host(Box<Host>),
    HostGone(HostId),
    Presence { host: HostId, presence: Presence },
    Ledger { host: HostId, revision: u64 },
    Claim { revision: u64, claim: Box<Claim> },
    ClaimGone(JobId),
    Status { host: HostId, status: Box<JobStatus> },
    StatusGone(JobId),
    Ended(Box<EndedJob>),
    EndedGone { app: AppId, job: JobId },
    Volume { volume: VolumeName, host: HostId },
    VolumeGone(VolumeName),
    Formation { revision: u64, spec: Box<FormationSpec> },
    FormationGone { app: AppId, release: ReleaseId },
    OneOff { revision: u64, one_off: Box<OneOff> },
    OneOffGone(JobId),
    Trouble(Box<FormationTrouble>),
    TroubleGone { app: AppId, release: ReleaseId },
}

/// What is asked for and what is observed, at one revision of the store.
#[derive(Debug)]
pub struct View {
    /// What is asked for.
    pub desired: Desired,
    /// What is observed.
    pub cell: Cell,
    scope: Scope,
    wake: Option<Wake>,
}

impl Default for View {
    fn default() -> View {
        View::new()
    }
}

impl View {
    /// An empty picture, of which all has to be planned.
    #[must_use]
    pub fn new() -> View {
        View { desired: Desired::default(), cell: Cell::default(), scope: Scope::All, wake: None }
    }

    /// Plan what was touched since the last call and what is due; empty when there is nothing of either.
    pub fn plan(&mut self, now: Instant, rng: &mut Rng) -> Plan {
        if let Some(wake) = self.wake.take_if(|wake| wake.at <= now) {
            self.scope.add(wake.scope);
        }
        if !self.is_touched() {
            return Plan::default();
        }
        let scope = core::mem::replace(&mut self.scope, Scope::Apps(BTreeSet::new()));
        let plan = plan(&self.desired, &self.cell, &scope, now, rng);
        if let Some(more) = &plan.wake {
            let wake = self.wake.get_or_insert_with(|| more.clone());
            wake.at = wake.at.min(more.at);
            wake.scope.add(more.scope.clone());
        }
        plan
    }

    /// Whether something was touched since the last plan.
    #[must_use]
    pub fn is_touched(&self) -> bool {
        !self.scope.is_empty() || self.cell.strays().next().is_some()
    }

    /// When something is due that no change of the store will announce.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.wake.as_ref().map(|wake| wake.at)
    }

    /// Have `scope` planned (again): a plan of it was refused, or could not be finished.
    pub fn touch(&mut self, scope: Scope) {
        self.scope.add(scope);
    }

    /// Take in one change.
    pub fn apply(&mut self, now: Instant, change: Change) {
        let cell = &mut self.cell;
        match change {
            Change::Host(host) => {
                cell.put_host(now, *host);
                self.scope = Scope::All;
            }
            Change::HostGone(host) => {
                cell.drop_host(&host);
                self.scope = Scope::All;
            }
            Change::Presence { host, presence } => {
                cell.set_presence(now, &host, presence);
                self.scope = Scope::All;
            }
            Change::Ledger { host, revision } => cell.set_ledger(now, &host, revision),
            Change::Claim { revision, claim } => {
                cell.put_claim(now, revision, &claim);
                self.scope.add_app(claim.spec.app);
            }
            Change::ClaimGone(job) => {
                self.touch_job(&job);
                self.cell.drop_claim(&job);
            }
            Change::Status { host, status } => {
                cell.put_status(now, &host, &status);
                self.touch_job(&status.job);
            }
            Change::StatusGone(job) => {
                cell.drop_status(&job);
                self.touch_job(&job);
            }
            Change::Ended(record) => {
                cell.put_ended(now, &record);
                self.scope.add_app(record.app);
            }
            Change::EndedGone { app, job } => cell.drop_ended(&app, &job),
            Change::Volume { volume, host } => cell.put_volume(volume, host),
            Change::VolumeGone(volume) => cell.drop_volume(&volume),
            Change::Trouble(trouble) => cell.put_trouble(*trouble),
            Change::TroubleGone { app, release } => cell.drop_trouble(&app, &release),
            Change::Formation { revision, spec } => {
                self.scope.add_app(spec.app.clone());
                self.desired.put_formation(revision, *spec);
            }
            Change::FormationGone { app, release } => {
                self.desired.drop_formation(&app, &release);
                self.scope.add_app(app);
            }
            Change::OneOff { revision, one_off } => {
                self.scope.add_app(one_off.spec.app.clone());
                self.desired.put_request(now, revision, *one_off);
            }
            Change::OneOffGone(id) => {
                if let Some(request) = self.desired.drop_request(&id) {
                    self.scope.add_app(request.template.spec.app.clone());
                }
            }
        }
    }

    fn touch_job(&mut self, job: &JobId) {
        // A job without a claim is a stray; strays are looked at in every plan.
        if let Some(claim) = self.cell.claim(job) {
            self.scope.add_app(self.cell.group(claim.group).key.app.clone());
        }
    }
}
