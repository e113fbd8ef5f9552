//! Claims, kept in slots and found by job, host and group.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use stdx::Instant;
use types::host::{Capacity, Claim, StopOrder};
use types::job::{DownReason, JobState, JobStatus, Lifecycle, Stdio};
use types::{AppId, AppName, JobId, ProcessType, ReleaseId};

use super::hosts::HostIx;
use super::{host_ports, need};

/// A claim's number in this cell; used again after the claim is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClaimIx(u32);

/// A group's number in this cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupIx(u32);

/// What jobs that stand in for one another have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupKey {
    /// The app.
    pub app: AppId,
    /// The release, when they are of one.
    pub release: Option<ReleaseId>,
    /// The process type.
    pub process_type: ProcessType,
}

/// The claims of one app, release and process type.
#[derive(Debug)]
pub struct Group {
    /// Of what.
    pub key: GroupKey,
    /// The app's name.
    pub app_name: AppName,
    /// The claims.
    pub members: BTreeSet<ClaimIx>,
}

/// What a claim's job has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its host has not said anything yet.
    Unseen,
    /// On its way.
    Starting,
    /// Running and healthy.
    Up,
    /// On its way out.
    Stopping,
    /// Ended.
    Down,
}

/// The part of a claim that decisions need.
#[derive(Debug)]
pub struct ClaimEntry {
    /// Which job.
    pub job: JobId,
    /// On which host.
    pub host: HostIx,
    /// Of which group.
    pub group: GroupIx,
    /// Who restarts it.
    pub lifecycle: Lifecycle,
    /// Whether a client has to attach before it starts.
    pub attached: bool,
    /// How it was asked to end.
    pub stop: Option<StopOrder>,
    /// What its job has come to.
    pub phase: Phase,
    /// Since when, as this scheduler saw it.
    pub phase_since: Instant,
    /// What it holds of its host.
    pub held: Capacity,
    /// The revision it was last written at.
    pub revision: u64,
    /// Milliseconds since 1970 when it was committed.
    pub created_ms: u64,
    /// Milliseconds since 1970 when its job was started.
    pub started_ms: u64,
    /// Milliseconds since 1970 when its job ended.
    pub ended_ms: u64,
    /// Why its job is down.
    pub down: Option<Box<DownReason>>,
    extras: Option<Box<Extras>>,
}

/// What few claims have.
#[derive(Debug, Default)]
struct Extras {
    ports: Vec<u16>,
}

impl ClaimEntry {
    /// The ports of its host that it listens on.
    #[must_use]
    pub fn ports(&self) -> &[u16] {
        self.extras.as_ref().map_or(&[], |extras| &extras.ports)
    }

    /// What its host last said of it, as far as it was kept.
    pub(super) fn last_status(&self) -> Option<JobStatus> {
        let state = match self.phase {
            Phase::Unseen => return None,
            Phase::Starting => JobState::Starting,
            Phase::Up => JobState::Up,
            Phase::Stopping => JobState::Stopping,
            Phase::Down => JobState::Down(self.down.as_deref().cloned().unwrap_or(DownReason::Lost)),
        };
        Some(JobStatus {
            job: self.job.clone(),
            state,
            address: None,
            pid: None,
            restarts: 0,
            last_exit: None,
            started_ms: self.started_ms,
            ended_ms: self.ended_ms,
        })
    }
}

#[derive(Debug, Default)]
pub(super) struct Claims {
    slots: Vec<Option<ClaimEntry>>,
    free: Vec<ClaimIx>,
    index: BTreeMap<JobId, ClaimIx>,
    groups: Vec<Group>,
    free_groups: Vec<GroupIx>,
    group_index: BTreeMap<GroupKey, GroupIx>,
    apps: BTreeMap<AppId, Vec<GroupIx>>,
}

impl Claims {
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    pub(super) fn get(&self, ix: ClaimIx) -> &ClaimEntry {
        self.slots[ix.0 as usize].as_ref().expect("an index is handed out while its claim stands")
    }

    pub(super) fn find(&self, job: &JobId) -> Option<&ClaimEntry> {
        self.index.get(job).map(|ix| self.get(*ix))
    }

    pub(super) fn group(&self, ix: GroupIx) -> &Group {
        &self.groups[ix.0 as usize]
    }

    pub(super) fn group_index(&self, key: &GroupKey) -> Option<GroupIx> {
        self.group_index.get(key).copied()
    }

    pub(super) fn groups_of(&self, app: &AppId) -> &[GroupIx] {
        self.apps.get(app).map_or(&[], Vec::as_slice)
    }

    pub(super) fn apps(&self) -> impl Iterator<Item = &AppId> {
        self.apps.keys()
    }

    pub(super) fn put(&mut self, host: HostIx, revision: u64, claim: &Claim) -> ClaimIx {
        let spec = &claim.spec;
        let key =
            GroupKey { app: spec.app.clone(), release: spec.release.clone(), process_type: spec.process_type.clone() };
        let group = self.intern(key, &spec.app_name);
        let ports = host_ports(spec);
        let entry = ClaimEntry {
            job: claim.job.clone(),
            host,
            group,
            lifecycle: spec.lifecycle,
            attached: spec.stdio != Stdio::Log,
            stop: claim.stop,
            phase: Phase::Unseen,
            phase_since: Instant::START,
            held: need(&spec.resources),
            revision,
            created_ms: claim.created_ms,
            started_ms: 0,
            ended_ms: 0,
            down: None,
            extras: (!ports.is_empty()).then(|| Box::new(Extras { ports })),
        };
        let ix = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            ClaimIx(u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 claims"))
        });
        self.slots[ix.0 as usize] = Some(entry);
        self.index.insert(claim.job.clone(), ix);
        self.groups[group.0 as usize].members.insert(ix);
        ix
    }

    /// Take over what can change of a claim. False when there is no such claim on that host.
    pub(super) fn rewrite(&mut self, host: HostIx, revision: u64, claim: &Claim) -> bool {
        let Some(entry) = self.entry(&claim.job).filter(|entry| entry.host == host) else { return false };
        entry.stop = claim.stop;
        entry.revision = revision;
        true
    }

    pub(super) fn remove(&mut self, job: &JobId) -> Option<(ClaimIx, ClaimEntry, AppId)> {
        let ix = self.index.remove(job)?;
        let entry = self.slots[ix.0 as usize].take().expect("the index names claims that stand");
        self.free.push(ix);
        let group = &mut self.groups[entry.group.0 as usize];
        group.members.remove(&ix);
        let key = group.key.clone();
        if group.members.is_empty() {
            self.retire(entry.group, &key);
        }
        Some((ix, entry, key.app))
    }

    fn retire(&mut self, ix: GroupIx, key: &GroupKey) {
        self.group_index.remove(key);
        self.free_groups.push(ix);
        if let Some(groups) = self.apps.get_mut(&key.app) {
            groups.retain(|group| *group != ix);
            if groups.is_empty() {
                self.apps.remove(&key.app);
            }
        }
    }

    /// False when no claim has that job.
    pub(super) fn set_status(&mut self, now: Instant, status: &JobStatus) -> bool {
        let Some(entry) = self.entry(&status.job) else { return false };
        let (phase, down) = match &status.state {
            JobState::Pending | JobState::Blocked | JobState::Starting => (Phase::Starting, None),
            JobState::Up => (Phase::Up, None),
            JobState::Stopping => (Phase::Stopping, None),
            JobState::Down(reason) => (Phase::Down, Some(Box::new(reason.clone()))),
        };
        if entry.phase != phase {
            entry.phase = phase;
            entry.phase_since = now;
        }
        entry.down = down;
        entry.started_ms = status.started_ms;
        entry.ended_ms = status.ended_ms;
        true
    }

    pub(super) fn clear_status(&mut self, job: &JobId) {
        if let Some(entry) = self.entry(job) {
            entry.phase = Phase::Unseen;
            entry.down = None;
        }
    }

    fn entry(&mut self, job: &JobId) -> Option<&mut ClaimEntry> {
        let ix = *self.index.get(job)?;
        self.slots[ix.0 as usize].as_mut()
    }

    fn intern(&mut self, key: GroupKey, app_name: &AppName) -> GroupIx {
        if let Some(ix) = self.group_index.get(&key) {
            return *ix;
        }
        let group = Group { key: key.clone(), app_name: app_name.clone(), members: BTreeSet::new() };
        let ix = match self.free_groups.pop() {
            Some(ix) => {
                self.groups[ix.0 as usize] = group;
                ix
            }
            None => {
                self.groups.push(group);
                GroupIx(u32::try_from(self.groups.len() - 1).expect("fewer than 2^32 groups"))
            }
        };
        self.apps.entry(key.app.clone()).or_default().push(ix);
        self.group_index.insert(key, ix);
        ix
    }
}
