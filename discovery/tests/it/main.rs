//! Discovery from outside: health by script, DNS by mutation, sockets on loopback, the agent against a store.
#![expect(clippy::unwrap_used, reason = "a test states what must hold")]

mod agent;
mod fuzz;
mod health;
mod probes;
mod resolver;
mod store;
mod world;
