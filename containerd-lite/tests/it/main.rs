//! The host agent's tests: scripts of the job machine, and real jobs as root.

mod bench;
mod job;
mod root_agent;
mod root_shim;
mod store;
