//! A simulated group: members with disks that can crash, a network, and everything that must always hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use consensus_core::raft::{
    Canary, Config, Effect, Entry, Event, Member, MemberId, Membership, Message, Payload, Raft, RequestId, RoleName,
    SnapshotMeta, Standing,
};
use stdx::{Instant, Machine, Rng};
use testkit::{Faults, World};

use crate::disk::{Applied, Disk, decode, encode, value_of};

const CHUNK: usize = 100;

/// What happens to a member.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Message(Message),
    /// The disk has caught up.
    Sync,
    Tick,
}

pub(crate) struct Node {
    pub(crate) raft: Raft,
    applied: Applied,
    incoming: Vec<u8>,
    syncing: bool,
    ticking: Option<Instant>,
}

pub(crate) struct Group {
    pub(crate) world: World<Step>,
    pub(crate) rng: Rng,
    pub(crate) nodes: BTreeMap<u64, Option<Node>>,
    disks: BTreeMap<u64, Disk>,
    canary: Option<Canary>,
    leaders: BTreeMap<u64, u64>,
    committed: BTreeMap<u64, (u64, Option<u64>)>,
    /// The highest index that some client was told of.
    acked: u64,
    pub(crate) acks: u64,
    next_request: RequestId,
    reads: BTreeMap<RequestId, u64>,
    pub(crate) reads_served: u64,
    failure: Option<String>,
    /// What happened, for scripts.
    pub(crate) trace: Vec<String>,
}

fn member(standing: Standing) -> Member {
    Member { standing, name: String::new(), peer_urls: Vec::new(), client_urls: Vec::new() }
}

pub(crate) fn learner() -> Member {
    member(Standing::Learner)
}

impl Group {
    /// `voters` members that know one another, and `spares` that know nobody yet.
    pub(crate) fn new(seed: u64, voters: u64, spares: u64, canary: Option<Canary>) -> Group {
        let mut rng = Rng::new(seed);
        let world = World::new(rng.fork(1), Faults::none());
        let members = (1..=voters).map(|id| (MemberId(id), member(Standing::Voter))).collect();
        let meta = |members| SnapshotMeta { index: 0, term: 0, membership: Arc::new(Membership { members }) };
        let first = meta(members);
        let disks = (1..=voters + spares)
            .map(|id| (id, Disk::new(if id <= voters { first.clone() } else { meta(BTreeMap::new()) })))
            .collect();
        let mut group = Group {
            world,
            rng,
            nodes: (1..=voters + spares).map(|id| (id, None)).collect(),
            disks,
            canary,
            leaders: BTreeMap::new(),
            committed: BTreeMap::new(),
            acked: 0,
            acks: 0,
            next_request: 0,
            reads: BTreeMap::new(),
            reads_served: 0,
            failure: None,
            trace: Vec::new(),
        };
        for id in 1..=voters + spares {
            group.start(id);
        }
        group
    }

    pub(crate) fn ids(&self) -> Vec<u64> {
        self.nodes.keys().copied().collect()
    }

    pub(crate) fn start(&mut self, id: u64) {
        let mut config = Config::new(MemberId(id), Duration::from_millis(1000), Duration::from_millis(100));
        config.append_bytes_max = 100;
        config.inflight_messages_max = 4;
        config.tail_entries = 5;
        config.canary = self.canary;
        let disk = &self.disks[&id];
        let seed = self.rng.next_u64();
        let raft = Raft::new(config, disk.restore(), seed, self.world.now());
        let applied = disk.snapshot.1.clone();
        let node = Node { raft, applied, incoming: Vec::new(), syncing: false, ticking: None };
        self.nodes.insert(id, Some(node));
        self.schedule_tick(id);
    }

    pub(crate) fn crash(&mut self, id: u64) {
        self.nodes.insert(id, None);
        self.world.forget(id);
        let rng = &mut self.rng;
        if let Some(disk) = self.disks.get_mut(&id) {
            disk.crash(rng);
        }
    }

    pub(crate) fn is_up(&self, id: u64) -> bool {
        self.nodes[&id].is_some()
    }

    pub(crate) fn leader(&self) -> Option<u64> {
        let leads = |node: &Node| node.raft.status().role == RoleName::Leader;
        let led = self.nodes.iter().filter(|(_, node)| node.as_ref().is_some_and(leads));
        led.max_by_key(|(_, node)| node.as_ref().map(|node| node.raft.status().term)).map(|(id, _)| *id)
    }

    fn fail(&mut self, what: String) {
        self.failure.get_or_insert(what);
    }

    /// Let the next thing happen.
    pub(crate) fn step(&mut self) -> Result<(), String> {
        if let Some(delivery) = self.world.next() {
            match delivery.message {
                Step::Message(message) => self.feed(delivery.to, Event::Message(message)),
                Step::Sync => self.sync(delivery.to),
                Step::Tick => {
                    if let Some(node) = self.nodes.get_mut(&delivery.to).and_then(Option::as_mut) {
                        node.ticking = None;
                    }
                    self.feed(delivery.to, Event::Tick);
                }
            }
        }
        self.failure.take().map_or(Ok(()), Err)
    }

    pub(crate) fn run_for(&mut self, time: Duration) -> Result<(), String> {
        let end = self.world.now().after(time);
        let mut steps = 0;
        while self.world.next_due().is_some_and(|at| at <= end) {
            self.step()?;
            steps += 1;
            if steps > 100_000 {
                return Err(format!("a storm of messages; {}", self.describe()));
            }
        }
        self.world.advance(end);
        Ok(())
    }

    pub(crate) fn propose(&mut self, id: u64) -> RequestId {
        self.next_request += 1;
        let request = self.next_request;
        self.feed(id, Event::Propose { id: request, command: Arc::from(&request.to_le_bytes()[..]) });
        request
    }

    pub(crate) fn read(&mut self, id: u64) {
        self.next_request += 1;
        self.reads.insert(self.next_request, self.acked);
        self.feed(id, Event::Read { id: self.next_request });
    }

    /// A snapshot of what is applied; the log before it goes.
    pub(crate) fn compact(&mut self, id: u64) {
        let Some(Some(node)) = self.nodes.get(&id) else { return };
        let (meta, applied) = (node.raft.applied_meta(), node.applied.clone());
        if meta.index > self.disks[&id].snapshot.0.index {
            let index = meta.index;
            self.sync(id);
            if let Some(disk) = self.disks.get_mut(&id) {
                disk.set_snapshot(meta, applied);
            }
            self.feed(id, Event::Compact { index });
        }
    }

    fn sync(&mut self, id: u64) {
        let Some(Some(node)) = self.nodes.get_mut(&id) else { return };
        node.syncing = false;
        if let Some((index, term)) = self.disks.get_mut(&id).and_then(Disk::sync) {
            self.feed(id, Event::Persisted { index, term });
        }
    }

    pub(crate) fn feed(&mut self, id: u64, event: Event) {
        let now = self.world.now();
        let Some(Some(node)) = self.nodes.get_mut(&id) else { return };
        let mut effects = Vec::new();
        node.raft.handle(now, event, &mut effects);
        let mut answers = Vec::new();
        for effect in effects {
            self.execute(id, effect, &mut answers);
        }
        for event in answers {
            self.feed(id, event);
        }
        self.schedule_tick(id);
    }

    fn schedule_tick(&mut self, id: u64) {
        let Some(Some(node)) = self.nodes.get_mut(&id) else { return };
        if let Some(at) = node.raft.deadline()
            && node.ticking.is_none_or(|ticking| at < ticking)
        {
            node.ticking = Some(at);
            self.world.at(at, id, Step::Tick);
        }
    }

    fn execute(&mut self, id: u64, effect: Effect, answers: &mut Vec<Event>) {
        match effect {
            Effect::SaveState(state) => self.disks.get_mut(&id).unwrap().save(state),
            Effect::Append(entries) => {
                self.disks.get_mut(&id).unwrap().append(entries);
                self.schedule_sync(id);
            }
            Effect::Send(message) => {
                let to = message.to.0;
                self.world.send(id, to, Step::Message(message));
            }
            Effect::Apply { entry, proposal } => self.apply(id, &entry, proposal),
            Effect::ReadReady { id: request } => self.check_read(id, request),
            Effect::Reject { id: request, reason } => {
                self.reads.remove(&request);
                self.trace.push(format!("{id} rejected {request}: {reason:?}"));
            }
            Effect::ReadSnapshot { to, offset } => {
                let (meta, applied) = &self.disks[&id].snapshot;
                let bytes = encode(applied);
                let start = usize::try_from(offset).unwrap().min(bytes.len());
                let end = (start + CHUNK).min(bytes.len());
                let (meta, last) = (meta.clone(), end == bytes.len());
                answers.push(Event::SnapshotChunk { to, meta, offset, bytes: Arc::from(&bytes[start..end]), last });
            }
            Effect::WriteSnapshot { meta, offset, bytes, last } => {
                self.write_snapshot(id, meta, offset, &bytes, last, answers);
            }
            Effect::Leader { term, leader } => self.note_leader(id, term, leader),
        }
    }

    fn schedule_sync(&mut self, id: u64) {
        let delay = Duration::from_micros(self.rng.below(20_000));
        let at = self.world.now().after(delay);
        let Some(Some(node)) = self.nodes.get_mut(&id) else { return };
        if self.disks[&id].has_unsynced() && !std::mem::replace(&mut node.syncing, true) {
            self.world.at(at, id, Step::Sync);
        }
    }

    fn write_snapshot(
        &mut self,
        id: u64,
        meta: SnapshotMeta,
        offset: u64,
        bytes: &[u8],
        last: bool,
        answers: &mut Vec<Event>,
    ) {
        let Some(Some(node)) = self.nodes.get_mut(&id) else { return };
        if offset == 0 {
            node.incoming.clear();
        }
        if node.incoming.len() as u64 != offset {
            return;
        }
        node.incoming.extend_from_slice(bytes);
        if last {
            node.applied = decode(&node.incoming);
            assert_eq!(node.applied.len() as u64, meta.index);
            let applied = node.applied.clone();
            for (at, pair) in (1..).zip(&applied) {
                self.check_committed(id, at, *pair);
            }
            self.trace.push(format!("{id} installed the snapshot at {}", meta.index));
            self.disks.get_mut(&id).unwrap().set_snapshot(meta.clone(), applied);
            answers.push(Event::SnapshotInstalled { meta });
        }
    }

    /// State machine safety: one index, one entry, on every member and for ever.
    fn check_committed(&mut self, id: u64, index: u64, found: (u64, Option<u64>)) {
        let known = *self.committed.entry(index).or_insert(found);
        if known != found {
            self.fail(format!("member {id} applied {found:?} at {index}, another applied {known:?}"));
        }
    }

    fn apply(&mut self, id: u64, entry: &Entry, proposal: Option<RequestId>) {
        let value = match &entry.payload {
            Payload::Command(bytes) => Some(value_of(bytes)),
            Payload::Blank | Payload::Membership(_) => None,
        };
        self.check_committed(id, entry.index, (entry.term, value));
        let Some(Some(node)) = self.nodes.get_mut(&id) else { return };
        let expected = node.applied.len() as u64 + 1;
        node.applied.push((entry.term, value));
        if entry.index != expected {
            self.fail(format!("member {id} applied {} where {expected} is next", entry.index));
        }
        if let Some(request) = proposal {
            if value.is_some_and(|value| value != request) {
                self.fail(format!("proposal {request} answered with {value:?}"));
            }
            self.acked = self.acked.max(entry.index);
            self.acks += 1;
            self.trace.push(format!("{id} applied {request} at {}/{}", entry.term, entry.index));
        }
    }

    /// A read sees everything that was acknowledged before it was asked.
    fn check_read(&mut self, id: u64, request: RequestId) {
        let Some(needed) = self.reads.remove(&request) else {
            self.fail(format!("read {request} answered twice"));
            return;
        };
        let Some(Some(node)) = self.nodes.get(&id) else { return };
        let seen = node.applied.len() as u64;
        self.reads_served += 1;
        self.trace.push(format!("{id} served read {request} at {seen}"));
        if seen < needed {
            self.fail(format!("member {id} served a read at {seen}, but {needed} was acknowledged before"));
        }
    }

    /// Election safety and leader completeness.
    fn note_leader(&mut self, id: u64, term: u64, leader: Option<MemberId>) {
        self.trace.push(match leader {
            Some(leader) if leader.0 == id => format!("{id} became leader at term {term}"),
            Some(leader) => format!("{id} follows {leader} at term {term}"),
            None => format!("{id} knows no leader at term {term}"),
        });
        if leader != Some(MemberId(id)) {
            return;
        }
        if let Some(other) = self.leaders.insert(term, id).filter(|other| *other != id) {
            self.fail(format!("members {other} and {id} both lead term {term}"));
        }
        let Some(Some(node)) = self.nodes.get(&id) else { return };
        let base = node.raft.status().base_index;
        let lacks = self
            .committed
            .range(base + 1..)
            .find(|(index, (term, _))| node.raft.term_at(**index) != Some(*term))
            .map(|(index, _)| *index);
        if let Some(index) = lacks {
            self.fail(format!("leader {id} of term {term} lacks the committed entry {index}"));
        }
    }

    /// Log matching: logs that agree on an entry agree on everything before it.
    pub(crate) fn check_logs(&self) -> Result<(), String> {
        let up: Vec<(&u64, &Node)> = self.nodes.iter().filter_map(|(id, node)| Some((id, node.as_ref()?))).collect();
        for (a, left) in &up {
            for (b, right) in up.iter().filter(|(b, _)| b > a) {
                let (one, two) = (left.raft.status(), right.raft.status());
                let mut agreed = false;
                let first = one.base_index.max(two.base_index);
                for index in (first + 1..=one.last_index.min(two.last_index)).rev() {
                    let same = left.raft.term_at(index) == right.raft.term_at(index);
                    if agreed && !same {
                        return Err(format!("logs of {a} and {b} agree after {index} and differ there"));
                    }
                    agreed |= same;
                }
            }
        }
        Ok(())
    }

    /// All faults end: the group must come to agree, and to accept a write.
    pub(crate) fn settle(&mut self) -> Result<(), String> {
        self.world.heal();
        self.world.set_faults(Faults::none());
        for id in self.ids() {
            if !self.is_up(id) {
                self.start(id);
            }
        }
        let before = self.acks;
        for _ in 0..60 {
            self.run_for(Duration::from_secs(1))?;
            if let Some(leader) = self.leader() {
                self.propose(leader);
            }
            self.run_for(Duration::from_millis(500))?;
            if self.acks > before && self.agrees() {
                return self.check_logs();
            }
        }
        Err(format!("no agreement 90 s after the last fault; {}", self.describe()))
    }

    fn agrees(&self) -> bool {
        let Some(leader) = self.leader().and_then(|id| self.nodes[&id].as_ref()) else { return false };
        let members: BTreeSet<u64> = leader.raft.membership().members.keys().map(|id| id.0).collect();
        let target = leader.raft.status().commit;
        target >= self.acked
            && members.iter().all(|id| self.nodes[id].as_ref().is_some_and(|n| n.raft.status().applied == target))
    }

    fn describe(&self) -> String {
        let status = |(id, node): (&u64, &Option<Node>)| match node {
            Some(node) => format!("{id}: {:?}", node.raft.status()),
            None => format!("{id}: down"),
        };
        self.nodes.iter().map(status).collect::<Vec<_>>().join("; ")
    }
}
