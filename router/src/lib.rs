//! Moves bytes between clients and the jobs of the platform's apps, as `router_core` decides.
//!
//! Knows how to accept, connect, read, write, watch the store and write a log; decides nothing about requests
//! itself. One mio loop per core, sharing nothing: each worker has its own listeners (`SO_REUSEPORT`), its own
//! routes and backends, its own connections to them, and gets changes of both as messages.
//!
//! ```text
//!  store --watch--> sync --changes--> worker 0..n   (Hub, Sessions, idle connections)
//!    ^                                   |
//!    +--- observer row {seen, drained} <-+ progress
//! ```
//!
//! Entry points: [`run`] is the role; [`Engine`] is the same data plane with changes given by hand, for tests
//! and for a router without a platform. Start reading at [`worker`].
//!
//! Invariants:
//! - A worker reports a revision as seen only after it acts on it, and as drained only after the idle connections
//!   to the draining backends are closed and the last request to them has ended.
//! - The request path takes no lock and waits for nothing but the kernel.
//! - A full log queue loses log lines (counted), never requests.
//!
//! Failure model: with the store gone the last routes and backends stay; a worker that cannot go on ends the
//! program, which is restarted. On shutdown the listeners close after the kernel's queue is empty, answers in
//! flight are finished with `Connection: close`, and what is left after `drain_wait` is cut.
//!
//! Tested with real sockets in `tests/it`: replacing backends under keep-alive load without a failed request,
//! against a store played by the test; measured with `examples/bench_router.rs`.
#![forbid(unsafe_code)]

mod access;
mod engine;
mod limits;
mod listener;
mod metrics;
mod serve;
mod sync;
mod timers;
pub mod worker;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use os::signal::Shutdown;
pub use router_core::{Change, Instance, Progress, Settings};
use types::JobId;

pub use access::AccessLog;
pub use engine::{BackendView, Engine, EngineError, EngineOptions};

/// What the router is told when it starts.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where clients connect.
    pub listen: Vec<SocketAddr>,
    /// Where the platform's sockets are; the API's socket goes there.
    pub run_dir: PathBuf,
    /// Which job this is: the name it reports under.
    pub job: JobId,
    /// Worker threads; zero for one per core.
    pub workers: usize,
    /// Waits and limits of sessions.
    pub settings: Settings,
    /// Whether requests are logged.
    pub access_log: AccessLog,
    /// How long requests in flight may take after the shutdown was asked for.
    pub drain_wait: Duration,
}

/// Why the router cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The data plane did not start.
    #[error("start the router")]
    Engine(#[from] EngineError),
    /// The API did not start.
    #[error("serve the router's API")]
    Api(#[from] api::serve::ListenError),
    /// A thread did not start.
    #[error("start the {what} thread")]
    Thread {
        /// Which.
        what: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
}

/// Route until `shutdown` is asked for, then finish what is in flight.
///
/// # Errors
/// When it cannot start. A store that is not there is waited for.
pub fn run(options: &Options, shutdown: &Shutdown) -> Result<(), RunError> {
    let engine = Engine::start(&EngineOptions {
        listen: options.listen.clone(),
        workers: options.workers,
        settings: options.settings.clone(),
        access_log: options.access_log,
    })?;
    let engine = std::sync::Arc::new(engine);
    let sync = sync::start(&engine, options, shutdown)?;
    let socket = api::paths::service_socket(&options.run_dir, "router", &options.job);
    let listening = serve::service(&engine).listen(&socket, shutdown)?;
    log::info!(listen:? = engine.addrs(), workers = engine.workers(); "router started");
    shutdown.wait();
    log::info!("router finishing what is in flight");
    engine.finish(options.drain_wait);
    sync.finish();
    listening.finish();
    Ok(())
}
