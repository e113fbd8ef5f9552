//! One member's decisions.

use alloc::vec::Vec;

use stdx::{Instant, Machine};

use crate::limits::{ASYNC_PATIENCE, PROPOSAL_PATIENCE};
use crate::lsn::Lsn;
use crate::state::{ClusterMode, ClusterState, Member, MemberId, Role};

/// A member that the store says is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// Which.
    pub member: Member,
    /// The generation whose chain it said it follows with nothing that the chain does not have; see [`Effect::Announce`].
    pub follows: Option<u64>,
}

/// What a database is told to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Config {
    /// Not running.
    Stopped,
    /// Takes writes; a commit is acknowledged when the sync has it, or at once in a cluster of one.
    Primary {
        /// In which generation.
        generation: u64,
        /// Who confirms.
        sync: Option<Member>,
    },
    /// Primary that acknowledges nothing.
    Held {
        /// In which generation.
        generation: u64,
    },
    /// Follows; if its log has gone another way than the upstream's, it is rewound or built anew first.
    Standby {
        /// In which generation.
        generation: u64,
        /// Whom.
        upstream: Member,
    },
    /// A standby that receives nothing.
    Detached {
        /// In which generation.
        generation: u64,
    },
}

/// What a database is, and how far its log was flushed when it already was that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseReport {
    /// The number of the order that it carried out last.
    pub order: u64,
    /// What it is.
    pub config: Config,
    /// How far its log is on disk.
    pub lsn: Lsn,
    /// For a standby: whether it streams from its upstream.
    pub streams: bool,
}

/// What can happen to a member.
#[derive(Clone, Debug)]
pub enum Event {
    /// The record at that revision; `None` when there is none yet.
    State {
        /// The revision, 0 when there is no record.
        revision: u64,
        /// The record.
        state: Option<ClusterState>,
    },
    /// Who is there, the longest first, at that revision of the store.
    Members {
        /// The revision.
        revision: u64,
        /// Who.
        present: Vec<Present>,
    },
    /// What the database is.
    Database(DatabaseReport),
    /// The proposal made at that revision was refused: a newer record is on its way.
    Refused {
        /// The revision that was compared.
        revision: u64,
    },
    /// This member's own lease holds until then at least.
    Lease {
        /// Until when.
        until: Instant,
    },
    /// Time passed.
    Tick,
}

/// What the shell must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write the record if it still is at `revision` (0: if there is none).
    CompareAndSet {
        /// The revision to compare.
        revision: u64,
        /// The record.
        state: ClusterState,
    },
    /// Make the database this, and report when it is. A newer order replaces one that is under way.
    Reconfigure {
        /// The order's number, for the report.
        order: u64,
        /// What to be.
        config: Config,
    },
    /// End recovery of a standby and make it this primary, and report when it is.
    Promote {
        /// The order's number, for the report.
        order: u64,
        /// What to be.
        config: Config,
    },
    /// Stop the database, and report when it is stopped.
    Stop {
        /// The order's number, for the report.
        order: u64,
    },
    /// Tell the others that this member follows the chain of that generation, as part of its presence.
    Announce {
        /// The generation.
        generation: u64,
    },
}

/// A change of the record whose fate is not known.
#[derive(Clone, Debug)]
struct Proposal {
    revision: u64,
    state: ClusterState,
    sent: Instant,
}

/// What to be, and what to propose.
struct Decision {
    config: Config,
    proposal: Option<ClusterState>,
}

/// One member's machine. See the crate's invariant.
#[derive(Debug)]
pub struct Peer {
    me: Member,
    mode: ClusterMode,
    revision: u64,
    state: Option<ClusterState>,
    heard: bool,
    /// Whether what a former life of this member proposed can no longer take effect.
    settled: bool,
    present: Vec<Present>,
    members_revision: u64,
    members_known: bool,
    missing: Vec<(MemberId, Instant)>,
    database: DatabaseReport,
    ordered: Config,
    /// The number of the last order. A report of an earlier one says nothing of what the database is now.
    order: u64,
    lease_until: Instant,
    proposal: Option<Proposal>,
    /// The revision at which a proposal was refused: the record is newer, and nothing is decided before it is known.
    outdated: Option<u64>,
    announced: Option<u64>,
    now: Instant,
}

impl Peer {
    /// A member that knows nothing yet. Its database is stopped.
    #[must_use]
    pub fn new(me: Member, mode: ClusterMode) -> Peer {
        Peer {
            me,
            mode,
            revision: 0,
            state: None,
            heard: false,
            settled: false,
            present: Vec::new(),
            members_revision: 0,
            members_known: false,
            missing: Vec::new(),
            database: DatabaseReport { order: 0, config: Config::Stopped, lsn: Lsn::ZERO, streams: false },
            ordered: Config::Stopped,
            order: 0,
            lease_until: Instant::START,
            proposal: None,
            outdated: None,
            announced: None,
            now: Instant::START,
        }
    }

    /// The record as this member knows it.
    #[must_use]
    pub fn state(&self) -> Option<&ClusterState> {
        self.state.as_ref()
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::State { revision, state } => {
                // Late news of an older record say nothing.
                if revision > self.revision || !self.heard {
                    self.settled |= self.heard && revision > self.revision;
                    (self.revision, self.state, self.heard) = (revision, state, true);
                    self.proposal.take_if(|proposal| proposal.revision < revision);
                }
            }
            Event::Members { revision, present } => {
                if revision >= self.members_revision {
                    self.members_revision = revision;
                    self.present = present;
                    self.members_known = true;
                    self.note_missing();
                }
            }
            Event::Database(report) => self.database = report,
            Event::Lease { until } => self.lease_until = self.lease_until.max(until),
            // The record that beat it will be told; the proposal can no longer take effect.
            Event::Refused { revision } => {
                if self.proposal.take_if(|proposal| proposal.revision == revision).is_some() {
                    self.settled = true;
                    self.outdated = Some(revision);
                }
            }
            Event::Tick => {}
        }
    }

    fn note_missing(&mut self) {
        let present = &self.present;
        self.missing.retain(|(id, _)| !present.iter().any(|other| other.member.id == *id));
        let Some(state) = &self.state else { return };
        for member in state.sync.iter().chain(&state.asyncs).chain([&state.primary]) {
            let known = self.missing.iter().any(|(id, _)| *id == member.id);
            if !known && !present.iter().any(|other| other.member.id == member.id) {
                self.missing.push((member.id.clone(), self.now));
            }
        }
    }

    fn is_present(&self, id: &MemberId) -> bool {
        self.present.iter().any(|other| other.member.id == *id)
    }

    fn react(&mut self, effects: &mut Vec<Effect>) {
        if !self.heard || !self.members_known {
            return;
        }
        self.note_missing();
        if let Some(proposal) = &mut self.proposal {
            // Its fate is open. Everything stays as it was when it was made; the same proposal again settles it.
            if self.now >= proposal.sent.after(PROPOSAL_PATIENCE) {
                proposal.sent = self.now;
                effects.push(Effect::CompareAndSet { revision: proposal.revision, state: proposal.state.clone() });
            }
            self.guard_lease(effects);
            return;
        }
        if self.outdated == Some(self.revision) {
            self.guard_lease(effects);
            return;
        }
        let decision = match &self.state {
            None => self.without_record(),
            Some(state) => match state.role_of(&self.me.id) {
                Role::Primary | Role::Sync if !self.settled => {
                    Decision { config: self.ordered.clone(), proposal: Some(state.clone()) }
                }
                Role::Primary => self.as_primary(state),
                Role::Sync => self.as_sync(state),
                role => self.as_follower(state, role),
            },
        };
        self.order(decision.config, effects);
        if let Some(state) = decision.proposal {
            debug_assert!(state.is_consistent(), "a member is in {state:?} twice");
            let revision = self.revision;
            self.proposal = Some(Proposal { revision, state: state.clone(), sent: self.now });
            effects.push(Effect::CompareAndSet { revision, state });
        }
        self.announce(effects);
        self.guard_lease(effects);
    }

    fn order(&mut self, config: Config, effects: &mut Vec<Effect>) {
        if config == self.ordered {
            return;
        }
        let standby = matches!(self.ordered, Config::Standby { .. } | Config::Detached { .. });
        self.ordered = config.clone();
        self.order += 1;
        let order = self.order;
        effects.push(match &config {
            Config::Stopped => Effect::Stop { order },
            Config::Primary { .. } | Config::Held { .. } if standby => Effect::Promote { order, config },
            _ => Effect::Reconfigure { order, config },
        });
    }

    /// Whether the database is what was ordered last, and that is `config`.
    fn is_now(&self, config: &Config) -> bool {
        self.ordered == *config && self.database.order == self.order && self.database.config == *config
    }

    /// A primary whose lease may have run out elsewhere acknowledges nothing, whatever else is decided.
    fn guard_lease(&mut self, effects: &mut Vec<Effect>) {
        if let Config::Primary { generation, .. } = self.ordered
            && self.now >= self.lease_until
        {
            self.order(Config::Held { generation }, effects);
        }
    }

    fn announce(&mut self, effects: &mut Vec<Effect>) {
        let Some(state) = &self.state else { return };
        let outside = matches!(state.role_of(&self.me.id), Role::Deposed | Role::Unassigned);
        let follows = self.is_now(&self.ordered) && self.database.streams;
        if outside && follows && self.announced != Some(state.generation) {
            self.announced = Some(state.generation);
            effects.push(Effect::Announce { generation: state.generation });
        }
    }

    /// The member that is there longest makes the first record.
    fn without_record(&self) -> Decision {
        let first = self.present.first().is_some_and(|other| other.member.id == self.me.id);
        let enough = self.mode == ClusterMode::Single || self.present.len() >= 2;
        let proposal = (first && enough).then(|| {
            let mut others = self.present.iter().skip(1).map(|other| other.member.clone());
            let single = self.mode == ClusterMode::Single;
            ClusterState {
                generation: 1,
                mode: self.mode,
                primary: self.me.clone(),
                sync: if single { None } else { others.next() },
                asyncs: if single { Vec::new() } else { others.collect() },
                deposed: Vec::new(),
                initial_lsn: Lsn::ZERO,
            }
        });
        Decision { config: Config::Stopped, proposal }
    }

    fn as_primary(&self, state: &ClusterState) -> Decision {
        let generation = state.generation;
        let held = Config::Held { generation };
        if state.mode == ClusterMode::Single {
            let config = Config::Primary { generation, sync: None };
            return Decision { config: if self.now >= self.lease_until { held } else { config }, proposal: None };
        }
        let lost = state.sync.as_ref().is_none_or(|sync| !self.is_present(&sync.id));
        let heir = state.asyncs.iter().find(|member| self.is_present(&member.id));
        if lost && let Some(heir) = heir {
            // Nothing may be acknowledged between reading the position and the new record.
            let ready = self.is_now(&held);
            let proposal = ready.then(|| self.with_sync(state, heir));
            return Decision { config: held, proposal };
        }
        let config = match &state.sync {
            Some(sync) if self.now < self.lease_until => Config::Primary { generation, sync: Some(sync.clone()) },
            _ => held,
        };
        Decision { config, proposal: self.with_followers(state) }
    }

    fn with_sync(&self, state: &ClusterState, heir: &Member) -> ClusterState {
        let mut next = state.clone();
        next.generation += 1;
        next.sync = Some(heir.clone());
        next.asyncs.retain(|member| member.id != heir.id);
        next.initial_lsn = self.database.lsn;
        next
    }

    /// The record with those who have come to follow, and without asyncs that are long gone.
    fn with_followers(&self, state: &ClusterState) -> Option<ClusterState> {
        let mut next = state.clone();
        let gone = |id: &MemberId| {
            let since = self.missing.iter().find(|(missing, _)| missing == id);
            since.is_some_and(|(_, since)| self.now >= since.after(ASYNC_PATIENCE))
        };
        next.asyncs.retain(|member| !gone(&member.id));
        for other in &self.present {
            let outside = matches!(next.role_of(&other.member.id), Role::Deposed | Role::Unassigned);
            if outside && other.follows == Some(state.generation) {
                next.deposed.retain(|member| member.id != other.member.id);
                next.asyncs.push(other.member.clone());
            }
        }
        (next != *state).then_some(next)
    }

    fn as_sync(&self, state: &ClusterState) -> Decision {
        let generation = state.generation;
        if self.is_present(&state.primary.id) {
            let config = Config::Standby { generation, upstream: state.primary.clone() };
            return Decision { config, proposal: None };
        }
        // What the primary could still have acknowledged through this member ends here, then the position is read.
        let detached = Config::Detached { generation };
        let ready = self.is_now(&detached) && self.database.lsn >= state.initial_lsn;
        let proposal = ready.then(|| {
            let mut next = state.clone();
            next.generation += 1;
            next.deposed.push(core::mem::replace(&mut next.primary, self.me.clone()));
            let heir = next.asyncs.iter().position(|member| self.is_present(&member.id));
            next.sync = heir.map(|place| next.asyncs.remove(place));
            next.initial_lsn = self.database.lsn;
            next
        });
        Decision { config: detached, proposal }
    }

    fn as_follower(&self, state: &ClusterState, role: Role) -> Decision {
        let config = match state.upstream_of(role) {
            Some(upstream) => Config::Standby { generation: state.generation, upstream: upstream.clone() },
            None => Config::Stopped,
        };
        // A cluster of one takes nobody in.
        let config = if state.mode == ClusterMode::Single { Config::Stopped } else { config };
        Decision { config, proposal: None }
    }
}

impl Machine for Peer {
    type Event = Event;
    type Effect = Effect;

    fn handle(&mut self, now: Instant, event: Event, effects: &mut Vec<Effect>) {
        self.now = now;
        self.take(event);
        self.react(effects);
    }

    fn deadline(&self) -> Option<Instant> {
        let resend = self.proposal.as_ref().map(|proposal| proposal.sent.after(PROPOSAL_PATIENCE));
        let lease = matches!(self.ordered, Config::Primary { .. }).then_some(self.lease_until);
        let asyncs = self.missing.iter().map(|(_, since)| since.after(ASYNC_PATIENCE)).filter(|at| *at > self.now);
        resend.into_iter().chain(lease).chain(asyncs).min()
    }
}
