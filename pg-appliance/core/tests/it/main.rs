//! Stories and simulations of a cluster's decisions.
#![expect(clippy::unwrap_used, reason = "tests")]

mod script;
mod sim;
