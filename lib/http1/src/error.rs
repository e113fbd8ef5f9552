//! Every way a message is refused, and the status that answers it.

/// Why a message was refused. The connection it came on must not be used further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// LF without CR before it (RFC 9112 2.2 lets a server accept it; two hops that differ can be desynchronised).
    #[error("line ends in a bare LF")]
    BareLf,
    /// CR without LF after it.
    #[error("bare CR in a message head")]
    BareCr,
    /// A control byte, NUL included.
    #[error("control byte in a message head")]
    ControlByte,
    /// The request line is not `method SP target SP version`.
    #[error("malformed request line")]
    RequestLine,
    /// The request line is longer than the limit.
    #[error("request line too long")]
    RequestLineTooLong,
    /// A version other than HTTP/1.0 and HTTP/1.1.
    #[error("unsupported HTTP version")]
    Version,
    /// The request target is malformed, or its form does not fit the method (RFC 9112 3.2).
    #[error("malformed request target")]
    Target,
    /// The status line is malformed.
    #[error("malformed status line")]
    StatusLine,
    /// A field name is not a token, or whitespace stands before the colon, or the line is a fold.
    #[error("malformed header name")]
    HeaderName,
    /// A field value holds a byte it must not.
    #[error("malformed header value")]
    HeaderValue,
    /// One header line is longer than the limit.
    #[error("header line too long")]
    HeaderLineTooLong,
    /// More header lines than the limit.
    #[error("too many header lines")]
    TooManyHeaders,
    /// The head is larger than the limit.
    #[error("message head too large")]
    HeadTooLarge,
    /// HTTP/1.1 without Host.
    #[error("missing Host header")]
    HostMissing,
    /// Two Host lines.
    #[error("more than one Host header")]
    HostRepeated,
    /// Host, or the authority of the target, is not `host [":" port]`.
    #[error("malformed host")]
    HostInvalid,
    /// The target's authority and Host name different hosts.
    #[error("Host differs from the request target")]
    HostConflict,
    /// Content-Length is not a decimal number of at most 64 bits.
    #[error("malformed Content-Length")]
    ContentLength,
    /// Two Content-Length lines, equal or not.
    #[error("more than one Content-Length header")]
    ContentLengthRepeated,
    /// Content-Length beside Transfer-Encoding.
    #[error("both Content-Length and Transfer-Encoding")]
    LengthAndCoding,
    /// Transfer-Encoding in an HTTP/1.0 message.
    #[error("Transfer-Encoding in an HTTP/1.0 message")]
    CodingInHttp10,
    /// Transfer-Encoding that does not end in exactly one `chunked`.
    #[error("malformed Transfer-Encoding")]
    Coding,
    /// A transfer coding besides `chunked`.
    #[error("unsupported transfer coding")]
    CodingUnsupported,
    /// An expectation other than `100-continue`.
    #[error("unsupported expectation")]
    Expectation,
    /// A chunk size that is not 1 to 16 hexadecimal digits.
    #[error("malformed chunk size")]
    ChunkSize,
    /// A chunk extension with a byte it must not hold, or whitespace around it.
    #[error("malformed chunk extension")]
    ChunkExtension,
    /// A chunk line longer than the limit.
    #[error("chunk line too long")]
    ChunkLineTooLong,
    /// Chunk extensions weigh far more than the content they come with.
    #[error("chunk extensions outweigh the content")]
    ChunkOverhead,
    /// No CRLF where a chunk ends.
    #[error("missing line end after a chunk")]
    ChunkEnd,
    /// A trailer section that is malformed.
    #[error("malformed trailer section")]
    Trailer,
    /// A trailer field that would change framing or routing (RFC 9110 6.5.1).
    #[error("forbidden trailer field")]
    TrailerForbidden,
    /// A trailer section larger than the limit.
    #[error("trailer section too large")]
    TrailersTooLarge,
    /// The connection ended inside a message.
    #[error("connection ended inside a message")]
    Truncated,
}

impl Error {
    /// The status a server answers this refusal with.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Error::RequestLineTooLong => 414,
            Error::Version => 505,
            Error::HeaderLineTooLong | Error::TooManyHeaders | Error::HeadTooLarge | Error::TrailersTooLarge => 431,
            Error::CodingUnsupported => 501,
            Error::Expectation => 417,
            _ => 400,
        }
    }
}
