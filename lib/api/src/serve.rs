//! Serving an API on a unix socket: one thread per connection, one table of endpoints.
//!
//! tiny_http was tried first: it cannot split an upgraded connection into its two directions, buffers
//! streams and does not say when a client went away (`docs/decisions/0002-own-api-server.md`).

use std::io::{self, Read};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http1::{Method, RequestHead};
use os::signal::Shutdown;
use serde::Serialize;
use serde::de::DeserializeOwned;
use types::{ApiError, Code};

use crate::endpoint::{Endpoint, Lines, percent_decode};
use crate::wire::Wire;

mod exchange;

pub use exchange::{Exchange, LineWriter};

/// Connections at once; more wait in the kernel's queue. Each costs a thread with a small stack.
const CONNECTIONS_MAX: usize = 1_024;

/// JSON bodies are small: releases with large environments are the biggest.
pub const BODY_BYTES_MAX: u64 = 4 << 20;

/// How long a connection may sit between requests.
const IDLE: Duration = Duration::from_secs(600);

/// What a request says besides its body.
#[derive(Debug)]
pub struct Call {
    /// The values of the path's parameters, in order.
    pub params: Vec<String>,
    query: Vec<(String, String)>,
    head: RequestHead,
}

impl Call {
    /// The value of the path's `index`th parameter.
    #[must_use]
    pub fn param(&self, index: usize) -> &str {
        self.params.get(index).map_or("", String::as_str)
    }

    /// The first query value of that name.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether the query has that name with no value, `1` or `true`.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.query(name).is_some_and(|value| matches!(value, "" | "1" | "true"))
    }

    /// The query value of that name as a number.
    ///
    /// # Errors
    /// When it is there and no number.
    pub fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        let parse = |text: &str| text.parse().map_err(|_| ApiError::invalid(name, "is not a number"));
        self.query(name).map(parse).transpose()
    }

    /// The first header of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get_str(name)
    }

    /// The whole path as it was asked for.
    #[must_use]
    pub fn path(&self) -> &str {
        self.head.target.path()
    }
}

type Respond<S> = dyn Fn(&S, &Call, &mut Exchange<'_>) -> Result<(), ApiError> + Send + Sync;

struct Entry<S> {
    method: Method,
    segments: Vec<&'static str>,
    respond: Box<Respond<S>>,
}

/// A table of endpoints over one shared state.
pub struct Service<S> {
    state: Arc<S>,
    entries: Vec<Entry<S>>,
}

impl<S> std::fmt::Debug for Service<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Service({} endpoints)", self.entries.len())
    }
}

impl<S: Send + Sync + 'static> Service<S> {
    /// A service without endpoints.
    #[must_use]
    pub fn new(state: Arc<S>) -> Service<S> {
        Service { state, entries: Vec::new() }
    }

    /// Answer an endpoint with JSON.
    #[must_use]
    pub fn on<Q, R>(
        self,
        endpoint: &Endpoint<Q, R>,
        answer: impl Fn(&S, &Call, Q) -> Result<R, ApiError> + Send + Sync + 'static,
    ) -> Service<S>
    where
        Q: DeserializeOwned + 'static,
        R: Serialize + 'static,
    {
        self.raw(endpoint, move |state, call, exchange| {
            let body = exchange.json_body::<Q>()?;
            let reply = answer(state, call, body)?;
            exchange.json(200, &reply)
        })
    }

    /// Answer an endpoint with a stream of JSON lines. An error before the first line is an ordinary error reply.
    #[must_use]
    pub fn lines<Q, R>(
        self,
        endpoint: &Endpoint<Q, Lines<R>>,
        answer: impl Fn(&S, &Call, Q, &mut LineWriter<'_, '_, R>) -> Result<(), ApiError> + Send + Sync + 'static,
    ) -> Service<S>
    where
        Q: DeserializeOwned + 'static,
        R: Serialize + 'static,
    {
        self.raw(endpoint, move |state, call, exchange| {
            let body = exchange.json_body::<Q>()?;
            exchange.lines(|out| answer(state, call, body, out))
        })
    }

    /// Answer an endpoint by hand: uploads, downloads, other stream formats, upgrades.
    #[must_use]
    pub fn raw<Q, R>(
        mut self,
        endpoint: &Endpoint<Q, R>,
        respond: impl Fn(&S, &Call, &mut Exchange<'_>) -> Result<(), ApiError> + Send + Sync + 'static,
    ) -> Service<S> {
        self.entries.push(Entry {
            method: endpoint.method.clone(),
            segments: endpoint.path.split('/').skip(1).collect(),
            respond: Box::new(respond),
        });
        self
    }

    /// Find the endpoint and answer one request.
    fn answer(&self, head: RequestHead, exchange: &mut Exchange<'_>) -> Result<(), ApiError> {
        let path = head.target.path().to_owned();
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let mut other_method = false;
        for entry in &self.entries {
            let Some(params) = match_path(&entry.segments, &segments) else { continue };
            if entry.method != head.method {
                other_method = true;
                continue;
            }
            let query = parse_query(head.target.query().unwrap_or(""));
            let call = Call { params, query, head };
            return (entry.respond)(&self.state, &call, exchange);
        }
        if other_method {
            return Err(ApiError::new(Code::MethodNotAllowed, format!("{} is not allowed on {path}", head.method)));
        }
        Err(ApiError::new(Code::NoSuchEndpoint, format!("there is no {path}")))
    }

    /// Listen on `socket` and answer until `shutdown` is asked for; returns at once.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn listen(self, socket: &Path, shutdown: &Shutdown) -> Result<Listening, ListenError> {
        let failed = |source| ListenError { socket: socket.to_path_buf(), source };
        if let Some(dir) = socket.parent() {
            std::fs::create_dir_all(dir).map_err(failed)?;
        }
        // Bound under another name and renamed, so that a predecessor's socket is replaced without a gap.
        let new = socket.with_extension(format!("new-{}", std::process::id()));
        let _ = std::fs::remove_file(&new);
        let listener = UnixListener::bind(&new).map_err(failed)?;
        std::fs::rename(&new, socket).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let shutdown = shutdown.clone();
        let service = Arc::new(self);
        let thread = os::thread::spawn("api-accept", move || accept(&listener, &service, &shutdown)).map_err(failed)?;
        Ok(Listening { socket: socket.to_path_buf(), thread: Some(thread) })
    }
}

/// A service that answers. Dropping it does not stop it: its shutdown does.
#[derive(Debug)]
pub struct Listening {
    socket: PathBuf,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Listening {
    /// Wait until the shutdown was asked for, then remove the socket.
    pub fn finish(mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic aborts the program, so there is no failed thread to report.
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Why a service cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("listen on {}", socket.display())]
pub struct ListenError {
    /// Where.
    pub socket: PathBuf,
    /// What the kernel said.
    pub source: io::Error,
}

fn accept<S: Send + Sync + 'static>(listener: &UnixListener, service: &Arc<Service<S>>, shutdown: &Shutdown) {
    use std::os::fd::AsFd;
    let open = Arc::new(AtomicUsize::new(0));
    while !shutdown.asked() {
        if !shutdown.wait_readable(listener.as_fd(), IDLE) {
            continue;
        }
        if open.load(Ordering::Relaxed) >= CONNECTIONS_MAX {
            os::clock::pause(Duration::from_millis(5));
            continue;
        }
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => {
                // Out of descriptors or memory: what is open will close.
                log::warn!(error:% = error; "connection not accepted");
                os::clock::pause(Duration::from_millis(50));
                continue;
            }
        };
        open.fetch_add(1, Ordering::Relaxed);
        let (service, open_now) = (Arc::clone(service), Arc::clone(&open));
        let started = os::thread::spawn("api-conn", move || {
            connection(&service, stream);
            open_now.fetch_sub(1, Ordering::Relaxed);
        });
        if let Err(error) = started {
            open.fetch_sub(1, Ordering::Relaxed);
            log::warn!(error:% = error; "connection thread not started");
        }
    }
}

fn connection<S: Send + Sync + 'static>(service: &Service<S>, stream: UnixStream) {
    if stream.set_nonblocking(false).is_err() || stream.set_read_timeout(Some(IDLE)).is_err() {
        return;
    }
    let mut wire = Some(Wire::new(stream));
    while let Some(open) = wire.as_mut() {
        let head = match open.request() {
            Ok(Some(Ok(head))) => head,
            Ok(Some(Err(refusal))) => {
                exchange::refuse(open, refusal);
                return;
            }
            Ok(None) | Err(_) => return,
        };
        let keep = http1::keep_alive(head.version, &head.headers);
        let mut exchange = match Exchange::new(&mut wire, &head) {
            Ok(exchange) => exchange,
            Err(refusal) => {
                if let Some(open) = wire.as_mut() {
                    exchange::refuse(open, refusal);
                }
                return;
            }
        };
        let path = head.target.path().to_owned();
        if let Err(error) = service.answer(head, &mut exchange) {
            if error.code == Code::Internal {
                log::error!(path:% = path, error:% = error; "request failed");
            }
            exchange.fail(&error);
        }
        if !exchange.finish() || !keep {
            return;
        }
    }
}

fn match_path(pattern: &[&'static str], path: &[&str]) -> Option<Vec<String>> {
    if pattern.len() != path.len() {
        return None;
    }
    let mut params = Vec::new();
    for (expected, got) in pattern.iter().zip(path) {
        if expected.starts_with(':') {
            if got.is_empty() {
                return None;
            }
            params.push(percent_decode(got)?);
        } else if expected != got {
            return None;
        }
    }
    Some(params)
}

fn parse_query(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| percent_decode(&text.replace('+', " "));
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(key)?, decode(value)?))
        })
        .collect()
}

/// Read at most `limit` bytes, and say so when there are more.
pub(crate) fn read_bounded(input: &mut dyn Read, limit: u64) -> Result<Vec<u8>, ApiError> {
    let mut body = Vec::new();
    input
        .take(limit + 1)
        .read_to_end(&mut body)
        .map_err(|error| ApiError::new(Code::Syntax, format!("the body ended early: {error}")))?;
    if body.len() as u64 > limit {
        return Err(ApiError::new(Code::TooLarge, format!("the body is over {limit} bytes")));
    }
    Ok(body)
}

#[cfg(test)]
mod tests;
