//! Clusters under crashes, partitions, late and doubled messages and expiring leases: no acknowledged write is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pg_appliance_core::{
    ClusterMode, ClusterState, Config, DatabaseReport, Effect, Event, Lsn, Member, MemberId, Peer, Present, Role,
};
use stdx::{Instant, Machine, Rng};
use testkit::{Faults, World};

use crate::script::member;

const STORE: u64 = 0;
const LEASE: Duration = Duration::from_millis(2_000);
const KEEP: Duration = Duration::from_millis(300);

/// What travels. The life of a member is in what must not outlive it.
#[derive(Clone, Debug)]
enum Message {
    Propose {
        life: u64,
        revision: u64,
        state: ClusterState,
    },
    Refused {
        life: u64,
        revision: u64,
    },
    Record {
        revision: u64,
        state: Option<ClusterState>,
    },
    Members {
        revision: u64,
        present: Vec<Present>,
    },
    KeepAlive {
        life: u64,
        sent: Instant,
        follows: Option<u64>,
    },
    Kept {
        life: u64,
        sent: Instant,
    },
    /// Timers of a member.
    Beat {
        life: u64,
    },
    Applied {
        life: u64,
        order: u64,
        config: Config,
    },
    Replicate,
    /// Of the store: look for leases that ran out, tell everyone everything.
    Sweep,
    Write,
    Fault,
}

struct Node {
    id: MemberId,
    peer: Peer,
    life: u64,
    down: bool,
    /// What its database really is, and what is on its disk.
    config: Config,
    order: u64,
    streams: bool,
    log: Vec<u64>,
    follows: Option<u64>,
    /// It replicates one time in so many.
    lag: u64,
}

struct Sim {
    world: World<Message>,
    rng: Rng,
    nodes: Vec<Node>,
    record: (u64, Option<ClusterState>),
    members_revision: u64,
    leases: BTreeMap<MemberId, (Instant, u64, Option<u64>)>,
    writes: u64,
    acknowledged: BTreeSet<u64>,
    takeovers: u64,
    calm: bool,
}

fn faults(rng: &mut Rng) -> Faults {
    Faults {
        lose: rng.below(60),
        double: rng.below(60),
        delay_min: Duration::from_millis(1),
        delay_max: Duration::from_millis(1 + rng.below(1_500)),
    }
}

impl Sim {
    fn new(seed: u64) -> Sim {
        let mut rng = Rng::new(seed);
        let faults = faults(&mut rng);
        let mut world = World::new(rng.fork(1), faults);
        let count = 2 + rng.index(4);
        let nodes = (0..count).map(|n| {
            let id = format!("n{n}");
            Node {
                id: MemberId(id.clone()),
                peer: Peer::new(member(&id), ClusterMode::Replicated),
                life: 1,
                down: false,
                config: Config::Stopped,
                order: 0,
                streams: false,
                log: Vec::new(),
                follows: None,
                lag: 1,
            }
        });
        let nodes: Vec<Node> = nodes.collect();
        for n in 0..count as u64 {
            world.at(Instant::START, n + 1, Message::Beat { life: 1 });
            world.at(Instant::START, n + 1, Message::Replicate);
        }
        world.at(Instant::from_millis(1), STORE, Message::Sweep);
        world.at(Instant::from_millis(5), 99, Message::Write);
        world.at(Instant::from_millis(5_000), 98, Message::Fault);
        Sim {
            world,
            rng,
            nodes,
            record: (0, None),
            members_revision: 0,
            leases: BTreeMap::new(),
            writes: 0,
            acknowledged: BTreeSet::new(),
            takeovers: 0,
            calm: false,
        }
    }

    fn run(&mut self, steps: u64) -> Result<(), String> {
        for _ in 0..steps {
            self.step()?;
        }
        self.calm = true;
        self.world.heal();
        self.world.set_faults(Faults::none());
        for n in 0..self.nodes.len() {
            if self.nodes[n].down {
                self.start(n);
            }
        }
        let before = self.acknowledged.len();
        let end = self.world.now().after(Duration::from_secs(60));
        while self.world.now() < end {
            self.step()?;
        }
        if self.acknowledged.len() <= before {
            return Err(format!("no write is acknowledged after the faults; the record is {:?}", self.record));
        }
        let state = self.record.1.clone().unwrap();
        if !state.deposed.is_empty() || state.sync.is_none() || state.asyncs.len() + 2 != self.nodes.len() {
            return Err(format!("not everyone is back in the chain: {state:?}"));
        }
        self.check_primary(&state)
    }

    fn step(&mut self) -> Result<(), String> {
        let delivery = self.world.next().unwrap();
        let (from, to, now) = (delivery.from, delivery.to, self.world.now());
        match delivery.message {
            Message::Propose { life, revision, state } => self.propose(from, life, revision, state)?,
            Message::KeepAlive { life, sent, follows } => self.keep(from, life, sent, follows),
            Message::Sweep => {
                self.sweep();
                self.world.at(now.after(Duration::from_millis(100)), STORE, Message::Sweep);
            }
            Message::Write => {
                self.write();
                self.world.at(now.after(Duration::from_millis(60)), 99, Message::Write);
            }
            Message::Fault => {
                if !self.calm {
                    self.fault();
                }
                let wait = Duration::from_millis(200 + self.rng.below(4_000));
                self.world.at(now.after(wait), 98, Message::Fault);
            }
            Message::Replicate => {
                self.replicate(to);
                let wait = Duration::from_millis(5 + self.rng.below(100));
                self.world.at(now.after(wait), to, Message::Replicate);
            }
            Message::Beat { life } => self.beat(to, life),
            Message::Applied { life, order, config } => self.applied(to, life, order, config),
            Message::Record { revision, state } => self.feed(to, Event::State { revision, state }),
            Message::Members { revision, present } => self.feed(to, Event::Members { revision, present }),
            Message::Refused { life, revision } if self.node(to).life == life => {
                self.feed(to, Event::Refused { revision });
            }
            Message::Kept { life, sent } if self.node(to).life == life => {
                // The store counts from later, so this is on the safe side.
                self.feed(to, Event::Lease { until: sent.after(LEASE - Duration::from_millis(100)) });
            }
            Message::Refused { .. } | Message::Kept { .. } => {}
        }
        Ok(())
    }

    fn node(&mut self, n: u64) -> &mut Node {
        &mut self.nodes[usize::try_from(n).unwrap() - 1]
    }

    fn feed(&mut self, n: u64, event: Event) {
        let now = self.world.now();
        let mut effects = Vec::new();
        let node = self.node(n);
        if node.down {
            return;
        }
        node.peer.handle(now, event, &mut effects);
        let life = node.life;
        for effect in effects {
            match effect {
                Effect::CompareAndSet { revision, state } => {
                    assert!(state.is_consistent(), "{state:?}");
                    self.world.send(n, STORE, Message::Propose { life, revision, state });
                }
                Effect::Reconfigure { order, config } | Effect::Promote { order, config } => {
                    self.apply(n, order, config)
                }
                Effect::Stop { order } => self.apply(n, order, Config::Stopped),
                Effect::Announce { generation } => self.node(n).follows = Some(generation),
            }
        }
    }

    /// A database takes its time; until then it is what it was.
    fn apply(&mut self, n: u64, order: u64, config: Config) {
        let wait = Duration::from_millis(self.rng.below(400));
        let life = self.node(n).life;
        self.world.at(self.world.now().after(wait), n, Message::Applied { life, order, config });
    }

    fn applied(&mut self, n: u64, life: u64, order: u64, config: Config) {
        let node = self.node(n);
        // An order that a newer one overtook is not carried out.
        if node.down || node.life != life || order < node.order {
            return;
        }
        (node.order, node.config, node.streams) = (order, config, false);
        self.report(n);
    }

    fn report(&mut self, n: u64) {
        let node = self.node(n);
        let lsn = Lsn(node.log.len() as u64);
        let report = DatabaseReport { order: node.order, config: node.config.clone(), lsn, streams: node.streams };
        self.feed(n, Event::Database(report));
    }

    fn beat(&mut self, n: u64, life: u64) {
        let now = self.world.now();
        let node = self.node(n);
        if node.down || node.life != life {
            return;
        }
        let follows = node.follows;
        self.world.send(n, STORE, Message::KeepAlive { life, sent: now, follows });
        self.feed(n, Event::Tick);
        self.report(n);
        self.world.at(now.after(KEEP), n, Message::Beat { life });
    }

    fn keep(&mut self, from: u64, life: u64, sent: Instant, follows: Option<u64>) {
        let now = self.world.now();
        let node = self.node(from);
        if node.life != life {
            return;
        }
        let id = node.id.clone();
        let joined = self.leases.get(&id).map_or(now.nanos(), |(_, joined, _)| *joined);
        let news = self.leases.get(&id).is_none_or(|(_, _, before)| *before != follows);
        self.leases.insert(id, (now.after(LEASE), joined, follows));
        self.world.send(STORE, from, Message::Kept { life, sent });
        if news {
            self.members_revision += 1;
        }
    }

    fn sweep(&mut self) {
        let now = self.world.now();
        let before = self.leases.len();
        self.leases.retain(|_, (until, ..)| *until > now);
        self.members_revision += u64::from(self.leases.len() != before);
        let mut present: Vec<(u64, Present)> = self
            .leases
            .iter()
            .map(|(id, (_, joined, follows))| (*joined, Present { member: member(&id.0), follows: *follows }))
            .collect();
        present.sort_by_key(|(joined, _)| *joined);
        let present: Vec<Present> = present.into_iter().map(|(_, present)| present).collect();
        for n in 1..=self.nodes.len() as u64 {
            let (revision, state) = self.record.clone();
            self.world.send(STORE, n, Message::Record { revision, state });
            let members = Message::Members { revision: self.members_revision, present: present.clone() };
            self.world.send(STORE, n, members);
        }
    }

    fn propose(&mut self, from: u64, life: u64, revision: u64, state: ClusterState) -> Result<(), String> {
        if self.record.0 != revision {
            self.world.send(STORE, from, Message::Refused { life, revision });
            return Ok(());
        }
        let changed = self.record.1.as_ref().is_some_and(|old| old.primary != state.primary);
        self.takeovers += u64::from(changed);
        self.record = (revision + 1, Some(state.clone()));
        self.check_primary(&state)
    }

    /// Whoever the record names primary has every write that was ever acknowledged.
    fn check_primary(&self, state: &ClusterState) -> Result<(), String> {
        let primary = self.nodes.iter().find(|node| node.id == state.primary.id).unwrap();
        let has: BTreeSet<u64> = primary.log.iter().copied().collect();
        match self.acknowledged.iter().find(|write| !has.contains(write)) {
            None => Ok(()),
            Some(write) => Err(format!("write {write} was acknowledged, and {state:?} has lost it")),
        }
    }

    fn write(&mut self) {
        for node in &mut self.nodes {
            if !node.down && matches!(node.config, Config::Primary { .. }) {
                self.writes += 1;
                node.log.push(self.writes);
            }
        }
    }

    /// A standby takes some of what its upstream has, and its upstream hears how far it is.
    fn replicate(&mut self, n: u64) {
        let node = self.node(n);
        let Config::Standby { upstream, .. } = node.config.clone() else { return };
        let lag = node.lag;
        if node.down || (!self.calm && !self.rng.chance(1, lag)) {
            return;
        }
        let Some(up) = self.nodes.iter().position(|other| other.id == upstream.id) else { return };
        if self.nodes[up].down || self.nodes[up].config == Config::Stopped {
            return;
        }
        let theirs = self.nodes[up].log.clone();
        let take = if self.calm { usize::MAX } else { 1 + self.rng.index(8) };
        let node = self.node(n);
        let common = node.log.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
        // What the upstream does not have goes: a standby is rewound, or starts over.
        node.log.truncate(if common == theirs.len() { node.log.len() } else { common });
        let end = common.saturating_add(take).min(theirs.len());
        node.log.extend(&theirs[common..end]);
        node.streams = true;
        let (id, len) = (node.id.clone(), node.log.len());
        self.report(n);
        let confirms = matches!(&self.nodes[up].config, Config::Primary { sync: Some(sync), .. } if sync.id == id);
        if confirms {
            // What is before an acknowledged write in a log was acknowledged before it.
            let fresh = theirs[..len.min(theirs.len())].iter().rev();
            let fresh: Vec<u64> = fresh.take_while(|write| !self.acknowledged.contains(write)).copied().collect();
            self.acknowledged.extend(fresh);
        }
    }

    fn fault(&mut self) {
        let mut n = self.rng.index(self.nodes.len());
        // Every second time it hits who matters most.
        let primary = self.record.1.as_ref().map(|state| state.primary.id.clone());
        if self.rng.chance(1, 2) {
            n = self.nodes.iter().position(|node| Some(&node.id) == primary.as_ref()).unwrap_or(n);
        }
        let members: Vec<u64> = (0..=self.nodes.len() as u64).collect();
        match self.rng.index(9) {
            0..=2 if self.nodes[n].down => self.start(n),
            0..=2 => {
                let node = &mut self.nodes[n];
                node.down = true;
                (node.config, node.streams, node.follows) = (Config::Stopped, false, None);
            }
            3 => self.start(n),
            // Away from the store, but not from the others: replication goes on.
            4 => self.world.part(&members, &[n as u64 + 1]),
            5 => self.nodes[n].lag = 1 + self.rng.below(60),
            6 => {
                let faults = faults(&mut self.rng);
                self.world.set_faults(faults);
            }
            _ => self.world.heal(),
        }
    }

    /// A new life on the same disk. It begins by reading the record, as it is.
    fn start(&mut self, n: usize) {
        let number = n as u64 + 1;
        let node = &mut self.nodes[n];
        node.life += 1;
        node.down = false;
        (node.config, node.order, node.streams, node.follows) = (Config::Stopped, 0, false, None);
        node.peer = Peer::new(member(&node.id.0), ClusterMode::Replicated);
        let life = node.life;
        let (revision, state) = self.record.clone();
        self.feed(number, Event::State { revision, state });
        self.world.at(self.world.now(), number, Message::Beat { life });
    }
}

#[test]
fn sim_acknowledged_writes_survive() {
    let (mut takeovers, mut acknowledged) = (0, 0);
    testkit::sweep("sim_acknowledged_writes_survive", |seed| {
        let mut sim = Sim::new(seed);
        let verdict = sim.run(testkit::steps(4_000));
        takeovers += sim.takeovers;
        acknowledged += sim.acknowledged.len();
        verdict
    });
    println!("{takeovers} takeovers, {acknowledged} writes acknowledged");
    if std::env::var("SIM_SEED").is_err() {
        assert!(takeovers > 0, "nobody ever took over: the simulation is too tame");
    }
}

/// A cluster that trusts a sync wherever it is must be caught losing writes.
#[test]
fn sim_ignored_initial_position_is_noticed() {
    let found = testkit::find(256, |seed| {
        let mut sim = Sim::new(seed);
        for _ in 0..testkit::steps(4_000) {
            sim.step()?;
            if let Some(state) = &mut sim.record.1 {
                state.initial_lsn = Lsn::ZERO;
            }
        }
        Ok(())
    });
    assert!(found.is_some(), "nothing was lost although the initial position was ignored");
}

#[test]
fn roles_follow_the_chain() {
    let state = ClusterState {
        generation: 1,
        mode: ClusterMode::Replicated,
        primary: member("a"),
        sync: Some(member("b")),
        asyncs: vec![member("c"), member("d")],
        deposed: vec![member("e")],
        initial_lsn: Lsn::ZERO,
    };
    let upstream = |id: &str| {
        let role = state.role_of(&MemberId(id.into()));
        (role, state.upstream_of(role).cloned())
    };
    assert_eq!(upstream("a"), (Role::Primary, None::<Member>));
    assert_eq!(upstream("b"), (Role::Sync, Some(member("a"))));
    assert_eq!(upstream("c"), (Role::Async(0), Some(member("b"))));
    assert_eq!(upstream("d"), (Role::Async(1), Some(member("c"))));
    assert_eq!(upstream("e"), (Role::Deposed, Some(member("d"))));
    assert_eq!(upstream("f"), (Role::Unassigned, Some(member("d"))));
}
