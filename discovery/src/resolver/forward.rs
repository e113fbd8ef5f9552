//! One question on its way to the host's resolvers over UDP.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use stdx::Instant;

use crate::core::upstream::{answers, is_refusal};
use crate::limits::{FORWARD_TRIES_MAX, FORWARD_TRY};

/// The kernel picks a random port for each, the number is random, and the socket hears one peer only: an answer
/// that is not the resolver's has to guess all of it.
#[derive(Debug)]
pub(super) struct Forward {
    pub(super) client: SocketAddr,
    /// The question as the client sent it.
    query: Vec<u8>,
    /// The question as it was sent on, under a number of our own.
    sent: Vec<u8>,
    pub(super) socket: Option<UdpSocket>,
    tries: u32,
    pub(super) deadline: Instant,
}

/// How a step of a forward ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing to tell yet.
    Waits,
    /// This goes to the client.
    Done(Vec<u8>),
    /// This resolver is of no use.
    Next,
}

impl Forward {
    pub(super) fn new(client: SocketAddr, query: Vec<u8>, now: Instant) -> Forward {
        let mut number = [0; 2];
        os::entropy::fill(&mut number);
        let mut sent = query.clone();
        sent[..2].copy_from_slice(&number);
        Forward { client, query, sent, socket: None, tries: 0, deadline: now }
    }

    /// Ask the next resolver; false when all were asked often enough.
    pub(super) fn try_next(&mut self, upstreams: &[SocketAddr], now: Instant) -> bool {
        while self.tries < FORWARD_TRIES_MAX && !upstreams.is_empty() {
            let index = usize::try_from(self.tries).unwrap_or(usize::MAX) % upstreams.len();
            self.tries += 1;
            match ask(upstreams[index], &self.sent) {
                Ok(socket) => {
                    self.socket = Some(socket);
                    self.deadline = now.after(FORWARD_TRY);
                    return true;
                }
                Err(error) => {
                    log::debug!(upstream:% = upstreams[index], error:% = error; "resolver cannot be asked");
                }
            }
        }
        false
    }

    /// Read what has come.
    pub(super) fn receive(&mut self, buffer: &mut [u8], upstreams: usize) -> Progress {
        let Some(socket) = &self.socket else { return Progress::Next };
        loop {
            match socket.recv(buffer) {
                Ok(length) => {
                    let reply = &buffer[..length];
                    if !answers(&self.sent, reply) {
                        continue;
                    }
                    let others = usize::try_from(self.tries).unwrap_or(usize::MAX) < upstreams;
                    if is_refusal(reply) && others {
                        return Progress::Next;
                    }
                    let mut reply = reply.to_vec();
                    reply[..2].copy_from_slice(&self.query[..2]);
                    return Progress::Done(reply);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Progress::Waits,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Nobody listens there: the kernel heard it from the other side.
                Err(_) => return Progress::Next,
            }
        }
    }

    pub(super) fn query(&self) -> &[u8] {
        &self.query
    }
}

fn ask(upstream: SocketAddr, query: &[u8]) -> io::Result<UdpSocket> {
    let any: SocketAddr = match upstream {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(upstream)?;
    socket.set_nonblocking(true)?;
    socket.send(query)?;
    Ok(socket)
}
