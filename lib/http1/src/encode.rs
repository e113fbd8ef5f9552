//! Heads and chunks to bytes. What is written is canonical, whatever form it came in.

use alloc::vec::Vec;

use crate::{Headers, RequestHead, ResponseHead, Version};

/// The longest line that [`encode_chunk_head`] writes.
pub const CHUNK_HEAD_BYTES_MAX: usize = 18;

/// Append a request head, the target in origin form (authority form for CONNECT).
pub fn encode_request(head: &RequestHead, out: &mut Vec<u8>) {
    out.extend_from_slice(head.method.as_str().as_bytes());
    out.push(b' ');
    let target = match head.method {
        crate::Method::Connect => head.target.as_str(),
        _ => head.target.path_and_query(),
    };
    out.extend_from_slice(target.as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.version.as_str().as_bytes());
    out.extend_from_slice(b"\r\n");
    encode_headers(&head.headers, out);
    out.extend_from_slice(b"\r\n");
}

/// Append a response head.
pub fn encode_response(head: &ResponseHead, out: &mut Vec<u8>) {
    encode_response_line(head.version, head.status, head.reason(), out);
    encode_headers(&head.headers, out);
    out.extend_from_slice(b"\r\n");
}

/// Append a status line. Bytes of `reason` that could end the line are left out.
pub fn encode_response_line(version: Version, status: u16, reason: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(version.as_str().as_bytes());
    out.push(b' ');
    decimal(u64::from(status), out);
    out.push(b' ');
    out.extend(reason.bytes().filter(|&b| crate::headers::is_value_byte(b)));
    out.extend_from_slice(b"\r\n");
}

/// Append header lines, without the empty line that ends a head.
pub fn encode_headers(headers: &Headers, out: &mut Vec<u8>) {
    for (name, value) in headers.raw() {
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
}

/// Append the line before a chunk of `len` bytes; after the bytes comes CRLF. Zero would end the body.
pub fn encode_chunk_head(len: usize, out: &mut Vec<u8>) {
    debug_assert!(len > 0, "an empty chunk is the last one");
    let mut started = false;
    for shift in (0..usize::BITS / 4).rev() {
        let digit = (len >> (shift * 4)) & 0xf;
        started |= digit != 0;
        if started {
            out.push(b"0123456789abcdef"[digit]);
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Append `content` as one chunk; nothing if it is empty.
pub fn encode_chunk(content: &[u8], out: &mut Vec<u8>) {
    if !content.is_empty() {
        encode_chunk_head(content.len(), out);
        out.extend_from_slice(content);
        out.extend_from_slice(b"\r\n");
    }
}

/// Append the last chunk and the trailer section.
pub fn encode_last_chunk(trailers: Option<&Headers>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    if let Some(trailers) = trailers {
        encode_headers(trailers, out);
    }
    out.extend_from_slice(b"\r\n");
}

fn decimal(mut number: u64, out: &mut Vec<u8>) {
    let from = out.len();
    loop {
        out.push(b"0123456789"[usize::try_from(number % 10).unwrap_or(0)]);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out[from..].reverse();
}

/// The registered reason phrase of a status; empty for others.
#[must_use]
pub const fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "",
    }
}
