//! The thread that owns the network's state: it alone speaks netlink, one call after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};

use nix::errno::Errno;
use nix::unistd::Pid;
use types::JobId;

use crate::bridge::{self, Uplink};
use crate::core::firewall;
use crate::core::ipam::Ipam;
use crate::core::name::{End, VETH_PREFIX, address_of, mac, veth};
use crate::error::NetError;
use crate::limits::{ADDRESS_REST, CALLS_MAX, UPLINK_CHECK};
use crate::netlink::{Inside, Link, Netlink, Port, Wire, is};
use crate::netns::Netns;
use crate::network::{Attachment, Reconciled};
use crate::nft;
use crate::options::Options;

/// What the blocking face asks of the owner.
pub(crate) enum Call {
    Attach { job: JobId, pid: Pid, reply: SyncSender<Result<Attachment, NetError>> },
    Detach { job: JobId, reply: SyncSender<Result<(), NetError>> },
    Attachment { job: JobId, reply: SyncSender<Option<Attachment>> },
    Reconcile { live: BTreeSet<JobId>, reply: SyncSender<Result<Reconciled, NetError>> },
    Teardown { reply: SyncSender<Result<(), NetError>> },
}

/// Whether the owner goes on after a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Go,
    End,
}

/// A wire to remove, and who waits for it.
struct Reap {
    index: u32,
    reply: SyncSender<Result<(), NetError>>,
}

/// What a link on our bridge is.
enum Found {
    /// The wire of a job whose address we hold for it.
    Job(JobId),
    /// Nothing we can make sense of.
    Stray,
}

pub(crate) struct Owner {
    options: Options,
    netlink: Netlink,
    bridge: u32,
    uplink: Option<Uplink>,
    ipam: Ipam,
    /// Removing a link waits for the kernel's readers, some 20 ms; jobs that start do not wait with it.
    reaper: SyncSender<Reap>,
}

impl Owner {
    /// Rules come before forwarding, so that nothing passes unfiltered.
    pub(crate) fn open(options: Options) -> Result<Owner, NetError> {
        let netlink = Netlink::open()?;
        let uplink = bridge::find_uplink(&netlink, &options)?;
        let index = bridge::ensure(&netlink, &options, bridge::mtu(uplink.as_ref()))?;
        nft::apply(&options.table, &firewall::replace(&options.policy()))?;
        bridge::forward(&netlink, &options.bridge, uplink.as_ref())?;
        if uplink.is_none() {
            log::warn!(bridge = options.bridge.as_str(); "no default route yet: jobs reach this host only");
        }
        let ipam = Ipam::new(options.subnet, ADDRESS_REST);
        let reaper = start_reaper()?;
        let mut owner = Owner { options, netlink, bridge: index, uplink, ipam, reaper };
        owner.adopt()?;
        Ok(owner)
    }

    /// Serve calls until the network is torn down or nobody is left to call.
    pub(crate) fn run(mut self, inbox: &Receiver<Call>) {
        loop {
            match inbox.recv_timeout(UPLINK_CHECK) {
                Ok(call) => {
                    if self.serve(call) == Next::End {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.follow_uplink(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// An answer that nobody waits for any more is not an error: the caller's thread has ended.
    fn serve(&mut self, call: Call) -> Next {
        match call {
            Call::Attach { job, pid, reply } => drop(reply.send(self.attach(&job, pid))),
            Call::Detach { job, reply } => self.detach_later(&job, reply),
            Call::Attachment { job, reply } => {
                let place = self.ipam.address(&job).map(|address| self.place(&job, address));
                drop(reply.send(place));
            }
            Call::Reconcile { live, reply } => drop(reply.send(self.reconcile(&live))),
            Call::Teardown { reply } => {
                let outcome = self.teardown();
                let next = if outcome.is_ok() { Next::End } else { Next::Go };
                drop(reply.send(outcome));
                return next;
            }
        }
        Next::Go
    }

    /// A machine may get its address, or another uplink, long after we started.
    fn follow_uplink(&mut self) {
        let found = match bridge::find_uplink(&self.netlink, &self.options) {
            Ok(found) if found != self.uplink => found,
            Ok(_) => return,
            Err(error) => {
                log::warn!(error:% = os::text::chain(&error); "cannot tell the uplink");
                return;
            }
        };
        match bridge::forward(&self.netlink, &self.options.bridge, found.as_ref()) {
            Ok(()) => {
                let name = found.as_ref().map_or("none", |uplink| uplink.name.as_str());
                log::info!(uplink = name; "uplink changed");
                self.uplink = found;
            }
            Err(error) => log::warn!(error:% = os::text::chain(&error); "cannot use the new uplink"),
        }
    }

    fn place(&self, job: &JobId, address: Ipv4Addr) -> Attachment {
        let veth = veth(&self.options.bridge, job);
        Attachment { ip: address, prefix: 32, gateway: self.options.gateway(), veth }
    }

    /// The links on our bridge that bear our prefix.
    fn ports(&self) -> Result<Vec<Link>, NetError> {
        let mut links = self.netlink.links()?;
        links.retain(|link| link.controller == Some(self.bridge) && link.name.starts_with(VETH_PREFIX));
        Ok(links)
    }

    /// A wire is known by its name, which follows from the job in its alias, and its address by its hardware address.
    fn read(&self, link: &Link) -> Option<(JobId, Ipv4Addr)> {
        let job = JobId::parse(&link.alias).ok()?;
        let address = address_of(End::Host, &link.mac)?;
        (link.name == veth(&self.options.bridge, &job)).then_some((job, address))
    }

    fn adopt(&mut self) -> Result<(), NetError> {
        for link in self.ports()? {
            match self.read(&link) {
                Some((job, address)) if self.ipam.adopt(&job, address) => {
                    log::debug!(job:% = job, address:% = address; "wire adopted");
                }
                _ => log::warn!(link = link.name.as_str(); "wire of no job found: the next reconcile removes it"),
            }
        }
        Ok(())
    }

    fn attach(&mut self, job: &JobId, pid: Pid) -> Result<Attachment, NetError> {
        let netns = Netns::foreign(pid)?;
        let known = self.ipam.address(job).is_some();
        let address = self
            .ipam
            .allocate(os::clock::now(), job)
            .map_err(|source| NetError::Exhausted { job: job.clone(), source })?;
        let place = self.place(job, address);
        let wired = self.wire(job, &place, &netns);
        if wired.is_err() {
            // The first failure is the one to tell; a rest of the wire is removed by the next reconcile at the latest.
            drop(self.unwire(&place.veth, address));
            if !known {
                self.ipam.release(os::clock::now(), job);
            }
        }
        wired.map(|()| place)
    }

    fn wire(&self, job: &JobId, place: &Attachment, netns: &Netns) -> Result<(), NetError> {
        let (name, address, gateway) = (place.veth.as_str(), place.ip, place.gateway);
        let job_mac = mac(End::Job, address);
        let wire = Wire {
            name,
            mac: mac(End::Host, address),
            job_mac,
            bridge: self.bridge,
            mtu: bridge::mtu(self.uplink.as_ref()),
            netns: netns.as_fd(),
        };
        match self.netlink.add_wire(wire) {
            // The job's last wire, or one from before a crash: its namespace may still be dying.
            Err(error) if is(&error, &[Errno::EEXIST]) => {
                self.netlink.remove(name)?;
                self.netlink.add_wire(wire)?;
            }
            result => result?,
        }
        let missing =
            || NetError::Netlink { action: "find link", subject: name.to_owned(), source: Errno::ENODEV.into() };
        let port = self.netlink.link(name)?.ok_or_else(missing)?;
        self.netlink.set_port(Port {
            index: port.index,
            name,
            alias: job.as_str(),
            bridge: self.bridge,
            job: address,
            job_mac,
        })?;
        let inside = netns.within(|| self.netlink.beside())??;
        inside.set_inside(Inside { address, prefix: place.prefix, gateway, gateway_mac: mac(End::Bridge, gateway) })
    }

    fn unwire(&self, veth: &str, address: Ipv4Addr) -> Result<(), NetError> {
        // Removing one end removes both, and the bridge forgets the port's entries by itself.
        self.netlink.remove(veth)?;
        self.netlink.remove_neighbour(self.bridge, address)
    }

    /// The job's place is free at once; the caller is answered when its link is gone, too.
    fn detach_later(&mut self, job: &JobId, reply: SyncSender<Result<(), NetError>>) {
        let found = self.netlink.link(&veth(&self.options.bridge, job)).and_then(|link| {
            if let Some(address) = self.ipam.address(job) {
                self.netlink.remove_neighbour(self.bridge, address)?;
            }
            Ok(link)
        });
        let done = match found {
            Err(error) => Err(error),
            Ok(link) => {
                self.ipam.release(os::clock::now(), job);
                match link {
                    // By index: the name may be that of the job's next wire by the time it is removed.
                    Some(Link { index, .. }) => {
                        let Err(refused) = self.reaper.send(Reap { index, reply: reply.clone() }) else { return };
                        self.netlink.remove_index(refused.0.index)
                    }
                    None => Ok(()),
                }
            }
        };
        drop(reply.send(done));
    }

    fn detach(&mut self, job: &JobId) -> Result<(), NetError> {
        let veth = veth(&self.options.bridge, job);
        match self.ipam.address(job) {
            Some(address) => self.unwire(&veth, address)?,
            None => self.netlink.remove(&veth)?,
        }
        self.ipam.release(os::clock::now(), job);
        Ok(())
    }

    fn reconcile(&mut self, live: &BTreeSet<JobId>) -> Result<Reconciled, NetError> {
        let mut found = Reconciled::default();
        let mut ports: BTreeMap<String, Found> = BTreeMap::new();
        for link in self.ports()? {
            let port = match self.read(&link) {
                Some((job, address)) if self.ipam.adopt(&job, address) => Found::Job(job),
                _ => Found::Stray,
            };
            ports.insert(link.name, port);
        }
        for (name, port) in ports {
            match port {
                Found::Job(job) if live.contains(&job) => drop(found.kept.insert(job)),
                Found::Job(job) => {
                    self.detach(&job)?;
                    found.removed.insert(name);
                }
                Found::Stray => {
                    self.netlink.remove(&name)?;
                    found.removed.insert(name);
                }
            }
        }
        // Addresses whose wire died with its namespace.
        let gone: Vec<JobId> =
            self.ipam.held().map(|(job, _)| job).filter(|job| !found.kept.contains(*job)).cloned().collect();
        for job in gone {
            self.detach(&job)?;
        }
        found.missing = live.difference(&found.kept).cloned().collect();
        Ok(found)
    }

    fn teardown(&mut self) -> Result<(), NetError> {
        for link in self.ports()? {
            self.netlink.remove(&link.name)?;
        }
        bridge::remove(&self.netlink, &self.options.bridge)?;
        nft::apply(&self.options.table, &firewall::remove())
    }
}

/// It ends with the owner, after what it was given.
fn start_reaper() -> Result<SyncSender<Reap>, NetError> {
    let (reaper, inbox) = sync_channel::<Reap>(CALLS_MAX);
    os::thread::spawn("net-reaper", move || {
        let netlink = Netlink::open();
        for Reap { index, reply } in inbox {
            let removed = match &netlink {
                Ok(netlink) => netlink.remove_index(index),
                // Tried again for each: what is short now may be there later.
                Err(_) => Netlink::open().and_then(|netlink| netlink.remove_index(index)),
            };
            drop(reply.send(removed));
        }
    })
    .map_err(|source| NetError::Thread { source })?;
    Ok(reaper)
}
