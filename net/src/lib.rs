//! The network of one host: an address for every job, a way out, and nothing else that it can reach.
//!
//! Knows no store, no HTTP and no runtime: a job is its id and the process id of whoever holds its network
//! namespace. Everything is netlink; no tool is run and no output parsed.
//!
//! Entry points: [`Network::open`] makes or adopts the bridge and the rules, [`Network::attach`] wires a job,
//! [`Network::reconcile`] removes what no live job owns, [`Network::teardown`] leaves nothing.
//! [`raise_loopback`] is all that a job without a network needs.
//!
//! ```text
//!  job's namespace            host's namespace
//!  eth0 100.100.7.5/32 ====== veth "sv..." -- bridge 100.100.7.1/24 -- routing + nft -- uplink (masqueraded)
//! ```
//!
//! Invariants:
//! - A job's only neighbour is the gateway: its address is a /32, bridge ports are isolated, and who has which
//!   hardware address is told by us (permanent neighbours, static forwarding entries, no learning, no flooding).
//!   So every packet passes the host's rules, and no job can answer for another.
//! - The rules are replaced in one transaction; there is no moment without them.
//! - The kernel is the only record: names follow from job ids, addresses from hardware addresses. A daemon that
//!   starts again adopts what it finds and interrupts no connection.
//! - Rules match our bridge only. Other traffic of the host is neither opened nor closed.
//!
//! Failure model: an operation that fails undoes what it did and says which act failed on what. A link, table or
//! address that is already gone counts as removed. The owner thread ends only when the last [`Network`] is dropped;
//! dropping leaves jobs connected.
//!
//! Tests: `core` by unit tests that print the rules; the rest as root in network namespaces of their own
//! (`tests/it/root.rs`).
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod bridge;
pub mod core;
mod error;
mod limits;
mod netlink;
mod netns;
mod network;
mod nft;
mod options;
mod owner;
mod sysctl;

pub use crate::core::subnet::Subnet;
pub use error::NetError;
pub use netns::raise_loopback;
pub use network::{Attachment, Network, Reconciled};
pub use options::Options;
