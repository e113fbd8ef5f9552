//! One side of a session: what was read from it, what is to be written to it, and moving a body across.

use alloc::vec::Vec;

use http1::{BodyLength, BodyReader, Error, Limits};

use crate::Buffer;
use crate::limits::{COPY_BYTES_MAX, OUTPUT_BYTES_MAX};

/// One connection's buffers.
#[derive(Debug, Default)]
pub(super) struct Wire {
    pub(super) input: Buffer,
    /// The peer sends no more.
    pub(super) eof: bool,
    /// Bytes of our own making to be written, from `written` on.
    output: Vec<u8>,
    written: usize,
    /// After them, this many bytes from the front of the other side's input.
    passed: usize,
    /// After those, the line end of a chunk.
    chunk_open: bool,
}

/// How content is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// As it is; its length was announced, or the end of the connection ends it.
    Plain,
    /// In chunks.
    Chunked,
}

/// A body on its way from one side to the other.
#[derive(Debug)]
pub(super) struct Flow {
    reader: BodyReader,
    coding: Coding,
    /// Whether the last chunk was written, where there is one.
    ended: bool,
    /// Bytes of content moved.
    pub(super) bytes: u64,
}

impl Wire {
    /// What is to be written, in this order; `other` is the input of the other side.
    pub(super) fn pending<'a>(&'a self, other: &'a Buffer) -> [&'a [u8]; 2] {
        [&self.output[self.written..], &other.filled()[..self.passed]]
    }

    /// Whether everything was written.
    pub(super) fn is_flushed(&self) -> bool {
        self.written == self.output.len() && self.passed == 0
    }

    /// `n` bytes of what was pending are written.
    pub(super) fn wrote(&mut self, n: usize, other: &mut Buffer) {
        let own = n.min(self.output.len() - self.written);
        self.written += own;
        let passed = (n - own).min(self.passed);
        self.passed -= passed;
        other.consume(passed);
        if self.written == self.output.len() {
            self.output.clear();
            self.written = 0;
        }
        self.close_chunk();
    }

    /// Add bytes of our own. Only while nothing is passed through: they would overtake it.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        debug_assert!(self.passed == 0 && !self.chunk_open, "output behind a passed run");
        &mut self.output
    }

    /// Nothing more can be written here.
    pub(super) fn discard_output(&mut self, other: &mut Buffer) {
        other.consume(self.passed);
        self.output.clear();
        (self.written, self.passed, self.chunk_open) = (0, 0, false);
    }

    /// Whether a run waits to be written from the other side's input.
    pub(super) fn is_passing(&self) -> bool {
        self.passed > 0
    }

    /// Bytes of the other side's input that belong to a run.
    pub(super) fn passing(&self) -> usize {
        self.passed
    }

    /// Give the memory of the output back, if it grew.
    pub(super) fn shrink(&mut self) {
        if self.output.is_empty() {
            self.output = Vec::new();
        }
    }

    fn close_chunk(&mut self) {
        if self.chunk_open && self.passed == 0 {
            self.output.extend_from_slice(b"\r\n");
            self.chunk_open = false;
        }
    }

    fn has_room(&self) -> bool {
        self.passed == 0 && self.output.len() < OUTPUT_BYTES_MAX
    }

    /// Pass all of `other` through, as a tunnel does.
    pub(super) fn pass_all(&mut self, other: &Buffer) {
        if self.written == self.output.len() {
            self.passed = other.len();
        }
    }

    fn add_content(&mut self, from: &mut Buffer, len: usize, coding: Coding) {
        if coding == Coding::Chunked {
            http1::encode_chunk_head(len, &mut self.output);
            self.chunk_open = true;
        }
        if len <= COPY_BYTES_MAX {
            self.output.extend_from_slice(&from.filled()[..len]);
            from.consume(len);
        } else {
            self.passed = len;
        }
        self.close_chunk();
    }
}

impl Flow {
    pub(super) fn new(length: BodyLength, coding: Coding, limits: &Limits) -> Flow {
        let reader = BodyReader::new(length, limits);
        let ended = length == BodyLength::None;
        Flow { reader, coding, ended, bytes: 0 }
    }

    /// Whether all of it was read from its sender.
    pub(super) fn is_read(&self) -> bool {
        self.reader.is_done()
    }

    /// Whether all of it is with the receiver's side, perhaps not yet written.
    pub(super) fn is_moved(&self) -> bool {
        self.ended
    }

    /// Move what can be moved now.
    pub(super) fn pump(&mut self, from: &mut Wire, to: &mut Wire) -> Result<(), Error> {
        while to.has_room() && !self.reader.is_done() {
            let step = self.reader.read(from.input.filled())?;
            if step.consumed == 0 {
                break;
            }
            from.input.consume(step.content.start);
            let framing_after = step.consumed - step.content.end;
            let len = step.content.len();
            if len == 0 {
                from.input.consume(step.consumed - step.content.start);
            } else {
                debug_assert_eq!(framing_after, 0, "content ends a step");
                self.bytes += len as u64;
                to.add_content(&mut from.input, len, self.coding);
            }
        }
        if self.reader.is_done() && !self.ended && !to.is_passing() {
            if self.coding == Coding::Chunked {
                http1::encode_last_chunk(self.reader.trailers(), to.out());
            }
            self.ended = true;
        }
        Ok(())
    }

    /// The sender has closed.
    pub(super) fn end_of_input(&mut self) -> Result<(), Error> {
        self.reader.end_of_input()
    }
}
