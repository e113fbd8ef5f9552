//! On which ports a job listens: the difference between "it is slow", "it is on the wrong port" and "somebody else is
//! on that port".

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// TCP sockets that listen in the network namespace of a process.
#[must_use]
pub fn listening(pid: i32) -> BTreeSet<SocketAddr> {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default();
    parse(&read("tcp")).chain(parse(&read("tcp6"))).map(|(address, _)| address).collect()
}

/// Inodes of the sockets that listen on `port` in this process's network namespace.
fn inodes(port: u16) -> BTreeSet<u64> {
    let read = |name: &str| fs::read_to_string(format!("/proc/self/net/{name}")).unwrap_or_default();
    let (v4, v6) = (read("tcp"), read("tcp6"));
    parse(&v4).chain(parse(&v6)).filter(|(address, _)| address.port() == port).map(|(_, inode)| inode).collect()
}

/// Whether a process has one of these sockets open.
fn has_open(pid: i32, inodes: &BTreeSet<u64>) -> bool {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    entries.flatten().any(|entry| {
        let target = fs::read_link(entry.path()).ok();
        let inode = target.as_ref().and_then(|target| target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']'));
        inode.and_then(|inode| inode.parse().ok()).is_some_and(|inode: u64| inodes.contains(&inode))
    })
}

/// Whether one of `pids` listens on `port` of this host.
///
/// # Errors
/// Says who does instead, for people.
pub fn must_hold(port: u16, pids: &[i32]) -> Result<(), String> {
    let inodes = inodes(port);
    if pids.iter().any(|pid| has_open(*pid, &inodes)) {
        return Ok(());
    }
    match holder(port) {
        Some(holder) => Err(format!("port {port} is taken by {holder}")),
        None => Err(format!("port {port} is taken by a program of somebody else")),
    }
}

/// A program that listens on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process number, when it can be seen from here.
    pub pid: Option<i32>,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "{} (pid {pid})", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// Who listens on `port` of this host, if anybody does.
#[must_use]
pub fn holder(port: u16) -> Option<Holder> {
    let inodes = inodes(port);
    if inodes.is_empty() {
        return None;
    }
    let pids = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let found = pids.into_iter().find(|pid: &i32| has_open(*pid, &inodes));
    let name = |pid| fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim().to_owned());
    Some(Holder { pid: found, name: found.and_then(name).unwrap_or_else(|| "another program".to_owned()) })
}

/// Listening addresses with the inodes of their sockets.
fn parse(table: &str) -> impl Iterator<Item = (SocketAddr, u64)> {
    /// TCP_LISTEN of the kernel's tcp_states.h.
    const LISTEN: &str = "0A";
    table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next()?;
        if fields.nth(1)? != LISTEN {
            return None;
        }
        let inode = fields.nth(5)?.parse().ok()?;
        let (address, port) = local.split_once(':')?;
        Some((SocketAddr::new(parse_address(address)?, u16::from_str_radix(port, 16).ok()?), inode))
    })
}

/// Addresses are printed as numbers of 32 bits in the machine's own order.
fn parse_address(text: &str) -> Option<IpAddr> {
    let words: Vec<[u8; 4]> = text
        .as_bytes()
        .chunks(8)
        .map(|word| Some(u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?.to_ne_bytes()))
        .collect::<Option<_>>()?;
    match words.as_slice() {
        [word] => Some(IpAddr::V4(Ipv4Addr::from(*word))),
        [a, b, c, d] => {
            let mut bytes = [0; 16];
            for (at, word) in [a, b, c, d].into_iter().enumerate() {
                bytes[at * 4..at * 4 + 4].copy_from_slice(word);
            }
            Some(IpAddr::V6(Ipv6Addr::from(bytes)))
        }
        _ => None,
    }
}

/// What is wrong with where a job listens that should listen on `port`, and what to do.
#[must_use]
pub fn advice(port: u16, listening: &BTreeSet<SocketAddr>) -> String {
    let on_port: Vec<&SocketAddr> = listening.iter().filter(|socket| socket.port() == port).collect();
    if on_port.iter().any(|socket| !socket.ip().is_loopback()) {
        return String::new();
    }
    if let Some(socket) = on_port.first() {
        return format!("; it listens on {socket} only, where nobody else can reach it: listen on 0.0.0.0:{port}");
    }
    if listening.is_empty() {
        return format!("; it listens on no port: listen on 0.0.0.0:{port}, which is in the variable PORT");
    }
    let others: Vec<String> = listening.iter().map(ToString::to_string).collect();
    format!(
        "; it listens on {} and not on port {port}: listen on 0.0.0.0:{port}, which is in the variable PORT",
        others.join(" and ")
    )
}

#[cfg(test)]
mod tests;
