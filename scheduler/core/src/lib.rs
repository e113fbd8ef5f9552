//! Decides which job runs on which host, and when one is stopped, replaced or cleared away.
//!
//! Knows no store, socket or clock. A shell feeds [`View::apply`] with what is in the store, asks [`View::plan`]
//! what to do, and carries the plan out through [`Execution`], one guarded transaction after the other.
//!
//! ```text
//!  store --Change--> View { desired, cell } --plan(desired, cell, scope, now, rng)--> Plan
//!    ^                                                                                 |
//!    +------------ Transaction { guards, writes } <-- Execution <----------------------+
//! ```
//! - [`Cell`] is what is observed: hosts, claims, statuses, what ended. [`Desired`] is what is asked for:
//!   formations and one-off requests.
//! - [`plan()`] is level-triggered: the same picture gives a plan to the same end, however the picture came about.
//!   Every [`Action`] names its reason. After a commit the shell plans again only when its view has
//!   caught up with the commit's revision, so nothing is decided twice.
//! - `service` keeps formations, `ephemeral` runs requests once, `cleanup` turns ended claims into records,
//!   [`placement`] picks hosts, [`commit`] makes transactions.
//!
//! Invariants: a claim is only made under the ledger revision of its host that the plan was made from, and the
//! revision of the formation or request it comes from; so two schedulers can never overfill a host, nor place one
//! request twice. An acting scheduler adds its leadership as a guard, so a deposed one commits nothing.
//! A claim on a lost host goes in the transaction that makes its replacement, and only while the host is absent.
//!
//! Failure model: any commit may be refused, lost or be done without an answer; the scheduler may stop at any point.
//! Nothing is kept but in the store: crash counts come from the records of ended jobs.
//!
//! Tested by `tests/scripts` (stories of one reconcile after the other) and `tests/it/sim.rs` (many hosts, racing
//! schedulers, slow starts, host loss; never over capacity, never more than wanted, always converges).
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

pub mod cell;
mod cleanup;
pub mod commit;
mod crash;
pub mod desired;
mod draft;
mod ephemeral;
pub mod limits;
pub mod placement;
pub mod plan;
mod service;
mod view;

pub use cell::Cell;
pub use commit::{Execution, Guard, Mode, Outcome, Stamp, Transaction, Write};
pub use desired::Desired;
pub use plan::{Action, Plan, Proposal, Scope, Source, Why, plan};
pub use view::{Change, View};
