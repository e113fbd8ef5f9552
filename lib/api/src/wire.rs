//! HTTP/1.1 messages over a blocking stream: what the server and the client share.

use std::io::{self, Read, Write};

use http1::{BodyReader, HeadParser, Limits, Parsed, RequestHead, ResponseHead};

/// How much is read at once.
const READ_BYTES: usize = 16 * 1024;

/// A stream with the bytes that were read and not used yet.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    pub(crate) stream: S,
    buffer: Vec<u8>,
    start: usize,
}

impl<S: Read + Write> Wire<S> {
    pub(crate) fn new(stream: S) -> Wire<S> {
        Wire { stream, buffer: Vec::new(), start: 0 }
    }

    /// The stream, and what was read beyond the last message.
    pub(crate) fn into_parts(self) -> (S, Vec<u8>) {
        (self.stream, self.buffer[self.start..].to_vec())
    }

    /// Whether bytes were read that nobody used yet.
    pub(crate) fn has_unread(&self) -> bool {
        self.start < self.buffer.len()
    }

    fn unread(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
    }

    /// Read more; zero is the end.
    fn fill(&mut self) -> io::Result<usize> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let old = self.buffer.len();
        self.buffer.resize(old + READ_BYTES, 0);
        let got = loop {
            match self.stream.read(&mut self.buffer[old..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.buffer.truncate(old + *got.as_ref().unwrap_or(&0));
        got
    }

    /// The next request head; `None` when the peer closed between messages.
    pub(crate) fn request(&mut self) -> io::Result<Option<Result<RequestHead, http1::Error>>> {
        let mut parser = HeadParser::new();
        loop {
            match parser.request(self.unread(), &Limits::STANDARD) {
                Ok(Parsed::Complete { head, consumed }) => {
                    self.consume(consumed);
                    return Ok(Some(Ok(head)));
                }
                Ok(Parsed::Incomplete) => {}
                Err(refusal) => return Ok(Some(Err(refusal))),
            }
            if self.fill()? == 0 {
                return if self.unread().is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// The next response head that is no interim one.
    pub(crate) fn response(&mut self) -> io::Result<ResponseHead> {
        let mut parser = HeadParser::new();
        loop {
            match parser.response(self.unread(), &Limits::STANDARD) {
                Ok(Parsed::Complete { head, consumed }) => {
                    self.consume(consumed);
                    if head.is_interim() && head.status != 101 {
                        parser = HeadParser::new();
                        continue;
                    }
                    return Ok(head);
                }
                Ok(Parsed::Incomplete) => {}
                Err(refusal) => return Err(io::Error::new(io::ErrorKind::InvalidData, refusal.to_string())),
            }
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The next bytes of a body into `out`; zero is its end.
    pub(crate) fn body(&mut self, reader: &mut BodyReader, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            if reader.is_done() {
                return Ok(0);
            }
            // A reader is shown no more than fits, so that content never has to be kept elsewhere.
            let front = &self.unread()[..self.unread().len().min(out.len())];
            let step = reader.read(front).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
            let taken = step.content.len();
            out[..taken].copy_from_slice(&front[step.content]);
            self.consume(step.consumed);
            if taken > 0 {
                return Ok(taken);
            }
            if !reader.is_done() && self.unread().is_empty() {
                self.fill_body(reader)?;
            }
        }
    }

    fn fill_body(&mut self, reader: &mut BodyReader) -> io::Result<()> {
        if self.fill()? == 0 {
            reader.end_of_input().map_err(|e| io::Error::new(io::ErrorKind::UnexpectedEof, e.to_string()))?;
        }
        Ok(())
    }
}
