//! The controller: the HTTP API over the platform's objects, and the deployer that moves apps between releases.
//!
//! Knows no host, no container and no placement: it writes what it wants into the cell and reads what came of
//! it. Entry points: [`run`] (the role), [`install_system_app`] (the platform's own apps, for the bootstrap),
//! [`formation`] (a release as jobs).
//!
//! ```text
//! API call -> validate -> one store transaction (objects, cell, events) -> reply
//! cell watch -> mirror -> controller_core::deployment -> transactions     (the leader among controllers)
//! events watch -> ring in memory -> streams
//! ```
//! Invariants: every change is one transaction with the events that tell of it, numbered without gaps; one active
//! deployment per app; env values never enter events or logs; an object is deleted with all that hangs on it or
//! not at all. Failure model: crash-only; a deployment under way is gone on with by whichever controller leads
//! next, from the record and the cell alone; what a controller that lost its lease writes is refused by the store.
//! Tested by `tests/it` over a real socket and a store; the deployer's decisions by `controller-core`.
#![forbid(unsafe_code)]

mod apps;
mod artifacts;
mod attach;
mod deployer;
mod deployments;
mod events;
mod formations;
mod garbage;
mod jobs;
mod keys;
mod limits;
mod logs;
mod persist;
mod releases;
mod routes;
mod run;
mod serve;
mod services;
mod state;
mod system;
mod template;

pub use run::{Options, RunError, run};
pub use system::{InstallError, META_CRITICAL, SystemApp, install_system_app};
pub use template::formation;
