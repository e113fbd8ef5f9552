//! Executing what a session says: read, write, and its effects.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::sync::atomic::Ordering;

use router_core::{Effect, Event, Side};
use stdx::Machine;

use super::Worker;
use crate::limits::ROUNDS_MAX;

impl Worker {
    /// Move bytes for a session until nothing moves, or others should have their turn.
    pub(super) fn drive(&mut self, index: usize) {
        for _ in 0..ROUNDS_MAX {
            // Writing comes before the next read of the other side: memory is freed before it is taken.
            let moved = [
                self.read(index, Side::Down),
                self.write(index, Side::Up),
                self.read(index, Side::Up),
                self.write(index, Side::Down),
            ];
            if !moved.contains(&true) {
                return self.rest(index);
            }
        }
        self.rest(index);
        if self.downs.contains(index) {
            self.again.push_back(index);
        }
    }

    fn rest(&mut self, index: usize) {
        if let Some(down) = self.downs.get_mut(index) {
            down.session.release(&mut self.buffers);
            self.timers.arm(index, &mut down.armed, down.session.deadline());
        }
    }

    fn read(&mut self, index: usize, side: Side) -> bool {
        let Some(down) = self.downs.get_mut(index) else { return false };
        if !down.session.wants_read(side) {
            return false;
        }
        let (stream, ready) = match side {
            Side::Down => (&mut down.stream, &mut down.ready),
            Side::Up => match down.up.and_then(|key| self.ups.get_mut(key)) {
                Some(up) => (&mut up.stream, &mut up.ready),
                None => return false,
            },
        };
        if !ready.readable {
            return false;
        }
        let space = down.session.space(side, &mut self.buffers);
        let room = space.len();
        let event = match stream.read(space) {
            Ok(0) => {
                ready.readable = false;
                Event::Eof(side)
            }
            Ok(n) => {
                // A short read of a stream took all there was (epoll(7)), unless an end follows.
                ready.readable = n == room || ready.closed;
                Event::Filled { side, n }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                ready.readable = false;
                return false;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return true,
            Err(_) => {
                ready.readable = false;
                Event::Failed(side)
            }
        };
        self.feed(index, event);
        true
    }

    fn write(&mut self, index: usize, side: Side) -> bool {
        let Some(down) = self.downs.get_mut(index) else { return false };
        let (stream, ready) = match side {
            Side::Down => (&mut down.stream, &mut down.ready),
            Side::Up => match down.up.and_then(|key| self.ups.get_mut(key)) {
                Some(up) => (&mut up.stream, &mut up.ready),
                None => return false,
            },
        };
        let [first, second] = down.session.pending(side);
        let pending = first.len() + second.len();
        if pending == 0 || !ready.writable {
            return false;
        }
        let result = match (first.is_empty(), second.is_empty()) {
            (_, true) => stream.write(first),
            (true, _) => stream.write(second),
            _ => stream.write_vectored(&[IoSlice::new(first), IoSlice::new(second)]),
        };
        let event = match result {
            Ok(n) if n > 0 => {
                ready.writable = n == pending;
                Event::Wrote { side, n }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                ready.writable = false;
                return false;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return true,
            Ok(_) | Err(_) => {
                ready.writable = false;
                Event::Unwritable(side)
            }
        };
        self.feed(index, event);
        true
    }

    /// Give a session an event, and execute what it says; all effects of one event before the next.
    pub(super) fn feed(&mut self, index: usize, event: Event) {
        let mut effects = std::mem::take(&mut self.effects);
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let Some(down) = self.downs.get_mut(index) else { break };
            down.session.handle(self.now, event, &mut effects);
            for effect in effects.drain(..) {
                events.extend(self.execute(index, effect).into_iter().flatten());
            }
        }
        effects.clear();
        self.effects = effects;
    }

    fn execute(&mut self, index: usize, effect: Effect) -> [Option<Event>; 2] {
        match effect {
            Effect::Open(connection) => return self.open(index, connection),
            Effect::Abandon => self.abandon(index),
            Effect::Release(reuse) => self.detach(index, reuse),
            Effect::ShutdownWrite(side) => self.shutdown_write(index, side),
            Effect::Record(record) => {
                self.shown.metrics.record(&record);
                self.access.add(&record);
            }
            Effect::Close => self.close(index),
        }
        [None, None]
    }

    fn shutdown_write(&mut self, index: usize, side: Side) {
        let Some(down) = self.downs.get(index) else { return };
        // It fails only where the peer is gone, which the next read says too.
        let _ = match side {
            Side::Down => down.stream.shutdown(Shutdown::Write),
            Side::Up => match down.up.and_then(|key| self.ups.get(key)) {
                Some(up) => up.stream.shutdown(Shutdown::Write),
                None => Ok(()),
            },
        };
    }

    fn close(&mut self, index: usize) {
        self.detach(index, router_core::Reuse::Close);
        drop(self.downs.try_remove(index));
        self.shown.metrics.open.store(self.downs.len() as u64, Ordering::Relaxed);
    }
}

const _: () = {
    // A session that always has work must still let the others in often.
    assert!(ROUNDS_MAX >= 2 && ROUNDS_MAX <= 64);
};
