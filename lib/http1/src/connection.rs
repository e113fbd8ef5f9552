//! What a message says about its connection: reuse, upgrades, expectations, hop-by-hop fields.

use crate::{Error, Headers, RequestHead, ResponseHead, Version};

/// Fields that concern one connection only and are never sent on (RFC 9110 7.6.1), whether listed or not.
pub const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether the sender of this head keeps the connection open after the message (RFC 9112 9.3).
///
/// HTTP/1.0 keeps it only on request; a response that ends with the connection is the caller's to see.
#[must_use]
pub fn keep_alive(version: Version, headers: &Headers) -> bool {
    let closes = headers.lists("connection", "close");
    match version {
        Version::Http11 => !closes,
        Version::Http10 => !closes && headers.lists("connection", "keep-alive"),
    }
}

/// The protocol a request offers to change to, if it does so in a way that counts: HTTP/1.1, an `upgrade`
/// option in Connection, and one protocol in Upgrade (RFC 9110 7.8).
#[must_use]
pub fn upgrade_requested(head: &RequestHead) -> Option<&[u8]> {
    if head.version != Version::Http11 { None } else { upgrade_of(&head.headers) }
}

/// The protocol a 101 response changes to.
#[must_use]
pub fn upgrade_protocol(head: &ResponseHead) -> Option<&[u8]> {
    if head.status != 101 { None } else { upgrade_of(&head.headers) }
}

fn upgrade_of(headers: &Headers) -> Option<&[u8]> {
    if !headers.lists("connection", "upgrade") {
        return None;
    }
    let mut protocols = headers.tokens("upgrade");
    let first = protocols.next()?;
    if protocols.next().is_some() { None } else { Some(first) }
}

/// Whether the client waits for `100 Continue` before it sends the body (RFC 9110 10.1.1).
///
/// # Errors
/// [`Error::Expectation`] for any other expectation.
pub fn expects_continue(head: &RequestHead) -> Result<bool, Error> {
    let mut values = head.headers.get_all("expect");
    match (values.next(), values.next()) {
        (None, _) => Ok(false),
        // An HTTP/1.0 client cannot take the interim response, so its expectation is ignored.
        (Some(_), _) if head.version == Version::Http10 => Ok(false),
        (Some(value), None) if value.eq_ignore_ascii_case(b"100-continue") => Ok(true),
        _ => Err(Error::Expectation),
    }
}

/// Whether a field of that name is never sent on.
#[must_use]
pub fn is_hop_by_hop(name: &str) -> bool {
    HOP_BY_HOP.iter().any(|hop| hop.eq_ignore_ascii_case(name))
}

/// Remove the hop-by-hop fields and those that Connection names.
///
/// Host and Content-Length stay even if named: taking them away would change the message itself.
pub fn strip_hop_by_hop(headers: &mut Headers) {
    let Some(mut options) = headers.get("connection").map(<[u8]>::to_vec) else {
        headers.retain(|name, _| !is_hop_by_hop(name));
        return;
    };
    for more in headers.get_all("connection").skip(1) {
        options.push(b',');
        options.extend_from_slice(more);
    }
    let named = |name: &str| {
        let listed = options
            .split(|&b| b == b',')
            .any(|option| crate::headers::trim(option).eq_ignore_ascii_case(name.as_bytes()));
        listed && !["host", "content-length"].iter().any(|kept| kept.eq_ignore_ascii_case(name))
    };
    headers.retain(|name, _| !is_hop_by_hop(name) && !named(name));
}
