//! Kernel settings of one interface. They belong to the network namespace of the calling thread.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::error::NetError;

/// Whether an interface takes packets that are not for this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forwarding {
    On,
    Off,
}

fn path(family: &str, link: &str, setting: &str) -> PathBuf {
    PathBuf::from(format!("/proc/sys/net/{family}/conf/{link}/{setting}"))
}

fn write(path: PathBuf, value: &str) -> Result<(), NetError> {
    fs::write(&path, value).map_err(|source| NetError::Sysctl { path, value: value.to_owned(), source })
}

/// What the interface does now; off when it is not there.
pub(crate) fn forwarding(link: &str) -> Forwarding {
    match fs::read_to_string(path("ipv4", link, "forwarding")) {
        Ok(text) if text.trim() != "0" => Forwarding::On,
        _ => Forwarding::Off,
    }
}

/// The global switch stays as it is: this one decides for packets that come in here.
pub(crate) fn set_forwarding(link: &str, forwarding: Forwarding) -> Result<(), NetError> {
    let value = match forwarding {
        Forwarding::On => "1",
        Forwarding::Off => "0",
    };
    write(path("ipv4", link, "forwarding"), value)
}

/// All traffic between jobs turns round at the gateway on purpose; nobody is to be told of a shorter way.
pub(crate) fn refuse_shortcuts(link: &str) -> Result<(), NetError> {
    write(path("ipv4", link, "send_redirects"), "0")
}

/// Without an IPv6 address on the bridge, a service of the host that listens on `[::]` is out of reach.
pub(crate) fn disable_ipv6(link: &str) -> Result<(), NetError> {
    match write(path("ipv6", link, "disable_ipv6"), "1") {
        // A kernel without IPv6 has nothing to disable.
        Err(NetError::Sysctl { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
