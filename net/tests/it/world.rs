//! A host, the internet behind its uplink, and jobs: network namespaces that go away with the test.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use net::{NetError, Network, Options};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Pid, gettid};
use types::JobId;

/// How long a connection that policy lets through may take.
const REACH: Duration = Duration::from_secs(5);

/// How long to knock where no answer may come.
const KNOCK: Duration = Duration::from_millis(300);

/// The host's address on its uplink, and the one beyond it.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
pub(crate) const INTERNET: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

type Act = Box<dyn FnOnce() + Send>;

/// A network namespace, held by a thread that lives in it.
pub(crate) struct Namespace {
    pub(crate) holder: Pid,
    acts: Option<SyncSender<Act>>,
    thread: Option<JoinHandle<()>>,
}

impl Namespace {
    pub(crate) fn new() -> Namespace {
        let (acts, inbox) = sync_channel::<Act>(1);
        let (ready, holder) = sync_channel(1);
        let thread = os::thread::spawn("namespace", move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            ready.send(gettid()).unwrap();
            for act in inbox {
                act();
            }
        })
        .unwrap();
        Namespace { holder: holder.recv().unwrap(), acts: Some(acts), thread: Some(thread) }
    }

    /// Run `act` inside and give its answer.
    pub(crate) fn run<T: Send + 'static>(&self, act: impl FnOnce() -> T + Send + 'static) -> T {
        let (reply, answer) = sync_channel(1);
        let act = Box::new(move || drop(reply.send(act())));
        self.acts.as_ref().unwrap().send(act).unwrap();
        answer.recv().expect("the act did not panic")
    }

    /// Run one of the kernel's own tools inside.
    pub(crate) fn tool(&self, line: &str) -> String {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let output = self.run(move || Command::new(&words[0]).args(&words[1..]).output().unwrap());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn write(&self, setting: &'static str, value: &'static str) {
        self.run(move || std::fs::write(format!("/proc/sys/{setting}"), value).unwrap());
    }

    pub(crate) fn read(&self, setting: &'static str) -> String {
        self.run(move || std::fs::read_to_string(format!("/proc/sys/{setting}")).unwrap().trim().to_owned())
    }

    pub(crate) fn listen(&self, address: &str) -> TcpListener {
        let address: SocketAddr = address.parse().unwrap();
        self.run(move || TcpListener::bind(address).unwrap())
    }

    pub(crate) fn connect(&self, to: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
        let stream = self.run(move || TcpStream::connect_timeout(&to, limit))?;
        stream.set_read_timeout(Some(REACH))?;
        Ok(stream)
    }

    /// A connection from here to `listener` at `to`, proven by bytes in both directions.
    pub(crate) fn reach(&self, listener: &TcpListener, to: SocketAddr) -> Connection {
        let near = self.connect(to, REACH).unwrap_or_else(|error| panic!("{to} is out of reach: {error}"));
        let (far, seen_as) = listener.accept().unwrap();
        far.set_read_timeout(Some(REACH)).unwrap();
        let mut connection = Connection { near, far, seen_as };
        connection.exchange();
        connection
    }

    /// That nothing answers at `to`.
    pub(crate) fn cannot_reach(&self, to: SocketAddr) {
        let outcome = self.connect(to, KNOCK);
        assert!(outcome.is_err(), "{to} can be reached");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.acts.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("an act in the namespace panicked");
        }
    }
}

/// Both ends of a connection.
pub(crate) struct Connection {
    near: TcpStream,
    far: TcpStream,
    /// Where the connection came from, for the far end.
    pub(crate) seen_as: SocketAddr,
}

impl Connection {
    /// Bytes each way.
    pub(crate) fn exchange(&mut self) {
        let mut got = [0; 4];
        self.near.write_all(b"ping").unwrap();
        self.far.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"ping");
        self.far.write_all(b"pong").unwrap();
        self.near.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"pong");
    }
}

/// A host with an uplink to the internet, which is one machine and knows no way back to jobs.
pub(crate) struct Host {
    pub(crate) ns: Namespace,
    pub(crate) internet: Namespace,
}

impl Host {
    pub(crate) fn new() -> Host {
        let (ns, internet) = (Namespace::new(), Namespace::new());
        ns.tool("ip link set lo up");
        ns.tool(&format!("ip link add up0 type veth peer name wan0 netns {}", internet.holder));
        ns.tool(&format!("ip addr add {HOST}/24 dev up0"));
        ns.tool("ip link set up0 up");
        internet.tool(&format!("ip addr add {INTERNET}/24 dev wan0"));
        internet.tool("ip link set wan0 up");
        ns.tool(&format!("ip route add default via {INTERNET}"));
        Host { ns, internet }
    }

    pub(crate) fn open(&self, options: Options) -> Result<Network, NetError> {
        self.ns.run(move || Network::open(options))
    }
}

pub(crate) fn options(host_ports: &[u16]) -> Options {
    Options {
        bridge: "slipway0".into(),
        table: "slipway".into(),
        subnet: "100.100.7.0/24".parse().unwrap(),
        uplink: None,
        dns_port: 53,
        host_ports: host_ports.to_vec(),
    }
}

pub(crate) fn job(n: u32) -> JobId {
    JobId::parse(&format!("host1-{n}")).unwrap()
}

pub(crate) fn at(address: Ipv4Addr, listener: &TcpListener) -> SocketAddr {
    SocketAddr::from((address, listener.local_addr().unwrap().port()))
}
