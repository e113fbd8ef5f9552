//! The host agent as the daemon sees it.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::blobs::BlobClient;
use api::cell::{CLAIMS, HOSTS, PRESENCE, Presence};
use api::serve::{ListenError, Listening};
use api::store::{LeaseKeeper, StoreClient, StoreError};
use api::table::Row;
use discovery::agent as discovering;
use net::Network;
use os::signal::Shutdown;
use types::host::{Capacity, Claim, Host, HostState};
use types::{ApiError, Code, Digest, HostId, JobId};

use crate::effects::Tools;
use crate::follow::Follower;
use crate::jobdir::JobDirError;
use crate::layers::{Blobs, LayerError, Layers, TarLimits};
use crate::limits;
use crate::registrar::Registrar;
use crate::reporter::Reporter;
use crate::serve;
use crate::stack::StackOptions;
use crate::supervisor::{JobView, Message, Parts, Supervisor};
use crate::users::{UserRangeError, UserRanges};
use crate::volumes::{VolumeError, Volumes};
use crate::workers::Workers;

/// What a host agent is made of.
#[derive(Clone, Debug)]
pub struct Options {
    /// This host.
    pub host: HostId,
    /// The version that runs.
    pub version: String,
    /// The failure zone; empty when not told.
    pub zone: String,
    /// What placement may ask for.
    pub tags: BTreeMap<String, String>,
    /// Where services on the host's own network are reached.
    pub address: IpAddr,
    /// Where everything that lasts is kept.
    pub data_dir: PathBuf,
    /// Where the platform's sockets are.
    pub run_dir: PathBuf,
    /// First folder of the control groups of all jobs.
    pub cgroup_root: String,
    /// The platform's binary: shims, and what system jobs run.
    pub binary: PathBuf,
    /// The network of jobs; without one only jobs that need none can run.
    pub net: Option<Network>,
    /// The store.
    pub store: StoreClient,
    /// Ends the daemon's threads; jobs go on.
    pub shutdown: Shutdown,
    /// The operator's environment, for the settings of package clients.
    pub operator_env: BTreeMap<String, String>,
    /// The operator's home directory, for the same.
    pub operator_home: PathBuf,
}

/// Why a host agent does not start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A directory cannot be used.
    #[error(transparent)]
    File(#[from] os::file::FileError),
    /// The layers.
    #[error(transparent)]
    Layers(#[from] LayerError),
    /// The volumes.
    #[error(transparent)]
    Volumes(#[from] VolumeError),
    /// The ranges of user ids.
    #[error(transparent)]
    Users(#[from] UserRangeError),
    /// The jobs.
    #[error(transparent)]
    Jobs(#[from] JobDirError),
    /// The cell does not take this host in.
    #[error("enter host {host} into the cell")]
    Enter {
        /// Which host.
        host: HostId,
        /// What the store said.
        source: StoreError,
    },
    /// Discovery.
    #[error(transparent)]
    Discovery(#[from] discovering::AgentError),
    /// A thread.
    #[error("start the thread of {what}")]
    Thread {
        /// For what.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The API.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

/// Why not everything is gone.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// The network.
    #[error(transparent)]
    Net(#[from] net::NetError),
    /// The control groups.
    #[error(transparent)]
    Cgroup(#[from] runtime::cgroup::CgroupError),
}

/// The agent of one host. Clones share it.
#[derive(Clone)]
pub struct Agent {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) tools: Tools,
    pub(crate) record: Host,
    sender: SyncSender<Message>,
    /// Asked for when the host is stopped for good: then its lease is given back. A daemon that only restarts keeps
    /// it, so that nobody takes its jobs for gone.
    lease_end: Shutdown,
    /// One stop at a time.
    pub(crate) stopping: Mutex<()>,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Agent({})", self.shared.options.host)
    }
}

/// The blob store, wherever its job runs.
struct BlobService(BlobClient);

impl Blobs for BlobService {
    fn open(&self, digest: &Digest) -> Result<Box<dyn Read + Send>, ApiError> {
        match self.0.get(digest) {
            Ok(content) => Ok(Box::new(content)),
            Err(error) => Err(ApiError::from(error)),
        }
    }
}

impl Agent {
    /// Take up the jobs that run on this host, enter it into the cell and follow its claims from now on.
    ///
    /// # Errors
    /// When something of the host itself cannot be used, or the store is not there. Jobs that run are not touched then.
    pub fn start(options: Options) -> Result<Agent, AgentError> {
        let tools = tools(&options)?;
        let (sender, inbox) = sync_channel(limits::INBOX);
        let record = host_record(&options)?;
        let (lease_end, lease) = enter(&options, &record)?;
        let health = sender.clone();
        let discovering = discovery::Agent::start(
            discovering::Options {
                host: options.host.clone(),
                store: options.store.clone(),
                lease,
                shutdown: options.shutdown.clone(),
            },
            // A supervisor that is gone needs no health.
            move |job, said| drop(health.send(Message::Health(job, said))),
        )?;
        let thread = |what| move |source| AgentError::Thread { what, source };
        let (events, heard) = (sender.clone(), sender.clone());
        let registrar = Registrar::start(
            discovering.clone(),
            &options.store,
            &options.shutdown,
            Box::new(move |job, event| drop(events.send(Message::Event(job.clone(), event)))),
        )
        .map_err(thread("instances"))?;
        let parts = Parts {
            address: options.address,
            tools: tools.clone(),
            slow: Workers::start("worker", limits::WORKERS, limits::WORK_QUEUE).map_err(thread("workers"))?,
            quick: Workers::start("quick", limits::QUICK_WORKERS, limits::WORK_QUEUE).map_err(thread("workers"))?,
            registrar,
            reporter: Reporter::start(&options.store, &options.host, &options.shutdown).map_err(thread("statuses"))?,
            follower: Follower::start(move |job, said| drop(heard.send(Message::Heard(job.clone(), said))))
                .map_err(thread("shims"))?,
            checks: discovering,
            sender: sender.clone(),
            shutdown: options.shutdown.clone(),
        };
        supervise(parts, inbox)?;
        follow_claims(&options, sender.clone()).map_err(thread("claims"))?;
        let shared = Shared { options, tools, record, sender, lease_end, stopping: Mutex::new(()) };
        Ok(Agent { shared: Arc::new(shared) })
    }

    /// Answer the host API on `RUN_DIR/host.sock` until the shutdown.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn serve(&self) -> Result<Listening, ListenError> {
        let options = &self.shared.options;
        serve::service(self).listen(&api::paths::host_socket(&options.run_dir), &options.shutdown)
    }

    /// Stop every job in good order and leave nothing of them on this machine: no process, mount, network, wire or
    /// control group. Claims stay, so the next start runs them again. `progress` gets a line for each step.
    ///
    /// # Errors
    /// When something does not go; the call can be made again.
    pub fn stop_all(&self, progress: &mut dyn FnMut(&str)) -> Result<(), StopError> {
        let _one = self.shared.stopping.lock().unwrap_or_else(PoisonError::into_inner);
        let (steps, told) = sync_channel(256);
        if self.shared.sender.send(Message::Suspend(steps)).is_ok() {
            for step in told {
                progress(&step);
            }
        }
        if let Some(net) = &self.shared.options.net {
            net.teardown()?;
            progress("the network of jobs is gone");
        }
        runtime::cgroup::remove_root(&self.shared.options.cgroup_root)?;
        progress("the control groups are gone");
        self.shared.lease_end.ask();
        Ok(())
    }

    /// Every job that this agent has.
    pub(crate) fn jobs(&self) -> Result<Vec<JobView>, ApiError> {
        let stopped = || ApiError::retryable(Code::Unavailable, "the host agent is going down");
        let (reply, list) = sync_channel(1);
        self.shared.sender.send(Message::List(reply)).map_err(|_| stopped())?;
        list.recv_timeout(Duration::from_secs(30)).map_err(|_| stopped())
    }
}

fn tools(options: &Options) -> Result<Tools, AgentError> {
    let dir = |name: &str| options.data_dir.join(name);
    os::file::make_dir(&options.data_dir, 0o711)?;
    // Users of jobs pass through it to what is theirs; nobody else can look into it.
    os::file::make_dir(&dir("jobs"), 0o711)?;
    os::file::make_dir(&dir("trash"), 0o700)?;
    let blobs = Arc::new(BlobService(BlobClient::service(&options.run_dir)));
    Ok(Tools {
        jobs: dir("jobs"),
        trash: dir("trash"),
        binary: options.binary.clone(),
        run_dir: options.run_dir.clone(),
        cgroup_root: options.cgroup_root.clone(),
        layers: Layers::open(&dir("layers"), blobs, TarLimits::STANDARD)?,
        stack: StackOptions::of_host(dir("stack")),
        volumes: Volumes::open(&dir("volumes"))?,
        users: UserRanges::open(&options.data_dir)?,
        net: options.net.clone(),
    })
}

/// What the cell is told of this host. Whether it takes jobs is the operator's word, which a restart keeps.
fn host_record(options: &Options) -> Result<Host, AgentError> {
    let failed = |source| AgentError::Enter { host: options.host.clone(), source };
    let known = HOSTS.get(&options.store, &[options.host.as_str()]).map_err(failed)?;
    let drains = known.is_some_and(|row| row.value.state == HostState::Draining);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    Ok(Host {
        id: options.host.clone(),
        state: if drains { HostState::Draining } else { HostState::Up },
        capacity: Capacity {
            memory_bytes: host_memory_bytes().unwrap_or(limits::TENANT_MEMORY_BYTES),
            cpu_milli: cores * 1_000,
            jobs: limits::JOBS_MAX as u64,
        },
        zone: options.zone.clone(),
        tags: options.tags.clone(),
        address: options.address.to_string(),
        version: options.version.clone(),
        started_ms: os::clock::wall().unix_millis(),
    })
}

/// All memory of this host.
#[must_use]
pub fn host_memory_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// Write the host's record and its sign of life.
fn enter(options: &Options, record: &Host) -> Result<(Shutdown, LeaseKeeper), AgentError> {
    let failed = |source| AgentError::Enter { host: options.host.clone(), source };
    let lease_end = Shutdown::new();
    let presence = Presence { host: options.host.clone(), run: record.started_ms };
    let (store, host, again) = (options.store.clone(), options.host.clone(), presence.clone());
    let keeper = LeaseKeeper::start(&options.store, limits::PRESENCE_TTL, &lease_end, move |lease| {
        if let Err(error) = PRESENCE.put(&store, &[host.as_str()], &again, Some(lease)) {
            log::warn!(error:% = os::text::chain(&error); "presence not renewed");
        }
    })
    .map_err(failed)?;
    HOSTS.put(&options.store, &[options.host.as_str()], record, None).map_err(failed)?;
    PRESENCE.put(&options.store, &[options.host.as_str()], &presence, Some(keeper.id())).map_err(failed)?;
    Ok((lease_end, keeper))
}

/// The supervisor's thread. Returns when it has taken up what there is.
fn supervise(parts: Parts, inbox: Receiver<Message>) -> Result<(), AgentError> {
    let (ready, recovered) = sync_channel(1);
    os::thread::spawn("supervisor", move || {
        let mut supervisor = Supervisor::new(parts);
        let outcome = supervisor.recover();
        let goes_on = outcome.is_ok();
        if ready.send(outcome).is_ok() && goes_on {
            supervisor.run(&inbox);
        }
    })
    .map_err(|source| AgentError::Thread { what: "supervisor", source })?;
    match recovered.recv() {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Ok(()),
    }
}

fn follow_claims(options: &Options, sender: SyncSender<Message>) -> io::Result<()> {
    let mut watch = CLAIMS.watch(&options.store, &[options.host.as_str()], &options.shutdown);
    os::thread::spawn("claims", move || {
        let mut rows: BTreeMap<String, Row<Claim>> = BTreeMap::new();
        for event in &mut watch {
            event.apply(&mut rows);
            let claims: BTreeMap<JobId, Claim> =
                rows.values().map(|row| (row.value.job.clone(), row.value.clone())).collect();
            if sender.send(Message::Claims(claims)).is_err() {
                return;
            }
        }
    })
    .map(drop)
}

/// Whether `path` is on a disk with too little room, for warnings.
pub(crate) fn room_warning(path: &Path) -> Option<String> {
    crate::disk::check_room(path).err().map(|error| error.to_string())
}
