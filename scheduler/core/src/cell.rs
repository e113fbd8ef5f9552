//! What is observed: hosts, the claims on them, what became of their jobs. One picture in memory, kept small:
//! a claim keeps what decisions need, never its whole specification.

mod claims;
mod ended;
mod hosts;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use stdx::Instant;
use types::cell::FormationTrouble;
use types::host::{Capacity, Claim, EndedJob, Host};
use types::job::{JobSpec, JobStatus, NetworkMode, Resources};
use types::{AppId, HostId, JobId, ReleaseId, VolumeName};

pub use claims::{ClaimEntry, ClaimIx, Group, GroupIx, GroupKey, Phase};
pub use ended::Crashes;
pub use hosts::{HostEntry, HostIx, Presence, Standing};

use claims::Claims;
use ended::Ended;
use hosts::Hosts;

pub(crate) use hosts::{add, subtract};

/// The observed state of the whole cell.
#[derive(Debug, Default)]
pub struct Cell {
    hosts: Hosts,
    claims: Claims,
    ended: Ended,
    /// Statuses without a claim: left behind, or written by a host that had not heard yet.
    strays: BTreeMap<JobId, (HostId, JobStatus)>,
    volumes: BTreeMap<VolumeName, HostId>,
    troubles: BTreeMap<(AppId, ReleaseId), FormationTrouble>,
}

/// What a job holds of its host.
#[must_use]
pub fn need(resources: &Resources) -> Capacity {
    Capacity {
        memory_bytes: resources.memory_bytes.unwrap_or(0),
        cpu_milli: u64::from(resources.cpu_milli.unwrap_or(0)),
        jobs: 1,
    }
}

/// The ports of the host itself that a job listens on.
#[must_use]
pub fn host_ports(spec: &JobSpec) -> Vec<u16> {
    match (&spec.service, spec.network) {
        (Some(service), NetworkMode::Host) => alloc::vec![service.port],
        _ => Vec::new(),
    }
}

impl Cell {
    /// A host's record was written.
    pub fn put_host(&mut self, now: Instant, host: Host) {
        self.hosts.put(now, host);
    }

    /// A host's record was deleted: it will not come back.
    pub fn drop_host(&mut self, host: &HostId) {
        self.hosts.drop_record(host);
    }

    /// A host's presence was registered or ran out.
    pub fn set_presence(&mut self, now: Instant, host: &HostId, presence: Presence) {
        self.hosts.set_presence(now, host, presence);
    }

    /// A host's ledger was written at `revision`; 0 when it was deleted.
    pub fn set_ledger(&mut self, now: Instant, host: &HostId, revision: u64) {
        self.hosts.set_ledger(now, host, revision);
    }

    /// A claim was written at `revision`.
    pub fn put_claim(&mut self, now: Instant, revision: u64, claim: &Claim) {
        let host = self.hosts.intern(now, &claim.host);
        if self.claims.rewrite(host, revision, claim) {
            return; // Only the stop order of a claim ever changes.
        }
        self.drop_claim(&claim.job);
        let ix = self.claims.put(host, revision, claim);
        self.hosts.hold(host, ix, self.claims.get(ix), &claim.spec.app);
        if let Some((_, status)) = self.strays.remove(&claim.job) {
            self.claims.set_status(now, &status);
        }
    }

    /// A claim was deleted.
    pub fn drop_claim(&mut self, job: &JobId) {
        if let Some((ix, entry, app)) = self.claims.remove(job) {
            self.hosts.release(entry.host, ix, &entry, &app);
            if let Some(status) = entry.last_status() {
                self.strays.insert(job.clone(), (self.hosts.get(entry.host).id.clone(), status));
            }
        }
    }

    /// A host wrote what became of a job.
    pub fn put_status(&mut self, now: Instant, host: &HostId, status: &JobStatus) {
        if !self.claims.set_status(now, status) {
            self.strays.insert(status.job.clone(), (host.clone(), status.clone()));
        }
    }

    /// A job's status was deleted.
    pub fn drop_status(&mut self, job: &JobId) {
        self.strays.remove(job);
        self.claims.clear_status(job);
    }

    /// A record of an ended job was written.
    pub fn put_ended(&mut self, now: Instant, record: &EndedJob) {
        self.ended.put(now, record);
    }

    /// A record of an ended job was deleted.
    pub fn drop_ended(&mut self, app: &AppId, job: &JobId) {
        self.ended.drop_record(app, job);
    }

    /// A volume was given a host.
    pub fn put_volume(&mut self, volume: VolumeName, host: HostId) {
        self.volumes.insert(volume, host);
    }

    /// A volume is no more.
    pub fn drop_volume(&mut self, volume: &VolumeName) {
        self.volumes.remove(volume);
    }

    /// What was last reported of a formation.
    pub fn put_trouble(&mut self, trouble: FormationTrouble) {
        self.troubles.insert((trouble.app.clone(), trouble.release.clone()), trouble);
    }

    /// The report was withdrawn.
    pub fn drop_trouble(&mut self, app: &AppId, release: &ReleaseId) {
        self.troubles.remove(&(app.clone(), release.clone()));
    }

    /// What was last reported of a formation, if it is in trouble.
    #[must_use]
    pub fn trouble(&self, app: &AppId, release: &ReleaseId) -> Option<&FormationTrouble> {
        self.troubles.get(&(app.clone(), release.clone()))
    }

    /// Formations of `app` with a report.
    pub fn troubles_of<'a>(&'a self, app: &'a AppId) -> impl Iterator<Item = &'a FormationTrouble> {
        self.troubles.values().filter(move |trouble| trouble.app == *app)
    }

    /// Where a volume is, if it is anywhere yet.
    #[must_use]
    pub fn volume_home(&self, volume: &VolumeName) -> Option<&HostId> {
        self.volumes.get(volume)
    }

    /// Apps of which something waits for room.
    pub fn blocked_apps(&self) -> impl Iterator<Item = &AppId> {
        let blocked = |trouble: &&FormationTrouble| trouble.processes.values().any(|process| process.blocked > 0);
        self.troubles.values().filter(blocked).map(|trouble| &trouble.app)
    }

    /// Statuses that belong to no claim.
    pub fn strays(&self) -> impl Iterator<Item = (&JobId, &HostId)> {
        self.strays.iter().map(|(job, (host, _))| (job, host))
    }

    /// Every host, by number.
    #[must_use]
    pub fn hosts(&self) -> &[HostEntry] {
        self.hosts.all()
    }

    /// One host.
    #[must_use]
    pub fn host(&self, ix: HostIx) -> &HostEntry {
        self.hosts.get(ix)
    }

    /// A host's number, when it was ever heard of.
    #[must_use]
    pub fn host_ix(&self, host: &HostId) -> Option<HostIx> {
        self.hosts.index(host)
    }

    /// Hosts that may take jobs, by zone.
    #[must_use]
    pub fn zones(&self) -> &BTreeMap<alloc::string::String, Vec<HostIx>> {
        self.hosts.zones()
    }

    /// A host's number in its zone's count, see [`Cell::zones`].
    #[must_use]
    pub fn zone_of(&self, host: HostIx) -> &str {
        self.hosts.get(host).zone()
    }

    /// A claim by its job.
    #[must_use]
    pub fn claim(&self, job: &JobId) -> Option<&ClaimEntry> {
        self.claims.find(job)
    }

    /// A claim by its number.
    #[must_use]
    pub fn claim_at(&self, ix: ClaimIx) -> &ClaimEntry {
        self.claims.get(ix)
    }

    /// How many claims there are.
    #[must_use]
    pub fn claim_count(&self) -> usize {
        self.claims.len()
    }

    /// A group by its number.
    #[must_use]
    pub fn group(&self, ix: GroupIx) -> &Group {
        self.claims.group(ix)
    }

    /// The group of a key, when a claim was ever in it.
    #[must_use]
    pub fn group_ix(&self, key: &GroupKey) -> Option<GroupIx> {
        self.claims.group_index(key)
    }

    /// The groups of an app.
    #[must_use]
    pub fn groups_of(&self, app: &AppId) -> &[GroupIx] {
        self.claims.groups_of(app)
    }

    /// Every app that has claims, statuses or records.
    #[must_use]
    pub fn apps(&self) -> BTreeSet<AppId> {
        let troubled = self.troubles.keys().map(|(app, _)| app);
        self.claims.apps().chain(troubled).cloned().collect()
    }

    /// Crashes of a group in a row.
    #[must_use]
    pub fn crashes(&self, key: &GroupKey) -> Crashes {
        self.ended.crashes(key)
    }

    /// Whether a job's end was recorded.
    #[must_use]
    pub fn has_ended(&self, app: &AppId, job: &JobId) -> bool {
        self.ended.contains(app, job)
    }

    /// The records of an app that have to go for `more` to fit, oldest first.
    #[must_use]
    pub fn ended_surplus(&self, app: &AppId, more: usize) -> Vec<JobId> {
        self.ended.surplus(app, more)
    }
}
