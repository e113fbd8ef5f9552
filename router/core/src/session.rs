//! One downstream connection, and the exchange that is under way on it.

mod answer;
mod exchange;
mod record;
mod rewrite;
mod tunnel;
mod wire;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use http1::{HeadParser, Method, Parsed, RequestHead, Version};
use stdx::{Instant, Machine, Rng};

use self::answer::Fault;
use self::exchange::Exchange;
pub use self::record::Record;
use self::wire::Wire;
use crate::limits::LINGER_BYTES_MAX;
use crate::{BackendId, Buffer, BufferPool, Settings, Unroutable};

/// Which connection of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// To the client.
    Down,
    /// To the backend.
    Up,
}

/// What the client speaks through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proto {
    /// Plain TCP.
    Http,
    /// TLS.
    Https,
}

/// Who is on the other end of the downstream connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The client's address, without port.
    pub ip: String,
    /// What it speaks through.
    pub proto: Proto,
    /// The port it connected to.
    pub port: u16,
    /// Wall time at [`Instant::START`], for X-Request-Start.
    pub unix_millis_at_start: u64,
}

/// Which connection to a backend will do, and which one it became.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// One that carried requests before.
    Reused,
    /// A new one.
    Fresh,
}

/// Whether a connection to a backend can carry another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// It can.
    Keep,
    /// It must be closed.
    Close,
}

/// What can happen to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// `n` bytes were read into [`Session::space`].
    Filled {
        /// From there.
        side: Side,
        /// More than zero.
        n: usize,
    },
    /// `n` bytes of [`Session::pending`] were written.
    Wrote {
        /// To there.
        side: Side,
        /// More than zero.
        n: usize,
    },
    /// That peer sends no more.
    Eof(Side),
    /// That connection broke.
    Failed(Side),
    /// That peer takes no more; what it has sent may still be read.
    Unwritable(Side),
    /// A backend was found; a connection to it is being made.
    Chosen(BackendId),
    /// The connection is there.
    Opened(Connection),
    /// The backend chosen last cannot be reached.
    Refused,
    /// No backend can be chosen.
    Unroutable(Unroutable),
    /// Time has passed.
    Tick,
    /// The router is ending: finish what is under way.
    Shutdown,
}

/// What the shell must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Choose a backend for [`Session::request`] and connect; a reused connection will do if it says so.
    Open(Connection),
    /// Give up the attempt under way: the backend counts as refusing.
    Abandon,
    /// The request has left its backend; take the connection away.
    Release(Reuse),
    /// Send no more to that side.
    ShutdownWrite(Side),
    /// An exchange is over.
    Record(Box<Record>),
    /// Close the downstream connection. The session is over.
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Head,
    Opening,
    Exchange,
    Tunnel,
    Answering,
    Lingering,
    Closed,
}

/// Whether a connection to a backend belongs to the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upstream {
    None,
    /// Chosen, not yet connected.
    Opening,
    Open,
}

/// The machine of one downstream connection.
#[derive(Debug)]
pub struct Session {
    settings: Arc<Settings>,
    peer: Peer,
    ids: Rng,
    phase: Phase,
    upstream: Upstream,
    down: Wire,
    up: Wire,
    parser: HeadParser,
    exchange: Option<Box<Exchange>>,
    record: Option<Box<Record>>,
    /// When the phase began.
    since: Instant,
    /// When a byte last moved.
    activity: Instant,
    /// When the client closed its sending side.
    eof_at: Option<Instant>,
    /// Exchanges begun.
    requests: u64,
    /// Whether the connection outlives the answer being sent.
    keeps: bool,
    /// Whether the router is ending.
    last: bool,
    lingered: u64,
    /// In a tunnel, whether that side was told that no more comes.
    closed_down: bool,
    closed_up: bool,
}

impl Session {
    /// For a connection just accepted.
    #[must_use]
    pub fn new(settings: Arc<Settings>, peer: Peer, ids: Rng, now: Instant) -> Session {
        Session {
            settings,
            peer,
            ids,
            phase: Phase::Idle,
            upstream: Upstream::None,
            down: Wire::default(),
            up: Wire::default(),
            parser: HeadParser::new(),
            exchange: None,
            record: None,
            since: now,
            activity: now,
            eof_at: None,
            requests: 0,
            keeps: false,
            last: false,
            lingered: 0,
            closed_down: false,
            closed_up: false,
        }
    }

    /// Room for bytes from that side. Empty when [`Session::wants_read`] says no.
    pub fn space(&mut self, side: Side, pool: &mut BufferPool) -> &mut [u8] {
        if self.wants_read(side) { self.wire(side).input.space(pool) } else { &mut [] }
    }

    /// Whether bytes from that side are wanted now.
    #[must_use]
    pub fn wants_read(&self, side: Side) -> bool {
        let (wire, open) = match side {
            Side::Down => (&self.down, !matches!(self.phase, Phase::Answering | Phase::Closed)),
            Side::Up => (&self.up, self.upstream == Upstream::Open),
        };
        open && !wire.eof && !wire.input.is_full()
    }

    /// What is to be written to that side now, the first slice first.
    #[must_use]
    pub fn pending(&self, side: Side) -> [&[u8]; 2] {
        match side {
            Side::Down if self.phase == Phase::Closed => [&[], &[]],
            Side::Up if self.upstream != Upstream::Open => [&[], &[]],
            Side::Down => self.down.pending(&self.up.input),
            Side::Up => self.up.pending(&self.down.input),
        }
    }

    /// Give buffers back that hold nothing.
    pub fn release(&mut self, pool: &mut BufferPool) {
        self.down.input.release(pool);
        self.up.input.release(pool);
        if self.phase == Phase::Idle {
            self.down.shrink();
            self.up.shrink();
        }
    }

    /// Host and path of the request that needs a backend, and those that refused it.
    #[must_use]
    pub fn request(&self) -> Option<(&str, &str, &[BackendId])> {
        let exchange = self.exchange.as_deref()?;
        let record = self.record.as_deref()?;
        Some((&record.host, &record.path, &exchange.tried))
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }

    fn wire(&mut self, side: Side) -> &mut Wire {
        match side {
            Side::Down => &mut self.down,
            Side::Up => &mut self.up,
        }
    }

    fn enter(&mut self, now: Instant, phase: Phase) {
        self.phase = phase;
        self.since = now;
        self.activity = now;
    }

    fn advance(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        while match self.phase {
            Phase::Idle => self.leave_idle(now, effects),
            Phase::Head => self.read_head(now, effects),
            Phase::Exchange => self.exchange_step(now, effects),
            Phase::Tunnel => self.tunnel_step(effects),
            Phase::Answering => self.finish_answer(now, effects),
            Phase::Lingering => self.linger_step(effects),
            Phase::Opening | Phase::Closed => false,
        } {}
    }

    fn leave_idle(&mut self, now: Instant, effects: &mut Vec<Effect>) -> bool {
        if !self.down.input.is_empty() {
            self.enter(now, Phase::Head);
            return true;
        }
        if self.down.eof {
            self.close(effects);
        }
        false
    }

    fn read_head(&mut self, now: Instant, effects: &mut Vec<Effect>) -> bool {
        match self.parser.request(self.down.input.filled(), &self.settings.http) {
            Ok(Parsed::Incomplete) => {
                if self.down.input.is_full() {
                    self.down.input.grow(self.settings.http.head_bytes_max);
                }
                if self.down.eof {
                    self.close(effects);
                }
                false
            }
            Ok(Parsed::Complete { head, consumed }) => {
                self.down.input.consume(consumed);
                self.requests += 1;
                self.begin(now, head, effects);
                true
            }
            Err(error) => {
                self.requests += 1;
                self.record = Some(Box::new(self.new_record(None)));
                self.answer(now, Fault::Bad(error), effects);
                true
            }
        }
    }

    fn begin(&mut self, now: Instant, mut head: RequestHead, effects: &mut Vec<Effect>) {
        self.record = Some(Box::new(self.new_record(Some(&head))));
        self.enter(now, Phase::Opening);
        let body = match http1::request_body(&head).and_then(|body| http1::expects_continue(&head).map(|_| body)) {
            Ok(body) => body,
            Err(error) => return self.answer(now, Fault::Bad(error), effects),
        };
        // TRACE would show a script the cookies it may not read.
        if matches!(head.method, Method::Connect | Method::Trace) {
            return self.answer(now, Fault::Method, effects);
        }
        let version = head.version;
        let wants = rewrite::request(&mut head, body, &self.peer, now, &mut self.ids);
        if let Some(record) = &mut self.record {
            record.request_id.clone_from(&wants.request_id);
        }
        self.exchange = Some(Box::new(Exchange::new(head, version, body, wants, &self.settings.http, now)));
        effects.push(Effect::Open(Connection::Reused));
    }

    fn new_record(&self, head: Option<&RequestHead>) -> Record {
        let host = head.and_then(|head| head.authority().ok().flatten());
        Record {
            method: head.map_or("-", |head| head.method.as_str()).into(),
            path: head.map_or("-", |head| head.target.path()).into(),
            host: host.map_or("", |authority| authority.host).into(),
            status: 0,
            service: core::time::Duration::ZERO,
            connect: None,
            bytes_out: 0,
            bytes_in: 0,
            request_id: String::new(),
            code: None,
            backend: None,
        }
    }

    /// Answer by ourselves. Only while no byte of a response was sent.
    fn answer(&mut self, now: Instant, fault: Fault, effects: &mut Vec<Effect>) {
        self.let_go(now, Reuse::Close, effects);
        let exchange = self.exchange.as_deref();
        let well_formed = !matches!(fault, Fault::Bad(_) | Fault::Method | Fault::RequestTimeout);
        let read = exchange.is_some_and(Exchange::request_is_read);
        let wants = exchange.is_some_and(|exchange| exchange.wants.keep_alive);
        self.keeps = well_formed && read && wants && !self.last && !self.down.eof;
        if let Some(record) = self.record.as_mut().filter(|record| record.request_id.is_empty()) {
            record.request_id = rewrite::fresh_id(&mut self.ids);
        }
        let record = self.record.as_deref();
        let reader = answer::Reader {
            host: record.map_or("", |record| &record.host),
            accept: exchange.and_then(|exchange| exchange.head.headers.get("accept")),
            request_id: record.map_or("-", |record| &record.request_id),
            version: exchange.map_or(Version::Http11, |exchange| exchange.version),
            keeps: self.keeps,
            wants_content: record.is_none_or(|record| record.method != "HEAD"),
        };
        let sent = answer::encode(fault, &reader, self.down.out());
        if let Some(record) = &mut self.record {
            (record.status, record.code, record.bytes_out) = (fault.status(), Some(fault.code()), sent);
        }
        self.enter_answering(now);
    }

    fn enter_answering(&mut self, now: Instant) {
        let since = self.since;
        self.enter(now, Phase::Answering);
        if self.exchange.is_none() {
            // The service time of a refused head counts from its first byte.
            self.since = since;
        }
    }

    fn finish_answer(&mut self, now: Instant, effects: &mut Vec<Effect>) -> bool {
        if !self.down.is_flushed() {
            return false;
        }
        self.finish(now, effects);
        true
    }

    /// The exchange is over and the client has all of it.
    fn finish(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.write_record(now, effects);
        self.exchange = None;
        let unread = self.up.input.len();
        self.up.input.consume(unread);
        self.up.eof = false;
        if self.keeps && !self.down.eof {
            self.enter(now, Phase::Idle);
        } else {
            self.linger(now, effects);
        }
    }

    fn write_record(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Some(mut record) = self.record.take() else { return };
        if let Some(exchange) = &self.exchange {
            record.service = now.since(exchange.started);
            record.bytes_in += exchange.request_bytes();
        } else {
            record.service = now.since(self.since);
        }
        effects.push(Effect::Record(record));
    }

    /// Stop sending, and let the client read what was sent before the connection goes.
    fn linger(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        effects.push(Effect::ShutdownWrite(Side::Down));
        self.enter(now, Phase::Lingering);
    }

    fn linger_step(&mut self, effects: &mut Vec<Effect>) -> bool {
        let read = self.down.input.len();
        self.down.input.consume(read);
        self.lingered += read as u64;
        if self.down.eof || self.lingered > LINGER_BYTES_MAX {
            self.close(effects);
        }
        false
    }

    /// The client is gone, or nothing sensible can be sent to it any more.
    fn abort(&mut self, now: Instant, status: u16, code: &'static str, effects: &mut Vec<Effect>) {
        self.let_go(now, Reuse::Close, effects);
        if let Some(record) = &mut self.record {
            record.code = Some(code);
            if record.status == 0 {
                record.status = status;
            }
        }
        self.write_record(now, effects);
        self.close(effects);
    }

    /// Part with the backend, if there is one.
    fn let_go(&mut self, now: Instant, reuse: Reuse, effects: &mut Vec<Effect>) {
        match core::mem::replace(&mut self.upstream, Upstream::None) {
            Upstream::None => return,
            // The client left; the backend is not to blame, so it is not an abandoned attempt.
            Upstream::Opening => effects.push(Effect::Release(Reuse::Close)),
            Upstream::Open => effects.push(Effect::Release(reuse)),
        }
        self.activity = now;
        self.up.discard_output(&mut self.down.input);
    }

    fn close(&mut self, effects: &mut Vec<Effect>) {
        self.phase = Phase::Closed;
        effects.push(Effect::Close);
    }

    fn eof(&mut self, now: Instant, side: Side) {
        self.wire(side).eof = true;
        if side == Side::Down {
            self.eof_at = Some(now);
        }
    }

    fn failed(&mut self, now: Instant, side: Side, effects: &mut Vec<Effect>) {
        match (side, self.phase) {
            (Side::Down, Phase::Idle | Phase::Lingering) => self.close(effects),
            (Side::Down, _) => self.abort(now, 499, "client_closed", effects),
            (Side::Up, _) => {
                self.up.eof = true;
                if let Some(exchange) = &mut self.exchange {
                    exchange.reset = true;
                }
            }
        }
    }

    fn tick(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        match self.phase {
            Phase::Idle => self.linger(now, effects),
            Phase::Head => {
                self.record = Some(Box::new(self.new_record(None)));
                self.answer(now, Fault::RequestTimeout, effects);
            }
            Phase::Opening => {
                self.upstream = Upstream::None;
                effects.push(Effect::Abandon);
                self.refused(now, effects);
            }
            Phase::Exchange => self.exchange_timeout(now, effects),
            Phase::Tunnel => self.abort(now, 499, "tunnel_idle", effects),
            Phase::Answering => self.abort(now, 499, "client_stalled", effects),
            Phase::Lingering => self.close(effects),
            Phase::Closed => {}
        }
    }
}

impl Machine for Session {
    type Event = Event;
    type Effect = Effect;

    fn handle(&mut self, now: Instant, event: Event, effects: &mut Vec<Effect>) {
        if self.phase == Phase::Closed {
            return;
        }
        match event {
            Event::Filled { side, n } => {
                self.activity = now;
                self.wire(side).input.fill(n);
                if side == Side::Up {
                    self.answered();
                }
            }
            Event::Wrote { side, n } => {
                self.activity = now;
                self.count_tunnel(side, n);
                let (wire, other): (&mut Wire, &mut Buffer) = match side {
                    Side::Down => (&mut self.down, &mut self.up.input),
                    Side::Up => (&mut self.up, &mut self.down.input),
                };
                wire.wrote(n, other);
            }
            Event::Eof(side) => self.eof(now, side),
            Event::Failed(side) => self.failed(now, side, effects),
            Event::Unwritable(Side::Down) => self.failed(now, Side::Down, effects),
            Event::Unwritable(Side::Up) => self.stop_request(),
            Event::Chosen(backend) => self.chosen(backend),
            Event::Opened(connection) => self.opened(now, connection),
            Event::Refused => {
                self.upstream = Upstream::None;
                self.refused(now, effects);
            }
            Event::Unroutable(why) => self.unroutable(now, why, effects),
            Event::Tick => self.tick(now, effects),
            Event::Shutdown => self.last = true,
        }
        self.advance(now, effects);
        self.check_invariants();
    }

    fn deadline(&self) -> Option<Instant> {
        let settings = &self.settings;
        Some(match self.phase {
            Phase::Idle if self.last => self.activity.after(settings.linger_wait),
            Phase::Idle if self.requests == 0 => self.activity.after(settings.head_wait),
            Phase::Idle => self.activity.after(settings.idle_wait),
            Phase::Head => self.since.after(settings.head_wait),
            Phase::Opening => self.since.after(settings.connect_wait),
            Phase::Exchange => self.exchange_deadline(),
            Phase::Tunnel => self.activity.after(settings.tunnel_wait),
            Phase::Answering => self.activity.after(settings.write_wait),
            Phase::Lingering => self.since.after(settings.linger_wait),
            Phase::Closed => return None,
        })
    }
}

impl Session {
    fn check_invariants(&self) {
        debug_assert!(
            !matches!(self.phase, Phase::Idle | Phase::Head | Phase::Lingering | Phase::Closed)
                || self.upstream == Upstream::None,
            "{:?} holds a backend",
            self.phase
        );
        debug_assert!(!matches!(self.phase, Phase::Exchange | Phase::Opening) || self.exchange.is_some());
        debug_assert!(self.phase != Phase::Idle || self.down.is_flushed(), "idle with unsent output");
    }
}
