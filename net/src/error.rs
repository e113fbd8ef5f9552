//! What can go wrong, each with the act and its object.

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use types::JobId;

use crate::core::ipam::Exhausted;
use crate::core::subnet::Subnet;

/// Why an operation on the network failed.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The options contradict Linux or themselves.
    #[error("network option {option} is not valid: {why}")]
    Option {
        /// Which one.
        option: &'static str,
        /// What is wrong with it, and what would be right.
        why: String,
    },
    /// The kernel refused a netlink request.
    #[error("{action} {subject}")]
    Netlink {
        /// What was tried, e.g. `add link`.
        action: &'static str,
        /// On which link, address or route.
        subject: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused the packet filter rules; none of the batch is in force.
    #[error("apply {op} to nft table {table}")]
    Rules {
        /// Which table.
        table: String,
        /// The first operation it refused.
        op: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A kernel setting could not be written.
    #[error("write {value} to {}", path.display())]
    Sysctl {
        /// Which setting.
        path: PathBuf,
        /// What it was to be.
        value: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The network namespace of a job could not be entered, mostly because its holder has ended.
    #[error("{action} the network namespace of process {pid}")]
    Namespace {
        /// What was tried.
        action: &'static str,
        /// Whose namespace.
        pid: i32,
        /// What the kernel said.
        source: io::Error,
    },
    /// An interface of that name exists and is none of ours.
    #[error("{name} exists and is not a bridge: choose another bridge name or remove it")]
    NotABridge {
        /// Which interface.
        name: String,
    },
    /// The address range is already in use on this host.
    #[error("subnet {subnet} overlaps {other} on {link}: choose another subnet")]
    Overlap {
        /// What was asked for.
        subnet: Subnet,
        /// What is there.
        other: Subnet,
        /// On which interface.
        link: String,
    },
    /// The subnet is full.
    #[error("give job {job} an address")]
    Exhausted {
        /// Which job.
        job: JobId,
        /// Which subnet.
        source: Exhausted,
    },
    /// Two live jobs claim one address.
    #[error("adopt {address} for job {job}: it is held by another job or outside the subnet")]
    Conflict {
        /// Which job.
        job: JobId,
        /// Which address.
        address: Ipv4Addr,
    },
    /// The owner thread could not be started.
    #[error("start the network thread")]
    Thread {
        /// What the kernel said.
        source: io::Error,
    },
    /// The network was torn down.
    #[error("the network was torn down")]
    Closed,
}
