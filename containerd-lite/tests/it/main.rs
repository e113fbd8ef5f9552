//! The host agent's tests: scripts of the job machine, and real jobs as root.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a failed test says where, and why by its agent's log")]

mod bench;
mod job;
mod root_agent;
mod root_shim;
mod store;
