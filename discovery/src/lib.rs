//! Services by name: who offers them, whether they are well, and the DNS that says so.
//!
//! Knows no jobs beyond their ids and no HTTP API; the store is reached through `api::discovery` alone.
//!
//! Entry points:
//! - [`Agent`]: the host's side. Health checks ([`Agent::check`]), instances under the host's lease
//!   ([`Agent::register`], [`Agent::drain`], [`Agent::deregister`], [`Agent::retain`]), and the barrier
//!   ([`Agent::wait_seen`], [`Agent::wait_drained`]).
//! - [`View`]: every service as it is now; [`watch`](mod@watch) to follow changes, the current state first.
//! - [`Resolver`]: DNS for `*.internal` on the bridge's address, over UDP and TCP; other names go to the host's
//!   own resolvers.
//!
//! ```text
//!  job --probe--> checks --Healthy--> host --register--> store --watch--> View --> Resolver --> jobs
//!                                                          |
//!                                      observers {seen, drained} --> wait_seen, wait_drained
//! ```
//!
//! Invariants:
//! - An instance is in the store only under its host's lease, so a dead host's instances go by themselves. When
//!   the lease was lost, the agent registers again what it had registered, and nothing else.
//! - The leader of a service is its oldest instance; draining does not change age, only leaving does.
//! - The resolver answers from memory: a store that is away makes answers old, never absent.
//! - Every queue and table is bounded (`limits.rs`); a full one refuses the newest and says so.
//!
//! Failure model: a check that cannot run counts as failed. A wait that is not answered ends at its cap and names
//! who is behind. A hostile packet is answered with an error or dropped; nothing it holds is believed.
//!
//! Tests: script tests for health, tables for DNS, seeded mutation of packets with a canary, real sockets on
//! loopback for resolver and checks, a store of this process's own for the agent.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod agent;
mod checks;
pub mod core;
mod limits;
mod probe;
pub mod resolver;
pub mod watch;

pub use crate::agent::{Agent, AgentError, Health, Waited};
pub use crate::resolver::{Resolver, ResolverError};
pub use crate::watch::View;
