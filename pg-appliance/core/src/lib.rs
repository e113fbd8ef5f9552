//! Decides which Postgres of a cluster is the primary, which one confirms its commits, and who follows whom.
//!
//! Knows no Postgres, no store and no clock: a shell tells a [`Peer`] what it sees and does what its effects say.
//!
//! ```text
//!                     writes
//! clients --> primary --stream--> sync --stream--> async --stream--> async ...
//!                     <--confirms--
//! deposed, joining: follow the tail of the chain, and say so when they have caught on
//! ```
//! - [`ClusterState`] is the whole agreement: one record, changed by compare-and-swap only.
//! - [`Peer`] is one member's machine. The sync takes over from a lost primary; the primary replaces a lost sync,
//!   and keeps the list of asyncs. Nobody else changes the record.
//! - [`Lsn`] is a position in the write-ahead log.
//!
//! Invariant: a commit is acknowledged only when primary and sync have it, and whoever becomes primary or sync has
//! everything that was acknowledged before. Therefore (1) who proposes a new generation first stops what could be
//! acknowledged under the old one (the primary holds its commits, the sync leaves its upstream), and only then reads
//! the log position that goes into the record; (2) it stays so until the fate of its proposal is known, however long
//! that takes; (3) the sync takes over only at or past the generation's initial position; (4) one that was started
//! again rewrites the record first, which voids what its former life may still have under way.
//!
//! Failure model: members crash and come back, messages are lost, late and doubled, lists of members are stale. The
//! store's record is linearizable. A primary without a sync holds its commits, except in a cluster of one.
//!
//! Tested by `tests/scripts` (stories) and `tests/it/sim.rs` (seeded faults; no acknowledged write is ever lost).
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

pub mod limits;
mod lsn;
mod peer;
mod state;

pub use lsn::{Lsn, ParseLsnError};
pub use peer::{Config, DatabaseReport, Effect, Event, Peer, Present};
pub use state::{ClusterMode, ClusterState, Member, MemberId, Role};
