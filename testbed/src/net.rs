//! The network of a cluster: a namespace with one way out, through this machine.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use crate::shell::sh;

/// A network namespace with a default route and masquerading behind it.
#[derive(Debug)]
pub struct Net {
    /// Its name below `/run/netns`.
    pub name: String,
    /// The address of its end of the veth: the host's own.
    pub address: Ipv4Addr,
    outside: String,
    /// What the forwarding switches were, to be put back.
    switches: Vec<(PathBuf, String)>,
}

impl Net {
    /// Make one. `serial` tells apart those of one machine.
    ///
    /// # Panics
    /// If the machine does not let us.
    #[must_use]
    pub fn new(name: &str, serial: u8) -> Net {
        let outside = format!("{name}o");
        let inside = format!("{name}i");
        // 198.18.0.0/15 is for tests of network devices: nobody's real address.
        let (gateway, address) = (format!("198.18.{serial}.1/30"), format!("198.18.{serial}.2/30"));
        let _ = sh("ip", &["netns", "delete", name]);
        let _ = sh("ip", &["link", "delete", &outside]);
        let _ = sh("nft", &["delete", "table", "ip", name]);
        let steps: [&[&str]; 8] = [
            &["netns", "add", name],
            &["link", "add", &outside, "type", "veth", "peer", "name", &inside, "netns", name],
            &["addr", "add", &gateway, "dev", &outside],
            &["link", "set", &outside, "up"],
            &["-n", name, "addr", "add", &address, "dev", &inside],
            &["-n", name, "link", "set", &inside, "up"],
            &["-n", name, "link", "set", "lo", "up"],
            &["-n", name, "route", "add", "default", "via", gateway.trim_end_matches("/30")],
        ];
        for step in steps {
            let _ = sh("ip", step).ok();
        }
        let table = format!(
            "table ip {name} {{ chain out {{ type nat hook postrouting priority 100; ip saddr 198.18.{serial}.0/30 masquerade; }}; }}"
        );
        let _ = sh("nft", &[&table]).ok();
        let mut switches = Vec::new();
        // The veth goes with its switch; the uplink's is put back, unless another cluster found it on already.
        for link in [uplink(), outside.clone()] {
            let path = PathBuf::from(format!("/proc/sys/net/ipv4/conf/{link}/forwarding"));
            let before = std::fs::read_to_string(&path).unwrap().trim().to_owned();
            std::fs::write(&path, "1").unwrap();
            switches.push((path, before));
        }
        let address = address.trim_end_matches("/30").parse().unwrap();
        Net { name: name.to_owned(), address, outside, switches }
    }

    /// Connect from inside. The socket then works from everywhere.
    ///
    /// # Errors
    /// As connecting does.
    pub fn connect(&self, address: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
        let path = format!("/run/netns/{}", self.name);
        os::thread::spawn("in-netns", move || {
            let ns = File::open(path)?;
            nix::sched::setns(&ns, nix::sched::CloneFlags::CLONE_NEWNET)?;
            TcpStream::connect_timeout(&address, limit)
        })?
        .join()
        .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
    }
}

impl Net {
    /// Shell commands that remove it, for whoever outlives us.
    #[must_use]
    pub fn removal(&self) -> String {
        let name = &self.name;
        let mut script = format!(
            "for p in $(ip netns pids {name} 2>/dev/null); do kill -9 $p; done\n\
             ip netns delete {name}\nip link delete {}\nnft delete table ip {name}\n",
            self.outside
        );
        for (path, before) in &self.switches {
            script.push_str(&format!("[ -e {0} ] && echo {before} > {0}\n", path.display()));
        }
        script
    }
}

/// The interface of this machine's default route.
fn uplink() -> String {
    let routes = sh("ip", &["-4", "route", "show", "default"]).ok();
    let mut words = routes.split_whitespace();
    words.find(|word| *word == "dev").and_then(|_| words.next()).unwrap_or("lo").to_owned()
}
