//! Decides what the router does with every byte and every backend.
//!
//! Knows no sockets, clocks, threads or store: the shell in `router` reads, writes, connects and feeds changes.
//! Two machines, both owned by one worker thread:
//!
//! - [`Session`]: one downstream connection and the exchange on it. It owns the buffers.
//! - [`Hub`]: the worker's routes ([`Table`]) and backends ([`Balance`]), and what it may report as drained.
//!
//! ```text
//!            +--------- next request on the connection ----------+
//!            v                                                    |
//!  Idle -> Head -> Opening <-> (refused: next backend) -> Exchange -> Tunnel
//!            |        |                                     |          |
//!            +--------+--> Answering (our own page) --------+-> Lingering -> Closed
//! ```
//! Edges walked by `tests/scripts/*.txt`; all of them at random by `tests/it/sim.rs`.
//!
//! Reading and writing are levels, not effects: after each event the shell asks [`Session::wants_read`] and
//! [`Session::pending`]. A wake-up can then never be lost, and no effect names a range that a later one moves.
//!
//! Invariants:
//! - Every message is parsed, judged and written anew; no byte of a peer's framing is passed on.
//! - A request goes to a second backend only if no byte of it can have been acted on: the connection was
//!   refused, or it is idempotent, came without a body and hit a pooled connection that closed unanswered.
//! - Memory per session is bounded by [`Settings`], whatever the peers send and however slowly they read.
//! - Every phase has a deadline.
//! - `open` and `close` of the hub pair up, so in-flight counts return to zero with the last session.
//!
//! Failure model: a peer's fault ends its exchange with a status and a code; the other sessions do not notice.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod balance;
pub mod buffer;
pub mod hub;
pub mod limits;
pub mod mirror;
pub mod session;
pub mod table;

pub use balance::{Backend, BackendId, BackendState, Balance};
pub use buffer::{Buffer, BufferPool};
pub use hub::{Change, Choice, Hub, Instance, Outcome, Progress, Unroutable};
pub use limits::Settings;
pub use mirror::Mirror;
pub use session::{Connection, Effect, Event, Peer, Record, Reuse, Session, Side};
pub use table::Table;
