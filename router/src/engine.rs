//! The workers together: start, tell, ask, finish.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::{Poll, Waker};
use router_core::{Backend, BackendState, Change, Mirror, Progress, Settings};
use serde::Serialize;
use types::app::Route;

use crate::access::{self, AccessLog};
use crate::limits::INBOX_MAX;
use crate::listener;
use crate::metrics;
use crate::worker::{self, Message, Parts, Shown};

/// What the data plane is told when it starts.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Where clients connect. Port zero is chosen once for all workers.
    pub listen: Vec<SocketAddr>,
    /// Worker threads; zero for one per core.
    pub workers: usize,
    /// Waits and limits of sessions.
    pub settings: Settings,
    /// Whether requests are logged.
    pub access_log: AccessLog,
}

/// Why the data plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A port could not be had.
    #[error("listen on {addr}")]
    Listen {
        /// Which.
        addr: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// No event loop.
    #[error("make an event loop")]
    Loop {
        /// What the kernel said.
        source: io::Error,
    },
    /// No thread.
    #[error("start a worker thread")]
    Thread {
        /// What the kernel said.
        source: io::Error,
    },
}

/// A backend as one or all workers see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackendView {
    /// Of which service.
    pub service: String,
    /// Which instance.
    pub instance: String,
    /// Where it listens.
    pub address: String,
    /// `up`, `draining` or `gone`.
    pub state: &'static str,
    /// Requests it has now.
    pub in_flight: u64,
    /// Requests it was given.
    pub requests: u64,
    /// Refused connections since the last good one.
    pub refusals: u32,
}

impl BackendView {
    pub(crate) fn of(backend: &Backend) -> BackendView {
        BackendView {
            service: backend.service.to_string(),
            instance: backend.instance.clone(),
            address: backend.addr.to_string(),
            state: match backend.state {
                BackendState::Up => "up",
                BackendState::Draining(_) => "draining",
                BackendState::Gone => "gone",
            },
            in_flight: backend.in_flight,
            requests: backend.requests,
            refusals: backend.refusals,
        }
    }

    fn add(&mut self, other: &BackendView) {
        self.in_flight += other.in_flight;
        self.requests += other.requests;
        self.refusals = self.refusals.max(other.refusals);
    }
}

struct Handle {
    inbox: SyncSender<Message>,
    waker: Waker,
    shown: Arc<Shown>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "worker {:?}", self.shown.progress())
    }
}

/// The running data plane.
#[derive(Debug)]
pub struct Engine {
    addrs: Vec<SocketAddr>,
    workers: Vec<Handle>,
    mirror: Mutex<Mirror>,
    news: Mutex<Option<Receiver<()>>>,
    wake_news: SyncSender<()>,
}

impl Engine {
    /// Listen and start the workers, with no routes.
    ///
    /// # Errors
    /// When a port, a thread or an event loop cannot be had.
    pub fn start(options: &EngineOptions) -> Result<Engine, EngineError> {
        raise_descriptor_limit();
        let count = match options.workers {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            count => count,
        };
        let mut addrs = Vec::new();
        let mut doors: Vec<Vec<std::net::TcpListener>> = (0..count).map(|_| Vec::new()).collect();
        for addr in &options.listen {
            let mut addr = *addr;
            for listeners in &mut doors {
                let failed = |source| EngineError::Listen { addr, source };
                let listener = listener::open(addr).map_err(failed)?;
                addr = listener.local_addr().map_err(failed)?;
                listeners.push(listener);
            }
            addrs.push(addr);
        }
        let (wake_news, news) = sync_channel(1);
        let settings = Arc::new(options.settings.clone());
        let writers = access::start(options.access_log, count).map_err(|source| EngineError::Thread { source })?;
        let mut workers = Vec::new();
        for (number, (listeners, access)) in doors.into_iter().zip(writers).enumerate() {
            let poll = Poll::new().map_err(|source| EngineError::Loop { source })?;
            let waker = worker::waker(&poll).map_err(|source| EngineError::Loop { source })?;
            let (inbox, messages) = sync_channel(INBOX_MAX);
            let shown = Arc::new(Shown::default());
            let parts = Parts {
                poll,
                listeners,
                inbox: messages,
                shown: Arc::clone(&shown),
                settings: Arc::clone(&settings),
                access,
                seed: os::entropy::seed(),
                news: wake_news.clone(),
            };
            let thread = os::thread::spawn(&format!("router-{number}"), move || {
                if let Err(error) = worker::run(parts) {
                    // Without its loop the worker's share of the connections would hang for ever.
                    panic!("router worker {number} lost its event loop: {error}");
                }
            })
            .map_err(|source| EngineError::Thread { source })?;
            workers.push(Handle { inbox, waker, shown, thread: Mutex::new(Some(thread)) });
        }
        Ok(Engine { addrs, workers, mirror: Mutex::new(Mirror::new()), news: Mutex::new(Some(news)), wake_news })
    }

    /// Where clients connect, with the ports that were chosen.
    #[must_use]
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Give every worker these changes, in order.
    pub fn apply(&self, changes: Vec<Change>) {
        let mut mirror = self.mirror.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changes = changes;
        changes.retain(|change| mirror.apply(change));
        self.send(changes);
    }

    /// Make the routes those of a whole listing.
    pub fn list_routes(&self, routes: Vec<Route>) {
        let mut mirror = self.mirror.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = mirror.list_routes(routes);
        self.send(changes);
    }

    /// Make the instances those of a whole listing at `revision`, each with the revision it is of.
    pub fn list_instances(&self, instances: Vec<(router_core::Instance, u64)>, revision: u64) {
        let mut mirror = self.mirror.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changes = mirror.list_instances(instances);
        changes.push(Change::Seen(revision));
        self.send(changes);
    }

    /// What all workers have taken in and finished.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let all = || self.workers.iter().map(|worker| worker.shown.progress());
        Progress {
            seen: all().map(|progress| progress.seen).min().unwrap_or(0),
            drained: all().map(|progress| progress.drained).min().unwrap_or(0),
        }
    }

    /// Where it is told that the progress has changed. Only the first caller gets it.
    pub(crate) fn take_news(&self) -> Option<Receiver<()>> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// As if the progress had changed.
    pub(crate) fn wake_news(&self) {
        let _ = self.wake_news.try_send(());
    }

    /// The routes as last given.
    #[must_use]
    pub fn routes(&self) -> Vec<Route> {
        let mirror = self.mirror.lock().unwrap_or_else(PoisonError::into_inner);
        mirror
            .snapshot()
            .into_iter()
            .filter_map(|c| if let Change::Route(route) = c { Some(route) } else { None })
            .collect()
    }

    /// The backends, summed over the workers.
    #[must_use]
    pub fn backends(&self) -> Vec<BackendView> {
        let (reply, views) = sync_channel(self.workers.len());
        for worker in &self.workers {
            // One that does not take it has no answer either.
            let _ = worker.inbox.try_send(Message::Backends(reply.clone()));
            let _ = worker.waker.wake();
        }
        drop(reply);
        let mut all: Vec<BackendView> = Vec::new();
        for _ in &self.workers {
            let Ok(part) = views.recv_timeout(Duration::from_secs(1)) else { break };
            for view in part {
                let same = |known: &&mut BackendView| {
                    (&known.service, &known.instance, &known.address) == (&view.service, &view.instance, &view.address)
                };
                match all.iter_mut().find(same) {
                    Some(known) => known.add(&view),
                    None => all.push(view),
                }
            }
        }
        all.sort_by(|a, b| (&a.service, &a.instance).cmp(&(&b.service, &b.instance)));
        all
    }

    /// Every counter, as Prometheus reads it.
    #[must_use]
    pub fn metrics(&self) -> String {
        let parts: Vec<&metrics::Metrics> = self.workers.iter().map(|worker| &worker.shown.metrics).collect();
        metrics::render(&parts, self.routes().len(), self.backends().len())
    }

    /// Requests answered so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.workers.iter().map(|worker| worker.shown.metrics.requests()).sum()
    }

    /// Accept no more, finish what is in flight for at most `wait`, and end the workers.
    pub fn finish(&self, wait: Duration) {
        for worker in &self.workers {
            // A worker that is gone needs not be told.
            let _ = worker.inbox.send(Message::Finish(wait));
            let _ = worker.waker.wake();
        }
        for worker in &self.workers {
            let thread = worker.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(thread) = thread {
                // A panic aborts the program, so there is no failed thread to report.
                let _ = thread.join();
            }
        }
    }

    fn send(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let changes = Arc::new(changes);
        for worker in &self.workers {
            // A worker ends only with the program, and then nobody needs to know.
            let _ = worker.inbox.send(Message::Changes(Arc::clone(&changes)));
            let _ = worker.waker.wake();
        }
    }
}

/// A proxy needs two descriptors per request; the soft limit is often 1,024.
fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(soft, hard)| if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard) } else { Ok(()) });
    if let Err(error) = raised {
        log::warn!(error:% = error; "descriptor limit not raised");
    }
}
