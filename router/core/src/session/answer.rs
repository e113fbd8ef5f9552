//! Answers of our own: each says what failed, and what to do.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use http1::{Error, Headers, Version};

/// Why the router answers by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The request is refused.
    Bad(Error),
    /// The method is not for a gateway.
    Method,
    /// The head or the body did not come in time.
    RequestTimeout,
    /// No route.
    NoRoute,
    /// No backend.
    NoBackend,
    /// No backend took a connection.
    Refused,
    /// The backend closed without an answer.
    Gone,
    /// The backend's answer is malformed.
    Invalid,
    /// The backend did not answer in time.
    BackendTimeout,
}

impl Fault {
    pub(super) fn status(self) -> u16 {
        match self {
            Fault::Bad(error) => error.status(),
            Fault::Method => 405,
            Fault::RequestTimeout => 408,
            Fault::NoRoute => 404,
            Fault::NoBackend => 503,
            Fault::Refused | Fault::Gone | Fault::Invalid => 502,
            Fault::BackendTimeout => 504,
        }
    }

    /// Stable, for programs and for searching a log.
    pub(super) fn code(self) -> &'static str {
        match self {
            Fault::Bad(_) => "bad_request",
            Fault::Method => "method_not_allowed",
            Fault::RequestTimeout => "request_timeout",
            Fault::NoRoute => "no_such_app",
            Fault::NoBackend => "no_backend",
            Fault::Refused => "backend_refused",
            Fault::Gone => "backend_closed",
            Fault::Invalid => "backend_invalid",
            Fault::BackendTimeout => "backend_timeout",
        }
    }

    fn what(self, host: &str) -> String {
        match self {
            Fault::Bad(error) => format!("the request was refused: {error}"),
            Fault::Method => "CONNECT and TRACE are not served here".into(),
            Fault::RequestTimeout => "the request did not arrive in time".into(),
            Fault::NoRoute if host.is_empty() => "the request names no host".into(),
            Fault::NoRoute => format!("no app has the route {host:?}"),
            Fault::NoBackend => "the app has no running web process".into(),
            Fault::Refused => "the app does not accept connections".into(),
            Fault::Gone => "the app closed the connection without an answer".into(),
            Fault::Invalid => "the app's answer is not valid HTTP".into(),
            Fault::BackendTimeout => "the app did not answer in time".into(),
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Fault::Bad(_) => "correct the request and send it again",
            Fault::Method => "use another method",
            Fault::RequestTimeout => "try again on a faster connection",
            Fault::NoRoute => "check the name, or add it with `slipway routes add HOST` in the app's folder",
            Fault::NoBackend => "see `slipway ps`; start one with `slipway scale web=1`",
            Fault::Refused => "it must listen on 0.0.0.0 at the port in $PORT; see `slipway log`",
            Fault::Gone | Fault::Invalid | Fault::BackendTimeout => "see `slipway log` for what it did",
        }
    }
}

/// How the client wants to read an answer, and what to name in it.
pub(super) struct Reader<'a> {
    pub(super) host: &'a str,
    pub(super) accept: Option<&'a [u8]>,
    pub(super) request_id: &'a str,
    pub(super) version: Version,
    pub(super) keeps: bool,
    pub(super) wants_content: bool,
}

/// Append the answer; the length of its content.
pub(super) fn encode(fault: Fault, reader: &Reader<'_>, out: &mut Vec<u8>) -> u64 {
    let html = reader.accept.is_some_and(|accept| accept.windows(9).any(|part| part == b"text/html"));
    let (status, reason) = (fault.status(), http1::reason(fault.status()));
    let (what, hint, code, id) = (fault.what(reader.host), fault.hint(), fault.code(), reader.request_id);
    let content = if html {
        // The host holds only letters, digits, dots and dashes, so nothing here needs escaping but its quotes.
        format!(
            "<!doctype html><meta charset=utf-8><title>{status} {reason}</title>\
             <body style=\"font:16px/1.5 system-ui;max-width:40em;margin:4em auto;padding:0 1em\">\
             <h1>{status} {reason}</h1><p>{what}<p>{hint}<p><small>code {code}, request {id}</small>\n"
        )
    } else {
        format!("{status} {reason}\n{what}\n{hint}\ncode {code}, request {id}\n")
    };
    let mut headers = Headers::new();
    let kind = if html { "text/html; charset=utf-8" } else { "text/plain; charset=utf-8" };
    let mut add = |name, value: &str| headers.append(name, value).expect("a literal, a number or a checked id");
    add("Content-Type", kind);
    add("Content-Length", &format!("{}", content.len()));
    add("Cache-Control", "no-store");
    add("X-Request-Id", id);
    add("X-Slipway-Error", code);
    if status == 503 {
        add("Retry-After", "5");
    }
    if status == 405 {
        add("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    }
    match (reader.keeps, reader.version) {
        (false, _) => add("Connection", "close"),
        (true, Version::Http10) => add("Connection", "keep-alive"),
        (true, Version::Http11) => {}
    }
    http1::encode_response_line(Version::Http11, status, reason, out);
    http1::encode_headers(&headers, out);
    out.extend_from_slice(b"\r\n");
    if !reader.wants_content {
        return 0;
    }
    out.extend_from_slice(content.as_bytes());
    content.len() as u64
}
