//! One probe: a connection that is made, and over it perhaps a request. Never blocks.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use http1::{HeadParser, Limits, Method, Parsed, RequestHead, encode_request};
use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, connect, getsockopt, socket, sockopt::SocketError,
};
use stdx::Instant;
use types::job::CheckKind;

use crate::limits::PROBE_HEAD_BYTES_MAX;

#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) number: u64,
    /// When it has failed for want of an answer.
    pub(crate) deadline: Instant,
    timeout: Duration,
    stage: Stage,
    /// What is sent once the connection stands; nothing when the connection is all that is asked for.
    request: Vec<u8>,
    sent: usize,
    received: Vec<u8>,
    parser: HeadParser,
}

#[derive(Debug)]
enum Stage {
    Refused(String),
    Connecting(TcpStream),
    Sending(TcpStream),
    Receiving(TcpStream),
}

impl Probe {
    pub(crate) fn start(number: u64, address: SocketAddr, kind: &CheckKind, now: Instant, timeout: Duration) -> Probe {
        let request = match kind {
            CheckKind::Tcp => Ok(Vec::new()),
            CheckKind::Http { path } => request(address, path),
        };
        let opened = request.and_then(|request| match open(address) {
            Ok(stream) => Ok((stream, request)),
            Err(error) => Err(format!("connect to {address}: {error}")),
        });
        let (stage, request) = match opened {
            Ok((stream, request)) => (Stage::Connecting(stream), request),
            Err(reason) => (Stage::Refused(reason), Vec::new()),
        };
        Probe {
            number,
            deadline: now.after(timeout),
            timeout,
            stage,
            request,
            sent: 0,
            received: Vec::new(),
            parser: HeadParser::new(),
        }
    }

    /// The socket to wait for; none when the probe has failed already.
    pub(crate) fn socket(&self) -> Option<BorrowedFd<'_>> {
        match &self.stage {
            Stage::Refused(_) => None,
            Stage::Connecting(stream) | Stage::Sending(stream) | Stage::Receiving(stream) => Some(stream.as_fd()),
        }
    }

    pub(crate) fn interest(&self) -> PollFlags {
        match self.stage {
            Stage::Refused(_) => PollFlags::empty(),
            Stage::Connecting(_) | Stage::Sending(_) => PollFlags::POLLOUT,
            Stage::Receiving(_) => PollFlags::POLLIN,
        }
    }

    /// What to say when the deadline has passed.
    pub(crate) fn late(&self) -> String {
        let what = match self.stage {
            Stage::Refused(_) | Stage::Connecting(_) => "no connection",
            Stage::Sending(_) => "the request was not read",
            Stage::Receiving(_) => "no answer",
        };
        format!("{what} within {} ms", self.timeout.as_millis())
    }

    /// Go as far as the socket lets; the result once there is one.
    pub(crate) fn advance(&mut self) -> Option<Result<(), String>> {
        loop {
            let stage = std::mem::replace(&mut self.stage, Stage::Refused("it is over".to_owned()));
            match stage {
                Stage::Refused(reason) => return Some(Err(reason)),
                Stage::Connecting(stream) => {
                    match getsockopt(&stream, SocketError).map(Errno::from_raw) {
                        Ok(Errno::UnknownErrno) => {}
                        Ok(errno) | Err(errno) => return Some(Err(format!("connect: {}", errno.desc()))),
                    }
                    if self.request.is_empty() {
                        return Some(Ok(()));
                    }
                    self.stage = Stage::Sending(stream);
                }
                Stage::Sending(mut stream) => match stream.write(&self.request[self.sent..]) {
                    Ok(n) => {
                        self.sent += n;
                        let done = self.sent == self.request.len();
                        self.stage = if done { Stage::Receiving(stream) } else { Stage::Sending(stream) };
                    }
                    Err(error) if waits(&error) => {
                        self.stage = Stage::Sending(stream);
                        return None;
                    }
                    Err(error) => return Some(Err(format!("send the request: {error}"))),
                },
                Stage::Receiving(mut stream) => {
                    let mut bytes = [0; 2048];
                    match stream.read(&mut bytes) {
                        Ok(0) => return Some(Err("the connection was closed before an answer".to_owned())),
                        Ok(n) => self.received.extend_from_slice(&bytes[..n]),
                        Err(error) if waits(&error) => {
                            self.stage = Stage::Receiving(stream);
                            return None;
                        }
                        Err(error) => return Some(Err(format!("read the answer: {error}"))),
                    }
                    if let Some(result) = self.judge() {
                        return Some(result);
                    }
                    self.stage = Stage::Receiving(stream);
                }
            }
        }
    }

    /// Interim answers (100 to 199) come before the one that counts (RFC 9110 15.2).
    fn judge(&mut self) -> Option<Result<(), String>> {
        loop {
            match self.parser.response(&self.received, &Limits::STANDARD) {
                Err(error) => return Some(Err(format!("the answer is no HTTP: {error}"))),
                Ok(Parsed::Incomplete) if self.received.len() > PROBE_HEAD_BYTES_MAX => {
                    return Some(Err("the answer's head is too long".to_owned()));
                }
                Ok(Parsed::Incomplete) => return None,
                Ok(Parsed::Complete { head, consumed }) if head.status < 200 => drop(self.received.drain(..consumed)),
                Ok(Parsed::Complete { head, .. }) if head.status < 400 => return Some(Ok(())),
                Ok(Parsed::Complete { head, .. }) => return Some(Err(format!("status {}", head.status))),
            }
        }
    }
}

fn request(address: SocketAddr, path: &str) -> Result<Vec<u8>, String> {
    let wrong = |error| format!("path {path:?} of the check is not valid: {error}");
    let mut head = RequestHead::new(Method::Get, path).map_err(wrong)?;
    let fields =
        [("host", address.to_string()), ("user-agent", "slipway-health".into()), ("connection", "close".into())];
    for (name, value) in fields {
        head.headers.append(name, value).map_err(wrong)?;
    }
    let mut bytes = Vec::new();
    encode_request(&head, &mut bytes);
    Ok(bytes)
}

/// A connection under way.
fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None)?;
    match connect(fd.as_raw_fd(), &SockaddrStorage::from(address)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(TcpStream::from(fd)),
        Err(errno) => Err(errno.into()),
    }
}

fn waits(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
