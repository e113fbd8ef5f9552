//! Which backend of a service takes the next request: the less loaded of two chosen at random, passing over
//! those that lately refused connections.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use stdx::{Instant, Rng};
use types::ServiceName;

/// How long a backend is passed over after its first refusal; doubles with each further one.
const EJECT_FIRST: Duration = Duration::from_millis(500);
/// The longest a backend is passed over: it may be back at any time, and then its share is missed.
const EJECT_CAP: Duration = Duration::from_secs(8);

/// A backend, never used for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendId(u64);

/// Whether a backend gets requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendState {
    /// It does.
    Up,
    /// It finishes those it has. Since that revision.
    Draining(u64),
    /// Discovery forgot it; kept until its last request ends.
    Gone,
}

/// The router's view of an instance.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Of which service.
    pub service: ServiceName,
    /// Which instance of it.
    pub instance: String,
    /// Where it listens.
    pub addr: SocketAddr,
    /// Whether it gets requests.
    pub state: BackendState,
    /// Requests it has.
    pub in_flight: u64,
    /// Requests it was given.
    pub requests: u64,
    /// Refused connections since the last good one.
    pub refusals: u32,
    ejected_until: Instant,
}

/// The backends of one worker.
#[derive(Debug, Default)]
pub struct Balance {
    backends: BTreeMap<BackendId, Backend>,
    /// Those that are up.
    services: BTreeMap<ServiceName, Vec<BackendId>>,
    by_instance: BTreeMap<(ServiceName, String), BackendId>,
    /// Draining ones with requests in flight, by the revision that marked them.
    busy: BTreeSet<(u64, BackendId)>,
    next: u64,
}

impl Balance {
    /// No backends.
    #[must_use]
    pub fn new() -> Balance {
        Balance::default()
    }

    /// An instance is there in that state. Returns a backend that is no longer up through this, if any: its idle
    /// connections must be closed.
    pub fn put(
        &mut self,
        service: &ServiceName,
        instance: &str,
        addr: SocketAddr,
        state: BackendState,
    ) -> Option<BackendId> {
        let key = (service.clone(), String::from(instance));
        let known = self.by_instance.get(&key).copied();
        let moved = known.filter(|id| self.backends.get(id).is_none_or(|backend| backend.addr != addr));
        if let Some(old) = moved {
            self.set_state(old, BackendState::Gone);
        }
        let id = match known {
            Some(id) if moved.is_none() => id,
            _ => self.add(key, addr),
        };
        self.set_state(id, state);
        moved.or_else(|| (state != BackendState::Up).then_some(id))
    }

    /// An instance is gone. Returns its backend.
    pub fn remove(&mut self, service: &ServiceName, instance: &str) -> Option<BackendId> {
        let id = self.by_instance.remove(&(service.clone(), String::from(instance)))?;
        self.set_state(id, BackendState::Gone);
        Some(id)
    }

    /// Choose a backend for a request, not one of `tried`. Pair with [`Balance::close`].
    pub fn open(
        &mut self,
        now: Instant,
        service: &ServiceName,
        tried: &[BackendId],
        rng: &mut Rng,
    ) -> Option<(BackendId, SocketAddr)> {
        let up = self.services.get(service)?;
        let id = self.pick(now, up, tried, rng)?;
        let backend = self.backends.get_mut(&id)?;
        backend.in_flight += 1;
        backend.requests += 1;
        Some((id, backend.addr))
    }

    /// A request that [`Balance::open`] placed has ended. Whether the backend is still up, so that its connection
    /// may be kept.
    pub fn close(&mut self, id: BackendId) -> bool {
        let Some(backend) = self.backends.get_mut(&id) else { return false };
        debug_assert!(backend.in_flight > 0, "a request ends once");
        backend.in_flight = backend.in_flight.saturating_sub(1);
        let idle = backend.in_flight == 0;
        match backend.state {
            BackendState::Up => return true,
            BackendState::Draining(revision) if idle => drop(self.busy.remove(&(revision, id))),
            BackendState::Gone if idle => drop(self.backends.remove(&id)),
            BackendState::Draining(_) | BackendState::Gone => {}
        }
        false
    }

    /// It refused a connection, or took too long.
    pub fn refused(&mut self, now: Instant, id: BackendId) {
        if let Some(backend) = self.backends.get_mut(&id) {
            let wait = EJECT_FIRST.saturating_mul(1 << backend.refusals.min(8)).min(EJECT_CAP);
            backend.refusals = backend.refusals.saturating_add(1);
            backend.ejected_until = now.after(wait);
        }
    }

    /// It took a connection.
    pub fn connected(&mut self, id: BackendId) {
        if let Some(backend) = self.backends.get_mut(&id) {
            backend.refusals = 0;
            backend.ejected_until = Instant::START;
        }
    }

    /// The lowest revision that marked a backend draining which still has requests.
    #[must_use]
    pub fn draining_since(&self) -> Option<u64> {
        self.busy.first().map(|(revision, _)| *revision)
    }

    /// That backend.
    #[must_use]
    pub fn get(&self, id: BackendId) -> Option<&Backend> {
        self.backends.get(&id)
    }

    /// Every backend.
    pub fn iter(&self) -> impl Iterator<Item = (BackendId, &Backend)> {
        self.backends.iter().map(|(id, backend)| (*id, backend))
    }

    /// Whether the service has a backend in any state.
    #[must_use]
    pub fn knows(&self, service: &ServiceName) -> bool {
        self.services.get(service).is_some_and(|up| !up.is_empty())
            || self.backends.values().any(|backend| backend.service == *service)
    }

    fn pick(&self, now: Instant, up: &[BackendId], tried: &[BackendId], rng: &mut Rng) -> Option<BackendId> {
        let well = |id: &BackendId| self.backends.get(id).is_some_and(|backend| backend.ejected_until <= now);
        // The usual case first: nothing tried, both choices well.
        if tried.is_empty() && !up.is_empty() {
            let (a, b) = two(up.len(), rng);
            let (a, b) = (up[a], up[b]);
            if well(&a) && well(&b) {
                return Some(self.less_loaded(a, b));
            }
        }
        let open: Vec<BackendId> = up.iter().copied().filter(|id| !tried.contains(id)).collect();
        let healthy: Vec<BackendId> = open.iter().copied().filter(|id| well(id)).collect();
        // If all were ejected, one that may have come back is better than none.
        let choices = if healthy.is_empty() { open } else { healthy };
        if choices.is_empty() {
            return None;
        }
        let (a, b) = two(choices.len(), rng);
        Some(self.less_loaded(choices[a], choices[b]))
    }

    fn less_loaded(&self, a: BackendId, b: BackendId) -> BackendId {
        let load = |id: BackendId| self.backends.get(&id).map_or(u64::MAX, |backend| backend.in_flight);
        if load(b) < load(a) { b } else { a }
    }

    fn add(&mut self, key: (ServiceName, String), addr: SocketAddr) -> BackendId {
        let id = BackendId(self.next);
        self.next += 1;
        let backend = Backend {
            service: key.0.clone(),
            instance: key.1.clone(),
            addr,
            state: BackendState::Gone,
            in_flight: 0,
            requests: 0,
            refusals: 0,
            ejected_until: Instant::START,
        };
        self.backends.insert(id, backend);
        self.by_instance.insert(key, id);
        id
    }

    fn set_state(&mut self, id: BackendId, state: BackendState) {
        let Some(backend) = self.backends.get_mut(&id) else { return };
        let old = core::mem::replace(&mut backend.state, state);
        let (in_flight, service) = (backend.in_flight, backend.service.clone());
        if let BackendState::Draining(revision) = old {
            self.busy.remove(&(revision, id));
        }
        match state {
            BackendState::Draining(revision) if in_flight > 0 => drop(self.busy.insert((revision, id))),
            BackendState::Gone if in_flight == 0 => drop(self.backends.remove(&id)),
            _ => {}
        }
        let up = self.services.entry(service.clone()).or_default();
        up.retain(|other| *other != id);
        if state == BackendState::Up {
            up.push(id);
        } else if up.is_empty() {
            self.services.remove(&service);
        }
    }
}

/// Two different indices below `len`, or the same one twice if there is only one.
fn two(len: usize, rng: &mut Rng) -> (usize, usize) {
    let a = rng.index(len);
    if len < 2 {
        return (a, a);
    }
    let b = rng.index(len - 1);
    (a, if b >= a { b + 1 } else { b })
}

#[cfg(test)]
mod tests;
