//! A worker's routes and backends as one machine, and what it may report to those who wait for it.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;

use stdx::{Instant, Rng};
use types::app::Route;
use types::{RouteId, ServiceName};

use crate::{Backend, BackendId, BackendState, Balance, Table};

/// An instance as discovery holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Of which service.
    pub service: ServiceName,
    /// Its id within the service.
    pub id: String,
    /// Where it listens.
    pub addr: SocketAddr,
    /// Whether it is marked draining.
    pub draining: bool,
}

/// One difference between the store now and before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A route is there.
    Route(Route),
    /// A route is gone.
    RouteGone(RouteId),
    /// An instance is there, in that state since that revision.
    Instance(Instance, u64),
    /// An instance is gone.
    InstanceGone(ServiceName, String),
    /// All changes of instances up to that revision were given.
    Seen(u64),
}

/// What a worker has taken in and finished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Progress {
    /// It acts on every instance as of that revision.
    pub seen: u64,
    /// Every backend marked draining at or below that revision has no request in flight here.
    pub drained: u64,
}

/// A backend for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Which.
    pub backend: BackendId,
    /// Where to connect.
    pub addr: SocketAddr,
}

/// Why a request cannot be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unroutable {
    /// No route covers its host and path.
    NoRoute,
    /// The service has no backend that takes requests and was not tried.
    NoBackend,
}

/// How a connection attempt or a request at a backend ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should, as far as the backend is concerned.
    Done,
    /// It could not be reached.
    Refused,
}

/// The routes and backends of one worker.
#[derive(Debug)]
pub struct Hub {
    table: Table,
    balance: Balance,
    seen: u64,
    rng: Rng,
}

impl Hub {
    /// Nothing known yet.
    #[must_use]
    pub fn new(rng: Rng) -> Hub {
        Hub { table: Table::new(), balance: Balance::new(), seen: 0, rng }
    }

    /// Take in a change. Backends that get no more requests through it are appended to `retired`: their idle
    /// connections must be closed before the progress is reported.
    pub fn apply(&mut self, change: Change, retired: &mut Vec<BackendId>) {
        match change {
            Change::Route(route) => self.table.put(route),
            Change::RouteGone(id) => self.table.remove(&id),
            Change::Instance(instance, revision) => {
                let state = if instance.draining { BackendState::Draining(revision) } else { BackendState::Up };
                retired.extend(self.balance.put(&instance.service, &instance.id, instance.addr, state));
            }
            Change::InstanceGone(service, id) => retired.extend(self.balance.remove(&service, &id)),
            Change::Seen(revision) => self.seen = self.seen.max(revision),
        }
    }

    /// Place a request. Pair each success with [`Hub::close`].
    ///
    /// # Errors
    /// Says what is missing.
    pub fn open(&mut self, now: Instant, host: &str, path: &str, tried: &[BackendId]) -> Result<Choice, Unroutable> {
        let service = self.table.find(host, path).ok_or(Unroutable::NoRoute)?;
        let (backend, addr) = self.balance.open(now, service, tried, &mut self.rng).ok_or(Unroutable::NoBackend)?;
        Ok(Choice { backend, addr })
    }

    /// The backend took a connection.
    pub fn connected(&mut self, backend: BackendId) {
        self.balance.connected(backend);
    }

    /// The request placed at `backend` has left it. Whether its connection may be kept for another one.
    pub fn close(&mut self, now: Instant, backend: BackendId, outcome: Outcome) -> bool {
        if outcome == Outcome::Refused {
            self.balance.refused(now, backend);
        }
        self.balance.close(backend)
    }

    /// Whether the backend gets requests.
    #[must_use]
    pub fn is_up(&self, backend: BackendId) -> bool {
        self.balance.get(backend).is_some_and(|backend| backend.state == BackendState::Up)
    }

    /// What may be reported.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let drained = self.balance.draining_since().map_or(self.seen, |busy| self.seen.min(busy.saturating_sub(1)));
        Progress { seen: self.seen, drained }
    }

    /// Every route.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.table.iter()
    }

    /// Every backend.
    pub fn backends(&self) -> impl Iterator<Item = (BackendId, &Backend)> {
        self.balance.iter()
    }
}

#[cfg(test)]
mod tests;
