//! The one HTTP/1.1 codec: bytes to message heads and bodies, and back.
//!
//! Knows no sockets, clocks or threads: callers own the buffers, read into them, and ask. Shared by the
//! router (both sides), the API client and the health checks.
//!
//! ```text
//! bytes --HeadParser--> RequestHead | ResponseHead --request_body | response_body--> BodyLength
//!                                                                          |
//! bytes --BodyReader::read--> BodyStep { consumed, content, done } <-------+
//! head  --encode_request | encode_response--> bytes;   content --encode_chunk--> bytes
//! ```
//!
//! Entry points: [`HeadParser`] (or [`parse_request`], [`parse_response`] for one buffer), [`request_body`],
//! [`response_body`], [`BodyReader`], [`encode_request`], [`encode_response`], [`Limits`].
//!
//! Invariants:
//! - **Refuse, do not repair.** What two parsers could read in two ways is an [`Error`]: a bare LF or CR, a
//!   control byte, a fold, whitespace before a colon, a second or listed length, a length beside a transfer
//!   coding, a coding that is not exactly `chunked`, a transfer coding in HTTP/1.0, a strange chunk line.
//! - **One framing decision.** Only `framing.rs` says how long a body is; the same bytes split anywhere give
//!   the same messages (`fuzz_split_*`).
//! - **Everything is bounded** by [`Limits`], and work is linear in the bytes received, however they are split.
//! - **What was parsed or built can be written**: names, values, targets and reasons are checked when they
//!   enter a head, so encoders cannot be made to write a line of the peer's choosing.
//!
//! Failure model: every refusal is a value with the status a server answers it with ([`Error::status`]);
//! after one the connection is no longer in step and is closed. A proxy answers 502 to a refused response.
//!
//! Tested by corner tables per RFC section (`tests/it/rfc.rs`), every split point of a corpus
//! (`tests/it/split.rs`), and seeded mutation with a canary that proves the fuzzer bites (`tests/it/fuzz.rs`).
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod body;
mod connection;
mod encode;
mod error;
mod framing;
mod head;
mod headers;
mod limits;
mod method;
mod target;

pub use body::{BodyReader, BodyStep};
pub use connection::{
    HOP_BY_HOP, expects_continue, is_hop_by_hop, keep_alive, strip_hop_by_hop, upgrade_protocol, upgrade_requested,
};
pub use encode::{
    CHUNK_HEAD_BYTES_MAX, encode_chunk, encode_chunk_head, encode_headers, encode_last_chunk, encode_request,
    encode_response, encode_response_line, reason,
};
pub use error::Error;
pub use framing::{BodyLength, request_body, response_body};
pub use head::{HeadParser, Parsed, RequestHead, ResponseHead, Version, parse_request, parse_response};
pub use headers::Headers;
pub use limits::Limits;
pub use method::Method;
pub use target::{Authority, Target};

#[cfg(test)]
extern crate std;
