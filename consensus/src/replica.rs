//! One member: opening, asking, closing.

mod answer;
mod apply;
mod open;
mod owner;
mod upkeep;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use api::serve::{ListenError, Listening};
use consensus_core::raft::{Membership, Message, Status};
use consensus_core::store::StoreStatus;
use consensus_core::store::command::{Command, Failure, Key, Outcome, RangeQuery, RangeReply, Txn, TxnReply};
use consensus_core::store::lease::LeaseId;
use consensus_core::store::watch::{WatchReply, WatchSpec, WatcherId};
use os::signal::Shutdown;

use self::owner::Owner;
use crate::limits::REQUEST_TIMEOUT;
use crate::snapshot::SnapshotError;
use crate::wal::WalError;

/// What a member is told at its start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where log and snapshots are; made if need be, used by one process at a time.
    pub data_dir: PathBuf,
    /// The cluster; 0 takes what the disk says, and at the very first start a random one.
    pub cluster_id: u64,
    /// This member; 0 as above.
    pub member_id: u64,
    /// Its name, for people.
    pub name: String,
    /// Where clients reach it, for the member list.
    pub client_urls: Vec<String>,
    /// Where peers reach it, for the member list.
    pub peer_urls: Vec<String>,
    /// After this long without a leader an election begins.
    pub election: Duration,
    /// How often a leader speaks.
    pub heartbeat: Duration,
    /// The size of one file of the log.
    pub segment_bytes: u64,
    /// A snapshot is made when the log has grown by this much, or by the size of the last one if that is more.
    pub snapshot_bytes: u64,
    /// History is kept for about this long ...
    pub history_age: Duration,
    /// ... and not more than about this many changes.
    pub history_changes_max: u64,
}

impl Options {
    /// What suits one host: the folder and the name, everything else as measured to be good.
    #[must_use]
    pub fn new(data_dir: &Path, name: &str) -> Options {
        Options {
            data_dir: data_dir.to_path_buf(),
            cluster_id: 0,
            member_id: 0,
            name: name.to_owned(),
            client_urls: Vec::new(),
            peer_urls: Vec::new(),
            election: Duration::from_millis(1000),
            heartbeat: Duration::from_millis(100),
            segment_bytes: 8 << 20,
            snapshot_bytes: 16 << 20,
            history_age: Duration::from_secs(600),
            history_changes_max: 100_000,
        }
    }
}

/// Why a member cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be used.
    #[error("{action} {}", path.display())]
    Folder {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Another process uses it.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The log cannot be used.
    #[error("open the log of the store")]
    Wal(#[source] WalError),
    /// The snapshot cannot be used.
    #[error("open the snapshot of the store")]
    Snapshot(#[source] SnapshotError),
    /// The log does not go on where the snapshot ends.
    #[error("the log of the store in {} lacks entry {index}", path.display())]
    Hole {
        /// The folder.
        path: PathBuf,
        /// The entry.
        index: u64,
    },
    /// No thread could be started.
    #[error("start a thread")]
    Thread(#[source] std::io::Error),
}

/// What a connection asks of the owner thread.
#[derive(Debug)]
pub enum Ask {
    /// Change something.
    Write(Command),
    /// Look; `Local` may be old.
    Range(RangeQuery, Freshness),
    /// A transaction that writes nothing.
    ReadTxn(Txn),
    /// Keep a lease alive.
    KeepAlive(LeaseId),
    /// How long a lease has.
    TimeToLive(LeaseId),
    /// All leases.
    Leases,
    /// The figures.
    Status,
    /// The members.
    Members,
    /// What is next for a watcher, from a revision on.
    Watch {
        /// Who asks.
        id: WatcherId,
        /// What it wants to hear of.
        spec: Arc<WatchSpec>,
        /// From which revision; 0 is what comes next.
        from: u64,
    },
}

/// Which state a look may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Everything that was acknowledged before.
    Linearizable,
    /// What this member has.
    Local,
}

/// What stands in the header of every reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heading {
    /// The cluster.
    pub cluster_id: u64,
    /// The member that answers.
    pub member_id: u64,
    /// The store's revision.
    pub revision: u64,
    /// The term.
    pub term: u64,
}

/// The figures.
#[derive(Clone, Debug)]
pub struct StatusAnswer {
    /// Of the raft.
    pub raft: Status,
    /// Of the keys.
    pub store: StoreStatus,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// Whether the disk is full: only what frees space is accepted.
    pub disk_full: bool,
}

/// What the owner thread answers.
#[derive(Debug)]
pub enum Answer {
    /// What came of a command.
    Outcome(Outcome),
    /// What was found.
    Range(RangeReply),
    /// What a transaction found.
    Txn(TxnReply),
    /// The lease has this many seconds; `None` if there is none.
    KeptAlive(Option<u64>),
    /// Granted and remaining seconds, and the keys; `None` if there is none.
    TimeToLive(Option<(u64, u64, Vec<Key>)>),
    /// The leases.
    Leases(Vec<LeaseId>),
    /// The figures.
    Status(Box<StatusAnswer>),
    /// The members.
    Members(Membership),
    /// What is next for the watcher.
    Watch(WatchReply),
    /// It was refused.
    Refused(Refusal),
}

/// Why the owner thread refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request is wrong.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// Nobody leads.
    #[error("etcdserver: no leader")]
    NoLeader,
    /// Another leader's entry took its place: it was not applied.
    #[error("etcdserver: leader changed")]
    LeaderChanged,
    /// No quorum in time. A write may still take effect.
    #[error("etcdserver: request timed out")]
    TimedOut,
    /// Too much is waiting. Nothing was done.
    #[error("etcdserver: too many requests")]
    Busy,
    /// The disk is full: only what frees space is accepted.
    #[error("etcdserver: mvcc: database space exceeded: the disk of the store is full")]
    DiskFull,
    /// The member is stopping. A write may still take effect.
    #[error("etcdserver: server stopped")]
    Stopped,
}

impl Refusal {
    /// The gRPC status code.
    #[must_use]
    pub fn code(self) -> u32 {
        match self {
            Refusal::Failure(failure) => failure.code(),
            Refusal::DiskFull => 8,
            Refusal::NoLeader | Refusal::LeaderChanged | Refusal::TimedOut | Refusal::Busy | Refusal::Stopped => 14,
        }
    }
}

/// Something for the owner thread to take in.
#[derive(Debug)]
enum Input {
    Ask { ask: Ask, reply: SyncSender<(Heading, Answer)> },
    Unwatch(WatcherId),
    Peer(Message),
    SnapshotWritten(Result<u64, SnapshotError>),
    Stop,
}

/// Where requests go. Cheap to clone; every connection thread has one.
#[derive(Clone, Debug)]
pub struct Inbox {
    queue: SyncSender<Input>,
}

impl Inbox {
    /// Ask, and wait for the answer.
    ///
    /// # Errors
    /// Why it was refused.
    pub fn ask(&self, ask: Ask) -> Result<(Heading, Answer), Refusal> {
        // Longer than the owner's own limit, so that its refusal is what is heard.
        match self.ask_within(ask, REQUEST_TIMEOUT * 2)? {
            Some(answer) => Ok(answer),
            None => Err(Refusal::TimedOut),
        }
    }

    /// Ask, and wait for the answer at most `limit`; `None` if there was none, and a late one is lost.
    ///
    /// # Errors
    /// Why it was refused.
    pub fn ask_within(&self, ask: Ask, limit: Duration) -> Result<Option<(Heading, Answer)>, Refusal> {
        self.begin(ask)?.wait(limit)
    }

    /// Ask, and wait later.
    ///
    /// # Errors
    /// If the member has stopped.
    pub fn begin(&self, ask: Ask) -> Result<Pending, Refusal> {
        let (reply, answer) = sync_channel(1);
        self.queue.send(Input::Ask { ask, reply }).map_err(|_| Refusal::Stopped)?;
        Ok(Pending { answer })
    }

    /// Take a watcher out.
    pub fn unwatch(&self, id: WatcherId) {
        // A member that stopped has no watchers.
        let _ = self.queue.send(Input::Unwatch(id));
    }

    /// A message from a peer arrived. Dropped if the queue is full, as a network would.
    pub fn deliver(&self, message: Message) {
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Input::Peer(message)) {
            log::debug!("queue full, message from a peer dropped");
        }
    }
}

/// An answer that is on its way.
#[derive(Debug)]
pub struct Pending {
    answer: std::sync::mpsc::Receiver<(Heading, Answer)>,
}

impl Pending {
    /// Wait for the answer at most `limit`; `None` if there is none yet.
    ///
    /// # Errors
    /// Why it was refused.
    pub fn wait(&self, limit: Duration) -> Result<Option<(Heading, Answer)>, Refusal> {
        match self.answer.recv_timeout(limit) {
            Ok((_, Answer::Refused(refusal))) => Err(refusal),
            Ok(answer) => Ok(Some(answer)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Refusal::Stopped),
        }
    }
}

/// Sends messages to peers. It may lose them; it must not wait.
pub(crate) trait Transport: Send {
    /// Send one message.
    fn send(&mut self, message: Message);
}

/// The transport of a member that is alone.
#[derive(Debug)]
pub(crate) struct NoPeers;

impl Transport for NoPeers {
    fn send(&mut self, message: Message) {
        log::debug!(to:% = message.to; "no transport, message dropped");
    }
}

/// One running member.
#[derive(Debug)]
pub struct Replica {
    inbox: Inbox,
    owner: JoinHandle<()>,
    identity: crate::wal::Identity,
}

impl Replica {
    /// Read what is on disk, and run. A member that is alone leads at once.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(options: Options) -> Result<Replica, OpenError> {
        Replica::open_with(options, Box::new(NoPeers))
    }

    /// As [`Replica::open`], with peers.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub(crate) fn open_with(options: Options, transport: Box<dyn Transport>) -> Result<Replica, OpenError> {
        let (queue, input) = sync_channel(crate::limits::QUEUE_MAX);
        let opened = open::open(&options)?;
        let identity = opened.identity;
        let owner = Owner::new(options, opened, transport, queue.clone());
        let owner = os::thread::spawn("store", move || owner.run(&input)).map_err(OpenError::Thread)?;
        Ok(Replica { inbox: Inbox { queue }, owner, identity })
    }

    /// Where requests go.
    #[must_use]
    pub fn inbox(&self) -> Inbox {
        self.inbox.clone()
    }

    /// The cluster's id.
    #[must_use]
    pub fn cluster_id(&self) -> u64 {
        self.identity.cluster_id
    }

    /// The member's id.
    #[must_use]
    pub fn member_id(&self) -> u64 {
        self.identity.member_id
    }

    /// Answer etcd's JSON dialect on a unix socket until `shutdown` is asked for.
    ///
    /// # Errors
    /// If the socket cannot be made.
    pub fn serve(&self, socket: &Path, shutdown: &Shutdown) -> Result<Listening, ListenError> {
        crate::serve::listen(self.inbox(), socket, shutdown)
    }

    /// Sync what waits and stop. What was acknowledged is on disk already, so this only saves time.
    pub fn close(self) {
        let _ = self.inbox.queue.send(Input::Stop);
        // A panic of the owner ended the process or was reported by the test that caused it.
        let _ = self.owner.join();
    }
}
