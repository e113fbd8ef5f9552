//! DNS over UDP: one thread, one poll loop.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use os::signal::Shutdown;

use super::forward::{Forward, Progress};
use super::upstreams::Upstreams;
use crate::core::dns::{Outcome, Transport, answer, server_failure};
use crate::limits::{FORWARDS_MAX, FORWARDS_PER_CLIENT_MAX, SHUTDOWN_CHECK};
use crate::watch::View;

/// Questions taken in a row before answers of others are looked at.
const QUESTIONS_PER_TURN: usize = 64;

pub(super) struct Server {
    socket: UdpSocket,
    view: View,
    upstreams: Upstreams,
    shutdown: Shutdown,
    forwards: Vec<Forward>,
    buffer: Vec<u8>,
}

impl Server {
    pub(super) fn new(socket: UdpSocket, view: View, upstreams: Upstreams, shutdown: Shutdown) -> Server {
        let buffer = vec![0; usize::from(u16::MAX)];
        Server { socket, view, upstreams, shutdown, forwards: Vec::new(), buffer }
    }

    pub(super) fn run(mut self) {
        while !self.shutdown.asked() {
            let ready = self.wait();
            if ready.first().copied().unwrap_or(true) {
                self.take_questions();
            }
            self.take_answers(ready.get(1..).unwrap_or_default());
        }
    }

    /// Which sockets have something: ours, then that of each forward.
    fn wait(&self) -> Vec<bool> {
        let now = os::clock::now();
        let next = self.forwards.iter().map(|forward| forward.deadline.since(now)).min();
        let sleep = next.unwrap_or(SHUTDOWN_CHECK).min(SHUTDOWN_CHECK).as_micros().div_ceil(1000);
        let timeout = PollTimeout::from(u16::try_from(sleep).unwrap_or(u16::MAX));
        let sockets = self.forwards.iter().filter_map(|forward| forward.socket.as_ref());
        let mut fds: Vec<PollFd<'_>> =
            std::iter::once(&self.socket).chain(sockets).map(|s| PollFd::new(s.as_fd(), PollFlags::POLLIN)).collect();
        match poll(&mut fds, timeout) {
            Ok(_) => fds.iter().map(|fd| fd.any().unwrap_or(true)).collect(),
            Err(_) => Vec::new(),
        }
    }

    fn take_questions(&mut self) {
        for _ in 0..QUESTIONS_PER_TURN {
            match self.socket.recv_from(&mut self.buffer) {
                Ok((length, client)) => self.take_question(length, client),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn take_question(&mut self, length: usize, client: SocketAddr) {
        let datagram = &self.buffer[..length];
        match self.view.with(|registry| answer(registry, datagram, Transport::Udp)) {
            Outcome::Reply(bytes) => self.reply(&bytes, client),
            Outcome::Drop(why) => log::debug!(client:% = client, why; "packet dropped"),
            Outcome::Forward => self.forward(datagram.to_vec(), client),
        }
    }

    fn forward(&mut self, query: Vec<u8>, client: SocketAddr) {
        let of_client = self.forwards.iter().filter(|forward| forward.client.ip() == client.ip()).count();
        if self.forwards.len() >= FORWARDS_MAX || of_client >= FORWARDS_PER_CLIENT_MAX {
            // Told at once, the client can do better than wait.
            self.fail(&query, client);
            return;
        }
        let now = os::clock::now();
        let mut forward = Forward::new(client, query, now);
        if forward.try_next(self.upstreams.list(), now) {
            self.forwards.push(forward);
        } else {
            self.fail(forward.query(), client);
        }
    }

    /// `ready` says of each forward, in their order, whether its socket has something.
    fn take_answers(&mut self, ready: &[bool]) {
        let now = os::clock::now();
        let upstreams = self.upstreams.list().to_vec();
        let mut kept = Vec::with_capacity(self.forwards.len());
        for (at, mut forward) in std::mem::take(&mut self.forwards).into_iter().enumerate() {
            let mut progress = Progress::Waits;
            if ready.get(at).copied().unwrap_or(false) {
                progress = forward.receive(&mut self.buffer, upstreams.len());
            }
            if progress == Progress::Waits && now >= forward.deadline {
                progress = Progress::Next;
            }
            match progress {
                Progress::Waits => kept.push(forward),
                Progress::Done(reply) => self.reply(&reply, forward.client),
                Progress::Next if forward.try_next(&upstreams, now) => kept.push(forward),
                Progress::Next => self.fail(forward.query(), forward.client),
            }
        }
        self.forwards = kept;
    }

    fn fail(&self, query: &[u8], client: SocketAddr) {
        if let Some(bytes) = server_failure(query) {
            self.reply(&bytes, client);
        }
    }

    /// A client that cannot be answered asks again.
    fn reply(&self, bytes: &[u8], client: SocketAddr) {
        if let Err(error) = self.socket.send_to(bytes, client) {
            log::debug!(client:% = client, error:% = error; "answer not sent");
        }
    }
}
