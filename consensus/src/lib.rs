//! One member of the store: the machines of `consensus_core` on a real disk, a real clock and a socket.
//!
//! Knows no domain: keys and values are bytes. Entry points: [`Replica::open`], [`Replica::serve`],
//! [`Replica::inbox`] for requests without HTTP.
//!
//! ```text
//! connection threads --Ask--> queue --> owner thread: Raft -> WAL (one sync per batch) -> Store -> watchers
//!        ^                                   |                                             |
//!        +----------------Answer-------------+---------------------------------------------+
//! ```
//! One thread owns the raft, the log and the keys; connection threads parse and print, and wait.
//!
//! Order of durability: a batch of proposals is written and synced once; only then are they committed,
//! applied and answered. A vote or a term is synced before anyone hears of it. A snapshot is synced and
//! named before the log it replaces is removed. A failed sync ends the process: what the disk holds is
//! only known after reading it again.
//!
//! Failure model: the process or the power may go at any moment; a torn last write is cut off; damage to
//! what was synced is found and stops this member with an error that names the file. A full disk refuses
//! writes, and a reserve lets deletes through. See `docs/store.md`.
//!
//! Tested by WAL and snapshot images that are torn, flipped and cut at every byte, by a child process that
//! is killed while it acknowledges writes, and by golden files of the JSON (`tests/`).
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod limits;
mod replica;
mod serve;
pub mod snapshot;
pub mod wal;

pub use replica::{Answer, Ask, Heading, Inbox, OpenError, Options, Refusal, Replica, StatusAnswer};
