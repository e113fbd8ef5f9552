//! DNS over TCP: for answers that are too long for UDP. A thread for each of a few connections.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use os::signal::Shutdown;

use super::upstreams::Upstreams;
use crate::core::dns::{Outcome, Transport, answer, server_failure};
use crate::core::upstream::{answers, is_refusal};
use crate::limits::{
    FORWARD_TRY, SHUTDOWN_CHECK, TCP_CONNECTIONS_MAX, TCP_CONNECTIONS_PER_CLIENT_MAX, TCP_IDLE, TCP_QUESTIONS_MAX,
};
use crate::watch::View;

pub(super) struct Server {
    listener: TcpListener,
    view: View,
    upstreams: Upstreams,
    shutdown: Shutdown,
    clients: Clients,
}

impl Server {
    pub(super) fn new(listener: TcpListener, view: View, upstreams: Upstreams, shutdown: Shutdown) -> Server {
        Server { listener, view, upstreams, shutdown, clients: Clients::default() }
    }

    pub(super) fn run(self) {
        while !self.shutdown.asked() {
            let mut fds = [PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
            let limit = u16::try_from(SHUTDOWN_CHECK.as_millis()).unwrap_or(u16::MAX);
            if poll(&mut fds, PollTimeout::from(limit)).is_err() {
                continue;
            }
            match self.listener.accept() {
                Ok((stream, client)) => self.serve(stream, client),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    // Out of descriptors, mostly: without a pause this would spin until some are free.
                    log::warn!(error:% = error; "DNS connection not accepted");
                    os::clock::pause(SHUTDOWN_CHECK);
                }
            }
        }
    }

    /// One connection too many is closed unanswered.
    fn serve(&self, stream: TcpStream, client: SocketAddr) {
        let Some(place) = self.clients.enter(client.ip()) else { return };
        let mut connection = Connection { view: self.view.clone(), upstreams: self.upstreams.clone() };
        let served = os::thread::spawn("dns-client", move || {
            let _place = place;
            if let Err(error) = connection.serve(stream) {
                log::debug!(client:% = client, error:% = error; "DNS connection ended");
            }
        });
        if let Err(error) = served {
            log::warn!(error:% = error; "no thread for a DNS connection");
        }
    }
}

struct Connection {
    view: View,
    upstreams: Upstreams,
}

impl Connection {
    fn serve(&mut self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(TCP_IDLE))?;
        stream.set_write_timeout(Some(TCP_IDLE))?;
        for _ in 0..TCP_QUESTIONS_MAX {
            let Some(query) = read_message(&mut stream)? else { return Ok(()) };
            let reply = match self.view.with(|registry| answer(registry, &query, Transport::Tcp)) {
                Outcome::Reply(bytes) => Some(bytes),
                Outcome::Drop(_) => None,
                Outcome::Forward => self.forward(&query).or_else(|| server_failure(&query)),
            };
            let Some(reply) = reply else { return Ok(()) };
            write_message(&mut stream, &reply)?;
        }
        Ok(())
    }

    fn forward(&mut self, query: &[u8]) -> Option<Vec<u8>> {
        let mut refusal = None;
        for upstream in self.upstreams.list().to_vec() {
            match ask(upstream, query) {
                Ok(reply) if !is_refusal(&reply) => return Some(reply),
                Ok(reply) => refusal = Some(reply),
                Err(error) => log::debug!(upstream:% = upstream, error:% = error; "resolver did not answer"),
            }
        }
        refusal
    }
}

fn ask(upstream: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&upstream, FORWARD_TRY)?;
    stream.set_read_timeout(Some(FORWARD_TRY))?;
    stream.set_write_timeout(Some(FORWARD_TRY))?;
    write_message(&mut stream, query)?;
    let reply = read_message(&mut stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    if !answers(query, &reply) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it answered another question"));
    }
    Ok(reply)
}

/// `None` at an orderly end.
fn read_message(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 2];
    match stream.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message)?;
    Ok(Some(message))
}

/// In one write, so that it is one segment: some clients read the length and expect the rest at once.
fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(message);
    stream.write_all(&bytes)
}

/// Who is connected how often.
#[derive(Clone, Debug, Default)]
struct Clients {
    connected: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
}

/// A place among the connections; given back when it is dropped.
struct Place {
    clients: Clients,
    client: IpAddr,
}

impl Clients {
    fn enter(&self, client: IpAddr) -> Option<Place> {
        let mut connected = self.lock();
        let of_client = connected.get(&client).copied().unwrap_or(0);
        if connected.values().sum::<usize>() >= TCP_CONNECTIONS_MAX || of_client >= TCP_CONNECTIONS_PER_CLIENT_MAX {
            return None;
        }
        connected.insert(client, of_client + 1);
        Some(Place { clients: self.clone(), client })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut connected = self.clients.lock();
        if let Some(count) = connected.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                connected.remove(&self.client);
            }
        }
    }
}
