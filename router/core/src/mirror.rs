//! What the store was last known to hold, to turn a fresh listing into changes.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use types::app::Route;
use types::{RouteId, ServiceName};

use crate::{Change, Instance};

/// Routes and instances as last given to the workers.
#[derive(Debug, Default)]
pub struct Mirror {
    routes: BTreeMap<RouteId, Route>,
    instances: BTreeMap<(ServiceName, String), (Instance, u64)>,
}

impl Mirror {
    /// Nothing known.
    #[must_use]
    pub fn new() -> Mirror {
        Mirror::default()
    }

    /// One change as it came. Whether it says anything new.
    pub fn apply(&mut self, change: &Change) -> bool {
        match change {
            Change::Route(route) => self.routes.insert(route.id.clone(), route.clone()).as_ref() != Some(route),
            Change::RouteGone(id) => self.routes.remove(id).is_some(),
            Change::Instance(instance, revision) => {
                let key = (instance.service.clone(), instance.id.clone());
                let old = self.instances.insert(key, (instance.clone(), *revision));
                old.is_none_or(|(known, _)| known != *instance)
            }
            Change::InstanceGone(service, id) => self.instances.remove(&(service.clone(), id.clone())).is_some(),
            Change::Seen(_) => true,
        }
    }

    /// The changes that make the routes those of a whole listing.
    pub fn list_routes(&mut self, routes: Vec<Route>) -> Vec<Change> {
        let new: BTreeMap<RouteId, Route> = routes.into_iter().map(|route| (route.id.clone(), route)).collect();
        let gone: Vec<RouteId> = self.routes.keys().filter(|id| !new.contains_key(*id)).cloned().collect();
        // The new ones first: a host whose route was made anew is never without one.
        let there = new.into_values().map(Change::Route);
        self.keep_new(there.chain(gone.into_iter().map(Change::RouteGone)).collect())
    }

    /// The changes that make the instances those of a whole listing, each with the revision it is of.
    pub fn list_instances(&mut self, instances: Vec<(Instance, u64)>) -> Vec<Change> {
        let new: BTreeMap<(ServiceName, String), (Instance, u64)> = instances
            .into_iter()
            .map(|(instance, revision)| ((instance.service.clone(), instance.id.clone()), (instance, revision)))
            .collect();
        let gone: Vec<_> = self.instances.keys().filter(|key| !new.contains_key(*key)).cloned().collect();
        let gone = gone.into_iter().map(|(service, id)| Change::InstanceGone(service, id));
        let there = new.into_values().map(|(instance, revision)| Change::Instance(instance, revision));
        // The new ones first: between two changes there is always a backend.
        self.keep_new(there.chain(gone).collect())
    }

    /// Everything known, for a worker that starts.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Change> {
        let routes = self.routes.values().cloned().map(Change::Route);
        routes.chain(self.instances.values().cloned().map(|(instance, at)| Change::Instance(instance, at))).collect()
    }

    fn keep_new(&mut self, mut changes: Vec<Change>) -> Vec<Change> {
        changes.retain(|change| self.apply(change));
        changes
    }
}
