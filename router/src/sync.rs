//! The store's routes and instances to the workers; the workers' progress to the store.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use api::discovery::{INSTANCES, InstanceState, OBSERVERS, Observer};
use api::objects::ROUTES;
use api::store::{LeaseKeeper, StoreClient, StoreError};
use api::table::{Row, RowChange, TableEvent};
use os::signal::Shutdown;
use os::text::chain;
use router_core::{Change, Instance, Progress};
use types::app::Route;
use types::{RouteId, ServiceName};

use crate::limits::{OBSERVER_TTL, REPORT_GAP};
use crate::{Engine, Options, RunError};

/// The threads that keep the workers and the store in step.
pub(crate) struct Sync {
    threads: Vec<JoinHandle<()>>,
}

impl Sync {
    /// Wait for the threads to see the shutdown.
    pub(crate) fn finish(self) {
        for thread in self.threads {
            // A panic aborts the program, so there is no failed thread to report.
            let _ = thread.join();
        }
    }
}

/// Follow the store behind the run directory.
pub(crate) fn start(engine: &Arc<Engine>, options: &Options, shutdown: &Shutdown) -> Result<Sync, RunError> {
    let store = StoreClient::new(&api::paths::store_socket(&options.run_dir));
    let spawn = |what: &'static str, body: Box<dyn FnOnce() + Send>| {
        os::thread::spawn(what, body).map_err(|source| RunError::Thread { what, source })
    };
    let mut threads = Vec::new();
    let (watched, ours, ended) = (store.clone(), Arc::clone(engine), shutdown.clone());
    threads.push(spawn("routes", Box::new(move || follow_routes(&watched, &ours, &ended)))?);
    let (watched, ours, ended) = (store.clone(), Arc::clone(engine), shutdown.clone());
    threads.push(spawn("instances", Box::new(move || follow_instances(&watched, &ours, &ended)))?);
    if let Some(news) = engine.take_news() {
        let (ours, ended, id) = (Arc::clone(engine), shutdown.clone(), options.job.to_string());
        threads.push(spawn("observer", Box::new(move || report(&store, &ours, &news, &id, &ended)))?);
    }
    Ok(Sync { threads })
}

fn follow_routes(store: &StoreClient, engine: &Engine, shutdown: &Shutdown) {
    for event in ROUTES.watch(store, &[], shutdown) {
        match event {
            TableEvent::Reset { rows, .. } => engine.list_routes(rows.into_values().map(|row| row.value).collect()),
            TableEvent::Changes { changes, .. } => engine.apply(changes.into_iter().filter_map(route_change).collect()),
        }
    }
}

fn route_change(change: RowChange<Route>) -> Option<Change> {
    match change {
        RowChange::Put(row) => Some(Change::Route(row.value)),
        RowChange::Deleted { id, .. } => RouteId::parse(&id).ok().map(Change::RouteGone),
    }
}

fn follow_instances(store: &StoreClient, engine: &Engine, shutdown: &Shutdown) {
    for event in INSTANCES.watch(store, &[], shutdown) {
        match event {
            TableEvent::Reset { rows, revision } => {
                let instances = rows.into_values().filter_map(|row| instance(&row).map(|found| (found, row.revision)));
                engine.list_instances(instances.collect(), revision);
            }
            TableEvent::Changes { changes, revision } => {
                let mut changes: Vec<Change> = changes.into_iter().filter_map(instance_change).collect();
                changes.push(Change::Seen(revision));
                engine.apply(changes);
            }
        }
    }
}

fn instance_change(change: RowChange<api::discovery::Instance>) -> Option<Change> {
    match change {
        RowChange::Put(row) => instance(&row).map(|found| Change::Instance(found, row.revision)),
        RowChange::Deleted { id, .. } => {
            let (service, instance) = id.split_once('/')?;
            Some(Change::InstanceGone(ServiceName::parse(service).ok()?, instance.to_owned()))
        }
    }
}

fn instance(row: &Row<api::discovery::Instance>) -> Option<Instance> {
    let Ok(addr) = row.value.address.parse::<SocketAddr>() else {
        log::warn!(instance:% = row.id, address:% = row.value.address; "instance without a usable address left out");
        return None;
    };
    Some(Instance {
        service: row.value.service.clone(),
        id: row.value.job.to_string(),
        addr,
        draining: row.value.state == InstanceState::Draining,
    })
}

/// Keep the observer's row at the workers' progress, under a lease.
fn report(store: &StoreClient, engine: &Arc<Engine>, news: &Receiver<()>, id: &str, shutdown: &Shutdown) {
    let Some(keeper) = first_lease(store, engine, shutdown) else { return };
    let quick = store.clone().patience(Duration::from_millis(500));
    let mut reported: Option<(Progress, api::store::LeaseId)> = None;
    while !shutdown.asked() {
        match news.recv_timeout(Duration::from_millis(200)) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let (progress, lease) = (engine.progress(), keeper.id());
        // Before the first listing there is nothing to report, and a zero would hold every stop back.
        if progress.seen == 0 || reported == Some((progress, lease)) {
            continue;
        }
        let row = Observer { seen: progress.seen, drained: progress.drained };
        match OBSERVERS.put(&quick, &[id], &row, Some(lease)) {
            Ok(_) => reported = Some((progress, lease)),
            Err(error) => {
                log::debug!(error:% = chain(&error); "progress not reported; trying again");
                engine.wake_news();
            }
        }
        os::clock::pause(REPORT_GAP);
    }
}

fn first_lease(store: &StoreClient, engine: &Arc<Engine>, shutdown: &Shutdown) -> Option<LeaseKeeper> {
    let patient = store.clone().patience(Duration::from_secs(1));
    while !shutdown.asked() {
        let again = Arc::clone(engine);
        match LeaseKeeper::start(&patient, OBSERVER_TTL, shutdown, move |_| again.wake_news()) {
            Ok(keeper) => return Some(keeper),
            Err(StoreError::Unreachable(_)) => {}
            Err(error) => {
                log::warn!(error:% = chain(&error); "lease not granted; trying again");
                os::clock::pause(Duration::from_millis(200));
            }
        }
    }
    None
}
