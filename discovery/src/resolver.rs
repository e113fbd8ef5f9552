//! The resolver of the host's jobs: our names from memory, other names from the host's own resolvers.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;

use os::signal::Shutdown;

use crate::core::dns::ZONE;
use crate::watch::View;

mod forward;
mod tcp;
mod udp;
mod upstreams;

use upstreams::Upstreams;

/// What a resolver is made of.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens, over UDP and TCP: the bridge's address, port 53.
    pub listen: SocketAddr,
    /// The file that names the host's own resolvers, as in resolv.conf(5); read again every two seconds.
    pub resolv_conf: PathBuf,
    /// Resolvers to ask instead of those in the file, for hosts that have none there.
    pub upstreams: Vec<SocketAddr>,
    /// The services it knows.
    pub view: View,
    /// Ends its threads.
    pub shutdown: Shutdown,
}

/// Why a resolver could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ResolverError {
    /// The address is not there, or taken.
    #[error("listen for DNS over {transport} on {address}")]
    Listen {
        /// `UDP` or `TCP`.
        transport: &'static str,
        /// Where.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// A thread could not be had.
    #[error("start the resolver")]
    Thread {
        /// What the kernel said.
        source: io::Error,
    },
}

/// A running resolver. It ends with its shutdown, not when this is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolver {
    address: SocketAddr,
}

impl Resolver {
    /// Bind both sockets and serve until the shutdown.
    ///
    /// # Errors
    /// When the address cannot be bound or no thread be had.
    pub fn start(options: Options) -> Result<Resolver, ResolverError> {
        let refused = |transport, address, source| ResolverError::Listen { transport, address, source };
        let listener = TcpListener::bind(options.listen).map_err(|source| refused("TCP", options.listen, source))?;
        let address = listener.local_addr().map_err(|source| refused("TCP", options.listen, source))?;
        let socket = UdpSocket::bind(address).map_err(|source| refused("UDP", address, source))?;
        let nonblocking = listener.set_nonblocking(true).and_then(|()| socket.set_nonblocking(true));
        nonblocking.map_err(|source| refused("UDP", address, source))?;

        let Options { resolv_conf, upstreams, view, shutdown, .. } = options;
        let upstreams = Upstreams::new(resolv_conf, upstreams, address.ip());
        let tcp = tcp::Server::new(listener, view.clone(), upstreams.clone(), shutdown.clone());
        let udp = udp::Server::new(socket, view, upstreams, shutdown);
        os::thread::spawn("dns-tcp", move || tcp.run()).map_err(|source| ResolverError::Thread { source })?;
        os::thread::spawn("dns-udp", move || udp.run()).map_err(|source| ResolverError::Thread { source })?;
        Ok(Resolver { address })
    }

    /// What a job that is to use the resolver at `address` has as its `/etc/resolv.conf`. A name without a dot is
    /// one of ours first, so that `http://blog-web` works; the times leave room for our own tries.
    #[must_use]
    pub fn client_config(address: IpAddr) -> String {
        format!("nameserver {address}\nsearch {ZONE}\noptions timeout:5 attempts:2\n")
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
