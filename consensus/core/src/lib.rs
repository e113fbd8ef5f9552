//! Decides who leads, what is committed, and what a committed command does to the keys.
//!
//! Knows nothing of disks, sockets, clocks or JSON: the shell in `consensus` does what [`raft::Effect`]
//! says, in order, and hands each committed command to [`store::Store::apply`].
//!
//! ```text
//! client -> Propose -> Raft -> Append, Send ... Persisted, AppendReply -> Apply -> Store -> Outcome
//!                                                                                   |-> watch events
//! client -> Read ----> Raft -> (a majority proves the leader) -> ReadReady -> Store.range
//! ```
//! Entry points: [`raft::Raft`] (a [`stdx::Machine`]), [`store::Store`], [`store::watch::Watchers`],
//! [`store::lease::LeaseClock`], [`codec`] for what reaches a disk or a peer.
//!
//! Invariants: at most one leader a term; logs that agree on an entry agree on all before it; what is
//! committed is in every later leader's log; applying the same commands gives the same state and the same
//! outcomes on every member (no clock and no randomness in `apply`: a lease expires by a command, and its id
//! comes inside the command that grants it).
//!
//! Failure model: members stop and come back with what they had synced; messages are lost, delayed, doubled
//! and reordered; peers are not malicious, but no message makes the machine panic.
//!
//! Tested by scripts (`tests/scripts`), by a seed sweep over groups of 1 to 5 members with crashes, torn
//! disks and partitions (`tests/it/sim.rs`), with seeded bugs that the sweep must find (feature `canary`),
//! and for the store by comparison with a plain sorted map (`tests/it/model.rs`).
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod codec;
pub mod raft;
pub mod store;
