//! The one thread that owns the raft, the log and the keys.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError};
use std::time::Duration;

use consensus_core::raft::{Effect, Event, Raft, RequestId};
use consensus_core::store::Store;
use consensus_core::store::lease::LeaseClock;
use consensus_core::store::watch::{WatcherId, Watchers};
use stdx::{Instant, Machine};

use super::answer::{Reply, Waiting};
use super::open::Opened;
use super::upkeep::{Compactor, Snapshots};
use super::{Answer, Input, Options, Transport};
use crate::limits::{BATCH_BYTES_MAX, BATCH_MAX};
use crate::wal::{AppendError, Identity, Wal};

/// How long the owner sleeps when nothing is due.
const IDLE: Duration = Duration::from_secs(3600);

/// How long it waits for something else to finish: the snapshot's writer, or space on the disk.
const SOON: Duration = Duration::from_millis(5);

pub(super) struct Owner {
    pub(super) options: Options,
    pub(super) identity: Identity,
    pub(super) raft: Raft,
    pub(super) wal: Wal,
    pub(super) store: Store,
    pub(super) watchers: Watchers,
    pub(super) watching: BTreeMap<WatcherId, Reply>,
    pub(super) lease_clock: LeaseClock,
    pub(super) transport: Box<dyn Transport>,
    pub(super) queue: SyncSender<Input>,
    pub(super) waiting: BTreeMap<RequestId, Waiting>,
    /// Requests in the order in which they give up.
    pub(super) give_up: VecDeque<(Instant, RequestId)>,
    pub(super) next_request: RequestId,
    pub(super) snapshots: Snapshots,
    pub(super) compactor: Compactor,
    pub(super) effects: Vec<Effect>,
    /// There is memory to give back.
    pub(super) prunes: bool,
    /// Answers to effects, fed once the effects of the event that caused them are all executed.
    pub(super) deferred: VecDeque<Event>,
    /// A snapshot from the leader was loaded: its last entry.
    pub(super) installed: Option<u64>,
    /// The log could not be written for want of space.
    starved: bool,
    _lock: File,
}

impl Owner {
    pub(super) fn new(
        options: Options,
        opened: Opened,
        transport: Box<dyn Transport>,
        queue: SyncSender<Input>,
    ) -> Owner {
        let Opened { identity, wal, raft, store, snapshot_index, snapshot_file_bytes, lock } = opened;
        Owner {
            snapshots: Snapshots::new(&options, snapshot_index, snapshot_file_bytes),
            compactor: Compactor::new(&options, os::clock::now()),
            options,
            identity,
            raft,
            wal,
            store,
            watchers: Watchers::default(),
            watching: BTreeMap::new(),
            lease_clock: LeaseClock::default(),
            transport,
            queue,
            waiting: BTreeMap::new(),
            give_up: VecDeque::new(),
            next_request: 0,
            effects: Vec::new(),
            prunes: true,
            deferred: VecDeque::new(),
            installed: None,
            starved: false,
            _lock: lock,
        }
    }

    /// Until told to stop.
    pub(super) fn run(mut self, input: &Receiver<Input>) {
        // A member that is alone leads before it takes the first request.
        self.upkeep(os::clock::now());
        self.sync();
        loop {
            let wait = self.wait(os::clock::now());
            let first = match input.recv_timeout(wait) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if !self.take_batch(first, input) {
                break;
            }
            self.sync();
            self.upkeep(os::clock::now());
            self.sync();
            self.tell_watchers();
        }
        self.sync();
    }

    /// How long nothing needs doing unless something arrives.
    fn wait(&self, now: Instant) -> Duration {
        if self.starved || self.snapshots.waits_for_writer() {
            return SOON;
        }
        if self.snapshots.is_running() || self.prunes {
            return Duration::ZERO;
        }
        let due = [
            self.raft.deadline(),
            self.lease_clock.deadline().filter(|_| self.leads()),
            self.give_up.front().map(|(at, _)| *at),
            self.compactor.deadline(&self.store),
        ];
        due.into_iter().flatten().min().map_or(IDLE, |at| at.since(now))
    }

    /// Take in what is there, up to one batch; false if told to stop.
    fn take_batch(&mut self, first: Option<Input>, input: &Receiver<Input>) -> bool {
        let mut next = first;
        for _ in 0..BATCH_MAX {
            let taken = match next.take() {
                Some(taken) => taken,
                None => match input.try_recv() {
                    Ok(taken) => taken,
                    Err(TryRecvError::Empty) => return true,
                    Err(TryRecvError::Disconnected) => return false,
                },
            };
            let now = os::clock::now();
            match taken {
                Input::Ask { ask, reply } => self.take_ask(now, ask, reply),
                Input::Unwatch(id) => {
                    self.watchers.cancel(id);
                    self.watching.remove(&id);
                }
                Input::Peer(message) => self.feed(now, Event::Message(message)),
                Input::SnapshotWritten(result) => self.snapshot_written(now, result),
                Input::Stop => return false,
            }
            self.run_deferred(now);
            if self.wal.pending_bytes() >= BATCH_BYTES_MAX {
                return true;
            }
        }
        true
    }

    /// Hand the machine one event and do what it says, in order.
    pub(super) fn feed(&mut self, now: Instant, event: Event) {
        let mut effects = std::mem::take(&mut self.effects);
        self.raft.handle(now, event, &mut effects);
        for effect in effects.drain(..) {
            self.execute(now, effect);
        }
        self.effects = effects;
    }

    fn execute(&mut self, now: Instant, effect: Effect) {
        match effect {
            Effect::SaveState(state) => {
                self.wal.save_state(state);
                self.sync_now();
            }
            Effect::Append(entries) => self.wal.append(&entries),
            Effect::Send(message) => self.transport.send(message),
            Effect::Apply { entry, proposal } => self.apply(now, &entry, proposal),
            Effect::ReadReady { id } => self.read_ready(now, id),
            Effect::Reject { id, reason } => self.rejected(now, id, reason),
            Effect::ReadSnapshot { to, offset } => self.read_snapshot(to, offset),
            Effect::WriteSnapshot { meta, offset, bytes, last } => self.write_snapshot(meta, offset, &bytes, last),
            Effect::Leader { term, leader } => self.leader_changed(now, term, leader),
        }
    }

    /// Make what was written durable, and let the machine know, which may commit and apply it.
    pub(super) fn sync(&mut self) {
        while self.wal.pending_bytes() > 0 {
            if !self.sync_now() {
                return;
            }
            let now = os::clock::now();
            let index = self.raft.status().last_index;
            if let Some(term) = self.raft.term_at(index) {
                self.feed(now, Event::Persisted { index, term });
            }
            self.run_deferred(now);
        }
    }

    fn sync_now(&mut self) -> bool {
        match self.wal.sync() {
            Ok(()) => {
                self.starved = false;
                true
            }
            Err(AppendError::Full) => {
                if !self.starved {
                    log::error!(dir:% = self.options.data_dir.display(); "the disk is full, the store waits for space");
                }
                self.starved = true;
                false
            }
            // What the disk holds is only known after reading it again: stop, and be started anew.
            Err(error @ AppendError::Fatal { .. }) => panic!("{}", os::text::chain(&error)),
        }
    }

    fn tell_watchers(&mut self) {
        let heading = self.heading();
        let watching = &mut self.watching;
        self.watchers.advance(&self.store, &mut |id, reply| {
            if let Some(waiting) = watching.remove(&id) {
                // Its connection may be gone.
                let _ = waiting.try_send((heading, Answer::Watch(reply)));
            }
        });
    }
}
