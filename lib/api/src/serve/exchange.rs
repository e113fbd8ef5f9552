//! One request and its reply on a connection.

use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use http1::{BodyReader, Headers, Limits, RequestHead, ResponseHead};
use serde::Serialize;
use serde::de::DeserializeOwned;
use types::{ApiError, Code};

use super::{BODY_BYTES_MAX, read_bounded};
use crate::wire::Wire;

/// Of an unread body so much is read and dropped before the connection is closed.
const LEFTOVER_BYTES_MAX: u64 = 256 * 1024;

/// How long a client may refuse to take more of a reply.
const WRITE_STALL: Duration = Duration::from_secs(60);

/// One request and its reply.
#[derive(Debug)]
pub struct Exchange<'a> {
    wire: &'a mut Option<Wire<UnixStream>>,
    body: BodyReader,
    expects_continue: bool,
    reply: Reply,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reply {
    None,
    /// Chunks are being sent.
    Open,
    Whole,
    /// The connection is no longer in step.
    Broken,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(
        wire: &'a mut Option<Wire<UnixStream>>,
        head: &RequestHead,
    ) -> Result<Exchange<'a>, http1::Error> {
        let body = BodyReader::new(http1::request_body(head)?, &Limits::STANDARD);
        let expects_continue = http1::expects_continue(head)?;
        if let Some(wire) = wire.as_ref() {
            // A failure here shows again, and is handled, at the next write.
            let _ = wire.stream.set_write_timeout(Some(WRITE_STALL));
        }
        Ok(Exchange { wire, body, expects_continue, reply: Reply::None })
    }

    /// The body, read as it comes.
    pub fn body(&mut self) -> impl Read + '_ {
        BodyRead { exchange: self }
    }

    /// The body as JSON. None at all counts as `null`, then as `{}`.
    ///
    /// # Errors
    /// When it is too large or not the JSON that `Q` wants; the message names the field.
    pub fn json_body<Q: DeserializeOwned>(&mut self) -> Result<Q, ApiError> {
        let body = read_bounded(&mut self.body(), BODY_BYTES_MAX)?;
        if body.is_empty() {
            return serde_json::from_str("null")
                .or_else(|_| serde_json::from_str("{}"))
                .map_err(|error| ApiError::new(Code::Syntax, format!("a JSON body is needed: {error}")));
        }
        serde_json::from_slice(&body).or_else(|error| {
            // Some clients send a JSON body with every request, also where none is expected.
            serde_json::from_str("null").map_err(|_| {
                let code = if error.is_data() { Code::Validation } else { Code::Syntax };
                ApiError::new(code, format!("the body is not valid: {error}"))
            })
        })
    }

    /// Reply with JSON.
    ///
    /// # Errors
    /// When the value cannot be written as JSON.
    pub fn json<R: Serialize>(&mut self, status: u16, reply: &R) -> Result<(), ApiError> {
        let body = serde_json::to_vec(reply)
            .map_err(|error| ApiError::new(Code::Internal, format!("the reply cannot be written: {error}")))?;
        self.whole(status, "application/json", &body);
        Ok(())
    }

    /// A reply before the whole request was read costs the connection: say so, or the client would use it again.
    fn head(&self, status: u16, content_type: &str) -> ResponseHead {
        let mut head = head(status, content_type);
        if !self.body.is_done() {
            header(&mut head.headers, "Connection", "close");
        }
        head
    }

    /// Reply with these bytes.
    pub fn whole(&mut self, status: u16, content_type: &str, body: &[u8]) {
        let mut head = self.head(status, content_type);
        header(&mut head.headers, "Content-Length", &body.len().to_string());
        let mut bytes = Vec::with_capacity(body.len() + 200);
        http1::encode_response(&head, &mut bytes);
        bytes.extend_from_slice(body);
        self.reply = Reply::Whole;
        self.send(&bytes);
    }

    /// Reply to a HEAD request: what a GET would say of a body of `len` bytes, without the body.
    pub fn head_only(&mut self, content_type: &str, len: u64) {
        let mut head = self.head(200, content_type);
        header(&mut head.headers, "Content-Length", &len.to_string());
        let mut bytes = Vec::with_capacity(200);
        http1::encode_response(&head, &mut bytes);
        self.reply = Reply::Whole;
        self.send(&bytes);
    }

    /// Reply with `len` bytes from `content`.
    ///
    /// # Errors
    /// When `content` fails or ends early; the connection is then closed, so the client sees it too.
    pub fn copy(&mut self, content_type: &str, len: u64, content: &mut dyn Read) -> io::Result<()> {
        let mut head = self.head(200, content_type);
        header(&mut head.headers, "Content-Length", &len.to_string());
        let mut bytes = Vec::with_capacity(200);
        http1::encode_response(&head, &mut bytes);
        self.reply = Reply::Broken;
        let Some(wire) = self.wire.as_mut() else { return Err(io::ErrorKind::NotConnected.into()) };
        wire.stream.write_all(&bytes)?;
        let sent = io::copy(&mut content.take(len), &mut wire.stream)?;
        if sent < len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.reply = Reply::Whole;
        Ok(())
    }

    /// Begin a reply whose length is not known: what is written is sent at once, one chunk per write.
    pub fn stream(&mut self, content_type: &str) -> impl Write + '_ {
        let mut head = self.head(200, content_type);
        header(&mut head.headers, "Transfer-Encoding", "chunked");
        let mut bytes = Vec::with_capacity(200);
        http1::encode_response(&head, &mut bytes);
        self.reply = Reply::Open;
        self.send(&bytes);
        Chunks { exchange: self }
    }

    /// Go on with the reply that [`Exchange::stream`] began.
    pub fn resume_stream(&mut self) -> impl Write + '_ {
        Chunks { exchange: self }
    }

    /// Whether the client has gone away. For streams that have nothing to say for a while.
    #[must_use]
    pub fn client_gone(&self) -> bool {
        use std::os::fd::AsFd;
        let Some(wire) = self.wire.as_ref() else { return true };
        if self.reply == Reply::Broken {
            return true;
        }
        let mut waiting = [nix::poll::PollFd::new(wire.stream.as_fd(), nix::poll::PollFlags::POLLHUP)];
        let seen = nix::poll::poll(&mut waiting, nix::poll::PollTimeout::ZERO);
        seen.is_ok_and(|count| count > 0)
    }

    /// Take no further request on this connection: what answers here is going away.
    pub fn hang_up(&mut self) {
        self.reply = Reply::Broken;
    }

    /// Reply with a stream of JSON lines.
    pub(super) fn lines<R: Serialize>(
        &mut self,
        answer: impl FnOnce(&mut LineWriter<'_, 'a, R>) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        let mut out = LineWriter { exchange: self, item: PhantomData };
        let result = answer(&mut out);
        if result.is_ok() && self.reply == Reply::None {
            // No line at all is an empty stream, not an empty reply.
            drop(self.stream("application/json"));
        }
        result
    }

    /// Turn the connection into `protocol`. Gives the stream and what the client sent early.
    ///
    /// # Errors
    /// When the client is gone.
    pub fn upgrade(&mut self, protocol: &str) -> Result<(UnixStream, Vec<u8>), ApiError> {
        let gone = || ApiError::new(Code::Internal, "the client went away before the upgrade");
        // An unread body would otherwise be taken for the first bytes of the new protocol.
        io::copy(&mut self.body().take(LEFTOVER_BYTES_MAX), &mut io::sink()).map_err(|_| gone())?;
        let mut head = ResponseHead::new(101);
        header(&mut head.headers, "Connection", "Upgrade");
        header(&mut head.headers, "Upgrade", protocol);
        let mut bytes = Vec::new();
        http1::encode_response(&head, &mut bytes);
        let mut wire = self.wire.take().ok_or_else(gone)?;
        self.reply = Reply::Broken;
        wire.stream.write_all(&bytes).map_err(|_| gone())?;
        let (stream, early) = wire.into_parts();
        stream.set_read_timeout(None).and_then(|()| stream.set_write_timeout(None)).map_err(|_| gone())?;
        Ok((stream, early))
    }

    fn send(&mut self, bytes: &[u8]) {
        let sent = self.wire.as_mut().map(|wire| wire.stream.write_all(bytes));
        if !matches!(sent, Some(Ok(()))) {
            self.reply = Reply::Broken;
        }
    }

    /// Reply with an error, in the form that the state of the reply still allows.
    pub(super) fn fail(&mut self, error: &ApiError) {
        match self.reply {
            Reply::None => {
                let body = serde_json::to_vec(error).unwrap_or_default();
                self.whole(error.code.status(), "application/json", &body);
            }
            Reply::Open => {
                #[derive(Serialize)]
                struct Failed<'a> {
                    error: &'a ApiError,
                }
                let mut line = serde_json::to_vec(&Failed { error }).unwrap_or_default();
                line.push(b'\n');
                let mut bytes = Vec::new();
                http1::encode_chunk(&line, &mut bytes);
                self.send(&bytes);
            }
            Reply::Whole | Reply::Broken => {}
        }
    }

    /// Close what is open; whether the connection can take another request.
    pub(super) fn finish(mut self) -> bool {
        if self.reply == Reply::Open {
            let mut bytes = Vec::new();
            http1::encode_last_chunk(None, &mut bytes);
            self.reply = Reply::Whole;
            self.send(&bytes);
        }
        if self.reply == Reply::None {
            self.whole(200, "application/json", b"");
        }
        if self.reply != Reply::Whole || (self.expects_continue && !self.body.is_done()) {
            return false;
        }
        if self.body.is_done() {
            return true;
        }
        self.expects_continue = false;
        // The client was told that this is the end. Reading on for a while lets it send what it has begun.
        let _ = io::copy(&mut self.body().take(LEFTOVER_BYTES_MAX), &mut io::sink());
        false
    }
}

/// Answer a request that is no HTTP; the connection ends after it.
pub(super) fn refuse(wire: &mut Wire<UnixStream>, refusal: http1::Error) {
    let error = ApiError::new(Code::Syntax, refusal.to_string());
    let body = serde_json::to_vec(&error).unwrap_or_default();
    let mut head = head(refusal.status(), "application/json");
    header(&mut head.headers, "Content-Length", &body.len().to_string());
    header(&mut head.headers, "Connection", "close");
    let mut bytes = Vec::new();
    http1::encode_response(&head, &mut bytes);
    bytes.extend(body);
    // The peer is told if it still listens.
    let _ = wire.stream.write_all(&bytes);
}

fn head(status: u16, content_type: &str) -> ResponseHead {
    let mut head = ResponseHead::new(status);
    header(&mut head.headers, "Content-Type", content_type);
    head
}

fn header(headers: &mut Headers, name: &str, value: &str) {
    headers.append(name, value).expect("our own header values are valid");
}

struct BodyRead<'e, 'a> {
    exchange: &'e mut Exchange<'a>,
}

impl Read for BodyRead<'_, '_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let exchange = &mut *self.exchange;
        let Some(wire) = exchange.wire.as_mut() else { return Err(io::ErrorKind::NotConnected.into()) };
        if std::mem::take(&mut exchange.expects_continue) && !exchange.body.is_done() {
            wire.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        wire.body(&mut exchange.body, out)
    }
}

struct Chunks<'e, 'a> {
    exchange: &'e mut Exchange<'a>,
}

impl Write for Chunks<'_, '_> {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        if content.is_empty() {
            return Ok(0);
        }
        let mut bytes = Vec::with_capacity(content.len() + 32);
        http1::encode_chunk(content, &mut bytes);
        self.exchange.send(&bytes);
        if self.exchange.reply == Reply::Broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(content.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes JSON lines, each sent at once.
#[derive(Debug)]
pub struct LineWriter<'e, 'a, R> {
    exchange: &'e mut Exchange<'a>,
    item: PhantomData<fn(R)>,
}

impl<R: Serialize> LineWriter<'_, '_, R> {
    /// Send one line. The first one settles that the reply is a success.
    ///
    /// # Errors
    /// When the client is gone: nobody is left to write for.
    pub fn send(&mut self, item: &R) -> Result<(), ApiError> {
        let mut line = serde_json::to_vec(item)
            .map_err(|error| ApiError::new(Code::Internal, format!("the line cannot be written: {error}")))?;
        line.push(b'\n');
        let gone = |_| ApiError::new(Code::Unavailable, "the client went away");
        if self.exchange.reply == Reply::None {
            return self.exchange.stream("application/json").write_all(&line).map_err(gone);
        }
        Chunks { exchange: self.exchange }.write_all(&line).map_err(gone)
    }

    /// Whether the client has gone away.
    #[must_use]
    pub fn client_gone(&self) -> bool {
        self.exchange.client_gone()
    }
}
