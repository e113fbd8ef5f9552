//! The router with real sockets: toy backends, real clients, no platform.
#![expect(clippy::unwrap_used, reason = "a test states what must hold")]

mod exchange;
mod replace;
mod store;
mod synced;
mod toy;
