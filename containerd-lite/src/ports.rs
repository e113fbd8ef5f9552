//! On which ports a job listens: the difference between "it is slow" and "it is on the wrong port".

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// TCP sockets that listen in the network namespace of a process.
#[must_use]
pub fn listening(pid: i32) -> BTreeSet<SocketAddr> {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default();
    parse(&read("tcp")).chain(parse(&read("tcp6"))).collect()
}

fn parse(table: &str) -> impl Iterator<Item = SocketAddr> {
    /// TCP_LISTEN of the kernel's tcp_states.h.
    const LISTEN: &str = "0A";
    table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next()?;
        if fields.nth(1)? != LISTEN {
            return None;
        }
        let (address, port) = local.split_once(':')?;
        Some(SocketAddr::new(parse_address(address)?, u16::from_str_radix(port, 16).ok()?))
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
