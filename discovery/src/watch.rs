//! Following services: the current state first, then every change.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use api::discovery::{INSTANCES, Instance};
use api::store::StoreClient;
use api::table::{Row, RowChange, TableEvent, TableWatch};
use os::signal::Shutdown;
use types::{JobId, ServiceName};

use crate::core::registry::{Entry, Event, Registry};

/// Events of one service, or of all: first everything there is, then each change, across restarts of the store.
/// It ends only when the shutdown is asked for.
#[derive(Debug)]
pub struct ServiceWatch {
    rows: TableWatch<Instance>,
    waiting: std::vec::IntoIter<Event>,
    revision: u64,
}

/// Follow `service`, or every service.
#[must_use]
pub fn watch(store: &StoreClient, service: Option<&ServiceName>, shutdown: &Shutdown) -> ServiceWatch {
    let parts: Vec<&str> = service.map(ServiceName::as_str).into_iter().collect();
    ServiceWatch { rows: INSTANCES.watch(store, &parts, shutdown), waiting: Vec::new().into_iter(), revision: 0 }
}

impl ServiceWatch {
    /// The revision up to which the events so far are complete.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }
}

impl Iterator for ServiceWatch {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.next() {
                return Some(event);
            }
            let (events, revision) = read(self.rows.next()?);
            self.revision = revision;
            self.waiting = events.into_iter();
        }
    }
}

fn read(event: TableEvent<Instance>) -> (Vec<Event>, u64) {
    match event {
        TableEvent::Reset { rows, revision } => (vec![Event::Reset(rows.into_values().map(entry).collect())], revision),
        TableEvent::Changes { changes, revision } => {
            let events = changes.into_iter().filter_map(|change| match change {
                RowChange::Put(row) => Some(Event::Put(entry(row))),
                RowChange::Deleted { id, .. } => {
                    let (service, job) = id.split_once('/')?;
                    Some(Event::Gone { service: ServiceName::parse(service).ok()?, job: JobId::parse(job).ok()? })
                }
            });
            (events.collect(), revision)
        }
    }
}

fn entry(row: Row<Instance>) -> Entry {
    Entry { instance: row.value, since: row.created }
}

/// Every service as it is now, kept up to date by a thread of its own. Clones show the same.
#[derive(Clone, Debug)]
pub struct View {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    registry: Registry,
    /// The revision it shows; 0 before the first reading.
    revision: u64,
}

impl View {
    /// A view that nothing follows: it shows what [`View::apply`] was given.
    #[must_use]
    pub fn fixed() -> View {
        View { shared: Arc::new(Shared::default()) }
    }

    /// Follow the store until the shutdown.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn follow(store: &StoreClient, shutdown: &Shutdown) -> std::io::Result<View> {
        let view = View::fixed();
        let (shown, rows) = (view.clone(), INSTANCES.watch(store, &[], shutdown));
        os::thread::spawn("discovery", move || {
            for event in rows {
                let (events, revision) = read(event);
                shown.apply(events, revision);
            }
        })?;
        Ok(view)
    }

    /// Take in events that are complete up to `revision`.
    pub fn apply(&self, events: impl IntoIterator<Item = Event>, revision: u64) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        events.into_iter().for_each(|event| state.registry.apply(event));
        state.revision = revision;
        self.shared.changed.notify_all();
    }

    /// Ask the registry. The answer must be quick: changes wait for it.
    pub fn with<T>(&self, ask: impl FnOnce(&Registry) -> T) -> T {
        ask(&self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).registry)
    }

    /// The revision that is shown; 0 before the first reading.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).revision
    }

    /// Wait until `revision` or a later one is shown, at most for `limit`. Whether it is.
    #[must_use]
    pub fn wait(&self, revision: u64, limit: Duration) -> bool {
        let state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.shared.changed.wait_timeout_while(state, limit, |state| state.revision < revision);
        waited.map_or_else(|poisoned| poisoned.into_inner().0.revision, |(state, _)| state.revision) >= revision
    }

    /// Every instance by service and job, for listings.
    #[must_use]
    pub fn instances(&self) -> BTreeMap<(ServiceName, JobId), Entry> {
        self.with(|registry| {
            let every = registry.services().flat_map(|service| registry.instances(service));
            every.map(|entry| ((entry.instance.service.clone(), entry.instance.job.clone()), entry.clone())).collect()
        })
    }
}
