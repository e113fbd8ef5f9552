//! What a network is made of.

use std::net::Ipv4Addr;

use crate::core::firewall::Policy;
use crate::core::name::LINK_NAME_BYTES_MAX;
use crate::core::subnet::Subnet;
use crate::error::NetError;
use crate::limits::{HOST_PORTS_MAX, PREFIX_BITS};

/// What [`crate::Network::open`] makes. Two networks on one machine differ in the first three.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The bridge's interface name, at most 15 bytes.
    pub bridge: String,
    /// The name of the nft table (family inet).
    pub table: String,
    /// Where jobs get their addresses; the first one is the gateway.
    pub subnet: Subnet,
    /// The interface towards the internet; the one of the default route when not told.
    pub uplink: Option<String>,
    /// The port of the resolver on the gateway's address.
    pub dns_port: u16,
    /// TCP ports of the host that jobs may reach at any of its addresses: the router's.
    pub host_ports: Vec<u16>,
}

impl Options {
    /// The address of the bridge: every job's gateway and resolver.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        self.subnet.gateway()
    }

    pub(crate) fn policy(&self) -> Policy {
        Policy {
            table: self.table.clone(),
            bridge: self.bridge.clone(),
            subnet: self.subnet,
            dns_port: self.dns_port,
            host_ports: self.host_ports.clone(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), NetError> {
        let refuse = |option, why: String| Err(NetError::Option { option, why });
        if !plain(&self.bridge) || self.bridge.len() > LINK_NAME_BYTES_MAX {
            return refuse("bridge", format!("{:?}: use at most 15 letters, digits, - and _", self.bridge));
        }
        if !plain(&self.table) || self.table.len() > 31 {
            return refuse("table", format!("{:?}: use at most 31 letters, digits, - and _", self.table));
        }
        if !PREFIX_BITS.contains(&self.subnet.prefix()) {
            return refuse("subnet", format!("{}: use a prefix of 16 to 29 bits", self.subnet));
        }
        if self.host_ports.len() > HOST_PORTS_MAX {
            return refuse("host_ports", format!("at most {HOST_PORTS_MAX} can be open"));
        }
        Ok(())
    }
}

fn plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}
