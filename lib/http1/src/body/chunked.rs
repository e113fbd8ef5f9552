//! The chunked transfer coding (RFC 9112 7.1), read strictly.

use alloc::vec::Vec;

use super::BodyStep;
use crate::headers::is_value_byte;
use crate::{Error, Headers, Limits};

#[derive(Debug)]
pub(super) struct Chunked {
    limits: Limits,
    at: At,
    /// Bytes of chunk extensions so far. Sizes and line ends need no bound: they are at most 20 per chunk.
    extension_bytes: u64,
    content_bytes: u64,
    trailer_text: Vec<u8>,
    trailers: Option<Headers>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In the digits of a size, this many so far.
    Size {
        size: u64,
        digits: usize,
        line: usize,
    },
    /// In an extension; the byte before was blank or not.
    Extension {
        size: u64,
        line: usize,
        after_blank: bool,
    },
    /// After the CR of a chunk line.
    SizeLf {
        size: u64,
    },
    /// In content, with this many bytes left.
    Content {
        left: u64,
    },
    /// Before the CR or the LF that ends a chunk.
    ContentCr,
    ContentLf,
    Trailers,
    Done,
}

const LINE: At = At::Size { size: 0, digits: 0, line: 0 };

impl Chunked {
    pub(super) fn new(limits: &Limits) -> Chunked {
        Chunked {
            limits: *limits,
            at: LINE,
            extension_bytes: 0,
            content_bytes: 0,
            trailer_text: Vec::new(),
            trailers: None,
        }
    }

    pub(super) fn take_trailers(&mut self) -> Option<Headers> {
        self.trailers.take()
    }

    /// Framing up to a run of content, and that run.
    pub(super) fn read(&mut self, buffer: &[u8]) -> Result<BodyStep, Error> {
        let mut used = 0;
        while used < buffer.len() {
            if let At::Content { left } = self.at {
                let take = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len() - used);
                let left = left - take as u64;
                self.content_bytes = self.content_bytes.saturating_add(take as u64);
                self.at = if left == 0 { At::ContentCr } else { At::Content { left } };
                return Ok(BodyStep { consumed: used + take, content: used..used + take, done: false });
            }
            let byte = buffer[used];
            used += 1;
            self.framing(byte)?;
            if self.at == At::Done {
                return Ok(BodyStep { consumed: used, content: 0..0, done: true });
            }
        }
        Ok(BodyStep { consumed: used, content: 0..0, done: false })
    }

    fn framing(&mut self, byte: u8) -> Result<(), Error> {
        if matches!(self.at, At::Extension { .. }) {
            self.extension_bytes += 1;
            if self.extension_bytes > self.content_bytes.saturating_add(self.limits.chunk_overhead_bytes_max) {
                return Err(Error::ChunkOverhead);
            }
        }
        self.at = match self.at {
            At::Size { size, digits, line } => self.size_byte(byte, size, digits, line)?,
            At::Extension { size, line, after_blank } => self.extension_byte(byte, size, line, after_blank)?,
            At::SizeLf { size } => match (byte, size) {
                (b'\n', 0) => At::Trailers,
                (b'\n', left) => At::Content { left },
                _ => return Err(Error::BareCr),
            },
            At::ContentCr if byte == b'\r' => At::ContentLf,
            At::ContentLf if byte == b'\n' => LINE,
            At::ContentCr | At::ContentLf => return Err(Error::ChunkEnd),
            At::Trailers => self.trailer_byte(byte)?,
            At::Content { .. } | At::Done => self.at,
        };
        Ok(())
    }

    fn size_byte(&self, byte: u8, size: u64, digits: usize, line: usize) -> Result<At, Error> {
        if line >= self.limits.chunk_line_bytes_max {
            return Err(Error::ChunkLineTooLong);
        }
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ if digits == 0 => return Err(Error::ChunkSize),
            b'\r' => return Ok(At::SizeLf { size }),
            b';' => return Ok(At::Extension { size, line: line + 1, after_blank: false }),
            _ => return Err(Error::ChunkSize),
        };
        // Sixteen digits are 64 bits. More could only be zeros in front, which some parsers let overflow.
        if digits >= 16 {
            return Err(Error::ChunkSize);
        }
        Ok(At::Size { size: size << 4 | u64::from(digit), digits: digits + 1, line: line + 1 })
    }

    fn extension_byte(&self, byte: u8, size: u64, line: usize, after_blank: bool) -> Result<At, Error> {
        if line >= self.limits.chunk_line_bytes_max {
            return Err(Error::ChunkLineTooLong);
        }
        match byte {
            b'\r' if !after_blank => Ok(At::SizeLf { size }),
            b'\n' => Err(Error::BareLf),
            _ if !is_value_byte(byte) || byte >= 0x80 => Err(Error::ChunkExtension),
            _ => Ok(At::Extension { size, line: line + 1, after_blank: byte == b' ' || byte == b'\t' }),
        }
    }

    fn trailer_byte(&mut self, byte: u8) -> Result<At, Error> {
        let text = &mut self.trailer_text;
        let after_cr = text.last() == Some(&b'\r');
        if after_cr != (byte == b'\n') || (!is_value_byte(byte) && byte != b'\r' && byte != b'\n') {
            return Err(Error::Trailer);
        }
        if text.len() >= self.limits.trailer_bytes_max {
            return Err(Error::TrailersTooLarge);
        }
        text.push(byte);
        if text == b"\r\n" {
            return Ok(At::Done);
        }
        if text.ends_with(b"\r\n\r\n") {
            self.trailers = Some(parse_trailers(text, &self.limits)?);
            self.trailer_text = Vec::new();
            return Ok(At::Done);
        }
        Ok(At::Trailers)
    }
}

fn parse_trailers(text: &[u8], limits: &Limits) -> Result<Headers, Error> {
    let mut table = [httparse::EMPTY_HEADER; Limits::HEADERS_CEILING];
    let Ok(httparse::Status::Complete((_, raw))) = httparse::parse_headers(text, &mut table[..limits.trailers_max])
    else {
        return Err(Error::Trailer);
    };
    let mut trailers = Headers::with_room(raw.len(), text.len());
    for field in raw {
        let forbidden =
            ["host", "content-length", "content-encoding", "content-type", "content-range", "authorization"];
        if crate::is_hop_by_hop(field.name) || forbidden.iter().any(|name| field.name.eq_ignore_ascii_case(name)) {
            return Err(Error::TrailerForbidden);
        }
        trailers.append(field.name, field.value).map_err(|_| Error::Trailer)?;
    }
    Ok(trailers)
}
