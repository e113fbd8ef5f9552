//! The store on a real disk and a real socket.
#![expect(clippy::unwrap_used, reason = "tests")]

mod client;
mod cluster;
mod cost;
mod damage;
mod kill;
mod upkeep;
mod wire;
