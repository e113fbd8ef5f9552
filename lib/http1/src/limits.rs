//! Every maximum of the codec and its reason.

/// What one message may cost before it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A whole head: first line, header lines and the empty line.
    pub head_bytes_max: usize,
    /// The request line or status line.
    pub first_line_bytes_max: usize,
    /// One header line.
    pub header_line_bytes_max: usize,
    /// Header lines in a head; at most [`Limits::HEADERS_CEILING`].
    pub headers_max: usize,
    /// A chunk-size line with its extensions.
    pub chunk_line_bytes_max: usize,
    /// Bytes of chunk extensions allowed beyond one per byte of content.
    ///
    /// One-byte chunks that each carry a long extension would otherwise cost many times what they deliver.
    pub chunk_overhead_bytes_max: u64,
    /// The whole trailer section.
    pub trailer_bytes_max: usize,
    /// Fields in a trailer section.
    pub trailers_max: usize,
}

impl Limits {
    /// The most header lines any limit can allow: the parser's table lives on the stack.
    pub const HEADERS_CEILING: usize = 128;

    /// What public servers accept: browsers stay far below, and cookies of 16 KiB still pass.
    pub const STANDARD: Limits = Limits {
        head_bytes_max: 32 * 1024,
        first_line_bytes_max: 16 * 1024,
        header_line_bytes_max: 17 * 1024,
        headers_max: 100,
        chunk_line_bytes_max: 512,
        chunk_overhead_bytes_max: 16 * 1024,
        trailer_bytes_max: 8 * 1024,
        trailers_max: 32,
    };
}

const _: () = {
    let limits = Limits::STANDARD;
    assert!(limits.first_line_bytes_max < limits.head_bytes_max, "a legal first line must fit in a head");
    assert!(limits.header_line_bytes_max < limits.head_bytes_max, "a legal header line must fit in a head");
    assert!(limits.headers_max <= Limits::HEADERS_CEILING, "the parser's table must hold every header");
    assert!(limits.trailers_max <= Limits::HEADERS_CEILING, "the parser's table must hold every trailer");
    assert!(limits.chunk_line_bytes_max >= 18, "a 64-bit size and its line end must fit");
};
