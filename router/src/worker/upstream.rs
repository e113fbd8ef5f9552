//! Connections to backends: being made, in use, idle.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use mio::Interest;
use mio::net::TcpStream;
use router_core::{BackendId, Connection, Event, Outcome, Reuse};
use stdx::Instant;

use super::{Kind, Ready, Worker, token};
use crate::limits::{IDLE_PER_BACKEND_MAX, IDLE_UNCHECKED, IDLE_UPSTREAM};
use crate::metrics;

/// A connection to a backend.
pub(super) struct Upstream {
    pub(super) stream: TcpStream,
    pub(super) ready: Ready,
    backend: BackendId,
    pub(super) use_: Use,
}

/// What it is used for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Being made for that session.
    Connecting(usize),
    /// By that session.
    Session(usize),
    /// Nothing, since then.
    Idle(Instant),
}

/// Idle connections, the one used last at the end.
#[derive(Default)]
pub(super) struct Idle {
    by_backend: BTreeMap<BackendId, Vec<usize>>,
    /// When the next look is due.
    look_at: Option<Instant>,
}

impl Idle {
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.look_at
    }
}

impl Worker {
    /// Find the session's request a backend and a connection. What to tell the session, in order.
    pub(super) fn open(&mut self, index: usize, allowed: Connection) -> [Option<Event>; 2] {
        let Some(down) = self.downs.get(index) else { return [None, None] };
        let Some((host, path, tried)) = down.session.request() else { return [None, None] };
        let choice = match self.hub.open(self.now, host, path, tried) {
            Ok(choice) => choice,
            Err(why) => return [Some(Event::Unroutable(why)), None],
        };
        if let Some(down) = self.downs.get_mut(index) {
            down.placed = Some(choice.backend);
        }
        let chosen = Some(Event::Chosen(choice.backend));
        if allowed == Connection::Reused
            && let Some(up) = self.take_idle(choice.backend)
        {
            self.attach(index, up, Use::Session(index));
            metrics::add(&self.shown.metrics.reused, 1);
            return [chosen, Some(Event::Opened(Connection::Reused))];
        }
        match self.connect(index, choice.backend, choice.addr) {
            Ok(()) => [chosen, None],
            Err(error) => {
                log::debug!(backend:% = choice.addr, error:% = error; "backend not reached");
                self.unplace(index, Outcome::Refused);
                [chosen, Some(Event::Refused)]
            }
        }
    }

    fn connect(&mut self, index: usize, backend: BackendId, addr: SocketAddr) -> io::Result<()> {
        let mut stream = TcpStream::connect(addr)?;
        let _ = stream.set_nodelay(true);
        let entry = self.ups.vacant_entry();
        let key = entry.key();
        self.registry.register(&mut stream, token(Kind::Up, key), Interest::READABLE | Interest::WRITABLE)?;
        let ready = Ready { readable: false, writable: false, closed: false };
        entry.insert(Upstream { stream, ready, backend, use_: Use::Connecting(index) });
        if let Some(down) = self.downs.get_mut(index) {
            down.up = Some(key);
        }
        metrics::add(&self.shown.metrics.connects, 1);
        Ok(())
    }

    fn attach(&mut self, index: usize, key: usize, use_: Use) {
        if let (Some(down), Some(up)) = (self.downs.get_mut(index), self.ups.get_mut(key)) {
            down.up = Some(key);
            up.use_ = use_;
        }
    }

    pub(super) fn upstream_event(&mut self, key: usize, event: &mio::event::Event) {
        let Some(up) = self.ups.get_mut(key) else { return };
        up.ready.add(event);
        match up.use_ {
            Use::Session(index) => self.drive(index),
            Use::Connecting(index) => self.connecting(index, key),
            Use::Idle(_) => {
                // An idle connection has nothing to say: bytes or an end, it is of no more use.
                if up.ready.readable {
                    self.forget_idle(key);
                }
            }
        }
    }

    fn connecting(&mut self, index: usize, key: usize) {
        let Some(up) = self.ups.get_mut(key) else { return };
        let failed = match up.stream.take_error() {
            Ok(Some(_)) | Err(_) => true,
            Ok(None) => match up.stream.peer_addr() {
                Ok(_) => false,
                // An event that came before the connection did.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return,
                Err(_) => true,
            },
        };
        if failed {
            self.drop_up(index);
            self.unplace(index, Outcome::Refused);
            self.feed(index, Event::Refused);
        } else {
            up.use_ = Use::Session(index);
            up.ready.writable = true;
            let backend = up.backend;
            self.hub.connected(backend);
            self.feed(index, Event::Opened(Connection::Fresh));
        }
        self.drive(index);
    }

    /// The session's request has left its backend.
    pub(super) fn detach(&mut self, index: usize, reuse: Reuse) {
        let backend = self.downs.get(index).and_then(|down| down.placed);
        let may_keep = self.unplace(index, Outcome::Done);
        let Some(key) = self.downs.get_mut(index).and_then(|down| down.up.take()) else { return };
        let idle = backend.map_or(0, |backend| self.idle.by_backend.get(&backend).map_or(0, Vec::len));
        let keep = reuse == Reuse::Keep && may_keep && idle < IDLE_PER_BACKEND_MAX;
        match self.ups.get_mut(key) {
            // If more may be readable, it is an end, or bytes that nobody asked for.
            Some(up) if keep && !up.ready.closed && (!up.ready.readable || is_silent(&up.stream)) => {
                up.use_ = Use::Idle(self.now);
                up.ready.readable = false;
                self.idle.by_backend.entry(up.backend).or_default().push(key);
                self.idle.look_at.get_or_insert(self.now.after(IDLE_UPSTREAM));
            }
            _ => self.remove_up(key),
        }
    }

    /// The attempt under way took too long.
    pub(super) fn abandon(&mut self, index: usize) {
        self.drop_up(index);
        self.unplace(index, Outcome::Refused);
    }

    /// End the placement of the session's request; whether its connection may be kept.
    pub(super) fn unplace(&mut self, index: usize, outcome: Outcome) -> bool {
        let Some(backend) = self.downs.get_mut(index).and_then(|down| down.placed.take()) else { return false };
        if outcome == Outcome::Refused {
            metrics::add(&self.shown.metrics.refusals, 1);
        }
        self.hub.close(self.now, backend, outcome)
    }

    fn drop_up(&mut self, index: usize) {
        if let Some(key) = self.downs.get_mut(index).and_then(|down| down.up.take()) {
            self.remove_up(key);
        }
    }

    fn remove_up(&mut self, key: usize) {
        // Closing the descriptor takes it out of the poll as well; the slot may be used again at once, and a late
        // event for it is then only a hint that proves wrong.
        drop(self.ups.try_remove(key));
    }

    fn take_idle(&mut self, backend: BackendId) -> Option<usize> {
        while let Some(key) = self.idle.by_backend.get_mut(&backend)?.pop() {
            let Some(up) = self.ups.get_mut(key) else { continue };
            let Use::Idle(since) = up.use_ else { continue };
            let fresh = self.now.since(since) < IDLE_UNCHECKED;
            if !up.ready.closed && !up.ready.readable && (fresh || is_silent(&up.stream)) {
                return Some(key);
            }
            self.remove_up(key);
        }
        None
    }

    fn forget_idle(&mut self, key: usize) {
        if let Some(up) = self.ups.get(key) {
            let backend = up.backend;
            if let Some(keys) = self.idle.by_backend.get_mut(&backend) {
                keys.retain(|other| *other != key);
            }
            self.remove_up(key);
        }
    }

    /// Close the idle connections to a backend that gets no more requests.
    pub(super) fn close_idle(&mut self, backend: BackendId) {
        for key in self.idle.by_backend.remove(&backend).unwrap_or_default() {
            self.remove_up(key);
        }
    }

    /// Close what was idle for too long.
    pub(super) fn expire_idle(&mut self) {
        if self.idle.look_at.is_none_or(|at| at > self.now) {
            return;
        }
        let (now, ups) = (self.now, &mut self.ups);
        let mut oldest: Option<Instant> = None;
        self.idle.by_backend.retain(|_, keys| {
            keys.retain(|key| {
                let Some(Use::Idle(since)) = ups.get(*key).map(|up| up.use_) else { return false };
                if now.since(since) >= IDLE_UPSTREAM {
                    drop(ups.try_remove(*key));
                    return false;
                }
                oldest = Some(oldest.map_or(since, |oldest| oldest.min(since)));
                true
            });
            !keys.is_empty()
        });
        self.idle.look_at = oldest.map(|oldest| oldest.after(IDLE_UPSTREAM));
    }
}

/// Whether nothing can be read from it: neither bytes nor an end.
fn is_silent(stream: &TcpStream) -> bool {
    matches!(stream.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}
