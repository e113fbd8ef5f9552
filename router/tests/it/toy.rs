//! A backend that says its name, a client that keeps its connection, and a router between them.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http1::{BodyReader, Limits, Method, Parsed, ResponseHead};
use router::{AccessLog, Change, Engine, EngineOptions, Instance, Settings};
use types::app::Route;
use types::{RouteId, ServiceName};

pub(crate) fn engine(workers: usize) -> Engine {
    let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    let settings = Settings { connect_wait: Duration::from_millis(500), ..Settings::STANDARD };
    let engine = Engine::start(&EngineOptions { listen, workers, settings, access_log: AccessLog::Off }).unwrap();
    engine.apply(vec![route("r1", "toy.example")]);
    engine
}

pub(crate) fn route(id: &str, domain: &str) -> Change {
    Change::Route(Route {
        id: RouteId::parse(id).unwrap(),
        kind: "http".into(),
        parent_ref: String::new(),
        service: service(),
        domain: domain.into(),
        path: "/".into(),
        created_at: None,
        updated_at: None,
    })
}

pub(crate) fn service() -> ServiceName {
    ServiceName::parse("toy").unwrap()
}

pub(crate) fn instance(toy: &Toy, draining: bool) -> Instance {
    Instance { service: service(), id: toy.name.clone(), addr: toy.addr, draining }
}

/// Tell the router of an instance and wait until every worker acts on it.
pub(crate) fn tell(engine: &Engine, instance: Instance, revision: u64) {
    engine.apply(vec![Change::Instance(instance, revision), Change::Seen(revision)]);
    wait("the workers have seen the change", || engine.progress().seen >= revision);
}

pub(crate) fn wait(what: &str, mut ready: impl FnMut() -> bool) {
    let done = os::clock::wait_for(Duration::from_secs(20), || ready().then_some(()));
    assert!(done.is_some(), "timed out before {what}");
}

/// A keep-alive HTTP/1.1 server: `/` says its name, `/echo` the body, `/slow` its name after a while.
pub(crate) struct Toy {
    pub(crate) name: String,
    pub(crate) addr: SocketAddr,
    pub(crate) served: Arc<AtomicU64>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    dead: Arc<AtomicBool>,
}

impl Toy {
    pub(crate) fn start(name: &str) -> Toy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let toy = Toy {
            name: name.into(),
            addr: listener.local_addr().unwrap(),
            served: Arc::default(),
            open: Arc::default(),
            dead: Arc::default(),
        };
        let (open, served, dead) = (Arc::clone(&toy.open), Arc::clone(&toy.served), Arc::clone(&toy.dead));
        let name = toy.name.clone();
        os::thread::spawn("toy", move || {
            for stream in listener.incoming().flatten() {
                if dead.load(Ordering::SeqCst) {
                    return;
                }
                open.lock().unwrap().push(stream.try_clone().unwrap());
                let (name, served) = (name.clone(), Arc::clone(&served));
                os::thread::spawn("toy-conn", move || {
                    let kept = stream.try_clone().unwrap();
                    serve(stream, &name, &served);
                    // The list of open ones holds a copy, which alone would keep the connection.
                    let _ = kept.shutdown(Shutdown::Both);
                })
                .unwrap();
            }
        })
        .unwrap();
        toy
    }

    /// As a killed process: every connection is cut, nothing listens any more.
    pub(crate) fn kill(&self) {
        self.dead.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then lets go of the listener.
        drop(TcpStream::connect(self.addr));
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        wait("the toy's port is closed", || TcpStream::connect(self.addr).is_err());
    }
}

impl Drop for Toy {
    fn drop(&mut self) {
        if !self.dead.load(Ordering::SeqCst) {
            self.kill();
        }
    }
}

fn serve(mut stream: TcpStream, name: &str, served: &AtomicU64) -> Option<()> {
    let mut buffer = Vec::new();
    loop {
        let head = loop {
            if let Ok(Parsed::Complete { head, consumed }) = http1::parse_request(&buffer, &Limits::STANDARD) {
                buffer.drain(..consumed);
                break head;
            }
            more(&mut stream, &mut buffer)?;
        };
        let mut reader = BodyReader::new(http1::request_body(&head).ok()?, &Limits::STANDARD);
        let body = read_body(&mut stream, &mut buffer, &mut reader)?;
        served.fetch_add(1, Ordering::Relaxed);
        let mut reply = ResponseHead::new(200);
        reply.headers.append("X-Toy", name).unwrap();
        let path = head.target.path().to_owned();
        let content = match path.as_str() {
            "/echo" | "/chunked" => body,
            "/large" => vec![b'l'; 3_000_000],
            "/headers" => format!("{:?}", head.headers).into_bytes(),
            _ => name.as_bytes().to_vec(),
        };
        if path == "/slow" {
            os::clock::pause(Duration::from_millis(30));
        }
        if path == "/upgrade" {
            return tunnel(&mut stream, buffer);
        }
        let mut out = Vec::new();
        if path == "/chunked" {
            reply.headers.append("Transfer-Encoding", "chunked").unwrap();
            http1::encode_response(&reply, &mut out);
            content.chunks(1000).for_each(|part| http1::encode_chunk(part, &mut out));
            http1::encode_last_chunk(None, &mut out);
        } else {
            reply.headers.append("Content-Length", content.len().to_string()).unwrap();
            http1::encode_response(&reply, &mut out);
            if head.method != Method::Head {
                out.extend_from_slice(&content);
            }
        }
        stream.write_all(&out).ok()?;
    }
}

/// Says back whatever comes, after the change of protocol.
fn tunnel(stream: &mut TcpStream, early: Vec<u8>) -> Option<()> {
    stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: toy\r\n\r\n").ok()?;
    stream.write_all(&early).ok()?;
    let mut part = [0; 4096];
    loop {
        match stream.read(&mut part).ok()? {
            0 => return Some(()),
            n => stream.write_all(&part[..n]).ok()?,
        }
    }
}

fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let mut part = [0; 16 * 1024];
    match stream.read(&mut part) {
        Ok(n) if n > 0 => buffer.extend_from_slice(&part[..n]),
        _ => return None,
    }
    Some(())
}

fn read_body(stream: &mut TcpStream, buffer: &mut Vec<u8>, reader: &mut BodyReader) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let step = reader.read(buffer).ok()?;
        body.extend_from_slice(&buffer[step.content.clone()]);
        buffer.drain(..step.consumed);
        if step.done {
            return Some(body);
        }
        if step.consumed == 0 && more(stream, buffer).is_none() {
            return reader.end_of_input().ok().map(|()| body);
        }
    }
}

/// One connection to the router, kept while it lasts.
pub(crate) struct Client {
    addr: SocketAddr,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) fn new(addr: SocketAddr) -> Client {
        Client { addr, stream: None, buffer: Vec::new() }
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        let addr = self.addr;
        self.stream.get_or_insert_with(|| {
            let stream = TcpStream::connect(addr).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            stream.set_nodelay(true).unwrap();
            stream
        })
    }

    pub(crate) fn get(&mut self, path: &str) -> Result<(ResponseHead, Vec<u8>), String> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: toy.example\r\n\r\n").as_bytes(), &Method::Get)
    }

    pub(crate) fn post(&mut self, path: &str, body: &[u8]) -> Result<(ResponseHead, Vec<u8>), String> {
        let head = format!("POST {path} HTTP/1.1\r\nHost: toy.example\r\nContent-Length: {}\r\n\r\n", body.len());
        self.send(&[head.as_bytes(), body].concat(), &Method::Post)
    }

    /// Send a request as it is, and read the answer.
    pub(crate) fn send(&mut self, request: &[u8], method: &Method) -> Result<(ResponseHead, Vec<u8>), String> {
        self.stream().write_all(request).map_err(|error| format!("write: {error}"))?;
        self.answer(method)
    }

    pub(crate) fn answer(&mut self, method: &Method) -> Result<(ResponseHead, Vec<u8>), String> {
        self.stream();
        let (stream, buffer) = (self.stream.as_mut().unwrap(), &mut self.buffer);
        let head = loop {
            match http1::parse_response(buffer, &Limits::STANDARD).map_err(|error| error.to_string())? {
                Parsed::Complete { head, consumed } => {
                    buffer.drain(..consumed);
                    if !head.is_interim() {
                        break head;
                    }
                }
                Parsed::Incomplete => more(stream, buffer).ok_or("closed before an answer")?,
            }
        };
        let length = http1::response_body(&head, method).map_err(|error| error.to_string())?;
        let mut reader = BodyReader::new(length, &Limits::STANDARD);
        let body = read_body(stream, buffer, &mut reader).ok_or("closed inside an answer")?;
        if !http1::keep_alive(head.version, &head.headers) {
            self.stream = None;
            self.buffer.clear();
        }
        Ok((head, body))
    }
}
