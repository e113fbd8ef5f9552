//! Steady load: keep-alive connections that ask at a fixed rate and count every answer that is not 200.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::http::Connection;
use crate::net::Net;

/// How many requests may be sent in all, whatever happens: a load ends by itself.
const REQUESTS_MAX: u64 = 2_000_000;

/// Load that runs until it is stopped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    failures: Arc<Mutex<BTreeMap<String, u64>>>,
    threads: Vec<JoinHandle<()>>,
}

/// What a load saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Requests sent.
    pub requests: u64,
    /// Failures by what they were.
    pub failures: BTreeMap<String, u64>,
}

impl Seen {
    /// How many failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }
}

impl Load {
    /// `connections` connections that together ask `rate` times a second.
    ///
    /// # Panics
    /// If no thread can be had.
    #[must_use]
    pub fn start(net: &Arc<Net>, port: u16, host: &str, connections: u32, rate: u32) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let failures = Arc::new(Mutex::new(BTreeMap::new()));
        let gap = Duration::from_secs(1) * connections / rate.max(1);
        let threads = (0..connections)
            .map(|_| {
                let (net, host) = (Arc::clone(net), host.to_owned());
                let (stop, sent, failures) = (Arc::clone(&stop), Arc::clone(&sent), Arc::clone(&failures));
                os::thread::spawn("load", move || {
                    let mut connection = None;
                    let mut next = os::clock::now();
                    while !stop.load(Ordering::SeqCst) && sent.fetch_add(1, Ordering::SeqCst) < REQUESTS_MAX {
                        if let Err(failure) = ask(&mut connection, &net, port, &host) {
                            *failures.lock().unwrap().entry(failure).or_default() += 1;
                        }
                        next = next.after(gap);
                        os::clock::pause(next.since(os::clock::now()));
                    }
                })
                .unwrap()
            })
            .collect();
        Load { stop, sent, failures, threads }
    }

    /// How many requests were sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// Stop it, and tell what it saw.
    ///
    /// # Panics
    /// If one of its threads did.
    #[must_use]
    pub fn stop(self) -> Seen {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().unwrap();
        }
        Seen { requests: self.sent.load(Ordering::SeqCst), failures: self.failures.lock().unwrap().clone() }
    }
}

fn ask(connection: &mut Option<Connection>, net: &Net, port: u16, host: &str) -> Result<(), String> {
    let limit = Duration::from_secs(30);
    let open = match connection.take() {
        Some(open) => open,
        None => Connection::open(net, port, limit).map_err(|error| format!("connect: {error}"))?,
    };
    let open = connection.insert(open);
    match open.get(host, "/") {
        Ok(answer) if answer.status == 200 => Ok(()),
        Ok(answer) => Err(format!("status {}: {}", answer.status, answer.body.lines().next().unwrap_or(""))),
        Err(error) => {
            *connection = None;
            Err(format!("read: {error}"))
        }
    }
}
