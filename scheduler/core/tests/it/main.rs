//! Stories and simulations of the schedulers' decisions.
#![expect(clippy::unwrap_used, reason = "tests")]

mod model;
mod script;
mod sim;
