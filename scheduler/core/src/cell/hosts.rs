//! Hosts, and what their claims hold.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use stdx::Instant;
use types::host::{Capacity, Host, HostState};
use types::{AppId, HostId};

use super::claims::{ClaimEntry, ClaimIx};
use crate::limits::{LOST_AFTER, LOST_AFTER_BOOT};

/// A host's number in this cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostIx(pub(crate) u32);

/// Whether a host's lease stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It does.
    Here,
    /// It ran out or was given up.
    Gone,
}

/// What a host is good for at a given moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It takes jobs.
    Open,
    /// It keeps its jobs until they moved.
    Draining,
    /// Its presence is gone, but not for long enough to act on.
    Doubtful {
        /// From when on it counts as lost.
        until: Instant,
    },
    /// It is gone, and its jobs with it.
    Lost,
}

/// One host.
#[derive(Debug)]
pub struct HostEntry {
    /// Which.
    pub id: HostId,
    /// Its record, unless it has none.
    pub record: Option<Host>,
    /// The revision that guards commits on it.
    pub ledger_revision: u64,
    /// What its claims hold together.
    pub held: Capacity,
    /// Its claims.
    pub members: BTreeSet<ClaimIx>,
    ports: BTreeMap<u16, Vec<AppId>>,
    presence: Presence,
    /// Since when its presence is as it is.
    since: Instant,
    seen: bool,
    removed: bool,
}

impl HostEntry {
    /// Its zone, empty when not told.
    #[must_use]
    pub fn zone(&self) -> &str {
        self.record.as_ref().map_or("", |record| record.zone.as_str())
    }

    /// What it has to give.
    #[must_use]
    pub fn capacity(&self) -> Capacity {
        self.record.as_ref().map(|record| record.capacity).unwrap_or_default()
    }

    /// Whether it has all of `tags`.
    #[must_use]
    pub fn has_tags(&self, tags: &BTreeMap<String, String>) -> bool {
        tags.iter().all(|(name, value)| self.record.as_ref().is_some_and(|record| record.tags.get(name) == Some(value)))
    }

    /// Whether another app than `app` listens on `port` of it.
    #[must_use]
    pub fn port_taken(&self, port: u16, app: &AppId) -> bool {
        self.ports.get(&port).is_some_and(|apps| apps.iter().any(|holder| holder != app))
    }

    /// What it is good for at `now`.
    #[must_use]
    pub fn standing(&self, now: Instant) -> Standing {
        if self.removed {
            return Standing::Lost;
        }
        if self.presence == Presence::Gone {
            let until = self.since.after(self.patience());
            return if now >= until { Standing::Lost } else { Standing::Doubtful { until } };
        }
        match self.record.as_ref().map(|record| record.state) {
            Some(HostState::Up) => Standing::Open,
            Some(HostState::Draining) => Standing::Draining,
            // The presence says otherwise; the host will correct its record.
            Some(HostState::Down) | None => Standing::Doubtful { until: now.after(LOST_AFTER_BOOT) },
        }
    }

    fn patience(&self) -> Duration {
        if self.seen { LOST_AFTER } else { LOST_AFTER_BOOT }
    }
}

#[derive(Debug, Default)]
pub(super) struct Hosts {
    entries: Vec<HostEntry>,
    index: BTreeMap<HostId, HostIx>,
    zones: BTreeMap<String, Vec<HostIx>>,
}

impl Hosts {
    pub(super) fn all(&self) -> &[HostEntry] {
        &self.entries
    }

    pub(super) fn get(&self, ix: HostIx) -> &HostEntry {
        &self.entries[ix.0 as usize]
    }

    pub(super) fn index(&self, host: &HostId) -> Option<HostIx> {
        self.index.get(host).copied()
    }

    pub(super) fn zones(&self) -> &BTreeMap<String, Vec<HostIx>> {
        &self.zones
    }

    pub(super) fn intern(&mut self, now: Instant, host: &HostId) -> HostIx {
        if let Some(ix) = self.index.get(host) {
            return *ix;
        }
        let ix = HostIx(u32::try_from(self.entries.len()).expect("fewer than 2^32 hosts"));
        self.entries.push(HostEntry {
            id: host.clone(),
            record: None,
            ledger_revision: 0,
            held: Capacity::default(),
            members: BTreeSet::new(),
            ports: BTreeMap::new(),
            presence: Presence::Gone,
            since: now,
            seen: false,
            removed: false,
        });
        self.index.insert(host.clone(), ix);
        ix
    }

    pub(super) fn put(&mut self, now: Instant, host: Host) {
        let ix = self.intern(now, &host.id);
        let zone = host.zone.clone();
        let entry = &mut self.entries[ix.0 as usize];
        let moved = entry.record.as_ref().is_none_or(|old| old.zone != zone);
        entry.record = Some(host);
        entry.removed = false;
        if moved {
            self.leave_zone(ix);
            self.zones.entry(zone).or_default().push(ix);
        }
    }

    pub(super) fn drop_record(&mut self, host: &HostId) {
        if let Some(ix) = self.index(host) {
            let entry = &mut self.entries[ix.0 as usize];
            entry.record = None;
            entry.removed = true;
            self.leave_zone(ix);
        }
    }

    fn leave_zone(&mut self, ix: HostIx) {
        self.zones.retain(|_, members| {
            members.retain(|member| *member != ix);
            !members.is_empty()
        });
    }

    pub(super) fn set_presence(&mut self, now: Instant, host: &HostId, presence: Presence) {
        let ix = self.intern(now, host);
        let entry = &mut self.entries[ix.0 as usize];
        if entry.presence != presence {
            entry.presence = presence;
            entry.since = now;
        }
        entry.seen |= presence == Presence::Here;
    }

    pub(super) fn set_ledger(&mut self, now: Instant, host: &HostId, revision: u64) {
        let ix = self.intern(now, host);
        self.entries[ix.0 as usize].ledger_revision = revision;
    }

    pub(super) fn hold(&mut self, host: HostIx, ix: ClaimIx, claim: &ClaimEntry, app: &AppId) {
        let entry = &mut self.entries[host.0 as usize];
        entry.members.insert(ix);
        entry.held = add(entry.held, claim.held);
        for port in claim.ports() {
            entry.ports.entry(*port).or_default().push(app.clone());
        }
    }

    pub(super) fn release(&mut self, host: HostIx, ix: ClaimIx, claim: &ClaimEntry, app: &AppId) {
        let entry = &mut self.entries[host.0 as usize];
        entry.members.remove(&ix);
        entry.held = subtract(entry.held, claim.held);
        for port in claim.ports() {
            if let Some(apps) = entry.ports.get_mut(port) {
                if let Some(at) = apps.iter().position(|holder| holder == app) {
                    apps.swap_remove(at);
                }
                if apps.is_empty() {
                    entry.ports.remove(port);
                }
            }
        }
    }
}

pub(crate) fn add(a: Capacity, b: Capacity) -> Capacity {
    Capacity {
        memory_bytes: a.memory_bytes.saturating_add(b.memory_bytes),
        cpu_milli: a.cpu_milli.saturating_add(b.cpu_milli),
        jobs: a.jobs.saturating_add(b.jobs),
    }
}

pub(crate) fn subtract(a: Capacity, b: Capacity) -> Capacity {
    Capacity {
        memory_bytes: a.memory_bytes.saturating_sub(b.memory_bytes),
        cpu_milli: a.cpu_milli.saturating_sub(b.cpu_milli),
        jobs: a.jobs.saturating_sub(b.jobs),
    }
}
