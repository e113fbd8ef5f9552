//! Calling an API on a unix socket.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http1::{BodyReader, Limits, Method, RequestHead, ResponseHead};
use os::signal::Shutdown;
use serde::Serialize;
use serde::de::DeserializeOwned;
use types::{ApiError, Code};

use crate::endpoint::{Endpoint, Lines, percent_encode};
use crate::paths;
use crate::serve::{BODY_BYTES_MAX, read_bounded};
use crate::wire::Wire;

/// Idle connections kept for the next call.
const POOL_MAX: usize = 8;

/// How long a reply to an ordinary call may take.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// A JSON reply above this is refused rather than kept in memory.
const REPLY_BYTES_MAX: u64 = 64 << 20;

const _: () = assert!(BODY_BYTES_MAX < REPLY_BYTES_MAX, "a list of objects is larger than one object");

/// Query parameters.
pub type Query<'a> = &'a [(&'a str, &'a str)];

/// Calls one API. Cheap to clone; clones share their idle connections.
#[derive(Clone, Debug)]
pub struct Client {
    target: Target,
    pool: Arc<Mutex<Vec<Wire<UnixStream>>>>,
    timeout: Option<Duration>,
    patience: Duration,
}

#[derive(Clone, Debug)]
enum Target {
    Socket(PathBuf),
    Service { dir: PathBuf, name: String },
}

/// Why a call has no reply.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens: nothing was asked.
    #[error("connect to {}", target.display())]
    Connect {
        /// The socket, or the directory of a service's sockets.
        target: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The connection broke: whether the call took effect is not known.
    #[error("call {path}")]
    Lost {
        /// What was called.
        path: String,
        /// What broke.
        source: io::Error,
    },
    /// The other side refused.
    #[error(transparent)]
    Refused(#[from] ApiError),
    /// The reply is not what it should be.
    #[error("read the reply of {path}")]
    Decode {
        /// What was called.
        path: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl CallError {
    /// The refusal's code, if it was a refusal.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            CallError::Refused(error) => Some(error.code),
            _ => None,
        }
    }

    /// Whether the other side said that there is no such thing.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(Code::NotFound)
    }

    /// Whether the same call may succeed later. A lost call may already have taken effect.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            CallError::Connect { .. } | CallError::Lost { .. } => true,
            CallError::Refused(error) => error.retryable,
            CallError::Decode { .. } => false,
        }
    }
}

impl From<CallError> for ApiError {
    fn from(error: CallError) -> ApiError {
        match error {
            CallError::Refused(error) => error,
            CallError::Connect { .. } | CallError::Lost { .. } => {
                ApiError::retryable(Code::Unavailable, os::text::chain(&error))
            }
            CallError::Decode { .. } => ApiError::new(Code::Internal, os::text::chain(&error)),
        }
    }
}

/// A reply whose body is read as it comes.
#[derive(Debug)]
pub struct Response {
    /// Status and headers.
    pub head: ResponseHead,
    wire: Option<Wire<UnixStream>>,
    body: BodyReader,
    pool: Arc<Mutex<Vec<Wire<UnixStream>>>>,
}

impl Client {
    /// A client of the API on `socket`. Connects when it is first used.
    #[must_use]
    pub fn socket(socket: &Path) -> Client {
        Client::new(Target::Socket(socket.to_path_buf()))
    }

    /// A client of a system service: of whichever of its jobs on this host answers.
    #[must_use]
    pub fn service(run_dir: &Path, name: &str) -> Client {
        Client::new(Target::Service { dir: paths::service_dir(run_dir, name), name: name.to_owned() })
    }

    fn new(target: Target) -> Client {
        Client { target, pool: Arc::default(), timeout: Some(REPLY_TIMEOUT), patience: Duration::ZERO }
    }

    /// The same client with another limit on how long a reply, or a pause within one, may take.
    #[must_use]
    pub fn timeout(mut self, limit: Option<Duration>) -> Client {
        self.timeout = limit;
        self
    }

    /// The same client, which waits so long for somebody to listen: its service may be being replaced.
    #[must_use]
    pub fn patience(mut self, limit: Duration) -> Client {
        self.patience = limit;
        self
    }

    /// Call an endpoint that answers with JSON.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn call<Q: Serialize, R: DeserializeOwned>(
        &self,
        endpoint: &Endpoint<Q, R>,
        params: &[&str],
        body: &Q,
    ) -> Result<R, CallError> {
        self.call_query(endpoint, params, &[], body)
    }

    /// As [`Client::call`], with a query.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn call_query<Q: Serialize, R: DeserializeOwned>(
        &self,
        endpoint: &Endpoint<Q, R>,
        params: &[&str],
        query: Query<'_>,
        body: &Q,
    ) -> Result<R, CallError> {
        let path = with_query(endpoint.fill(params), query);
        let mut response = self.send_json(&endpoint.method, &path, body)?;
        let text = response.text(&path)?;
        let text: &[u8] = if text.is_empty() { b"null" } else { &text };
        serde_json::from_slice(text).map_err(|source| CallError::Decode { path, source })
    }

    /// Call an endpoint that answers with a stream of JSON lines.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn lines<Q: Serialize, R: DeserializeOwned>(
        &self,
        endpoint: &Endpoint<Q, Lines<R>>,
        params: &[&str],
        query: Query<'_>,
        body: &Q,
    ) -> Result<LineReader<R>, CallError> {
        let path = with_query(endpoint.fill(params), query);
        let response = self.send_json(&endpoint.method, &path, body)?;
        Ok(LineReader { path, input: io::BufReader::new(response), line: Vec::new(), item: std::marker::PhantomData })
    }

    /// Call an endpoint that turns the connection into `protocol`; gives the stream and what came early.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn upgrade<Q: Serialize, R>(
        &self,
        endpoint: &Endpoint<Q, R>,
        params: &[&str],
        query: Query<'_>,
        protocol: &str,
        body: &Q,
    ) -> Result<(UnixStream, Vec<u8>), CallError> {
        let path = with_query(endpoint.fill(params), query);
        let json = encode(&path, body)?;
        let headers = [("Content-Type", "application/json"), ("Connection", "Upgrade"), ("Upgrade", protocol)];
        let response = self.send(&endpoint.method, &path, &headers, Body::json(&json))?;
        if response.head.status != 101 {
            return Err(response.refusal(&path));
        }
        let Some(wire) = response.wire else { return Err(lost(&path, io::ErrorKind::NotConnected.into())) };
        let (stream, early) = wire.into_parts();
        stream.set_read_timeout(None).map_err(|source| lost(&path, source))?;
        Ok((stream, early))
    }

    /// Send any request; a status of 400 or more is a refusal.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn request(
        &self,
        method: &Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Body<'_>,
    ) -> Result<Response, CallError> {
        let response = self.send(method, path, headers, body)?;
        if response.head.status >= 400 {
            return Err(response.refusal(path));
        }
        Ok(response)
    }

    fn send_json<Q: Serialize>(&self, method: &Method, path: &str, body: &Q) -> Result<Response, CallError> {
        let json = encode(path, body)?;
        self.request(method, path, &[("Content-Type", "application/json")], Body::json(&json))
    }

    fn send(
        &self,
        method: &Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Body<'_>,
    ) -> Result<Response, CallError> {
        let mut wire = self.connection()?;
        let failed = |source| lost(path, source);
        wire.stream.set_read_timeout(self.timeout).map_err(failed)?;
        let mut head = RequestHead::new(method.clone(), path)
            .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error.to_string())))?;
        let mut add = |name: &str, value: &str| {
            head.headers
                .append(name, value)
                .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error.to_string())))
        };
        add("Host", "slipway")?;
        for (name, value) in headers {
            add(name, value)?;
        }
        match &body {
            Body::None if matches!(method, Method::Get | Method::Head | Method::Delete) => {}
            Body::None => add("Content-Length", "0")?,
            Body::Bytes(bytes) => add("Content-Length", &bytes.len().to_string())?,
            Body::Reader(_) => add("Transfer-Encoding", "chunked")?,
        }
        let mut bytes = Vec::with_capacity(256);
        http1::encode_request(&head, &mut bytes);
        if let Body::Bytes(body) = &body {
            bytes.extend_from_slice(body);
        }
        let sent = wire.stream.write_all(&bytes).and_then(|()| match body {
            Body::Reader(content) => send_chunks(&mut wire.stream, content),
            Body::None | Body::Bytes(_) => Ok(()),
        });
        // A server may refuse before it has read everything: its reply says more than our broken pipe.
        let head = match (wire.response(), sent) {
            (Ok(head), _) => head,
            (Err(_), Err(source)) | (Err(source), Ok(())) => return Err(failed(source)),
        };
        let length = http1::response_body(&head, method)
            .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error.to_string())))?;
        let body = BodyReader::new(length, &Limits::STANDARD);
        Ok(Response { head, wire: Some(wire), body, pool: Arc::clone(&self.pool) })
    }

    fn connection(&self) -> Result<Wire<UnixStream>, CallError> {
        while let Some(wire) = self.pool.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            if is_quiet(&wire.stream) {
                return Ok(wire);
            }
        }
        let deadline = os::clock::now().after(self.patience);
        loop {
            let (target, connected) = match &self.target {
                Target::Socket(socket) => (socket, UnixStream::connect(socket)),
                Target::Service { dir, name } => (dir, connect_any(dir, name)),
            };
            match connected {
                Ok(stream) => return Ok(Wire::new(stream)),
                Err(source) if os::clock::now() >= deadline => {
                    return Err(CallError::Connect { target: target.clone(), source });
                }
                // Nothing was sent yet, so trying again is harmless.
                Err(_) => os::clock::pause(Duration::from_millis(20)),
            }
        }
    }
}

/// Connect to whichever socket in `dir` has a listener; those of dead jobs have none.
fn connect_any(dir: &Path, name: &str) -> io::Result<UnixStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("no job of {name} is running"));
    let mut sockets: Vec<PathBuf> = std::fs::read_dir(dir)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "sock"))
        .collect();
    sockets.sort();
    for socket in sockets {
        match UnixStream::connect(&socket) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Nothing has arrived on an idle connection: the server has not closed it.
fn is_quiet(stream: &UnixStream) -> bool {
    use std::os::fd::AsFd;
    let flags = nix::poll::PollFlags::POLLIN | nix::poll::PollFlags::POLLHUP;
    let mut waiting = [nix::poll::PollFd::new(stream.as_fd(), flags)];
    nix::poll::poll(&mut waiting, nix::poll::PollTimeout::ZERO).is_ok_and(|count| count == 0)
}

fn send_chunks(stream: &mut UnixStream, content: &mut dyn Read) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut bytes = Vec::with_capacity(buffer.len() + 32);
    loop {
        let got = content.read(&mut buffer)?;
        bytes.clear();
        if got == 0 {
            http1::encode_last_chunk(None, &mut bytes);
            return stream.write_all(&bytes);
        }
        http1::encode_chunk(&buffer[..got], &mut bytes);
        stream.write_all(&bytes)?;
    }
}

/// The body of a request.
#[expect(missing_debug_implementations, reason = "a reader has none")]
pub enum Body<'a> {
    /// None.
    None,
    /// These bytes.
    Bytes(&'a [u8]),
    /// Whatever the reader gives, sent in chunks.
    Reader(&'a mut dyn Read),
}

impl<'a> Body<'a> {
    /// `()` is no body at all.
    fn json(json: &'a [u8]) -> Body<'a> {
        if json == b"null" { Body::None } else { Body::Bytes(json) }
    }
}

impl Response {
    /// The whole body, if it is not too large for memory.
    fn text(&mut self, path: &str) -> Result<Vec<u8>, CallError> {
        read_bounded(self, REPLY_BYTES_MAX).map_err(|error| match error.code {
            Code::TooLarge => CallError::Refused(error),
            _ => lost(path, io::Error::new(io::ErrorKind::UnexpectedEof, error.message)),
        })
    }

    fn refusal(mut self, path: &str) -> CallError {
        let status = self.head.status;
        let text = match self.text(path) {
            Ok(text) => text,
            Err(error) => return error,
        };
        CallError::Refused(serde_json::from_slice(&text).unwrap_or_else(|_| {
            // Flynn's form of "not found" has no body.
            let code = match status {
                404 => Code::NotFound,
                401 => Code::Unauthorized,
                503 => Code::Unavailable,
                _ => Code::Internal,
            };
            let text = String::from_utf8_lossy(&text);
            let said = if text.is_empty() { http1::reason(status) } else { text.trim() };
            ApiError { code, message: format!("{path}: {status} {said}"), hint: None, retryable: status == 503 }
        }))
    }
}

impl Read for Response {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Some(wire) = self.wire.as_mut() else { return Ok(0) };
        let got = wire.body(&mut self.body, out);
        match &got {
            Ok(_) if self.body.is_done() => self.give_back(),
            Ok(_) => {}
            Err(error) if is_timeout(error) => {}
            Err(_) => self.wire = None,
        }
        got
    }
}

impl Response {
    fn give_back(&mut self) {
        let keep = http1::keep_alive(self.head.version, &self.head.headers) && self.head.status != 101;
        let Some(wire) = self.wire.take() else { return };
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if keep && pool.len() < POOL_MAX {
            pool.push(wire);
        }
    }
}

/// Reads a stream of JSON lines; each is one item.
#[derive(Debug)]
pub struct LineReader<R> {
    path: String,
    input: io::BufReader<Response>,
    line: Vec<u8>,
    item: std::marker::PhantomData<fn() -> R>,
}

impl<R: DeserializeOwned> LineReader<R> {
    /// Wait until there may be something to read, or the shutdown was asked for; false for the latter.
    #[must_use]
    pub fn wait(&self, shutdown: &Shutdown) -> bool {
        use std::os::fd::AsFd;
        let Some(wire) = self.input.get_ref().wire.as_ref() else { return true };
        // Bytes that were read already, be they only framing, do not show on the descriptor.
        if !self.input.buffer().is_empty() || wire.has_unread() {
            return true;
        }
        while !shutdown.asked() {
            if shutdown.wait_readable(wire.stream.as_fd(), Duration::from_secs(3_600)) {
                return true;
            }
        }
        false
    }

    /// The next item, or `Quiet` when none came within `limit`.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn next_within(&mut self, limit: Duration) -> Result<Polled<R>, CallError> {
        if let Some(wire) = self.input.get_ref().wire.as_ref() {
            wire.stream.set_read_timeout(Some(limit)).map_err(|source| lost(&self.path, source))?;
        }
        self.read_line()
    }

    fn read_line(&mut self) -> Result<Polled<R>, CallError> {
        use std::io::BufRead;
        #[derive(serde::Deserialize)]
        struct Failed {
            error: ApiError,
        }
        match self.input.read_until(b'\n', &mut self.line) {
            Ok(0) if self.line.is_empty() => return Ok(Polled::End),
            Ok(_) => {}
            // What came of a line so far is kept for the next time.
            Err(error) if is_timeout(&error) => return Ok(Polled::Quiet),
            Err(source) => return Err(lost(&self.path, source)),
        }
        let line = std::mem::take(&mut self.line);
        if line.starts_with(b"{\"error\":")
            && let Ok(failed) = serde_json::from_slice::<Failed>(&line)
        {
            return Err(CallError::Refused(failed.error));
        }
        let parsed = serde_json::from_slice(&line);
        parsed.map(Polled::Item).map_err(|source| CallError::Decode { path: self.path.clone(), source })
    }
}

/// What a stream had to say within a time.
#[derive(Debug)]
pub enum Polled<R> {
    /// This.
    Item(R),
    /// Nothing yet.
    Quiet,
    /// Nothing more.
    End,
}

impl<R: DeserializeOwned> Iterator for LineReader<R> {
    type Item = Result<R, CallError>;

    fn next(&mut self) -> Option<Result<R, CallError>> {
        match self.read_line() {
            Ok(Polled::Item(item)) => Some(Ok(item)),
            Ok(Polled::End) => None,
            Ok(Polled::Quiet) => Some(Err(lost(&self.path, io::ErrorKind::TimedOut.into()))),
            Err(error) => Some(Err(error)),
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn lost(path: &str, source: io::Error) -> CallError {
    CallError::Lost { path: path.to_owned(), source }
}

fn encode<Q: Serialize>(path: &str, body: &Q) -> Result<Vec<u8>, CallError> {
    serde_json::to_vec(body).map_err(|source| CallError::Decode { path: path.to_owned(), source })
}

fn with_query(mut path: String, query: Query<'_>) -> String {
    for (at, (key, value)) in query.iter().enumerate() {
        path.push(if at == 0 { '?' } else { '&' });
        path.push_str(&percent_encode(key));
        path.push('=');
        path.push_str(&percent_encode(value));
    }
    path
}
