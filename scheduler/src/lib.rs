//! The schedulers as a role: watches the cell, lets `scheduler_core` decide, and commits what it decided.
//!
//! Knows no host API and no controller: all it reads and writes is the cell state in the store. Entry points:
//! [`run`] (the role), [`place`] (the same commit for whoever has chosen a host already: bootstrap).
//!
//! ```text
//! watch cell/ --> View --plan--> Execution --transactions--> store
//!                  ^                                           |
//!                  +-------------- watch cell/ <---------------+
//! ```
//! One thread owns the view and the decisions; one more feeds it from the watch; one keeps the lease. Nothing is
//! polled: a change of the store or a due time starts a plan, and the next one waits until the view shows what
//! the last one committed.
//!
//! Invariants: only the acting scheduler commits, and every transaction carries its leadership as a guard, so the
//! store refuses one that was deposed without knowing it. All state is in the store.
//!
//! Failure model: crash-only. When it dies, the leadership lease runs out and another takes over; one that starts
//! again as the same job takes its own leadership back at once. A store that is away is waited for.
//!
//! Tested by `tests/it` over real sockets against a store of keys in memory; the decisions by `scheduler-core`.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod feed;
mod framework;
mod leader;
mod limits;
mod place;
mod run;
mod txn;

pub use place::{PlaceError, place};
pub use run::{Options, RunError, run};
