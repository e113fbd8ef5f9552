//! The one place that says how long a body is (RFC 9112 6).

use crate::{Error, Headers, Method, RequestHead, ResponseHead, Version};

/// How the body of a message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is no body.
    None,
    /// After this many bytes, more than zero.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// The length of a request's body.
///
/// # Errors
/// Everything that two parsers could read in two ways.
pub fn request_body(head: &RequestHead) -> Result<BodyLength, Error> {
    let framed = framing_fields(head.version, &head.headers)?;
    Ok(match framed {
        // A CONNECT request has no body; what follows is the tunnel's (RFC 9110 9.3.6).
        Some(length) if head.method != Method::Connect => length,
        Some(_) => return Err(Error::Coding),
        None => BodyLength::None,
    })
}

/// The length of the body of a response to a request with that method.
///
/// After 101, and after a 2xx to CONNECT, the connection is a tunnel: the length is then [`BodyLength::None`].
///
/// # Errors
/// Everything that two parsers could read in two ways, also where the status says there is no body.
pub fn response_body(head: &ResponseHead, request_method: &Method) -> Result<BodyLength, Error> {
    let framed = framing_fields(head.version, &head.headers)?;
    let tunnels = *request_method == Method::Connect && (200..300).contains(&head.status);
    if *request_method == Method::Head || matches!(head.status, 100..=199 | 204 | 304) || tunnels {
        return Ok(BodyLength::None);
    }
    Ok(framed.unwrap_or(BodyLength::UntilClose))
}

/// What the header fields alone say.
fn framing_fields(version: Version, headers: &Headers) -> Result<Option<BodyLength>, Error> {
    let coded = coding(headers)?;
    let length = content_length(headers)?;
    match (coded, length) {
        (true, Some(_)) => Err(Error::LengthAndCoding),
        (true, None) if version == Version::Http10 => Err(Error::CodingInHttp10),
        (true, None) => Ok(Some(BodyLength::Chunked)),
        (false, Some(0)) => Ok(Some(BodyLength::None)),
        (false, Some(bytes)) => Ok(Some(BodyLength::Length(bytes))),
        (false, None) => Ok(None),
    }
}

/// Whether the body is chunked. Only one line that says exactly `chunked` is accepted.
fn coding(headers: &Headers) -> Result<bool, Error> {
    let mut values = headers.get_all("transfer-encoding");
    let Some(value) = values.next() else { return Ok(false) };
    if values.next().is_some() {
        return Err(Error::Coding);
    }
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(true);
    }
    let mut codings = value.rsplit(|&b| b == b',').map(crate::headers::trim);
    let ends_chunked = codings.next().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"));
    let known = |name: &&[u8]| {
        [b"gzip".as_slice(), b"x-gzip", b"deflate", b"compress", b"x-compress"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
    };
    // Well formed but not spoken here is 501 (RFC 9112 6.1); everything else is an attempt to be read in two ways.
    if ends_chunked && codings.all(|name| known(&name)) { Err(Error::CodingUnsupported) } else { Err(Error::Coding) }
}

fn content_length(headers: &Headers) -> Result<Option<u64>, Error> {
    let mut values = headers.get_all("content-length");
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Error::ContentLengthRepeated);
    }
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Error::ContentLength);
    }
    value
        .iter()
        .try_fold(0_u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
        .map(Some)
        .ok_or(Error::ContentLength)
}

#[cfg(test)]
mod tests;
