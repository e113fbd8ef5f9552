//! One program of a job with its streams: the job's own, or one that `exec` added.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use api::attach::Stream;
use stdx::Instant;
use types::job::DownReason;

use super::program::{Program, Streams};
use crate::limits::CLIENT_BUFFER_BYTES;

/// How long output is awaited of something that outlived an ended program and holds its streams. The job's own
/// program takes all others with it, so this is for `exec` alone.
const DRAIN_WAIT: Duration = Duration::from_millis(500);

/// The control character that ends input on a terminal.
const END_OF_INPUT: u8 = 4;

/// A program and its streams.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) number: u64,
    pub(super) program: Program,
    input: Option<File>,
    pending: VecDeque<u8>,
    input_ends: bool,
    pub(super) outputs: Vec<Output>,
    is_terminal: bool,
    reason: Option<DownReason>,
    drain_until: Option<Instant>,
}

/// One stream that the program writes to.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) stream: Stream,
    file: File,
}

impl Output {
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Session {
    pub(super) fn new(number: u64, program: Program, streams: Streams) -> Session {
        let output = |stream, file: Option<File>| file.map(|file| Output { stream, file });
        Session {
            number,
            program,
            input: streams.input,
            pending: VecDeque::new(),
            input_ends: false,
            outputs: [output(Stream::Stdout, streams.output), output(Stream::Stderr, streams.error)]
                .into_iter()
                .flatten()
                .collect(),
            is_terminal: streams.is_terminal,
            reason: None,
            drain_until: None,
        }
    }

    /// Read some output of one stream. `None` when there is nothing now; no bytes at its end.
    pub(super) fn read(&mut self, stream: Stream, buffer: &mut [u8]) -> Option<usize> {
        let at = self.outputs.iter().position(|output| output.stream == stream)?;
        match self.outputs[at].file.read(buffer) {
            Ok(count) if count > 0 => Some(count),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => None,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => None,
            // The end; a terminal whose last user left answers EIO.
            Ok(_) | Err(_) => {
                self.outputs.remove(at);
                Some(0)
            }
        }
    }

    /// Take input of a client. None is the end of the input.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        if self.input.is_none() {
            return;
        }
        if !bytes.is_empty() {
            self.pending.extend(bytes);
        } else if self.is_terminal {
            self.pending.push_back(END_OF_INPUT);
        } else {
            self.input_ends = true;
        }
        self.pour();
    }

    /// Nobody can give input any more.
    pub(super) fn end_input(&mut self) {
        if !self.is_terminal {
            self.input_ends = true;
            self.pour();
        }
    }

    /// Whether clients must wait before they send more.
    pub(super) fn is_input_full(&self) -> bool {
        self.pending.len() >= CLIENT_BUFFER_BYTES
    }

    /// The stream that waits to take input, if there is some.
    pub(super) fn wanting(&self) -> Option<BorrowedFd<'_>> {
        if self.pending.is_empty() { None } else { self.input.as_ref().map(AsFd::as_fd) }
    }

    /// Write what the program takes.
    pub(super) fn pour(&mut self) {
        while let (Some(input), false) = (self.input.as_mut(), self.pending.is_empty()) {
            let (front, _) = self.pending.as_slices();
            match input.write(front) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                // The program closed its input: what comes is for nobody.
                Err(_) => {
                    self.input = None;
                    self.pending.clear();
                }
            }
        }
        if self.input_ends && self.pending.is_empty() {
            self.input = None;
        }
    }

    /// See whether the program has ended.
    pub(super) fn reap(&mut self, now: Instant) {
        if self.reason.is_none()
            && let Some(reason) = self.program.try_wait()
        {
            self.reason = Some(reason);
            self.drain_until = Some(now.after(DRAIN_WAIT));
        }
    }

    /// How it ended, once it has and all its output is read.
    pub(super) fn finished(&self, now: Instant) -> Option<&DownReason> {
        let drained = self.outputs.is_empty() || self.drain_until.is_some_and(|until| now >= until);
        self.reason.as_ref().filter(|_| drained)
    }

    /// Whether its end is not known yet.
    pub(super) fn is_running(&self) -> bool {
        self.reason.is_none()
    }

    /// When to look at it again although nothing happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.drain_until
    }
}

/// The status a shell would give.
pub(super) fn exit_status(reason: &DownReason) -> u32 {
    match reason {
        DownReason::Exited { code } => u32::try_from(*code).unwrap_or(255),
        DownReason::Signaled { signal, .. } => 128 + u32::try_from(*signal).unwrap_or(0),
        DownReason::Failed { .. } | DownReason::Lost => 255,
    }
}
