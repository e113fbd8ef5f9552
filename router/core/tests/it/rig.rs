//! A session with both its peers played by a script.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use router_core::session::Proto;
use router_core::{
    BackendId, BackendState, Balance, BufferPool, Connection, Effect, Event, Peer, Session, Settings, Side, Unroutable,
};
use stdx::{Instant, Machine, Rng};
use types::ServiceName;

pub(crate) fn backend_ids(count: u16) -> Vec<BackendId> {
    let service = ServiceName::parse("web").unwrap();
    let mut balance = Balance::new();
    for port in 1..=count {
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        balance.put(&service, &format!("i{port}"), addr, BackendState::Up);
    }
    balance.iter().map(|(id, _)| id).collect()
}

pub(crate) fn session(seed: u64) -> Session {
    let peer = Peer { ip: "192.0.2.7".into(), proto: Proto::Http, port: 80, unix_millis_at_start: 1_700_000_000_000 };
    Session::new(Arc::new(Settings::STANDARD), peer, Rng::new(seed), Instant::START)
}

pub(crate) struct Rig {
    pub(crate) session: Session,
    pub(crate) now: Instant,
    pool: BufferPool,
    ids: Vec<BackendId>,
    next: usize,
    trace: String,
    client_stalls: bool,
}

impl Rig {
    pub(crate) fn new(seed: u64) -> Rig {
        Rig {
            session: session(seed),
            now: Instant::START,
            pool: BufferPool::new(4),
            ids: backend_ids(8),
            next: 0,
            trace: String::new(),
            client_stalls: false,
        }
    }

    pub(crate) fn take_trace(&mut self) -> String {
        std::mem::take(&mut self.trace)
    }

    pub(crate) fn command(&mut self, line: &str) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match (verb, rest) {
            ("client", "eof") => self.event(Event::Eof(Side::Down)),
            ("client", "reset") => self.event(Event::Failed(Side::Down)),
            ("client", "stalls") => self.client_stalls = true,
            ("client", "reads") => {
                self.client_stalls = false;
                self.flush();
            }
            ("client", text) => self.send(Side::Down, &unescape(text)),
            ("backend", "eof") => self.event(Event::Eof(Side::Up)),
            ("backend", "reset") => self.event(Event::Failed(Side::Up)),
            ("backend", "unwritable") => self.event(Event::Unwritable(Side::Up)),
            ("backend", text) => self.send(Side::Up, &unescape(text)),
            ("open", kind) => {
                let connection = if kind == "reused" { Connection::Reused } else { Connection::Fresh };
                self.choose();
                self.event(Event::Opened(connection));
            }
            ("refuse", _) => {
                self.choose();
                self.event(Event::Refused);
            }
            ("choose", _) => self.choose(),
            ("no-route", _) => self.event(Event::Unroutable(Unroutable::NoRoute)),
            ("no-backend", _) => self.event(Event::Unroutable(Unroutable::NoBackend)),
            ("shutdown", _) => self.event(Event::Shutdown),
            ("wait", seconds) => {
                self.now = self.now.after(Duration::from_secs(seconds.parse().unwrap()));
                self.event(Event::Tick);
            }
            _ => panic!("no such command: {line}"),
        }
    }

    fn choose(&mut self) {
        self.next += 1;
        self.event(Event::Chosen(self.ids[self.next - 1]));
    }

    fn send(&mut self, side: Side, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let space = self.session.space(side, &mut self.pool);
            if space.is_empty() {
                writeln!(self.trace, "{side:?} not read: {} bytes", bytes.len()).unwrap();
                return;
            }
            let n = space.len().min(bytes.len());
            space[..n].copy_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            self.event(Event::Filled { side, n });
        }
    }

    fn event(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.session.handle(self.now, event, &mut effects);
        self.flush_up();
        for effect in effects {
            self.flush_down();
            self.note(&effect);
        }
        self.flush();
    }

    fn flush(&mut self) {
        while self.flush_up() || self.flush_down() {}
    }

    fn flush_up(&mut self) -> bool {
        self.flush_side(Side::Up, "> ")
    }

    fn flush_down(&mut self) -> bool {
        !self.client_stalls && self.flush_side(Side::Down, "< ")
    }

    fn flush_side(&mut self, side: Side, mark: &str) -> bool {
        let bytes = self.session.pending(side).concat();
        if bytes.is_empty() {
            return false;
        }
        let text = bytes.escape_ascii().to_string();
        // Long runs tell nothing more by being printed.
        let text = if text.len() > 1200 { format!("{}... {} bytes", &text[..60], bytes.len()) } else { text };
        for line in text.split_inclusive("\\r\\n") {
            writeln!(self.trace, "{mark}{line}").unwrap();
        }
        let mut effects = Vec::new();
        self.session.handle(self.now, Event::Wrote { side, n: bytes.len() }, &mut effects);
        effects.iter().for_each(|effect| self.note(effect));
        true
    }

    fn note(&mut self, effect: &Effect) {
        let text = match effect {
            Effect::Record(record) => format!(
                "record {} {} {} {} in {} out {} {}",
                record.method,
                record.path,
                if record.host.is_empty() { "-" } else { &record.host },
                record.status,
                record.bytes_in,
                record.bytes_out,
                record.code.unwrap_or("-")
            ),
            other => format!("{other:?}").to_lowercase(),
        };
        writeln!(self.trace, "{text}").unwrap();
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('r')) => bytes.push(b'\r'),
            ('\\', Some('n')) => bytes.push(b'\n'),
            // `\*N;` is N times the letter x.
            ('\\', Some('*')) => {
                let count: String = chars.by_ref().take_while(|c| *c != ';').collect();
                bytes.resize(bytes.len() + count.parse::<usize>().unwrap(), b'x');
            }
            (c, _) => bytes.extend(c.to_string().bytes()),
        }
    }
    bytes
}
