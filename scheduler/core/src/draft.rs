//! A plan in the making: what this plan has already given away counts as taken.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use stdx::{Instant, Rng};
use types::host::{Capacity, EndCause, EndedJob};
use types::job::{DownReason, JobSpec};
use types::{AppId, HostId, JobId, VolumeName};

use crate::cell::{Cell, ClaimEntry, HostIx, host_ports, need};
use crate::desired::Desired;
use crate::limits::PROPOSALS_PER_PLAN_MAX;
use crate::plan::{Action, Ending, Plan, Proposal, Scope, Step, Wake, Why};

pub(crate) struct Draft<'a> {
    pub(crate) desired: &'a Desired,
    pub(crate) cell: &'a Cell,
    pub(crate) now: Instant,
    pub(crate) rng: &'a mut Rng,
    taken: BTreeMap<HostIx, Capacity>,
    ports: BTreeMap<(HostIx, u16), AppId>,
    volumes: BTreeMap<VolumeName, HostId>,
    records: BTreeMap<AppId, usize>,
    proposals: Vec<Proposal>,
    freed: bool,
    wake: Option<(Instant, BTreeSet<AppId>)>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(desired: &'a Desired, cell: &'a Cell, now: Instant, rng: &'a mut Rng) -> Draft<'a> {
        Draft {
            desired,
            cell,
            now,
            rng,
            taken: BTreeMap::new(),
            ports: BTreeMap::new(),
            volumes: BTreeMap::new(),
            records: BTreeMap::new(),
            proposals: Vec::new(),
            freed: false,
            wake: None,
        }
    }

    pub(crate) fn finish(self) -> Plan {
        let wake = self.wake.map(|(at, apps)| Wake { at, scope: Scope::Apps(apps) });
        Plan { proposals: self.proposals, wake }
    }

    /// Whether no more fits into this plan. The rest of `app` is then for the next one.
    pub(crate) fn full(&mut self, app: &AppId) -> bool {
        let full = self.proposals.len() >= PROPOSALS_PER_PLAN_MAX;
        if full {
            self.wake_at(self.now, app);
        }
        full
    }

    /// Look at `app` again at that moment at the latest.
    pub(crate) fn wake_at(&mut self, at: Instant, app: &AppId) {
        let (earliest, apps) = self.wake.get_or_insert_with(|| (at, BTreeSet::new()));
        *earliest = at.min(*earliest);
        apps.insert(app.clone());
    }

    /// Whether this plan makes room, so that what is blocked now may not be after it.
    pub(crate) fn frees(&self) -> bool {
        self.freed
    }

    pub(crate) fn propose(&mut self, steps: Vec<Step>) {
        self.proposals.push(Proposal { steps });
    }

    /// What a host still has to give.
    pub(crate) fn held(&self, host: HostIx) -> Capacity {
        let held = self.cell.host(host).held;
        self.taken.get(&host).map_or(held, |taken| crate::cell::add(held, *taken))
    }

    pub(crate) fn port_taken(&self, host: HostIx, port: u16, app: &AppId) -> bool {
        self.cell.host(host).port_taken(port, app) || self.ports.get(&(host, port)).is_some_and(|holder| holder != app)
    }

    pub(crate) fn volume_home(&self, volume: &VolumeName) -> Option<&HostId> {
        self.cell.volume_home(volume).or_else(|| self.volumes.get(volume))
    }

    /// Count a job of `spec` as placed on `host`.
    pub(crate) fn take(&mut self, host: HostIx, spec: &JobSpec) {
        let taken = self.taken.entry(host).or_default();
        *taken = crate::cell::add(*taken, need(&spec.resources));
        for port in host_ports(spec) {
            self.ports.insert((host, port), spec.app.clone());
        }
        let id = &self.cell.host(host).id;
        for mount in &spec.volumes {
            if self.cell.volume_home(&mount.volume).is_none() {
                self.volumes.entry(mount.volume.clone()).or_insert_with(|| id.clone());
            }
        }
    }

    /// A fresh job id on `host`.
    pub(crate) fn job_on(&mut self, host: HostIx) -> JobId {
        JobId::on(&self.cell.host(host).id, &self.uuid())
    }

    fn uuid(&mut self) -> String {
        let (high, low) = (self.rng.next_u64(), self.rng.next_u64());
        let mut text = String::with_capacity(36);
        // Version 4, variant 1, as everyone expects of a random UUID.
        let _ = write!(
            text,
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            (low >> 48) & 0x3fff | 0x8000,
            low & 0xffff_ffff_ffff,
        );
        text
    }

    /// The steps that turn a claim into a record.
    pub(crate) fn end_steps(&mut self, claim: &ClaimEntry, ending: Ending, why: Why) -> Vec<Step> {
        let record = self.record(claim, ending);
        let app = record.app.clone();
        let host = self.cell.host(claim.host).id.clone();
        self.freed = true;
        let mut steps = alloc::vec![Step { action: Action::End { host, ending, record }, why }];
        steps.extend(self.forget_steps(&app));
        steps
    }

    /// The steps that make room for one more record of `app`.
    pub(crate) fn forget_steps(&mut self, app: &AppId) -> Vec<Step> {
        let more = self.records.entry(app.clone()).or_insert(0);
        let already = self.cell.ended_surplus(app, *more).len();
        *more += 1;
        let surplus = self.cell.ended_surplus(app, *more);
        let old = surplus.into_iter().skip(already);
        old.map(|job| Step { action: Action::Forget { app: app.clone(), job }, why: Why::Old }).collect()
    }

    fn record(&self, claim: &ClaimEntry, ending: Ending) -> alloc::boxed::Box<EndedJob> {
        let group = self.cell.group(claim.group);
        let reason = match (&claim.down, ending) {
            (Some(reason), _) => (**reason).clone(),
            (None, _) => DownReason::Lost,
        };
        alloc::boxed::Box::new(EndedJob {
            job: claim.job.clone(),
            app: group.key.app.clone(),
            app_name: group.app_name.clone(),
            release: group.key.release.clone(),
            process_type: group.key.process_type.clone(),
            reason,
            cause: if claim.stop.is_some() { EndCause::Asked } else { EndCause::Unasked },
            started_ms: claim.started_ms,
            ended_ms: claim.ended_ms,
        })
    }
}
