//! One event loop: its listeners, its sessions, its connections to backends. Everything here is one thread's own.

mod drive;
mod upstream;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use router_core::session::Proto;
use router_core::{BackendId, BufferPool, Change, Effect, Event, Hub, Peer, Progress, Session, Settings};
use slab::Slab;
use stdx::{Instant, Machine, Rng};

use crate::access::Writer;
use crate::engine::BackendView;
use crate::limits::{ACCEPT_BATCH, ACCEPT_PAUSE, BUFFERS_KEPT, EVENTS_MAX, SESSIONS_MAX};
use crate::metrics::{self, Metrics};
use crate::timers::{Armed, Timers};
use upstream::{Idle, Upstream};

/// What a worker is told.
#[derive(Debug)]
pub(crate) enum Message {
    /// Changes of routes and backends.
    Changes(Arc<Vec<Change>>),
    /// Say what the backends are doing.
    Backends(SyncSender<Vec<BackendView>>),
    /// Finish what is in flight, for at most that long.
    Finish(Duration),
}

/// What a worker shows to the other threads.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    seen: AtomicU64,
    drained: AtomicU64,
    pub(crate) metrics: Metrics,
}

impl Shown {
    pub(crate) fn progress(&self) -> Progress {
        // Drained first: it never runs ahead of the revision seen that is read after it.
        let drained = self.drained.load(Ordering::Acquire);
        Progress { seen: self.seen.load(Ordering::Acquire), drained }
    }
}

/// What a worker is made of.
pub(crate) struct Parts {
    pub(crate) poll: Poll,
    pub(crate) listeners: Vec<std::net::TcpListener>,
    pub(crate) inbox: Receiver<Message>,
    pub(crate) shown: Arc<Shown>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) access: Writer,
    pub(crate) seed: u64,
    /// Told when the progress has changed.
    pub(crate) news: SyncSender<()>,
}

/// What a token stands for; the rest of it is an index.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Listener,
    Down,
    Up,
    Inbox,
}

/// The token of a worker's waker.
pub(crate) const INBOX: Token = Token(3);

fn token(kind: Kind, index: usize) -> Token {
    let kind = match kind {
        Kind::Listener => 0,
        Kind::Down => 1,
        Kind::Up => 2,
        Kind::Inbox => 3,
    };
    Token(index << 2 | kind)
}

fn decode(token: Token) -> (Kind, usize) {
    let kind = match token.0 & 3 {
        0 => Kind::Listener,
        1 => Kind::Down,
        2 => Kind::Up,
        _ => Kind::Inbox,
    };
    (kind, token.0 >> 2)
}

/// What the kernel last said of a stream. Only a hint: the next call says what is so.
#[derive(Clone, Copy, Debug)]
struct Ready {
    readable: bool,
    writable: bool,
    /// The peer closed: a short read does not mean that there is no more.
    closed: bool,
}

impl Ready {
    /// Try both before waiting.
    const FRESH: Ready = Ready { readable: true, writable: true, closed: false };

    fn add(&mut self, event: &mio::event::Event) {
        self.closed |= event.is_read_closed() || event.is_error();
        self.readable |= event.is_readable() || self.closed;
        self.writable |= event.is_writable() || event.is_error();
    }
}

struct Door {
    listener: TcpListener,
    port: u16,
    /// More may wait in the kernel.
    waiting: bool,
}

/// A downstream connection.
struct Down {
    stream: TcpStream,
    ready: Ready,
    session: Session,
    /// Its connection to a backend.
    up: Option<usize>,
    /// The backend its request is placed at.
    placed: Option<BackendId>,
    armed: Armed,
}

struct Worker {
    registry: Registry,
    doors: Vec<Door>,
    downs: Slab<Down>,
    ups: Slab<Upstream>,
    idle: Idle,
    hub: Hub,
    buffers: BufferPool,
    timers: Timers,
    settings: Arc<Settings>,
    shown: Arc<Shown>,
    access: Writer,
    news: SyncSender<()>,
    rng: Rng,
    now: Instant,
    wall_at_start: u64,
    serial: u64,
    /// Sessions that have not had their turn to the end.
    again: VecDeque<usize>,
    effects: Vec<Effect>,
    accept_after: Instant,
    finish_by: Option<Instant>,
}

/// Run the loop until it is told to finish and nothing is left.
pub(crate) fn run(parts: Parts) -> io::Result<()> {
    let Parts { mut poll, listeners, inbox, shown, settings, access, seed, news } = parts;
    let registry = poll.registry().try_clone()?;
    let mut rng = Rng::new(seed);
    let now = os::clock::now();
    let mut worker = Worker {
        doors: Vec::new(),
        registry,
        downs: Slab::new(),
        ups: Slab::new(),
        idle: Idle::default(),
        hub: Hub::new(rng.fork(1)),
        buffers: BufferPool::new(BUFFERS_KEPT),
        timers: Timers::default(),
        settings,
        shown,
        access,
        news,
        rng,
        now,
        wall_at_start: os::clock::wall().unix_millis().saturating_sub(now.millis()),
        serial: 0,
        again: VecDeque::new(),
        effects: Vec::new(),
        accept_after: Instant::START,
        finish_by: None,
    };
    for listener in listeners {
        worker.add_door(listener)?;
    }
    let mut events = Events::with_capacity(EVENTS_MAX);
    loop {
        match poll.poll(&mut events, worker.patience()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        worker.now = os::clock::now();
        for event in &events {
            worker.take(event);
        }
        inbox.try_iter().for_each(|message| worker.obey(message));
        worker.turn();
        if worker.finish_by.is_some_and(|by| worker.downs.is_empty() || worker.now >= by) {
            return Ok(());
        }
    }
}

impl Worker {
    fn add_door(&mut self, listener: std::net::TcpListener) -> io::Result<()> {
        let port = listener.local_addr()?.port();
        let mut listener = TcpListener::from_std(listener);
        let at = token(Kind::Listener, self.doors.len());
        self.registry.register(&mut listener, at, Interest::READABLE)?;
        self.doors.push(Door { listener, port, waiting: false });
        Ok(())
    }

    /// How long the kernel may be waited on.
    fn patience(&self) -> Option<Duration> {
        let accept_soon = self.doors.iter().any(|door| door.waiting) && self.downs.len() < SESSIONS_MAX;
        if !self.again.is_empty() || (accept_soon && self.accept_after <= self.now) {
            return Some(Duration::ZERO);
        }
        let pause = accept_soon.then_some(self.accept_after);
        let next = [self.timers.next(), self.idle.next_expiry(), self.finish_by, pause].into_iter().flatten().min();
        // A little late rather than a little early, which would mean another round for nothing.
        next.map(|at| at.since(os::clock::now()) + Duration::from_millis(1))
    }

    fn take(&mut self, event: &mio::event::Event) {
        let (kind, index) = decode(event.token());
        match kind {
            Kind::Listener => {
                if let Some(door) = self.doors.get_mut(index) {
                    door.waiting = true;
                }
            }
            Kind::Down => {
                if let Some(down) = self.downs.get_mut(index) {
                    down.ready.add(event);
                    self.drive(index);
                }
            }
            Kind::Up => self.upstream_event(index, event),
            Kind::Inbox => {}
        }
    }

    fn obey(&mut self, message: Message) {
        match message {
            Message::Changes(changes) => {
                let mut retired = Vec::new();
                changes.iter().for_each(|change| self.hub.apply(change.clone(), &mut retired));
                retired.into_iter().for_each(|backend| self.close_idle(backend));
            }
            Message::Backends(reply) => {
                let views = self.hub.backends().map(|(_, backend)| BackendView::of(backend)).collect();
                // Who asked may have given up.
                let _ = reply.try_send(views);
            }
            Message::Finish(wait) => self.finish(wait),
        }
    }

    /// What is due at the end of every round.
    fn turn(&mut self) {
        self.accept_all();
        for _ in 0..self.again.len() {
            if let Some(index) = self.again.pop_front() {
                self.drive(index);
            }
        }
        while let Some((index, serial, at)) = self.timers.pop_due(self.now) {
            if self.downs.get_mut(index).is_some_and(|down| down.armed.fired(serial, at)) {
                self.feed(index, Event::Tick);
                self.drive(index);
            }
        }
        self.expire_idle();
        let lost = self.access.flush();
        if lost > 0 {
            metrics::add(&self.shown.metrics.log_lost, lost);
        }
        self.publish();
    }

    fn publish(&self) {
        let progress = self.hub.progress();
        if self.shown.progress() != progress {
            self.shown.seen.store(progress.seen, Ordering::Release);
            self.shown.drained.store(progress.drained, Ordering::Release);
            // A full channel means that the news is already on its way.
            let _ = self.news.try_send(());
        }
    }

    fn accept_all(&mut self) {
        for index in 0..self.doors.len() {
            let mut left = ACCEPT_BATCH;
            while left > 0 && self.doors[index].waiting && self.downs.len() < SESSIONS_MAX {
                if self.accept_after > self.now {
                    return;
                }
                left -= 1;
                match self.doors[index].listener.accept() {
                    Ok((stream, peer)) => self.add_down(stream, peer, self.doors[index].port),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.doors[index].waiting = false,
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(error) => {
                        log::warn!(error:% = error; "connection not accepted");
                        self.accept_after = self.now.after(ACCEPT_PAUSE);
                    }
                }
            }
        }
    }

    fn add_down(&mut self, mut stream: TcpStream, peer: SocketAddr, port: u16) {
        let peer = Peer {
            ip: peer.ip().to_canonical().to_string(),
            proto: Proto::Http,
            port,
            unix_millis_at_start: self.wall_at_start,
        };
        self.serial += 1;
        let mut session = Session::new(Arc::clone(&self.settings), peer, self.rng.fork(self.serial), self.now);
        if self.finish_by.is_some() {
            session.handle(self.now, Event::Shutdown, &mut self.effects);
        }
        // Answers are written whole, so waiting for more to send would only delay them.
        let _ = stream.set_nodelay(true);
        let entry = self.downs.vacant_entry();
        let index = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.registry.register(&mut stream, token(Kind::Down, index), interest) {
            log::warn!(error:% = error; "connection not watched");
            return;
        }
        let armed = Armed::new(self.serial);
        entry.insert(Down { stream, ready: Ready::FRESH, session, up: None, placed: None, armed });
        metrics::add(&self.shown.metrics.accepted, 1);
        self.shown.metrics.open.store(self.downs.len() as u64, Ordering::Relaxed);
        self.drive(index);
    }

    fn finish(&mut self, wait: Duration) {
        self.finish_by = Some(self.now.after(wait));
        // What the kernel has accepted for us would be reset with the listener.
        self.doors.iter_mut().for_each(|door| door.waiting = true);
        self.accept_all();
        self.doors.clear();
        let all: Vec<usize> = self.downs.iter().map(|(index, _)| index).collect();
        for index in all {
            self.feed(index, Event::Shutdown);
            self.drive(index);
        }
    }
}

/// A waker for the loop behind `poll`.
pub(crate) fn waker(poll: &Poll) -> io::Result<Waker> {
    Waker::new(poll.registry(), INBOX)
}
