//! Message heads: find where one ends, then parse it.

use alloc::string::String;
use core::fmt;
use core::mem::MaybeUninit;

use crate::headers::is_value_byte;
use crate::{Authority, Error, Headers, Limits, Method, Target};

/// The versions spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Version {
    /// The version as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        }
    }
}

/// The head of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// What to do.
    pub method: Method,
    /// To what.
    pub target: Target,
    /// The sender's version.
    pub version: Version,
    /// The header fields.
    pub headers: Headers,
}

impl RequestHead {
    /// An HTTP/1.1 request without headers; Host is the caller's to add.
    ///
    /// # Errors
    /// As [`Target::parse`].
    pub fn new(method: Method, target: &str) -> Result<RequestHead, Error> {
        let target = Target::parse(&method, target)?;
        Ok(RequestHead { method, target, version: Version::Http11, headers: Headers::new() })
    }

    /// The host asked for: the target's, else that of Host (RFC 9112 3.3). `None` only in HTTP/1.0.
    ///
    /// # Errors
    /// Two Host lines, none in HTTP/1.1, a malformed one, or one that contradicts the target.
    pub fn authority(&self) -> Result<Option<Authority<'_>>, Error> {
        let mut hosts = self.headers.get_all("host");
        let host = hosts.next();
        if hosts.next().is_some() {
            return Err(Error::HostRepeated);
        }
        let host = match host {
            None if self.version == Version::Http11 => return Err(Error::HostMissing),
            None => None,
            Some(value) => {
                let text = core::str::from_utf8(value).map_err(|_| Error::HostInvalid)?;
                Some(Authority::parse(text)?)
            }
        };
        match (self.target.authority(), host) {
            (Some(target), Some(host)) if !target.same_as(&host) => Err(Error::HostConflict),
            (Some(target), _) => Ok(Some(target)),
            (None, host) => Ok(host),
        }
    }
}

/// The head of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// The sender's version.
    pub version: Version,
    /// 100 to 599.
    pub status: u16,
    reason: String,
    /// The header fields.
    pub headers: Headers,
}

impl ResponseHead {
    /// An HTTP/1.1 response without headers, with the registered reason of its status.
    #[must_use]
    pub fn new(status: u16) -> ResponseHead {
        let reason = crate::reason(status).into();
        ResponseHead { version: Version::Http11, status, reason, headers: Headers::new() }
    }

    /// The reason phrase; often empty, never to be acted on.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Whether it is a 1xx that another response follows. 101 is not: it ends HTTP on the connection.
    #[must_use]
    pub const fn is_interim(&self) -> bool {
        self.status >= 100 && self.status < 200 && self.status != 101
    }
}

/// What a growing buffer holds so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed<T> {
    /// The start of a head; read more.
    Incomplete,
    /// A whole head.
    Complete {
        /// The head.
        head: T,
        /// The bytes it took from the front of the buffer.
        consumed: usize,
    },
}

/// Parse a request head from the front of a buffer. See [`HeadParser::request`].
///
/// # Errors
/// Any refusal of a head.
pub fn parse_request(buffer: &[u8], limits: &Limits) -> Result<Parsed<RequestHead>, Error> {
    HeadParser::new().request(buffer, limits)
}

/// Parse a response head from the front of a buffer. See [`HeadParser::response`].
///
/// # Errors
/// Any refusal of a head.
pub fn parse_response(buffer: &[u8], limits: &Limits) -> Result<Parsed<ResponseHead>, Error> {
    HeadParser::new().response(buffer, limits)
}

/// Remembers how far a growing buffer was searched, so that a head sent byte by byte costs linear work.
///
/// Give it the same buffer each time, grown at its end, until it is complete; it is then ready for the next.
#[derive(Clone, Debug, Default)]
pub struct HeadParser {
    /// Bytes looked at.
    at: usize,
    /// Where the line being looked at starts.
    line: usize,
    /// Where the first line starts: after one empty line at most (RFC 9112 2.2).
    first: usize,
    /// Lines that have ended, an empty one in front not counted.
    lines: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Request,
    Response,
}

impl HeadParser {
    /// At the front of a buffer.
    #[must_use]
    pub const fn new() -> HeadParser {
        HeadParser { at: 0, line: 0, first: 0, lines: 0 }
    }

    /// Whether nothing of a head has been seen.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.at == self.first
    }

    /// Look for a request head.
    ///
    /// # Errors
    /// Any refusal of a head, as soon as the bytes that deserve it are there.
    pub fn request(&mut self, buffer: &[u8], limits: &Limits) -> Result<Parsed<RequestHead>, Error> {
        let Some(end) = self.find_end(buffer, limits, Kind::Request)? else { return Ok(Parsed::Incomplete) };
        let head = request_head(&buffer[self.first..end], limits)?;
        *self = HeadParser::new();
        Ok(Parsed::Complete { head, consumed: end })
    }

    /// Look for a response head.
    ///
    /// # Errors
    /// Any refusal of a head, as soon as the bytes that deserve it are there.
    pub fn response(&mut self, buffer: &[u8], limits: &Limits) -> Result<Parsed<ResponseHead>, Error> {
        let Some(end) = self.find_end(buffer, limits, Kind::Response)? else { return Ok(Parsed::Incomplete) };
        let head = response_head(&buffer[self.first..end], limits)?;
        *self = HeadParser::new();
        Ok(Parsed::Complete { head, consumed: end })
    }

    /// Where the head ends, if it has. Also the one place that refuses odd line ends and control bytes.
    fn find_end(&mut self, buffer: &[u8], limits: &Limits, kind: Kind) -> Result<Option<usize>, Error> {
        let window = &buffer[..buffer.len().min(limits.head_bytes_max)];
        while self.at < window.len() {
            let byte = window[self.at];
            let after_cr = self.at > self.line && window[self.at - 1] == b'\r';
            self.at += 1;
            if byte == b'\n' {
                if !after_cr {
                    return Err(Error::BareLf);
                }
                if self.end_line(window, limits, kind)? {
                    return Ok(Some(self.at));
                }
            } else if after_cr {
                return Err(Error::BareCr);
            } else if !is_value_byte(byte) && byte != b'\r' {
                return Err(Error::ControlByte);
            }
        }
        self.check_line_length(limits, kind)?;
        if buffer.len() >= limits.head_bytes_max { Err(Error::HeadTooLarge) } else { Ok(None) }
    }

    /// Take in the end of a line; whether the head ended with it.
    fn end_line(&mut self, window: &[u8], limits: &Limits, kind: Kind) -> Result<bool, Error> {
        self.check_line_length(limits, kind)?;
        let line = &window[self.line..self.at - 2];
        self.line = self.at;
        if line.is_empty() {
            if self.lines > 0 {
                return Ok(true);
            }
            if kind == Kind::Response || self.first > 0 {
                return Err(if kind == Kind::Request { Error::RequestLine } else { Error::StatusLine });
            }
            self.first = self.at;
            return Ok(false);
        }
        self.lines += 1;
        if self.lines == 1 && kind == Kind::Request {
            // Else an HTTP/0.9 client would wait for an answer while we wait for its headers.
            check_request_version(line)?;
        }
        if self.lines > limits.headers_max + 1 {
            return Err(Error::TooManyHeaders);
        }
        Ok(false)
    }

    fn check_line_length(&self, limits: &Limits, kind: Kind) -> Result<(), Error> {
        let len = self.at - self.line;
        match (self.lines, kind) {
            (0, Kind::Request) if len > limits.first_line_bytes_max => Err(Error::RequestLineTooLong),
            (0, Kind::Response) if len > limits.first_line_bytes_max => Err(Error::StatusLine),
            _ if len > limits.header_line_bytes_max && self.lines > 0 => Err(Error::HeaderLineTooLong),
            _ => Ok(()),
        }
    }
}

fn check_request_version(line: &[u8]) -> Result<(), Error> {
    let Some((_, [b' ', b'H', b'T', b'T', b'P', b'/', major, b'.', minor])) = line.split_last_chunk::<9>() else {
        return Err(Error::RequestLine);
    };
    match (major, minor) {
        (b'1', b'0' | b'1') => Ok(()),
        _ if major.is_ascii_digit() && minor.is_ascii_digit() => Err(Error::Version),
        _ => Err(Error::RequestLine),
    }
}

fn request_head(text: &[u8], limits: &Limits) -> Result<RequestHead, Error> {
    let mut table = [const { MaybeUninit::uninit() }; Limits::HEADERS_CEILING];
    let mut raw = httparse::Request::new(&mut []);
    let parsed = raw.parse_with_uninit_headers(text, &mut table).map_err(|fault| match fault {
        httparse::Error::HeaderName | httparse::Error::NewLine => Error::HeaderName,
        httparse::Error::HeaderValue => Error::HeaderValue,
        httparse::Error::TooManyHeaders => Error::TooManyHeaders,
        httparse::Error::Version | httparse::Error::Token | httparse::Error::Status => Error::RequestLine,
    })?;
    let (httparse::Status::Complete(_), Some(method), Some(path), Some(minor)) =
        (parsed, raw.method, raw.path, raw.version)
    else {
        return Err(Error::RequestLine);
    };
    let method = Method::parse(method).ok_or(Error::RequestLine)?;
    let target = Target::parse(&method, path)?;
    let headers = copy_headers(raw.headers, text.len(), limits)?;
    let head = RequestHead { method, target, version: version(minor), headers };
    head.authority()?;
    Ok(head)
}

fn response_head(text: &[u8], limits: &Limits) -> Result<ResponseHead, Error> {
    let mut table = [const { MaybeUninit::uninit() }; Limits::HEADERS_CEILING];
    let mut raw = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut raw, text, &mut table)
        .map_err(|fault| match fault {
            httparse::Error::HeaderName | httparse::Error::NewLine => Error::HeaderName,
            httparse::Error::HeaderValue => Error::HeaderValue,
            httparse::Error::TooManyHeaders => Error::TooManyHeaders,
            httparse::Error::Version => Error::Version,
            httparse::Error::Token | httparse::Error::Status => Error::StatusLine,
        })?;
    let (httparse::Status::Complete(_), Some(status @ 100..=599), Some(minor)) = (parsed, raw.code, raw.version) else {
        return Err(Error::StatusLine);
    };
    let headers = copy_headers(raw.headers, text.len(), limits)?;
    Ok(ResponseHead { version: version(minor), status, reason: raw.reason.unwrap_or("").into(), headers })
}

fn copy_headers(raw: &[httparse::Header<'_>], bytes: usize, limits: &Limits) -> Result<Headers, Error> {
    if raw.len() > limits.headers_max {
        return Err(Error::TooManyHeaders);
    }
    // Room for what a proxy adds, so that it need not grow.
    let mut headers = Headers::with_room(raw.len() + 8, bytes + 256);
    for header in raw {
        headers.append(header.name, header.value)?;
    }
    Ok(headers)
}

const fn version(minor: u8) -> Version {
    if minor == 0 { Version::Http10 } else { Version::Http11 }
}

#[cfg(test)]
mod tests;
