//! Services and their instances, as the store last told.

use std::collections::BTreeMap;

use api::discovery::{Instance, InstanceState};
use types::{JobId, ServiceName};

/// An instance with its age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What was registered.
    pub instance: Instance,
    /// The revision at which it was first registered: smaller is older.
    pub since: u64,
}

/// What happened to an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// These are all there are.
    Reset(Vec<Entry>),
    /// It was registered, or its state or address changed.
    Put(Entry),
    /// It left, or its host's lease ran out.
    Gone {
        /// Of which service.
        service: ServiceName,
        /// Which instance.
        job: JobId,
    },
}

/// Every service that has an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registry {
    services: BTreeMap<ServiceName, BTreeMap<JobId, Entry>>,
}

impl Registry {
    /// Nobody offers anything.
    #[must_use]
    pub fn new() -> Registry {
        Registry::default()
    }

    /// Take in one event.
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Reset(entries) => {
                self.services.clear();
                entries.into_iter().for_each(|entry| self.put(entry));
            }
            Event::Put(entry) => self.put(entry),
            Event::Gone { service, job } => {
                if let Some(instances) = self.services.get_mut(&service) {
                    instances.remove(&job);
                    if instances.is_empty() {
                        self.services.remove(&service);
                    }
                }
            }
        }
    }

    fn put(&mut self, entry: Entry) {
        let Instance { service, job, .. } = &entry.instance;
        self.services.entry(service.clone()).or_default().insert(job.clone(), entry);
    }

    /// The names of all services.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.services.keys()
    }

    /// Whether any instance of the service is registered, up or draining.
    #[must_use]
    pub fn knows(&self, service: &ServiceName) -> bool {
        self.services.contains_key(service)
    }

    /// Every instance of the service, by job.
    pub fn instances(&self, service: &ServiceName) -> impl Iterator<Item = &Entry> {
        self.services.get(service).into_iter().flat_map(BTreeMap::values)
    }

    /// One instance.
    #[must_use]
    pub fn instance(&self, service: &ServiceName, job: &JobId) -> Option<&Entry> {
        self.services.get(service)?.get(job)
    }

    /// The instances that take new requests.
    pub fn up(&self, service: &ServiceName) -> impl Iterator<Item = &Entry> {
        self.instances(service).filter(|entry| entry.instance.state == InstanceState::Up)
    }

    /// The oldest instance that takes new requests. Two registered in one transaction are ordered by job.
    #[must_use]
    pub fn leader(&self, service: &ServiceName) -> Option<&Entry> {
        self.up(service).min_by(|a, b| (a.since, &a.instance.job).cmp(&(b.since, &b.instance.job)))
    }
}

#[cfg(test)]
mod tests;
