//! Whole clusters on one machine, each in namespaces of its own, driven from outside by the real binary.
//!
//! Links nothing of the platform but its words and its clients. Entry points: [`Cluster`] (start, kill, power
//! cut, commands, requests), [`App`] (a git repository that is pushed), [`load::Load`] (steady requests that count every
//! failure), [`leftovers::Snapshot`] (what a machine has, before and after).
//!
//! A cluster has its own pid, mount and network namespace, cgroup and folder. Killing the first process of its pid
//! namespace is a power cut: everything dies at once. Its network reaches the outside through one veth and one
//! masquerade rule, both of which go with it.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test bed stops at what it did not expect, and says so"
)]
#![forbid(unsafe_code)]

pub mod app;
pub mod cluster;
pub mod http;
pub mod leftovers;
pub mod load;
pub mod net;
pub mod scenario;
pub mod shell;

pub use app::App;
pub use cluster::Cluster;

/// Tell what goes on, apart from results.
pub fn say(line: &str) {
    eprintln!("testbed: {line}");
}
