//! Decides how a deployment moves jobs from one release to the next, and what input the controller accepts.
//!
//! Knows no store, no HTTP, no clock and no jobs but their counts: the shell in `controller` observes, executes
//! and persists. Entry points: [`deployment::Deployer`] (the machine) and [`deployment::plan`] (its pure step),
//! [`validate`], [`names::generate`].
//!
//! ```text
//!  Pending -> Running --plan: Set* / Wait*--> Complete
//!                |  crashes, time-out, abort
//!                v
//!           RollingBack --plan_back: Set* / Wait*--> Failed (the old formation exactly as it was)
//! ```
//! Every edge is walked by `tests/scripts/*.txt`; deaths of the controller at every edge by `tests/it/sim.rs`.
//!
//! Invariants: where a deployment stands is read off the formations and the jobs, never remembered, so any
//! controller can go on with it at any moment. A step never asks for fewer jobs than the strategy may leave
//! ([`barrier::floor`]) nor for more than it may add ([`barrier::ceiling`]); old jobs are stopped only when the
//! new ones that replace them are up. Failure model: the shell may die between any two effects; effects are
//! idempotent and ordered; a controller that lost its lease is refused by the store.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

pub mod barrier;
pub mod deployment;
pub mod limits;
pub mod names;
pub mod validate;
