//! The role over real sockets, against a store of keys in memory.
#![expect(clippy::unwrap_used, reason = "tests")]

mod framework;
mod role;
mod store;
