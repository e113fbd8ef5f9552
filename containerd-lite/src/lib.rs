//! The host agent: runs exactly what this host's ledger says, and writes back what became of it.
//!
//! Knows no app, no scheduler and no route: a job comes as a claim with everything in it.
//!
//! Entry points: [`Agent::start`] with [`Options`], [`Agent::serve`] (the host API), [`Agent::stop_all`];
//! [`shim::main`], the process that holds one job; [`stack`], the root file systems.
//!
//! ```text
//!  claims --> supervisor (one thread, owns every core::job::Job) --> statuses, instances
//!                |  effects            ^  events
//!                v                     |
//!   workers: layers, scratch, shims    +-- follow (all shims), registrar (discovery), health checks
//!                |
//!                v
//!   shim per job: runtime, streams, log, attach, exec, exit.json
//! ```
//!
//! Invariants:
//! - What anything later relies on is on the disk first: a claim before its job, "begun" before the program runs (so
//!   that what runs once never runs twice), the end before it is told.
//! - A job is held by exactly one shim, which holds a lock in the job's directory; a job whose shim dies, dies.
//! - A daemon that ends changes nothing for jobs, their logs and their clients' places; the next one takes them up.
//! - Nothing waits in the supervisor: what takes time is done by workers and comes back as an event with its run.
//! - Everything has a bound, with its reason, in [`limits`].
//!
//! Failure model: a daemon may die at any moment, also all processes at once. Jobs of the platform are restarted in
//! place for as long as they are claimed; services are run again after a power cut and otherwise answered for by their
//! scheduler; what runs once is lost then. A full disk refuses new layers and jobs, never the end of running ones. A
//! store that is away delays statuses and registrations, never a job.
//!
//! Tests: `core` by golden scripts that walk every edge; layers by hostile tars; shims and whole agents as root with
//! real jobs that are killed, starved and flooded, in `tests/it`.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod agent;
pub mod core;
pub mod disk;
mod effects;
mod follow;
pub mod jobdir;
pub mod layers;
pub mod limits;
pub mod logs;
pub mod outline;
pub mod ports;
pub mod process;
mod registrar;
mod reporter;
mod retain;
pub mod segments;
mod serve;
pub mod shim;
pub mod stack;
pub mod stored;
mod supervisor;
mod sweep;
pub mod users;
pub mod volumes;
mod workers;

pub use agent::{Agent, AgentError, Options, StopError, host_memory_bytes};
pub use sweep::sweep;

#[cfg(test)]
fn test_spec() -> types::job::JobSpec {
    serde_json::from_str(
        r#"{"app":"a","app_name":"blog","process_type":"web","lifecycle":"service","args":["/bin/web"]}"#,
    )
    .expect("a minimal specification")
}
