//! Frames of `flynn-attach/0`: the standard streams, signals and exit status of a job over one upgraded connection.
//!
//! ```text
//! 0            attached
//! 1            waiting for the job to start
//! 2 len text   it failed
//! 3 s len ...  bytes of stream s (0 in, 1 out, 2 err, 3 init); len 0 is the end of that stream
//! 4 n          signal n for the job
//! 5 status     the job ended
//! 6 rows cols  the terminal was resized
//! ```
//! Numbers are big-endian: lengths, signals and statuses of 32 bits, rows and columns of 16.

use std::io::{self, Read, Write};

/// The token of the `Upgrade` header.
pub const PROTOCOL: &str = "flynn-attach/0";

/// More content than this in one frame is refused: nobody needs it, and it bounds memory.
pub const FRAME_BYTES_MAX: usize = 1 << 20;

/// A standard stream of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// Standard input.
    Stdin,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// What the platform says of the job.
    Init,
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The client is attached.
    Attached,
    /// The job has not started yet.
    Waiting,
    /// It failed, and why.
    Error(String),
    /// Bytes of a stream; none is the stream's end.
    Bytes(Stream, Vec<u8>),
    /// A signal for the job.
    Signal(u32),
    /// The job ended with this status.
    Exit(u32),
    /// The terminal has this size now.
    Resize {
        /// Rows.
        rows: u16,
        /// Columns.
        columns: u16,
    },
}

impl Stream {
    fn from_byte(byte: u8) -> Option<Stream> {
        Some(match byte {
            0 => Stream::Stdin,
            1 => Stream::Stdout,
            2 => Stream::Stderr,
            3 => Stream::Init,
            _ => return None,
        })
    }

    fn byte(self) -> u8 {
        match self {
            Stream::Stdin => 0,
            Stream::Stdout => 1,
            Stream::Stderr => 2,
            Stream::Init => 3,
        }
    }
}

/// Write one frame with one write call, so that frames of several threads under one lock stay whole.
///
/// # Errors
/// What the writer says.
pub fn write_frame(out: &mut dyn Write, frame: &Frame) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(16);
    match frame {
        Frame::Attached => bytes.push(0),
        Frame::Waiting => bytes.push(1),
        Frame::Error(text) => {
            bytes.push(2);
            push_text(&mut bytes, text.as_bytes());
        }
        Frame::Bytes(stream, content) => return write_bytes(out, *stream, content),
        Frame::Signal(number) => {
            bytes.push(4);
            bytes.extend(number.to_be_bytes());
        }
        Frame::Exit(status) => {
            bytes.push(5);
            bytes.extend(status.to_be_bytes());
        }
        Frame::Resize { rows, columns } => {
            bytes.push(6);
            bytes.extend(rows.to_be_bytes());
            bytes.extend(columns.to_be_bytes());
        }
    }
    out.write_all(&bytes)?;
    out.flush()
}

/// Write bytes of a stream, in as many frames as they need. No bytes is the stream's end.
///
/// # Errors
/// What the writer says.
pub fn write_bytes(out: &mut dyn Write, stream: Stream, content: &[u8]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(content.len().min(FRAME_BYTES_MAX) + 6);
    let mut rest = content;
    loop {
        let (now, later) = rest.split_at(rest.len().min(FRAME_BYTES_MAX));
        bytes.clear();
        bytes.extend([3, stream.byte()]);
        push_text(&mut bytes, now);
        out.write_all(&bytes)?;
        rest = later;
        if rest.is_empty() {
            return out.flush();
        }
    }
}

fn push_text(bytes: &mut Vec<u8>, text: &[u8]) {
    let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
    bytes.extend(len.to_be_bytes());
    bytes.extend(text);
}

/// Read one frame; `None` when the peer has closed the connection between frames.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] for bytes that are no frame, and what the reader says.
pub fn read_frame(input: &mut dyn Read) -> io::Result<Option<Frame>> {
    let mut kind = [0];
    loop {
        match input.read(&mut kind) {
            Ok(0) => return Ok(None),
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(match kind[0] {
        0 => Frame::Attached,
        1 => Frame::Waiting,
        2 => Frame::Error(String::from_utf8_lossy(&read_text(input)?).into_owned()),
        3 => {
            let [byte] = read_array(input)?;
            let stream = Stream::from_byte(byte).ok_or_else(|| bad("unknown stream"))?;
            Frame::Bytes(stream, read_text(input)?)
        }
        4 => Frame::Signal(u32::from_be_bytes(read_array(input)?)),
        5 => Frame::Exit(u32::from_be_bytes(read_array(input)?)),
        6 => {
            let [r0, r1, c0, c1] = read_array(input)?;
            Frame::Resize { rows: u16::from_be_bytes([r0, r1]), columns: u16::from_be_bytes([c0, c1]) }
        }
        _ => return Err(bad("unknown frame")),
    }))
}

fn bad(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("attach: {why}"))
}

fn read_array<const N: usize>(input: &mut dyn Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read_text(input: &mut dyn Read) -> io::Result<Vec<u8>> {
    let len = u32::from_be_bytes(read_array(input)?) as usize;
    if len > FRAME_BYTES_MAX {
        return Err(bad("frame too long"));
    }
    let mut text = vec![0; len];
    input.read_exact(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests;
