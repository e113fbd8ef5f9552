//! Which job has which address.

use core::net::Ipv4Addr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use stdx::Instant;
use types::JobId;

use super::subnet::Subnet;

/// The addresses of one subnet, handed out in a circle.
///
/// An address that was given back rests before it is given to another job, so that a peer with a stale answer
/// reaches nobody rather than a stranger. When only resting addresses are left, the one that rested longest goes.
#[derive(Clone, Debug)]
pub struct Ipam {
    subnet: Subnet,
    rest: Duration,
    /// Where the search for a free address goes on.
    next: u32,
    by_job: BTreeMap<JobId, Ipv4Addr>,
    held: BTreeSet<Ipv4Addr>,
    /// In the order they were given back.
    resting: VecDeque<(Instant, Ipv4Addr)>,
}

/// Every address of the subnet is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("every address of {subnet} is in use")]
pub struct Exhausted {
    /// Which subnet.
    pub subnet: Subnet,
}

impl Ipam {
    /// All addresses of `subnet` free, except the network's, the gateway's and the broadcast address.
    #[must_use]
    pub fn new(subnet: Subnet, rest: Duration) -> Ipam {
        let next = subnet.gateway().to_bits();
        Ipam { subnet, rest, next, by_job: BTreeMap::new(), held: BTreeSet::new(), resting: VecDeque::new() }
    }

    /// An address for `job`; the one it has if it has one.
    ///
    /// # Errors
    /// When every address is held.
    pub fn allocate(&mut self, now: Instant, job: &JobId) -> Result<Ipv4Addr, Exhausted> {
        if let Some(address) = self.by_job.get(job) {
            return Ok(*address);
        }
        self.wake(now);
        let address = match self.unused() {
            Some(address) => address,
            None => self.resting.pop_front().map(|(_, address)| address).ok_or(Exhausted { subnet: self.subnet })?,
        };
        self.next = address.to_bits();
        self.held.insert(address);
        self.by_job.insert(job.clone(), address);
        Ok(address)
    }

    /// Take note of an address that a live job already has. False when it is not ours to give or somebody else's.
    #[must_use]
    pub fn adopt(&mut self, job: &JobId, address: Ipv4Addr) -> bool {
        if self.by_job.get(job) == Some(&address) {
            return true;
        }
        if self.by_job.contains_key(job) || self.held.contains(&address) || !self.gives(address) {
            return false;
        }
        self.resting.retain(|(_, resting)| *resting != address);
        self.held.insert(address);
        self.by_job.insert(job.clone(), address);
        // After a restart nothing is known of what rests: go on above what is in use.
        self.next = self.next.max(address.to_bits());
        true
    }

    /// The job's address is free again, after its rest.
    pub fn release(&mut self, now: Instant, job: &JobId) {
        if let Some(address) = self.by_job.remove(job) {
            self.held.remove(&address);
            self.resting.push_back((now, address));
        }
    }

    /// The job's address.
    #[must_use]
    pub fn address(&self, job: &JobId) -> Option<Ipv4Addr> {
        self.by_job.get(job).copied()
    }

    /// Who has which address.
    pub fn held(&self) -> impl Iterator<Item = (&JobId, Ipv4Addr)> {
        self.by_job.iter().map(|(job, address)| (job, *address))
    }

    fn gives(&self, address: Ipv4Addr) -> bool {
        let last = self.subnet.last();
        self.subnet.contains(address) && address > self.subnet.gateway() && address < last
    }

    fn wake(&mut self, now: Instant) {
        while self.resting.front().is_some_and(|(since, _)| since.after(self.rest) <= now) {
            self.resting.pop_front();
        }
    }

    /// The next address in the circle that is neither held nor resting.
    fn unused(&self) -> Option<Ipv4Addr> {
        let first = self.subnet.gateway().to_bits().saturating_add(1);
        let end = self.subnet.last().to_bits();
        let resting: BTreeSet<Ipv4Addr> = self.resting.iter().map(|(_, address)| *address).collect();
        let after = (self.next.saturating_add(1)..end).chain(first..=self.next.min(end.saturating_sub(1)));
        after
            .map(Ipv4Addr::from_bits)
            .find(|address| self.gives(*address) && !self.held.contains(address) && !resting.contains(address))
    }
}

#[cfg(test)]
mod tests;
