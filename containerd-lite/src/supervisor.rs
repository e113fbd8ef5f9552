//! The one thread that owns this host's jobs: it feeds their machines with what happens and has their effects executed.
//!
//! Slow effects go to workers and come back as messages; nothing here waits for a disk, a shim or the store. What must
//! survive is in the jobs' directories before anything relies on it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Child;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use api::discovery::{Instance, InstanceState};
use discovery::agent::{Begin, Health};
use os::file::Durability;
use os::signal::Shutdown;
use runtime::cgroup::Cgroup;
use stdx::{Instant, Machine, Rng};
use types::host::Claim;
use types::job::{DownReason, JobState, JobStatus, Lifecycle, NetworkMode};
use types::{Digest, JobId};

use crate::core::job::{Effect, Event, Job};
use crate::core::plan::{self, Action, Observed};
use crate::effects::{self, Done, Tools};
use crate::follow::{Follower, Heard};
use crate::limits;
use crate::outline;
use crate::ports;
use crate::registrar::{Order, Registrar};
use crate::reporter::Reporter;
use crate::retain;
use crate::shim::wire::ShimPhase;
use crate::shim::{call, names};
use crate::stored::{Record, StoredState, VERSION};
use crate::workers::Workers;

mod recover;
mod suspend;

pub(crate) use suspend::Suspension;

/// What reaches the supervisor.
#[derive(Debug)]
pub(crate) enum Message {
    /// Every claim on this host.
    Claims(BTreeMap<JobId, Claim>),
    /// What discovery's registrar answers.
    Event(JobId, Event),
    /// What a worker brings.
    Done(JobId, Box<Done>),
    /// What a shim says.
    Heard(JobId, Heard),
    /// What a health check says.
    Health(JobId, Health),
    /// What the host API asks.
    List(SyncSender<Vec<JobView>>),
    /// Stop everything, keep what was claimed, and say how it goes.
    Suspend(SyncSender<String>),
}

/// A job as the host API shows it.
#[derive(Clone, Debug)]
pub(crate) struct JobView {
    pub(crate) claim: Claim,
    pub(crate) status: JobStatus,
}

/// What the supervisor works with.
#[derive(Debug)]
pub(crate) struct Parts {
    /// Where jobs that use the host's own network are reached.
    pub(crate) address: IpAddr,
    pub(crate) tools: Tools,
    pub(crate) slow: Workers,
    pub(crate) quick: Workers,
    pub(crate) registrar: Registrar,
    pub(crate) reporter: Reporter,
    pub(crate) follower: Follower,
    pub(crate) checks: discovery::Agent,
    pub(crate) sender: SyncSender<Message>,
    pub(crate) shutdown: Shutdown,
}

struct Entry {
    claim: Claim,
    job: Job,
    state: JobState,
    started_ms: u64,
    ended_ms: u64,
    address: Option<Ipv4Addr>,
    pid: Option<i32>,
}

pub(crate) struct Supervisor {
    parts: Parts,
    tools: Arc<Tools>,
    entries: BTreeMap<JobId, Entry>,
    claims: Option<BTreeMap<JobId, Claim>>,
    refused: BTreeSet<JobId>,
    /// Events that effects gave at once.
    events: VecDeque<(JobId, Event)>,
    shims: Vec<Child>,
    rng: Rng,
    suspension: Option<Suspension>,
    collect_at: Instant,
}

/// How often dead shims are reaped; they are few and wait quietly.
const REAP_PERIOD: Duration = Duration::from_secs(1);

impl Supervisor {
    pub(crate) fn new(parts: Parts) -> Supervisor {
        let tools = Arc::new(parts.tools.clone());
        Supervisor {
            tools,
            entries: BTreeMap::new(),
            claims: None,
            refused: BTreeSet::new(),
            events: VecDeque::new(),
            shims: Vec::new(),
            rng: Rng::new(os::entropy::seed()),
            suspension: None,
            collect_at: os::clock::now().after(limits::COLLECT_PERIOD),
            parts,
        }
    }

    /// Until the shutdown is asked for. Jobs go on without it.
    pub(crate) fn run(mut self, inbox: &Receiver<Message>) {
        while !self.parts.shutdown.asked() {
            let now = os::clock::now();
            let due = self.entries.values().filter_map(|entry| entry.job.deadline()).min();
            let wait = due.map_or(REAP_PERIOD, |due| due.since(now)).min(REAP_PERIOD / 4);
            match inbox.recv_timeout(wait) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.tick();
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Claims(claims) => {
                self.claims = Some(claims);
                self.reconcile();
            }
            Message::Event(job, event) => self.feed(&job, event),
            Message::Done(job, done) => self.done(&job, *done),
            Message::Heard(job, heard) => self.heard(&job, heard),
            Message::Health(job, health) => self.health(&job, health),
            Message::List(reply) => {
                let list =
                    self.entries.values().map(|entry| JobView { claim: entry.claim.clone(), status: status(entry) });
                // Whoever asked may have gone.
                let _ = reply.send(list.collect());
            }
            Message::Suspend(progress) => self.suspend(progress),
        }
        self.drain_events();
    }

    fn drain_events(&mut self) {
        while let Some((job, event)) = self.events.pop_front() {
            self.feed(&job, event);
        }
    }

    fn tick(&mut self) {
        let now = os::clock::now();
        let due: Vec<JobId> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.job.deadline().is_some_and(|at| at <= now))
            .map(|(id, _)| id.clone())
            .collect();
        for job in due {
            self.feed(&job, Event::Tick);
        }
        self.drain_events();
        self.shims.retain_mut(|shim| matches!(shim.try_wait(), Ok(None)));
        self.go_on_suspending(now);
        if now >= self.collect_at {
            self.collect_at = now.after(limits::COLLECT_PERIOD);
            self.collect();
        }
    }

    fn reconcile(&mut self) {
        let (None, Some(claims)) = (&self.suspension, &self.claims) else { return };
        let observed: BTreeMap<JobId, Observed> = self
            .entries
            .iter()
            .map(|(id, entry)| {
                (id.clone(), Observed { stop: entry.job.stop_order(), forgotten: entry.job.is_forgotten() })
            })
            .collect();
        self.refused.retain(|job| claims.contains_key(job));
        for action in plan::plan(claims, &observed) {
            match action {
                Action::Create(job) => self.create(&job),
                Action::Stop(job, order) => self.feed(&job, Event::Stop(order)),
                Action::Forget(job) => self.feed(&job, Event::Forget),
                Action::Refuse(job) => self.refuse(&job, format!("this host has {} jobs already", limits::JOBS_MAX)),
            }
        }
    }

    /// A claim that cannot be taken up is answered all the same, once.
    fn refuse(&mut self, job: &JobId, reason: String) {
        if self.refused.insert(job.clone()) {
            log::warn!(job:% = job, reason:% = reason; "job refused");
            let now = os::clock::wall().unix_millis();
            self.parts.reporter.report(JobStatus {
                job: job.clone(),
                state: JobState::Down(DownReason::Failed { reason }),
                address: None,
                pid: None,
                restarts: 0,
                last_exit: None,
                started_ms: 0,
                ended_ms: now,
            });
        }
    }

    fn create(&mut self, job: &JobId) {
        let Some(claim) = self.claims.as_ref().and_then(|claims| claims.get(job)).cloned() else { return };
        if let Err(error) = crate::jobdir::JobDir::create(&self.tools.jobs, &claim) {
            let full = crate::disk::check_room(&self.tools.jobs).err();
            let reason = full.map_or_else(|| os::text::chain(&error), |full| format!("disk_full: {full}"));
            return self.refuse(job, reason);
        }
        log::info!(job:% = job, app:% = claim.spec.app_name, process_type:% = claim.spec.process_type; "job claimed");
        self.adopt(claim, Record::default());
        self.feed(job, Event::Found(crate::core::job::Found::Nothing));
    }

    fn adopt(&mut self, claim: Claim, record: Record) {
        let job = Job::new(&claim.spec, record, self.rng.fork(1));
        let entry = Entry {
            job,
            state: JobState::Starting,
            started_ms: 0,
            ended_ms: 0,
            address: None,
            pid: None,
            claim: claim.clone(),
        };
        self.entries.insert(claim.job, entry);
    }

    fn done(&mut self, job: &JobId, done: Done) {
        if let Some(made) = done.made {
            self.shims.push(made.shim);
            if let Some(entry) = self.entries.get_mut(job) {
                entry.pid = Some(made.pid);
                entry.address = made.address;
            }
        }
        if let (Event::Created { run }, Some(_)) = (&done.event, self.entries.get(job)) {
            self.follow(job, *run);
        }
        self.feed(job, done.event);
    }

    /// Listen to the job's shim from now on.
    fn follow(&mut self, job: &JobId, run: u32) {
        match call::watch(self.tools.dir(job).path()) {
            Ok(stream) => self.parts.follower.follow(job, run, stream),
            // It ended within the moment since it said that it was ready.
            Err(_) => self.events.push_back((job.clone(), self.ended(job, run))),
        }
    }

    fn ended(&self, job: &JobId, run: u32) -> Event {
        Event::Ended { run, reason: effects::end_of(&self.tools.dir(job), run) }
    }

    fn heard(&mut self, job: &JobId, heard: Heard) {
        match heard {
            Heard::State(state) => match state.phase {
                ShimPhase::Ended(reason) => self.feed(job, Event::Ended { run: state.run, reason }),
                ShimPhase::Created if state.clients > 0 => self.feed(job, Event::ClientAttached { run: state.run }),
                ShimPhase::Created | ShimPhase::Running => {}
            },
            Heard::Gone { run } => {
                let event = self.ended(job, run);
                self.feed(job, event);
            }
        }
    }

    fn health(&mut self, job: &JobId, health: Health) {
        let Some(entry) = self.entries.get(job) else { return };
        let run = entry.job.run();
        let event = match health {
            Health::Healthy => Event::Healthy { run },
            Health::Unhealthy { reason } => Event::Unhealthy { run, why: reason },
            Health::StartFailed { reason } => {
                let port = entry.claim.spec.service.as_ref().map(|service| service.port);
                let advice = port.zip(entry.pid).map(|(port, pid)| ports::advice(port, &ports::listening(pid)));
                Event::NeverHealthy { run, why: format!("{reason}{}", advice.unwrap_or_default()) }
            }
        };
        self.feed(job, event);
    }

    fn feed(&mut self, job: &JobId, event: Event) {
        let Some(entry) = self.entries.get_mut(job) else { return };
        let was = entry.job.phase();
        match &event {
            Event::Started { .. } => entry.started_ms = os::clock::wall().unix_millis(),
            Event::Ended { .. } | Event::CreateFailed { .. } => {
                entry.ended_ms = os::clock::wall().unix_millis();
                (entry.pid, entry.address) = (None, None);
            }
            _ => {}
        }
        log::debug!(job:% = job, event:? = event; "event");
        let mut effects = Vec::new();
        entry.job.handle(os::clock::now(), event, &mut effects);
        let phase = entry.job.phase();
        if phase != was {
            log::info!(job:% = job, phase, run = entry.job.run(); "job moved");
        }
        for effect in effects {
            self.execute(job, effect);
        }
    }

    fn execute(&mut self, job: &JobId, effect: Effect) {
        let Some(entry) = self.entries.get_mut(job) else { return };
        let is_suspended = self.suspension.is_some();
        match effect {
            // What is stopped with the whole host is to run again with it: nothing of this is kept or told.
            Effect::Persist(_) | Effect::Report(_) if is_suspended => {}
            Effect::Persist(record) => self.persist(job, record),
            Effect::Report(state) => {
                entry.state = state;
                self.parts.reporter.report(status(entry));
            }
            Effect::Prepare { run } => {
                let claim = entry.claim.clone();
                self.have_done(job, Pace::Slow, move |tools| tools.prepare(&claim, run).into());
            }
            Effect::Create { run } => {
                let claim = entry.claim.clone();
                self.have_done(job, Pace::Slow, move |tools| tools.create(&claim, run));
            }
            Effect::Start { run } => {
                let id = job.clone();
                self.have_done(job, Pace::Quick, move |tools| tools.start(&id, run).into());
            }
            Effect::Clean { run } => {
                let claim = entry.claim.clone();
                self.have_done(job, Pace::Slow, move |tools| tools.clean(&claim, run).into());
                let tools = Arc::clone(&self.tools);
                self.parts.slow.push(move || tools.empty_trash());
            }
            Effect::Signal { signal, .. } => {
                let (id, tools) = (job.clone(), Arc::clone(&self.tools));
                self.parts.quick.push(move || tools.signal(&id, signal));
            }
            Effect::WatchHealth { run } => self.watch_health(job, run),
            Effect::StopHealth => self.parts.checks.uncheck(job),
            Effect::Register { run } => self.register(job, run),
            Effect::MarkDraining { run } => {
                if let Some(service) = &entry.claim.spec.service {
                    let order = Order::Drain { run, service: service.name.clone(), job: job.clone() };
                    self.parts.registrar.order(order);
                }
            }
            Effect::Deregister => {
                if let Some(service) = &entry.claim.spec.service {
                    self.parts.registrar.order(Order::Deregister { service: service.name.clone(), job: job.clone() });
                }
            }
            Effect::Remove => self.remove(job),
        }
    }

    fn have_done(&self, job: &JobId, pace: Pace, work: impl FnOnce(&Tools) -> Done + Send + 'static) {
        let (job, tools, sender) = (job.clone(), Arc::clone(&self.tools), self.parts.sender.clone());
        let workers = match pace {
            Pace::Slow => &self.parts.slow,
            Pace::Quick => &self.parts.quick,
        };
        workers.push(move || {
            let done = work(&tools);
            // A supervisor that is gone left the job to the next daemon.
            let _ = sender.send(Message::Done(job, Box::new(done)));
        });
    }

    fn persist(&mut self, job: &JobId, record: Record) {
        let Some(entry) = self.entries.get(job) else { return };
        // A job that runs once must not be found as not begun after a power cut, nor any job as running that ended.
        let must_survive = record.ended.is_some() || (record.begun && entry.claim.spec.lifecycle == Lifecycle::Batch);
        let durability = if must_survive { Durability::Synced } else { Durability::Atomic };
        let stored = StoredState {
            version: VERSION,
            record,
            started_ms: entry.started_ms,
            ended_ms: entry.ended_ms,
            address: entry.address.map(|address| address.to_string()),
            forgotten: false,
        };
        if let Err(error) = self.tools.dir(job).save(names::STATE, &stored, durability) {
            log::error!(job:% = job, error:% = os::text::chain(&error); "state of a job not kept");
        }
    }

    fn socket(&self, entry: &Entry) -> Option<SocketAddr> {
        let port = entry.claim.spec.service.as_ref()?.port;
        let ip = match entry.claim.spec.network {
            NetworkMode::Bridge => IpAddr::V4(entry.address?),
            NetworkMode::Host => self.parts.address,
            NetworkMode::Loopback => IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        Some(SocketAddr::new(ip, port))
    }

    fn watch_health(&mut self, job: &JobId, run: u32) {
        let Some(entry) = self.entries.get(job) else { return };
        let check = entry.claim.spec.service.as_ref().and_then(|service| service.check.as_ref());
        let (Some(check), Some(socket)) = (check, self.socket(entry)) else { return };
        if entry.claim.spec.network == NetworkMode::Loopback {
            // Nobody outside can reach it, this host's checks neither: it is well while it runs.
            self.events.push_back((job.clone(), Event::Healthy { run }));
            return;
        }
        let begin = if entry.job.record().announced { Begin::KnownWell } else { Begin::Starting };
        let begun = if entry.claim.spec.network == NetworkMode::Host {
            // The address is the host's: anybody may listen there.
            let group = outline::cgroup(&self.tools.cgroup_root, job, &entry.claim.spec);
            let vet = move || {
                let pids = Cgroup::open(&group).map(|group| group.pids()).unwrap_or_default();
                ports::must_hold(socket.port(), &pids)
            };
            self.parts.checks.check_vetted(job, socket, check, begin, Arc::new(vet))
        } else {
            self.parts.checks.check(job, socket, check, begin)
        };
        if let Err(error) = begun {
            let why = os::text::chain(&error);
            self.events.push_back((job.clone(), Event::NeverHealthy { run, why }));
        }
    }

    fn register(&mut self, job: &JobId, run: u32) {
        let Some(entry) = self.entries.get(job) else { return };
        let (Some(service), Some(socket)) = (&entry.claim.spec.service, self.socket(entry)) else { return };
        let spec = &entry.claim.spec;
        let mut meta = BTreeMap::new();
        meta.insert("process_type".to_owned(), spec.process_type.to_string());
        if let Some(release) = &spec.release {
            meta.insert("release".to_owned(), release.to_string());
        }
        let instance = Instance {
            service: service.name.clone(),
            job: job.clone(),
            app: Some(spec.app.clone()),
            address: socket.to_string(),
            state: InstanceState::Up,
            meta,
        };
        self.parts.registrar.order(Order::Register { run, instance: Box::new(instance) });
    }

    /// The claim is gone and so is the job: what is left is its log, for a while.
    fn remove(&mut self, job: &JobId) {
        let Some(entry) = self.entries.remove(job) else { return };
        let dir = self.tools.dir(job);
        let stored = StoredState {
            version: VERSION,
            record: entry.job.record().clone(),
            started_ms: entry.started_ms,
            ended_ms: entry.ended_ms,
            address: None,
            forgotten: true,
        };
        self.parts.reporter.forget(job);
        self.parts.slow.push(move || {
            // In this order: a directory without the mark would be taken up again.
            let kept = dir.save(names::STATE, &stored, Durability::Synced).and_then(|()| dir.retire());
            if let Err(error) = kept {
                log::warn!(dir:% = dir.path().display(), error:% = os::text::chain(&error); "job not put away");
            }
        });
    }

    /// Layers and logs that nobody needs.
    fn collect(&self) {
        let named: BTreeSet<Digest> =
            self.entries.values().flat_map(|entry| entry.claim.spec.layers.iter().cloned()).collect();
        // A claim from now on is not among those named: its layers are spared.
        let collection = self.tools.layers.collection();
        let (tools, live) = (Arc::clone(&self.tools), self.entries.keys().cloned().collect::<BTreeSet<_>>());
        self.parts.slow.push(move || {
            match collection.remove_unnamed(&named) {
                Ok(removed) if !removed.is_empty() => log::info!(count = removed.len(); "layers removed"),
                Ok(_) => {}
                Err(error) => log::warn!(error:% = os::text::chain(&error); "layers not collected"),
            }
            retain::ended_jobs(&tools.jobs, &live, os::clock::wall().unix_millis());
        });
    }
}

#[derive(Clone, Copy)]
enum Pace {
    Slow,
    Quick,
}

fn status(entry: &Entry) -> JobStatus {
    let record = entry.job.record();
    JobStatus {
        job: entry.claim.job.clone(),
        state: entry.state.clone(),
        address: entry.address.map(|address| address.to_string()),
        pid: entry.pid.and_then(|pid| u32::try_from(pid).ok()),
        restarts: record.restarts,
        last_exit: record.last_exit.clone(),
        started_ms: entry.started_ms,
        ended_ms: if entry.state.is_down() { entry.ended_ms } else { 0 },
    }
}
