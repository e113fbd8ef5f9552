//! From a request that has a backend to the end of its response.

use alloc::string::String;
use alloc::vec::Vec;

use http1::{BodyLength, HeadParser, Limits, Parsed, RequestHead, ResponseHead, Version};
use stdx::Instant;

use super::answer::Fault;
use super::rewrite::{self, Wants};
use super::wire::{Coding, Flow};
use super::{Connection, Effect, Phase, Reuse, Session, Upstream};
use crate::limits::INTERIM_MAX;
use crate::{BackendId, Unroutable};

/// One request and its response.
#[derive(Debug)]
pub(super) struct Exchange {
    /// As sent to a backend.
    pub(super) head: RequestHead,
    /// The client's.
    pub(super) version: Version,
    pub(super) wants: Wants,
    pub(super) started: Instant,
    pub(super) tried: Vec<BackendId>,
    backend: Option<BackendId>,
    connection: Connection,
    request: Flow,
    /// The backend takes no more of the request.
    request_stopped: bool,
    parser: HeadParser,
    response: Option<Flow>,
    /// Whether a byte of a response came.
    answered: bool,
    /// Whether the backend's connection broke instead of ending.
    pub(super) reset: bool,
    interim: u8,
    backend_keeps: bool,
}

impl Exchange {
    pub(super) fn new(
        head: RequestHead,
        version: Version,
        body: BodyLength,
        wants: Wants,
        limits: &Limits,
        now: Instant,
    ) -> Exchange {
        let coding = if body == BodyLength::Chunked { Coding::Chunked } else { Coding::Plain };
        Exchange {
            head,
            version,
            wants,
            started: now,
            tried: Vec::new(),
            backend: None,
            connection: Connection::Fresh,
            request: Flow::new(body, coding, limits),
            request_stopped: false,
            parser: HeadParser::new(),
            response: None,
            answered: false,
            reset: false,
            interim: 0,
            backend_keeps: false,
        }
    }

    pub(super) fn request_is_read(&self) -> bool {
        self.request.is_read()
    }

    pub(super) fn request_bytes(&self) -> u64 {
        self.request.bytes
    }

    /// Whether it can be sent again because no backend can have acted on it: see the crate's invariants.
    fn is_replayable(&self) -> bool {
        self.connection == Connection::Reused
            && !self.answered
            && self.request.is_moved()
            && self.request.bytes == 0
            && self.head.method.is_idempotent()
    }
}

impl Session {
    pub(super) fn chosen(&mut self, backend: BackendId) {
        let Some(exchange) = self.exchange.as_mut().filter(|_| self.phase == Phase::Opening) else { return };
        exchange.backend = Some(backend);
        self.upstream = Upstream::Opening;
        if let Some(record) = &mut self.record {
            record.backend = Some(backend);
        }
    }

    pub(super) fn opened(&mut self, now: Instant, connection: Connection) {
        let Some(exchange) = self.exchange.as_mut().filter(|_| self.upstream == Upstream::Opening) else { return };
        exchange.connection = connection;
        if let Some(record) = &mut self.record {
            record.connect = Some(now.since(exchange.started));
        }
        http1::encode_request(&exchange.head, self.up.out());
        self.up.eof = false;
        self.upstream = Upstream::Open;
        self.enter(now, Phase::Exchange);
    }

    pub(super) fn refused(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Some(exchange) = self.exchange.as_mut().filter(|_| self.phase == Phase::Opening) else { return };
        exchange.tried.extend(exchange.backend.take());
        if exchange.tried.len() < self.settings.attempts_max {
            self.since = now;
            effects.push(Effect::Open(Connection::Reused));
        } else {
            self.answer(now, Fault::Refused, effects);
        }
    }

    pub(super) fn unroutable(&mut self, now: Instant, why: Unroutable, effects: &mut Vec<Effect>) {
        let Some(exchange) = self.exchange.as_ref().filter(|_| self.phase == Phase::Opening) else { return };
        let fault = match why {
            Unroutable::NoRoute => Fault::NoRoute,
            Unroutable::NoBackend if exchange.tried.is_empty() => Fault::NoBackend,
            Unroutable::NoBackend => Fault::Refused,
        };
        self.answer(now, fault, effects);
    }

    pub(super) fn answered(&mut self) {
        if let Some(exchange) = &mut self.exchange {
            exchange.answered = true;
        }
    }

    /// The backend takes no more; it may have answered before it stopped.
    pub(super) fn stop_request(&mut self) {
        self.up.discard_output(&mut self.down.input);
        if let Some(exchange) = &mut self.exchange {
            exchange.request_stopped = true;
        }
    }

    pub(super) fn exchange_step(&mut self, now: Instant, effects: &mut Vec<Effect>) -> bool {
        let Some(exchange) = self.exchange.as_deref_mut() else { return false };
        if !exchange.request_stopped && self.upstream == Upstream::Open {
            if let Err(error) = exchange.request.pump(&mut self.down, &mut self.up) {
                if exchange.response.is_none() {
                    self.answer(now, Fault::Bad(error), effects);
                } else {
                    self.abort(now, 400, "bad_request", effects);
                }
                return true;
            }
            let cut_off = self.down.eof && self.down.input.is_empty() && !exchange.request.is_read();
            if cut_off {
                self.abort(now, 499, "client_closed", effects);
                return true;
            }
        }
        match exchange.response {
            None => self.read_response_head(now, effects),
            Some(_) => self.move_response(now, effects),
        }
    }

    fn read_response_head(&mut self, now: Instant, effects: &mut Vec<Effect>) -> bool {
        let Some(exchange) = self.exchange.as_deref_mut() else { return false };
        match exchange.parser.response(self.up.input.filled(), &self.settings.http) {
            Ok(Parsed::Incomplete) if self.up.eof => {
                self.backend_gone(now, effects);
                true
            }
            Ok(Parsed::Incomplete) => {
                if self.up.input.is_full() {
                    self.up.input.grow(self.settings.http.head_bytes_max);
                }
                false
            }
            Ok(Parsed::Complete { head, consumed }) => {
                self.up.input.consume(consumed);
                self.take_response_head(now, head, effects);
                true
            }
            Err(_) => {
                self.answer(now, Fault::Invalid, effects);
                true
            }
        }
    }

    fn take_response_head(&mut self, now: Instant, mut head: ResponseHead, effects: &mut Vec<Effect>) {
        let Some(exchange) = self.exchange.as_deref_mut() else { return };
        if head.is_interim() {
            exchange.interim += 1;
            if exchange.interim > INTERIM_MAX {
                self.answer(now, Fault::Invalid, effects);
            } else if exchange.version == Version::Http11 {
                http1::strip_hop_by_hop(&mut head.headers);
                head.headers.remove("content-length");
                head.version = Version::Http11;
                http1::encode_response(&head, self.down.out());
            }
            return;
        }
        if head.status == 101 {
            return self.begin_tunnel(now, head, effects);
        }
        let Ok(body) = http1::response_body(&head, &exchange.head.method) else {
            return self.answer(now, Fault::Invalid, effects);
        };
        exchange.backend_keeps = body != BodyLength::UntilClose && http1::keep_alive(head.version, &head.headers);
        let keeps = exchange.wants.keep_alive && exchange.request.is_read() && !self.last && !self.down.eof;
        let sending = rewrite::response(&mut head, body, &exchange.head.method, exchange.version, keeps);
        self.keeps = sending.keeps;
        if let Some(record) = &mut self.record {
            record.status = head.status;
        }
        http1::encode_response(&head, self.down.out());
        exchange.response = Some(Flow::new(body, sending.coding, &self.settings.http));
    }

    fn move_response(&mut self, now: Instant, effects: &mut Vec<Effect>) -> bool {
        let Some(exchange) = self.exchange.as_deref_mut() else { return false };
        let Some(flow) = exchange.response.as_mut() else { return false };
        if flow.pump(&mut self.up, &mut self.down).is_err() {
            self.abort(now, 502, "backend_invalid", effects);
            return true;
        }
        if self.up.eof && self.up.input.is_empty() && !flow.is_read() {
            // A break cannot be told from an end only where the end is the end of the body: then it is a break.
            if exchange.reset || flow.end_of_input().is_err() {
                self.abort(now, 502, "backend_closed", effects);
            }
            return true;
        }
        let (read, moved, bytes) = (flow.is_read(), flow.is_moved(), flow.bytes);
        if let Some(record) = &mut self.record {
            record.bytes_out = bytes;
        }
        if read {
            self.leave_backend(now, effects);
        }
        if moved && self.down.is_flushed() {
            self.finish(now, effects);
            return true;
        }
        false
    }

    /// The response was read to its end: the backend has done its part.
    fn leave_backend(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Some(exchange) = self.exchange.as_deref_mut() else { return };
        let all_sent = exchange.request.is_moved() && self.up.is_flushed() && !exchange.request_stopped;
        // More bytes than the response had would be taken for the answer to the next request.
        let in_step = self.up.input.len() == self.down.passing() && !self.up.eof;
        let reuse = if exchange.backend_keeps && all_sent && in_step { Reuse::Keep } else { Reuse::Close };
        exchange.request_stopped = true;
        self.let_go(now, reuse, effects);
    }

    fn backend_gone(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Some(exchange) = self.exchange.as_deref_mut() else { return };
        if !exchange.is_replayable() {
            return self.answer(now, Fault::Gone, effects);
        }
        exchange.backend = None;
        exchange.reset = false;
        exchange.request_stopped = false;
        exchange.parser = HeadParser::new();
        self.let_go(now, Reuse::Close, effects);
        self.up.eof = false;
        self.enter(now, Phase::Opening);
        effects.push(Effect::Open(Connection::Fresh));
    }

    pub(super) fn exchange_deadline(&self) -> Instant {
        let settings = &self.settings;
        let Some(exchange) = &self.exchange else { return self.since };
        let request_sent = exchange.request.is_moved() && self.up.is_flushed();
        let wait = match &exchange.response {
            _ if !self.down.is_flushed() => settings.write_wait,
            Some(_) => settings.stream_wait,
            None if request_sent || exchange.request_stopped => settings.response_wait,
            None => settings.body_wait,
        };
        let deadline = self.activity.after(wait);
        self.eof_at.map_or(deadline, |at| deadline.min(at.after(settings.half_close_wait)))
    }

    pub(super) fn exchange_timeout(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Some(exchange) = &self.exchange else { return };
        let backend_is_late = exchange.request_stopped || exchange.request.is_moved() || !self.up.is_flushed();
        if self.eof_at.is_some() || !self.down.is_flushed() {
            self.abort(now, 499, if self.down.eof { "client_closed" } else { "client_stalled" }, effects);
        } else if exchange.response.is_some() {
            self.abort(now, 504, "backend_timeout", effects);
        } else {
            let fault = if backend_is_late { Fault::BackendTimeout } else { Fault::RequestTimeout };
            self.answer(now, fault, effects);
        }
    }

    /// The protocol the client offered to change to, as text.
    pub(super) fn offered_upgrade(&self) -> Option<String> {
        let offered = self.exchange.as_ref()?.wants.upgrade.as_deref()?;
        core::str::from_utf8(offered).ok().map(String::from)
    }
}
