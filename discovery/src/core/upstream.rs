//! The host's own resolvers: which they are, and whether an answer is theirs.

use core::net::{IpAddr, SocketAddr};

use crate::core::dns::question_bytes;
use crate::limits::UPSTREAMS_MAX;

/// The port of DNS.
const DNS_PORT: u16 = 53;

/// The resolvers named in the text of a `resolv.conf`, without ourselves, at most three (resolv.conf(5)).
#[must_use]
pub fn parse_resolv_conf(text: &str, ourselves: IpAddr) -> Vec<SocketAddr> {
    let named = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (keyword, value) = (words.next()?, words.next()?);
        if keyword != "nameserver" {
            return None;
        }
        // A zone such as fe80::1%eth0 cannot be told by an address alone; such a resolver is left out.
        value.parse::<IpAddr>().ok()
    });
    let mut found: Vec<SocketAddr> = Vec::new();
    for address in named.filter(|address| *address != ourselves) {
        let address = SocketAddr::new(address, DNS_PORT);
        if !found.contains(&address) && found.len() < UPSTREAMS_MAX {
            found.push(address);
        }
    }
    found
}

/// Whether `reply` answers `query`: same number, same question, and a reply at all. Whoever guesses the port must
/// guess these, too.
#[must_use]
pub fn answers(query: &[u8], reply: &[u8]) -> bool {
    let is_reply = reply.get(2).is_some_and(|flags| flags & 0x80 != 0);
    let same_number = query.len() >= 2 && reply.get(..2) == query.get(..2);
    // A server may repeat the name in another case.
    let same_question = match (question_bytes(query), question_bytes(reply)) {
        (Some(asked), Some(answered)) => asked.eq_ignore_ascii_case(answered),
        _ => false,
    };
    is_reply && same_number && same_question
}

/// Whether another resolver may know better: this one failed or refuses to serve us.
#[must_use]
pub fn is_refusal(reply: &[u8]) -> bool {
    const SERVER_FAILURE: u8 = 2;
    const NOT_IMPLEMENTED: u8 = 4;
    const REFUSED: u8 = 5;
    reply.get(3).is_some_and(|flags| matches!(flags & 0x0f, SERVER_FAILURE | NOT_IMPLEMENTED | REFUSED))
}

#[cfg(test)]
mod tests;
