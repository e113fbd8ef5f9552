//! Leases: which exist and what hangs on them (replicated), and when they run out (the leader's alone).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stdx::Instant;

use super::command::{Failure, Key};

/// A lease. Clients see it as a signed 64-bit number.
pub type LeaseId = i64;

/// No lease.
pub const NO_LEASE: LeaseId = 0;

/// The longest time to live, in seconds; etcd's.
pub const LEASE_TTL_SECONDS_MAX: u64 = 9_000_000_000;

#[derive(Debug)]
struct Lease {
    ttl: u64,
    keys: BTreeSet<Key>,
}

#[derive(Debug, Default)]
pub(super) struct Leases {
    by_id: BTreeMap<LeaseId, Lease>,
}

impl Leases {
    pub(super) fn len(&self) -> u64 {
        self.by_id.len() as u64
    }

    pub(super) fn grant(&mut self, id: LeaseId, ttl: u64) -> Result<(), Failure> {
        if self.by_id.contains_key(&id) {
            return Err(Failure::LeaseExists);
        }
        self.by_id.insert(id, Lease { ttl, keys: BTreeSet::new() });
        Ok(())
    }

    pub(super) fn revoke(&mut self, id: LeaseId) -> Option<BTreeSet<Key>> {
        self.by_id.remove(&id).map(|lease| lease.keys)
    }

    pub(super) fn attach(&mut self, id: LeaseId, key: &Key) {
        if let Some(lease) = self.by_id.get_mut(&id) {
            lease.keys.insert(Arc::clone(key));
        }
    }

    pub(super) fn detach(&mut self, id: LeaseId, key: &[u8]) {
        if let Some(lease) = self.by_id.get_mut(&id) {
            lease.keys.remove(key);
        }
    }

    pub(super) fn ttl(&self, id: LeaseId) -> Option<u64> {
        self.by_id.get(&id).map(|lease| lease.ttl)
    }

    pub(super) fn keys(&self, id: LeaseId) -> Vec<Key> {
        self.by_id.get(&id).map(|lease| lease.keys.iter().cloned().collect()).unwrap_or_default()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (LeaseId, u64)> + '_ {
        self.by_id.iter().map(|(id, lease)| (*id, lease.ttl))
    }
}

/// When leases run out, by the leader's clock. A lease ends only by a committed [`Revoke`], which the leader
/// proposes when it is due; a new leader gives every lease its full time again.
///
/// [`Revoke`]: super::command::Command::Revoke
#[derive(Debug, Default)]
pub struct LeaseClock {
    due: BTreeSet<(Instant, LeaseId)>,
    at: BTreeMap<LeaseId, Instant>,
    /// Proposed for revocation: a keep-alive comes too late.
    ending: BTreeSet<LeaseId>,
}

impl LeaseClock {
    /// Begin to lead: every lease has its full time from now.
    pub fn lead(&mut self, leases: impl Iterator<Item = (LeaseId, u64)>, now: Instant) {
        *self = LeaseClock::default();
        for (id, ttl) in leases {
            self.set(id, now.after(Duration::from_secs(ttl)));
        }
    }

    /// A lease was granted, or a keep-alive is about to be acknowledged: full time from now. False if it is
    /// not known or is already being revoked, so that no keep-alive is acknowledged in vain.
    pub fn renew(&mut self, id: LeaseId, ttl: u64, now: Instant) -> bool {
        if self.ending.contains(&id) {
            return false;
        }
        self.set(id, now.after(Duration::from_secs(ttl)));
        true
    }

    /// The lease is gone.
    pub fn forget(&mut self, id: LeaseId) {
        self.ending.remove(&id);
        if let Some(at) = self.at.remove(&id) {
            self.due.remove(&(at, id));
        }
    }

    /// The revocation that was proposed came to nothing: propose it again at `at`.
    pub fn retry(&mut self, id: LeaseId, at: Instant) {
        if self.ending.remove(&id) {
            self.set(id, at);
        }
    }

    /// How long the lease has, if its end is known.
    #[must_use]
    pub fn remaining(&self, id: LeaseId, now: Instant) -> Option<Duration> {
        self.at.get(&id).map(|at| at.since(now))
    }

    /// Leases whose time is over, at most `count_max`: propose to revoke them.
    pub fn take_due(&mut self, now: Instant, count_max: usize) -> Vec<LeaseId> {
        let mut ids = Vec::new();
        while ids.len() < count_max
            && let Some((at, id)) = self.due.first().copied().filter(|(at, _)| *at <= now)
        {
            self.due.remove(&(at, id));
            self.ending.insert(id);
            ids.push(id);
        }
        ids
    }

    /// When the next lease runs out.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    fn set(&mut self, id: LeaseId, at: Instant) {
        if let Some(old) = self.at.insert(id, at) {
            self.due.remove(&(old, id));
        }
        self.due.insert((at, id));
    }
}

#[cfg(test)]
mod tests;
