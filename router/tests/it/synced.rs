//! The whole role: routes and instances from a store, progress back to it.

use std::net::SocketAddr;
use std::time::Duration;

use api::Client as ApiClient;
use api::discovery::{INSTANCES, Instance, InstanceState, OBSERVERS};
use api::endpoint::Endpoint;
use api::objects::ROUTES;
use api::store::StoreClient;
use os::signal::Shutdown;
use router::{AccessLog, Change, Options, Settings};
use types::JobId;

use crate::store::{Disk, Store};
use crate::toy::{Client, Toy, route, service, wait};

const STATUS: Endpoint<(), serde_json::Value> = Endpoint::get("/.well-known/status");
const BACKENDS: Endpoint<(), serde_json::Value> = Endpoint::get("/backends");

fn register(store: &StoreClient, toy: &Toy, state: InstanceState) -> u64 {
    let instance = Instance {
        service: service(),
        job: JobId::parse(&toy.name).unwrap(),
        app: None,
        address: toy.addr.to_string(),
        state,
        meta: Default::default(),
    };
    INSTANCES.put(store, &[service().as_str(), &toy.name], &instance, None).unwrap()
}

#[test]
fn role_follows_the_store_reports_back_and_outlives_it() {
    let dir = testkit::TempDir::new("router");
    let (disk, shutdown) = (Disk::default(), Shutdown::new());
    let socket = api::paths::store_socket(dir.path());
    let mut up = Some(Store::start(&disk, &socket));
    let store = StoreClient::new(&socket);
    let Change::Route(first) = route("r1", "toy.example") else { panic!("a route") };
    ROUTES.put(&store, &["r1"], &first, None).unwrap();
    let old = Toy::start("old");
    let at = register(&store, &old, InstanceState::Up);

    let job = JobId::parse("h1-11111111").unwrap();
    let options = Options {
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        run_dir: dir.path().to_path_buf(),
        job: job.clone(),
        workers: 2,
        settings: Settings::STANDARD,
        access_log: AccessLog::Off,
        drain_wait: Duration::from_secs(5),
    };
    let ended = shutdown.clone();
    let running = os::thread::spawn("router", move || router::run(&options, &ended)).unwrap();
    let observer = || OBSERVERS.get(&store, &[job.as_str()]).unwrap().map(|row| row.value);
    wait("the router has seen the first instance", || observer().is_some_and(|row| row.seen >= at));
    let client = ApiClient::socket(&api::paths::service_socket(dir.path(), "router", &job));
    let status = client.call(&STATUS, &[], &()).unwrap();
    assert_eq!(status["status"], "healthy");
    let addr: SocketAddr = status["listen"][0].as_str().unwrap().parse().unwrap();
    let mut web = Client::new(addr);
    assert_eq!(web.get("/").unwrap().1, b"old");

    let new = Toy::start("new");
    let at = register(&store, &new, InstanceState::Up);
    wait("the new one is seen", || observer().is_some_and(|row| row.seen >= at));
    let at = register(&store, &old, InstanceState::Draining);
    wait("the old one is drained", || observer().is_some_and(|row| row.drained >= at));
    old.kill();
    INSTANCES.delete(&store, &[service().as_str(), "old"]).unwrap();
    assert_eq!(web.get("/").unwrap().1, b"new");

    drop(up.take());
    for _ in 0..50 {
        assert_eq!(web.get("/").unwrap().1, b"new", "without a store the last state serves");
    }
    up = Some(Store::start(&disk, &socket));
    let again = Toy::start("again");
    let at = register(&store, &again, InstanceState::Up);
    wait("the router follows the store again", || observer().is_some_and(|row| row.seen >= at));
    let backends = client.call(&BACKENDS, &[], &()).unwrap();
    assert_eq!(backends.as_array().unwrap().len(), 2, "{backends}");

    shutdown.ask();
    running.join().unwrap().unwrap();
    assert!(observer().is_none(), "the row ends with the lease");
    drop(up);
}
