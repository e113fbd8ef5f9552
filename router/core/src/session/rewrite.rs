//! Heads as they are sent on: hop-by-hop fields gone, framing of our own, the truth about the client added.

use alloc::format;
use alloc::string::String;

use http1::{BodyLength, Headers, Method, RequestHead, ResponseHead, Version};
use stdx::{Instant, Rng};

use super::wire::Coding;
use super::{Peer, Proto};
use crate::limits::REQUEST_ID_BYTES;

/// Fields that only this router may say. A backend that maps `_` to `-` must not be told them by a client either.
const OURS: [&str; 9] = [
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-forwarded-host",
    "x-forwarded-server",
    "x-real-ip",
    "forwarded",
    "x-request-start",
    "x-request-id",
];

/// Fields that frame or route, and must not come back in another spelling.
const FRAMING: [&str; 3] = ["content-length", "transfer-encoding", "host"];

/// What the client wanted of the connection, read before the head is rewritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wants {
    pub(super) keep_alive: bool,
    pub(super) upgrade: Option<alloc::vec::Vec<u8>>,
    pub(super) request_id: String,
}

/// Make the head one that is sent to a backend.
pub(super) fn request(head: &mut RequestHead, body: BodyLength, peer: &Peer, now: Instant, ids: &mut Rng) -> Wants {
    let upgrade = http1::upgrade_requested(head).filter(|name| body == BodyLength::None && may_upgrade(name));
    let upgrade = upgrade.map(<[u8]>::to_vec);
    let keep_alive = http1::keep_alive(head.version, &head.headers);
    let request_id = request_id(&head.headers, ids);
    let host = head.authority().ok().flatten().map(|authority| match authority.port {
        Some(port) => format!("{}:{port}", authority.host),
        None => String::from(authority.host),
    });
    let had_length = head.headers.contains("content-length");

    http1::strip_hop_by_hop(&mut head.headers);
    head.headers.retain(|name, _| {
        let same = |ours: &&str| equal_folded(name, ours);
        let misspelt = name.contains('_') && (FRAMING.iter().any(same) || http1::HOP_BY_HOP.iter().any(same));
        !OURS.iter().any(same) && !misspelt && !FRAMING.iter().any(|f| f.eq_ignore_ascii_case(name))
    });
    head.version = Version::Http11;
    let mut add = |name, value: &str| {
        head.headers.append(name, value).expect("a literal, a number, an address or a checked text");
    };
    if let Some(host) = host {
        add("Host", &host);
    }
    match body {
        BodyLength::Length(bytes) => add("Content-Length", &format!("{bytes}")),
        BodyLength::Chunked => add("Transfer-Encoding", "chunked"),
        BodyLength::None if had_length => add("Content-Length", "0"),
        BodyLength::None | BodyLength::UntilClose => {}
    }
    add("X-Forwarded-For", &peer.ip);
    add("X-Forwarded-Proto", if peer.proto == Proto::Https { "https" } else { "http" });
    add("X-Forwarded-Port", &format!("{}", peer.port));
    add("X-Request-Id", &request_id);
    add("X-Request-Start", &format!("t={}", peer.unix_millis_at_start.saturating_add(now.millis())));
    add("Via", "1.1 slipway");
    if let Some(upgrade) = &upgrade {
        add("Connection", "Upgrade");
        head.headers.append("Upgrade", upgrade).expect("it was parsed as a value");
    }
    Wants { keep_alive, upgrade, request_id }
}

/// Protocols that would let a client speak HTTP past this router's parser are not passed on.
fn may_upgrade(protocol: &[u8]) -> bool {
    let starts = |with: &[u8]| protocol.len() >= with.len() && protocol[..with.len()].eq_ignore_ascii_case(with);
    !(starts(b"h2") || starts(b"http") || starts(b"tls"))
}

fn equal_folded(name: &str, wanted: &str) -> bool {
    let fold = |b: u8| if b == b'_' { b'-' } else { b.to_ascii_lowercase() };
    name.len() == wanted.len() && name.bytes().map(fold).eq(wanted.bytes())
}

fn request_id(headers: &Headers, ids: &mut Rng) -> String {
    let safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'+' | b'/' | b'=' | b'.' | b':');
    match headers.get_str("x-request-id") {
        Some(id) if REQUEST_ID_BYTES.contains(&id.len()) && id.bytes().all(safe) => id.into(),
        _ => fresh_id(ids),
    }
}

/// In the form of a UUID, version 4.
pub(super) fn fresh_id(ids: &mut Rng) -> String {
    let (a, b) = (ids.next_u64(), ids.next_u64());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        ((b >> 48) & 0x3fff) | 0x8000,
        b & 0xffff_ffff_ffff
    )
}

/// How a response is sent on.
pub(super) struct Sending {
    pub(super) coding: Coding,
    pub(super) keeps: bool,
}

/// Make the head one that is sent to the client. `keeps` says whether the connection would otherwise be kept.
pub(super) fn response(
    head: &mut ResponseHead,
    body: BodyLength,
    method: &Method,
    client: Version,
    keeps: bool,
) -> Sending {
    let announced = head.headers.get_str("content-length").map(String::from);
    http1::strip_hop_by_hop(&mut head.headers);
    head.headers.remove("content-length");
    head.version = Version::Http11;
    let mut add = |name, value: &str| head.headers.append(name, value).expect("a literal or a number");
    let mut coding = Coding::Plain;
    let mut framed = true;
    match body {
        BodyLength::Length(bytes) => add("Content-Length", &format!("{bytes}")),
        BodyLength::Chunked | BodyLength::UntilClose if client == Version::Http11 => {
            add("Transfer-Encoding", "chunked");
            coding = Coding::Chunked;
        }
        BodyLength::Chunked | BodyLength::UntilClose => framed = false,
        BodyLength::None => match announced {
            // Of a HEAD or a 304 it is the length that a GET would have had; elsewhere it is zero.
            Some(length) if *method == Method::Head || !matches!(head.status, 100..=199 | 204) => {
                add("Content-Length", &length);
            }
            _ => {}
        },
    }
    let keeps = keeps && framed;
    match (keeps, client) {
        (false, _) => add("Connection", "close"),
        (true, Version::Http10) => add("Connection", "keep-alive"),
        (true, Version::Http11) => {}
    }
    Sending { coding, keeps }
}
