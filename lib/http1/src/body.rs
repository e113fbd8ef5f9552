//! Reading a body from a growing or refilled buffer, without owning it.

mod chunked;

use core::ops::Range;

use self::chunked::Chunked;
use crate::{BodyLength, Error, Headers, Limits};

/// What a reader made of the front of a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyStep {
    /// Bytes to drop from the front; the content lies within them.
    pub consumed: usize,
    /// Where the content is, in the buffer as given. Often all of it, empty for framing alone.
    pub content: Range<usize>,
    /// Whether the body ended here. What follows belongs to the next message.
    pub done: bool,
}

/// Reads one body. Give it what has arrived, use the content, drop what was consumed, and repeat until it is
/// done or a call consumes nothing: then more must be read.
#[derive(Debug)]
pub struct BodyReader {
    state: State,
}

#[derive(Debug)]
enum State {
    Length(u64),
    Chunked(Chunked),
    UntilClose,
    Done(Option<Headers>),
}

impl BodyReader {
    /// For a body of that length.
    #[must_use]
    pub fn new(length: BodyLength, limits: &Limits) -> BodyReader {
        let state = match length {
            BodyLength::None | BodyLength::Length(0) => State::Done(None),
            BodyLength::Length(bytes) => State::Length(bytes),
            BodyLength::Chunked => State::Chunked(Chunked::new(limits)),
            BodyLength::UntilClose => State::UntilClose,
        };
        BodyReader { state }
    }

    /// Whether the whole body was read.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.state, State::Done(_))
    }

    /// Read the next run of content.
    ///
    /// # Errors
    /// A refusal of chunk framing or trailers; the reader must not be used after it.
    pub fn read(&mut self, buffer: &[u8]) -> Result<BodyStep, Error> {
        match &mut self.state {
            State::Done(_) => Ok(BodyStep { consumed: 0, content: 0..0, done: true }),
            State::UntilClose => Ok(BodyStep { consumed: buffer.len(), content: 0..buffer.len(), done: false }),
            State::Length(left) => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                *left -= take as u64;
                let done = *left == 0;
                if done {
                    self.state = State::Done(None);
                }
                Ok(BodyStep { consumed: take, content: 0..take, done })
            }
            State::Chunked(chunked) => {
                let step = chunked.read(buffer)?;
                if step.done {
                    self.state = State::Done(chunked.take_trailers());
                }
                Ok(step)
            }
        }
    }

    /// The sender has closed its side.
    ///
    /// # Errors
    /// [`Error::Truncated`] if the body does not end with the connection.
    pub fn end_of_input(&mut self) -> Result<(), Error> {
        match self.state {
            State::Done(_) => Ok(()),
            State::UntilClose => {
                self.state = State::Done(None);
                Ok(())
            }
            State::Length(_) | State::Chunked(_) => Err(Error::Truncated),
        }
    }

    /// Bytes of content that must still come, where that is known.
    #[must_use]
    pub const fn bytes_left(&self) -> Option<u64> {
        match self.state {
            State::Length(left) => Some(left),
            State::Done(_) => Some(0),
            State::Chunked(_) | State::UntilClose => None,
        }
    }

    /// The trailer fields of a chunked body that is done, if it had any.
    #[must_use]
    pub const fn trailers(&self) -> Option<&Headers> {
        match &self.state {
            State::Done(trailers) => trailers.as_ref(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
