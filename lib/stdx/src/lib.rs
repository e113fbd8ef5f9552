//! What every pure core is built from: time as a value, seeded randomness, the shape of a machine.
//!
//! Knows no clock, no entropy and no I/O: a shell reads those in `os` and passes them in.
//! Entry points: [`Instant`], [`Rng`], [`Machine`], [`Backoff`], [`BoundedQueue`].
//! Everything here is deterministic: the same calls give the same answers on every machine, which is
//! what lets a failing simulation be replayed from its seed.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod backoff;
mod machine;
mod queue;
mod rng;
mod time;

pub use backoff::Backoff;
pub use machine::Machine;
pub use queue::{BoundedQueue, Full};
pub use rng::Rng;
pub use time::Instant;
