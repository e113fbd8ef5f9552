//! The host agent: runs exactly what this host's ledger says, and writes back what became of it.
//!
//! Knows no app, no scheduler and no route: a job comes as a claim with everything in it.
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
pub mod users;
pub mod volumes;
mod workers;

pub use agent::{Agent, AgentError, Options, StopError};

#[cfg(test)]
fn test_spec() -> types::job::JobSpec {
    serde_json::from_str(
        r#"{"app":"a","app_name":"blog","process_type":"web","lifecycle":"service","args":["/bin/web"]}"#,
    )
    .expect("a minimal specification")
}
