//! What the tests of every crate share: golden scripts, seed sweeps, a simulated network, guards.
//!
//! Knows nothing of the crates under test, and sits at the bottom of the layer table as a
//! dev-dependency. Entry points:
//! - [`script::run`] and [`script::run_sessions`]: files of commands with the trace they must give;
//!   `UPDATE_GOLDEN=1` rewrites the traces, and the difference is reviewed.
//! - [`sweep()`]: one closure, many seeds. `SIM_SEED=0x2a` runs one seed, `SIM_SEEDS=20000` that many,
//!   `SIM_STEPS=n` sets the length of each run ([`steps`]); a failure prints the line that replays it.
//! - [`find`]: the reverse, for a seeded bug that a sweep must find.
//! - [`World`]: virtual time and a network that loses, delays, doubles, reorders and parts.
//! - [`TempDir`], [`wait_until`], [`root`]: a folder that goes away, waiting with a deadline, privileges.
//!
//! Invariant: the same seed gives the same run, on every machine.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod root;
pub mod script;
mod sweep;
mod temp;
mod wait;
mod world;

pub use sweep::{Verdict, find, seed_count, steps, sweep};
pub use temp::TempDir;
pub use wait::wait_until;
pub use world::{Delivery, Faults, World};
