//! Backends replaced under load: no request fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use router::{Change, Engine};

use crate::toy::{Client, Toy, engine, instance, service, tell, wait};

const CLIENTS: usize = 8;
const REPLACEMENTS: u64 = 40;

struct Load {
    stop: AtomicBool,
    done: AtomicU64,
}

fn start_load(engine: &Engine, load: &Arc<Load>) -> Vec<std::thread::JoinHandle<Vec<String>>> {
    let addr = engine.addrs()[0];
    (0..CLIENTS)
        .map(|number| {
            let load = Arc::clone(load);
            os::thread::spawn("client", move || {
                let mut client = Client::new(addr);
                let mut failures = Vec::new();
                while !load.stop.load(Ordering::Relaxed) {
                    let turn = load.done.fetch_add(1, Ordering::Relaxed);
                    let result = match turn % 16 {
                        0 => client.get("/slow"),
                        1..=6 => client.post("/echo", b"some content"),
                        7 => client.post("/chunked", &vec![b'x'; 20_000]),
                        _ => client.get("/"),
                    };
                    match result {
                        Ok((head, _)) if head.status == 200 => {}
                        Ok((head, body)) => {
                            failures.push(format!("{} {}", head.status, String::from_utf8_lossy(&body)));
                        }
                        Err(error) => {
                            failures.push(format!("client {number}: {error}"));
                            client = Client::new(addr);
                        }
                    }
                }
                failures
            })
            .unwrap()
        })
        .collect()
}

#[test]
fn replacing_every_backend_under_load_fails_no_request() {
    let engine = engine(2);
    let mut revision = 1;
    let mut current = vec![Toy::start("toy-0-a"), Toy::start("toy-0-b")];
    for toy in &current {
        revision += 1;
        tell(&engine, instance(toy, false), revision);
    }
    let load = Arc::new(Load { stop: AtomicBool::new(false), done: AtomicU64::new(0) });
    let clients = start_load(&engine, &load);
    for round in 1..=REPLACEMENTS {
        let before = load.done.load(Ordering::Relaxed);
        wait("the load goes on", || load.done.load(Ordering::Relaxed) > before + 20);
        let new = Toy::start(&format!("toy-{round}"));
        revision += 1;
        tell(&engine, instance(&new, false), revision);
        let old = current.remove(0);
        revision += 1;
        tell(&engine, instance(&old, true), revision);
        wait("the old one is drained", || engine.progress().drained >= revision);
        let served = old.served.load(Ordering::SeqCst);
        old.kill();
        assert!(served > 0, "round {round}: the old one never had a request");
        revision += 1;
        engine.apply(vec![Change::InstanceGone(service(), old.name.clone()), Change::Seen(revision)]);
        current.push(new);
    }
    load.stop.store(true, Ordering::Relaxed);
    let failures: Vec<String> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    let done = load.done.load(Ordering::Relaxed);
    assert!(failures.is_empty(), "{} of {done} failed, the first: {:?}", failures.len(), failures.first());
    assert!(done > 1000, "too little load to prove anything: {done}");
    engine.finish(Duration::from_secs(5));
}

#[test]
fn killing_a_backend_undrained_fails_only_what_it_had() {
    let engine = engine(1);
    let (one, two) = (Toy::start("one"), Toy::start("two"));
    tell(&engine, instance(&one, false), 1);
    tell(&engine, instance(&two, false), 2);
    let mut client = Client::new(engine.addrs()[0]);
    for _ in 0..20 {
        assert_eq!(client.get("/").unwrap().0.status, 200);
    }
    one.kill();
    for turn in 0..200 {
        // Its pooled connections are dead and its port refuses: both are seen before a request is acted on.
        let (head, body) = client.get("/").unwrap();
        assert_eq!((head.status, body.as_slice()), (200, b"two".as_slice()), "turn {turn}");
    }
    engine.finish(Duration::from_secs(5));
}
