//! A host's agent against a store, and services to probe.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use api::discovery::{Instance, InstanceState};
use api::store::LeaseKeeper;
use discovery::agent::{Agent, Health, Options};
use types::job::{CheckKind, HealthCheck};
use types::{HostId, JobId};

use crate::store::Store;

pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) struct Host {
    pub(crate) agent: Agent,
    pub(crate) lease: LeaseKeeper,
    pub(crate) health: Receiver<(JobId, Health)>,
}

pub(crate) fn host(store: &Store, name: &str) -> Host {
    let lease = LeaseKeeper::start(&store.client, Duration::from_secs(1), &store.shutdown, |_| {}).unwrap();
    let (reports, health) = sync_channel(64);
    let options = Options {
        host: HostId::parse(name).unwrap(),
        store: store.client.clone(),
        lease: lease.clone(),
        shutdown: store.shutdown.clone(),
    };
    let report = move |job, health| reports.send((job, health)).unwrap();
    Host { agent: Agent::start(options, report).unwrap(), lease, health }
}

pub(crate) fn job(text: &str) -> JobId {
    JobId::parse(text).unwrap()
}

pub(crate) fn instance(service: &str, id: &str) -> Instance {
    Instance {
        service: service.parse().unwrap(),
        job: job(id),
        app: None,
        address: "127.0.0.1:5000".into(),
        state: InstanceState::Up,
        meta: std::collections::BTreeMap::new(),
    }
}

pub(crate) fn quick(kind: CheckKind) -> HealthCheck {
    HealthCheck { kind, interval_ms: 20, timeout_ms: 200, threshold: 2, start_timeout_ms: 20_000 }
}

pub(crate) fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}
