//! The session and the hub from outside: scripts and seeded simulation.
#![expect(clippy::unwrap_used, reason = "a test states what must hold")]

mod rig;
mod scripts;
mod sim;
