//! What is done in small steps besides answering: leases that end, history that is forgotten, snapshots.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use consensus_core::codec::encode_command;
use consensus_core::raft::{Event, MemberId, SnapshotMeta};
use consensus_core::store::Store;
use consensus_core::store::command::Command;
use consensus_core::store::snapshot::SnapshotReader;
use stdx::{Instant, Machine};

use super::answer::Waiting;
use super::owner::Owner;
use super::{Input, Options};
use crate::limits::{EXPIRE_BATCH_MAX, PRUNE_BATCH, SNAPSHOT_CHUNK_BYTES, SNAPSHOT_QUEUE_MAX};
use crate::snapshot::{self, SnapshotError, SnapshotWriter};

/// After a snapshot failed, the next is tried this much later.
const SNAPSHOT_RETRY: Duration = Duration::from_secs(10);

/// How many samples of the revision cover the age of history.
const SAMPLES: u32 = 10;

/// Decides what history to forget.
#[derive(Debug)]
pub(super) struct Compactor {
    every: Duration,
    changes_max: u64,
    next: Instant,
    samples: VecDeque<u64>,
    proposed: bool,
}

impl Compactor {
    pub(super) fn new(options: &Options, now: Instant) -> Compactor {
        let every = options.history_age / SAMPLES;
        Compactor {
            every,
            changes_max: options.history_changes_max,
            next: now.after(every),
            samples: VecDeque::new(),
            proposed: false,
        }
    }

    /// An idle store whose history is short wakes nobody.
    pub(super) fn deadline(&self, store: &Store) -> Option<Instant> {
        let status = store.status();
        let settled = status.revision <= status.compacted.max(1);
        (!settled).then_some(self.next)
    }

    /// The last proposal was applied or came to nothing.
    pub(super) fn done(&mut self) {
        self.proposed = false;
    }

    /// The revision to compact to, if it is time.
    fn wanted(&mut self, now: Instant, store: &Store) -> Option<u64> {
        let status = store.status();
        let mut wanted = None;
        if now >= self.next {
            self.next = now.after(self.every);
            self.proposed = false;
            self.samples.push_back(status.revision);
            if self.samples.len() > SAMPLES as usize {
                wanted = self.samples.pop_front();
            }
        }
        if status.history > self.changes_max {
            wanted = wanted.max(store.revision_keeping(self.changes_max / 2));
        }
        wanted.filter(|revision| *revision > status.compacted && !std::mem::replace(&mut self.proposed, true))
    }
}

/// A snapshot under way.
#[derive(Debug)]
struct Running {
    reader: SnapshotReader,
    pieces: SyncSender<Piece>,
    /// Read, but the writer has no room for it yet.
    held: Option<Piece>,
}

/// What the writer of a snapshot is told. An owner that stops midway never says `End`.
#[derive(Debug)]
enum Piece {
    Bytes(Vec<u8>),
    End,
}

/// When to make a snapshot, and the one being made.
#[derive(Debug)]
pub(super) struct Snapshots {
    bytes_min: u64,
    running: Option<Running>,
    /// The last entry of the latest one.
    index: u64,
    file_bytes: u64,
    not_before: Instant,
    /// From the leader, being received: its last entry and its bytes so far.
    received: Option<(u64, SnapshotWriter)>,
    /// The writer has not reported yet.
    writing: bool,
}

impl Snapshots {
    pub(super) fn new(options: &Options, index: u64, file_bytes: u64) -> Snapshots {
        Snapshots {
            bytes_min: options.snapshot_bytes,
            running: None,
            index,
            file_bytes,
            not_before: Instant::START,
            received: None,
            writing: false,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub(super) fn waits_for_writer(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.held.is_some())
    }

    pub(super) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }
}

impl Owner {
    pub(super) fn upkeep(&mut self, now: Instant) {
        if self.raft.deadline().is_some_and(|at| at <= now) {
            self.feed(now, Event::Tick);
        }
        self.give_up(now);
        if self.leads() {
            for id in self.lease_clock.take_due(now, EXPIRE_BATCH_MAX) {
                log::debug!(lease = id; "lease ran out");
                self.propose(now, &encode_command(&Command::Revoke { id }), Waiting::Expiry(id));
            }
            if let Some(revision) = self.compactor.wanted(now, &self.store) {
                log::debug!(revision; "forgetting history");
                self.propose(now, &encode_command(&Command::Compact { revision }), Waiting::Compaction);
            }
        }
        self.step_snapshot(now);
        // A snapshot reads what compaction would remove.
        if self.prunes && !self.snapshots.is_running() {
            self.prunes = self.store.prune(PRUNE_BATCH);
        }
    }

    fn step_snapshot(&mut self, now: Instant) {
        if self.snapshots.running.is_none() {
            // The active segment stays, so it does not count.
            let threshold = self.snapshots.bytes_min.max(self.snapshots.file_bytes) + self.options.segment_bytes;
            let applied = self.raft.status().applied;
            let wanted = self.wal.bytes() > threshold && applied > self.snapshots.index;
            if wanted && !self.snapshots.writing && now >= self.snapshots.not_before {
                self.begin_snapshot(now);
            }
        }
        let Some(running) = &mut self.snapshots.running else { return };
        let next = || running.reader.next(&self.store).map_or(Piece::End, Piece::Bytes);
        let piece = running.held.take().unwrap_or_else(next);
        let is_end = matches!(piece, Piece::End);
        match running.pieces.try_send(piece) {
            Ok(()) if is_end => self.snapshots.running = None,
            Ok(()) => {}
            Err(TrySendError::Full(piece)) => running.held = Some(piece),
            // The writer gave up and has said why.
            Err(TrySendError::Disconnected(_)) => self.snapshots.running = None,
        }
    }

    fn begin_snapshot(&mut self, now: Instant) {
        let meta = self.raft.applied_meta();
        let reader = SnapshotReader::new(&self.store);
        let (pieces, input) = sync_channel(SNAPSHOT_QUEUE_MAX);
        let (dir, cluster_id, queue) = (self.options.data_dir.clone(), self.identity.cluster_id, self.queue.clone());
        let started = os::thread::spawn("store-snapshot", move || {
            let written = write_snapshot(&dir, cluster_id, &meta, &input);
            if let Some(written) = written.transpose() {
                // The owner may have stopped: then nobody needs to know.
                let _ = queue.send(Input::SnapshotWritten(written.map(|()| meta.index)));
            }
        });
        match started {
            Ok(_) => {
                self.snapshots.running = Some(Running { reader, pieces, held: None });
                self.snapshots.writing = true;
            }
            Err(error) => {
                log::warn!(error:% = error; "snapshot not begun, trying again later");
                self.snapshots.not_before = now.after(SNAPSHOT_RETRY);
            }
        }
    }

    pub(super) fn snapshot_written(&mut self, now: Instant, result: Result<u64, SnapshotError>) {
        self.snapshots.writing = false;
        match result {
            Ok(index) => {
                self.snapshots.running = None;
                self.snapshot_in_force(now, index);
            }
            Err(error) => {
                log::warn!(error:% = os::text::chain(&error); "snapshot not written, trying again later");
                self.snapshots.running = None;
                self.snapshots.not_before = now.after(SNAPSHOT_RETRY);
            }
        }
    }

    /// A snapshot is durable under its name: what it replaces may go.
    fn snapshot_in_force(&mut self, now: Instant, index: u64) {
        let path = snapshot::path_of(&self.options.data_dir, index);
        self.snapshots.index = index;
        self.snapshots.file_bytes = path.metadata().map_or(0, |metadata| metadata.len());
        if let Err(error) = snapshot::remove_before(&self.options.data_dir, index) {
            log::warn!(error:% = os::text::chain(&error); "old snapshot stays");
        }
        self.wal.remove_through(index);
        self.feed(now, Event::Compact { index });
        log::info!(index, bytes = self.snapshots.file_bytes; "snapshot written");
    }

    /// A piece of the latest snapshot for a peer.
    pub(super) fn read_snapshot(&mut self, to: MemberId, offset: u64) {
        let path = snapshot::path_of(&self.options.data_dir, self.snapshots.index);
        let read = || -> std::io::Result<(Vec<u8>, bool)> {
            let file = File::open(&path)?;
            let length = file.metadata()?.len();
            let size = length.saturating_sub(offset).min(SNAPSHOT_CHUNK_BYTES as u64);
            let mut bytes = vec![0; usize::try_from(size).map_err(std::io::Error::other)?];
            file.read_exact_at(&mut bytes, offset)?;
            Ok((bytes, offset + size == length))
        };
        let meta = self.snapshot_meta();
        match (read(), meta) {
            (Ok((bytes, last)), Some(meta)) => {
                let event = Event::SnapshotChunk { to, meta, offset, bytes: Arc::from(bytes), last };
                self.deferred.push_back(event);
            }
            // The peer asks again with the next heartbeat; by then there may be one.
            (Err(error), _) => log::warn!(error:% = error; "snapshot for a peer not read"),
            (_, None) => log::debug!("no snapshot for a peer yet"),
        }
    }

    fn snapshot_meta(&self) -> Option<SnapshotMeta> {
        snapshot::meta(&snapshot::path_of(&self.options.data_dir, self.snapshots.index), self.identity.cluster_id).ok()
    }

    /// A piece of a snapshot from the leader.
    pub(super) fn write_snapshot(&mut self, meta: SnapshotMeta, offset: u64, bytes: &[u8], last: bool) {
        match self.receive(&meta, offset, bytes, last) {
            Ok(Some(store)) => {
                self.store = store;
                self.prunes = true;
                self.wal.rebase(&meta);
                self.snapshots.running = None;
                self.deferred.push_back(Event::SnapshotInstalled { meta: meta.clone() });
                self.installed = Some(meta.index);
            }
            Ok(None) => {}
            Err(error) => {
                log::warn!(error:% = os::text::chain(&error); "snapshot from the leader not kept");
                if let Some((_, writer)) = self.snapshots.received.take() {
                    writer.discard();
                }
            }
        }
    }

    fn receive(
        &mut self,
        meta: &SnapshotMeta,
        offset: u64,
        bytes: &[u8],
        last: bool,
    ) -> Result<Option<Store>, SnapshotError> {
        let dir = &self.options.data_dir;
        if offset == 0 {
            self.snapshots.received = Some((meta.index, SnapshotWriter::raw(dir, meta.index)?));
        }
        let Some((index, writer)) = &mut self.snapshots.received else { return Ok(None) };
        if *index != meta.index || writer.len() != offset {
            // A piece that came twice or late.
            return Ok(None);
        }
        writer.write(bytes)?;
        if !last {
            return Ok(None);
        }
        let Some((_, writer)) = self.snapshots.received.take() else { return Ok(None) };
        let path = writer.finish()?;
        match snapshot::load(&path, self.identity.cluster_id) {
            Ok((_, store)) => Ok(Some(store)),
            Err(error) => {
                // It must not be taken for a good one at the next start.
                let _ = std::fs::remove_file(&path);
                Err(error)
            }
        }
    }

    /// Events that answer effects of the same kind: fed after the effects of one event are all executed.
    pub(super) fn run_deferred(&mut self, now: Instant) {
        while let Some(event) = self.deferred.pop_front() {
            self.feed(now, event);
        }
        if let Some(index) = self.installed.take() {
            self.snapshot_in_force(now, index);
        }
    }
}

/// Write what the owner reads; `None` if the owner stopped before the end.
fn write_snapshot(
    dir: &Path,
    cluster_id: u64,
    meta: &SnapshotMeta,
    pieces: &Receiver<Piece>,
) -> Result<Option<()>, SnapshotError> {
    let mut writer = SnapshotWriter::begin(dir, cluster_id, meta)?;
    for piece in pieces {
        match piece {
            Piece::Bytes(bytes) => {
                if let Err(error) = writer.piece(&bytes) {
                    writer.discard();
                    return Err(error);
                }
            }
            Piece::End => return writer.finish().map(|_| Some(())),
        }
    }
    writer.discard();
    Ok(None)
}
