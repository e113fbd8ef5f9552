//! The core from outside: simulation, scripts, model.
#![expect(clippy::unwrap_used, reason = "tests")]

mod disk;
mod group;
mod model;
mod script;
mod sim;
