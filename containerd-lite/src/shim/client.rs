//! One connection to a shim: what was read of it, what waits to be written to it.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use api::attach::{self, FRAME_BYTES_MAX, Frame, Stream};

use super::wire::AttachWish;
use crate::limits::CLIENT_BUFFER_BYTES;

/// A request is one short line; a program with its environment is the longest.
const REQUEST_BYTES_MAX: usize = 4 << 20;

/// What a connection is for.
#[derive(Debug)]
pub(super) enum Role {
    /// It has not said.
    Asking,
    /// It is told each change of the job's state.
    Watching,
    /// It is attached to the session of this number.
    Attached { session: u64, wish: AttachWish, pace: Pace },
    /// It is answered; what is left is written, then it is closed.
    Done,
}

/// What happens when a client reads more slowly than the program writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// The program waits: the client is whom it runs for.
    Waits,
    /// The client is dropped: it only watches.
    Drops,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Client {
    stream: UnixStream,
    pub(super) role: Role,
    input: Vec<u8>,
    output: Vec<u8>,
    written: usize,
    pub(super) is_gone: bool,
}

impl Client {
    pub(super) fn new(stream: UnixStream) -> io::Result<Client> {
        stream.set_nonblocking(true)?;
        Ok(Client { stream, role: Role::Asking, input: Vec::new(), output: Vec::new(), written: 0, is_gone: false })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Bytes that wait to be written.
    pub(super) fn backlog(&self) -> usize {
        self.output.len() - self.written
    }

    pub(super) fn is_full(&self) -> bool {
        self.backlog() >= CLIENT_BUFFER_BYTES
    }

    /// Whether nothing more will come of it.
    pub(super) fn is_finished(&self) -> bool {
        self.is_gone || (matches!(self.role, Role::Done) && self.backlog() == 0)
    }

    /// Read what there is. An end of the stream only ends the client's own side when it is attached.
    pub(super) fn fill(&mut self) {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => self.is_gone = true,
            Ok(count) => self.input.extend_from_slice(&chunk[..count]),
            Err(error) if is_passing(&error) => {}
            Err(_) => self.is_gone = true,
        }
    }

    /// Write what the peer takes.
    pub(super) fn flush(&mut self) {
        while self.backlog() > 0 {
            match self.stream.write(&self.output[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if is_passing(&error) => break,
                Err(_) => {
                    self.is_gone = true;
                    return;
                }
            }
        }
        if self.backlog() == 0 {
            self.output.clear();
            // A burst must not keep its memory for the rest of the job's life.
            self.output.shrink_to(4 * 1024);
            self.written = 0;
        }
    }

    /// The request line, once it is whole.
    pub(super) fn take_line(&mut self) -> Option<Vec<u8>> {
        let Some(end) = self.input.iter().position(|b| *b == b'\n') else {
            self.is_gone |= self.input.len() > REQUEST_BYTES_MAX;
            return None;
        };
        let rest = self.input.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.input, rest);
        line.pop();
        Some(line)
    }

    /// The next whole frame. A peer that sends something else is gone.
    pub(super) fn take_frame(&mut self) -> Option<Frame> {
        match frame_len(&self.input) {
            Ok(Some(len)) if len <= self.input.len() => {
                let rest = self.input.split_off(len);
                let frame = std::mem::replace(&mut self.input, rest);
                match attach::read_frame(&mut frame.as_slice()) {
                    Ok(frame) => frame,
                    Err(_) => {
                        self.is_gone = true;
                        None
                    }
                }
            }
            Ok(_) => None,
            Err(()) => {
                self.is_gone = true;
                None
            }
        }
    }

    /// Queue one JSON line.
    pub(super) fn say<T: serde::Serialize>(&mut self, item: &T) {
        if serde_json::to_writer(&mut self.output, item).is_err() {
            self.is_gone = true;
        }
        self.output.push(b'\n');
        self.flush();
    }

    /// Queue one frame.
    pub(super) fn send(&mut self, frame: &Frame) {
        attach::write_frame(&mut self.output, frame).expect("a Vec takes every write");
        self.flush();
    }

    /// Queue output of the program; the end of a stream when there are no bytes.
    pub(super) fn send_output(&mut self, stream: Stream, bytes: &[u8]) {
        attach::write_bytes(&mut self.output, stream, bytes).expect("a Vec takes every write");
        self.flush();
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// How long the frame at the beginning of `input` is, as soon as that can be told.
fn frame_len(input: &[u8]) -> Result<Option<usize>, ()> {
    let counted = |at: usize| -> Result<Option<usize>, ()> {
        let Some(len) = input.get(at..at + 4) else { return Ok(None) };
        let len = len.iter().fold(0usize, |len, byte| len << 8 | usize::from(*byte));
        if len > FRAME_BYTES_MAX { Err(()) } else { Ok(Some(at + 4 + len)) }
    };
    match input.first() {
        None => Ok(None),
        Some(0 | 1) => Ok(Some(1)),
        Some(2) => counted(1),
        Some(3) => counted(2),
        Some(4..=6) => Ok(Some(5)),
        Some(_) => Err(()),
    }
}

#[cfg(test)]
mod tests;
