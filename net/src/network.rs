//! The blocking face of the owner thread.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::mpsc::{SyncSender, sync_channel};

use nix::unistd::Pid;
use types::JobId;

use crate::core::subnet::Subnet;
use crate::error::NetError;
use crate::limits::CALLS_MAX;
use crate::options::Options;
use crate::owner::{Call, Owner};

/// A job's place in the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The job's address, on `eth0` in its namespace.
    pub ip: Ipv4Addr,
    /// How many bits of it name the network it stands in: 32, the job has no neighbours.
    pub prefix: u8,
    /// Its default route, and its resolver.
    pub gateway: Ipv4Addr,
    /// The host's end of the wire.
    pub veth: String,
}

/// What [`Network::reconcile`] found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Live jobs that are connected.
    pub kept: BTreeSet<JobId>,
    /// Live jobs without a wire: attach them, or let them run without a network.
    pub missing: BTreeSet<JobId>,
    /// Interfaces that belonged to no live job.
    pub removed: BTreeSet<String>,
}

/// The network of this host. Clones share one owner thread; calls block until they are done.
#[derive(Clone, Debug)]
pub struct Network {
    calls: SyncSender<Call>,
    gateway: Ipv4Addr,
    subnet: Subnet,
}

impl Network {
    /// Make the bridge, its address, the forwarding settings and the rules, or adopt what is there; jobs that are
    /// connected stay connected. Works in the network namespace of the calling thread, for good.
    ///
    /// # Errors
    /// Names what the kernel refused, or which option is wrong. What was already made stays for the next try.
    pub fn open(options: Options) -> Result<Network, NetError> {
        options.check()?;
        let (gateway, subnet) = (options.gateway(), options.subnet);
        let (calls, inbox) = sync_channel(CALLS_MAX);
        let (opened, outcome) = sync_channel(1);
        // A new thread is in the namespace of the one that starts it.
        os::thread::spawn("net", move || match Owner::open(options) {
            Ok(owner) => {
                if opened.send(Ok(())).is_ok() {
                    owner.run(&inbox);
                }
            }
            Err(error) => drop(opened.send(Err(error))),
        })
        .map_err(|source| NetError::Thread { source })?;
        outcome.recv().map_err(|_| NetError::Closed)??;
        Ok(Network { calls, gateway, subnet })
    }

    /// The bridge's address: every job's gateway, and where the resolver listens.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        self.gateway
    }

    /// Where jobs get their addresses.
    #[must_use]
    pub fn subnet(&self) -> Subnet {
        self.subnet
    }

    /// Connect the namespace that process `pid` is in: loopback and `eth0` up, address, default route. A wire that
    /// the job already has is replaced and the address kept, so it is safe to ask again.
    ///
    /// # Errors
    /// When the holder is gone, the subnet is full or the kernel refuses; nothing of the wire is left then.
    pub fn attach(&self, job: &JobId, pid: Pid) -> Result<Attachment, NetError> {
        let job = job.clone();
        self.call(|reply| Call::Attach { job, pid, reply })?
    }

    /// Disconnect the job and let its address rest. Fine when there is nothing left of it.
    ///
    /// # Errors
    /// When the kernel refuses to remove the wire.
    pub fn detach(&self, job: &JobId) -> Result<(), NetError> {
        let job = job.clone();
        self.call(|reply| Call::Detach { job, reply })?
    }

    /// The job's place, if it is connected.
    ///
    /// # Errors
    /// After [`Network::teardown`].
    pub fn attachment(&self, job: &JobId) -> Result<Option<Attachment>, NetError> {
        let job = job.clone();
        self.call(|reply| Call::Attachment { job, reply })
    }

    /// Keep the wires of `live` jobs and remove every other. To be called once the host knows which jobs are alive.
    ///
    /// # Errors
    /// When the kernel refuses; what could be removed was.
    pub fn reconcile(&self, live: &BTreeSet<JobId>) -> Result<Reconciled, NetError> {
        let live = live.clone();
        self.call(|reply| Call::Reconcile { live, reply })?
    }

    /// Remove every wire, the bridge and the rules. Calls after it answer [`NetError::Closed`].
    ///
    /// # Errors
    /// When the kernel refuses; the call can be made again.
    pub fn teardown(&self) -> Result<(), NetError> {
        self.call(|reply| Call::Teardown { reply })?
    }

    fn call<T>(&self, make: impl FnOnce(SyncSender<T>) -> Call) -> Result<T, NetError> {
        let (reply, answer) = sync_channel(1);
        self.calls.send(make(reply)).map_err(|_| NetError::Closed)?;
        answer.recv().map_err(|_| NetError::Closed)
    }
}
