//! The deployer: one thread that mirrors the cell, and, while it leads, moves every deployment on.
//!
//! It decides nothing: `controller_core::deployment` is shown what is there and says what to do. Each effect is
//! one transaction that fails when this controller no longer leads or looked at an older formation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use api::cell::{LEADERS, Leader};
use api::controller::{ScaleRequest, ScaleState};
use api::objects::{ACTIVE_DEPLOYMENTS, SCALES};
use api::store::{LeaseKeeper, Repeat, Txn, WatchEvent};
use api::table::{Row, TableEvent};
use controller_core::deployment::{Deployer as Moves, Effect, Event};
use os::signal::Shutdown;
use stdx::{Instant, Machine};
use types::app::{Deployment, DeploymentStatus};
use types::{ApiError, Code, DeploymentId};

use crate::limits::{INBOX_MAX, LEADER_TTL};
use crate::persist::{Change, json, now_text};
use crate::state::Controller;

mod execute;
mod mirror;

use mirror::Mirror;

/// The leader's name among those of the cell.
pub(crate) const LEADER: &str = "deployer";

/// How long to wait after a transaction that was refused or not answered.
const AGAIN: Duration = Duration::from_millis(200);

/// How long the thread waits at most before it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(500);

/// Effects in a row of one deployment before the others have their turn.
const STEPS_MAX: u32 = 16;

enum Message {
    Cell(WatchEvent),
    Active(TableEvent<DeploymentId>),
    Scales(TableEvent<ScaleRequest>),
    LeaseLost,
}

/// A deployment under way.
struct Running {
    record: Deployment,
    /// The revision at which the record was made: ends of jobs before it are not its failures.
    since: u64,
    machine: Moves,
    /// The revision of the row that names it the active one; written again when somebody aborts it.
    active: u64,
    /// The cell's revision that the machine must see before it is asked again.
    blind_until: u64,
    retry_at: Option<Instant>,
}

struct Deployer {
    controller: Arc<Controller>,
    lease: LeaseKeeper,
    mirror: Mirror,
    active: BTreeMap<String, Row<DeploymentId>>,
    scales: BTreeMap<String, Row<ScaleRequest>>,
    running: BTreeMap<String, Running>,
    /// The revision at which our leader's key was made, while we lead.
    leads: Option<u64>,
    lead_at: Instant,
}

/// Run until the shutdown.
pub(crate) fn run(controller: &Arc<Controller>) -> Result<(), ApiError> {
    let (tell, inbox) = sync_channel(INBOX_MAX);
    let lost = tell.clone();
    // A full inbox means that the thread is about to look anyway.
    let renewed = move |_| drop(lost.try_send(Message::LeaseLost));
    let lease = LeaseKeeper::start(&controller.store, LEADER_TTL, &controller.shutdown, renewed)?;
    watch(controller, &tell)?;
    let mut deployer = Deployer {
        controller: Arc::clone(controller),
        lease,
        mirror: Mirror::default(),
        active: BTreeMap::new(),
        scales: BTreeMap::new(),
        running: BTreeMap::new(),
        leads: None,
        lead_at: Instant::START,
    };
    deployer.work(&inbox);
    Ok(())
}

fn watch(controller: &Arc<Controller>, tell: &SyncSender<Message>) -> Result<(), ApiError> {
    let (store, shutdown) = (&controller.store, &controller.shutdown);
    let cell = store.watch("cell/", shutdown);
    let active = ACTIVE_DEPLOYMENTS.watch(store, &[], shutdown);
    let scales = SCALES.watch(store, &[], shutdown);
    let threads = [
        forward("watch-cell", cell.map(Message::Cell), tell.clone(), shutdown),
        forward("watch-deploys", active.map(Message::Active), tell.clone(), shutdown),
        forward("watch-scales", scales.map(Message::Scales), tell.clone(), shutdown),
    ];
    threads
        .into_iter()
        .collect::<std::io::Result<()>>()
        .map_err(|error| ApiError::retryable(Code::Unavailable, format!("no thread to watch with: {error}")))
}

fn forward(
    name: &str,
    events: impl Iterator<Item = Message> + Send + 'static,
    tell: SyncSender<Message>,
    shutdown: &Shutdown,
) -> std::io::Result<()> {
    let shutdown = shutdown.clone();
    let body = move || {
        for event in events {
            if tell.send(event).is_err() || shutdown.asked() {
                return;
            }
        }
    };
    os::thread::spawn(name, body).map(drop)
}

impl Deployer {
    fn work(&mut self, inbox: &Receiver<Message>) {
        while !self.controller.shutdown.asked() {
            match inbox.recv_timeout(self.wait()) {
                Ok(message) => {
                    self.take(message);
                    while let Ok(more) = inbox.try_recv() {
                        self.take(more);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.lead();
            if self.leads.is_some() {
                self.adopt();
                self.step_all();
                self.complete_scales();
            }
        }
    }

    fn wait(&self) -> Duration {
        let now = os::clock::now();
        let deadlines = self.running.values().filter_map(|one| one.retry_at.or_else(|| one.machine.deadline()));
        let next = deadlines.min().map_or(LOOK, |at| at.since(now));
        next.clamp(Duration::from_millis(1), LOOK)
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Cell(event) => {
                let told = self.mirror.apply(event);
                for job in told {
                    self.controller.hub.push(mirror::event_of(&job));
                }
            }
            Message::Active(event) => drop(event.apply(&mut self.active)),
            Message::Scales(event) => drop(event.apply(&mut self.scales)),
            Message::LeaseLost => self.step_down(),
        }
    }

    fn step_down(&mut self) {
        if self.leads.take().is_some() {
            log::warn!("another controller may lead now: the lease was lost");
        }
        self.running.clear();
    }

    /// Lead, if nobody does. What led under our own job's name was this controller before it was restarted.
    fn lead(&mut self) {
        let now = os::clock::now();
        if !self.mirror.ready() || now < self.lead_at {
            return;
        }
        let seen = self.mirror.leader(LEADER).map(|row| (row.created, row.revision, row.value.job.clone()));
        if let Some(ours) = self.leads {
            let still = match &seen {
                Some((created, revision, _)) => *created == ours || *revision < ours,
                None => !self.mirror.caught_up(ours),
            };
            if still {
                return;
            }
            self.step_down();
        }
        if seen.as_ref().is_some_and(|(_, _, job)| *job != self.controller.job) {
            return;
        }
        self.lead_at = now.after(AGAIN);
        let key = LEADERS.key(&[LEADER]);
        let leader = LEADERS.encode(&Leader { job: self.controller.job.clone() });
        // Made anew, so that its create revision names this term.
        if let Some((_, revision, _)) = seen {
            let gone = Txn::new().if_unchanged(&key, revision).delete(&key);
            if !self.controller.store.txn(gone, Repeat::Harmless).is_ok_and(|outcome| outcome.succeeded) {
                return;
            }
        }
        let txn = Txn::new().if_absent(&key).put_leased(&key, leader, Some(self.lease.id()));
        match self.controller.store.txn(txn, Repeat::Harmful) {
            Ok(outcome) if outcome.succeeded => {
                log::info!(revision = outcome.revision; "leading the deployments");
                self.leads = Some(outcome.revision);
            }
            Ok(_) => {}
            Err(error) => log::debug!(error:% = os::text::chain(&error); "leadership not had"),
        }
    }

    /// Take on deployments that are not looked after yet, and drop those that are gone.
    fn adopt(&mut self) {
        self.running.retain(|app, running| self.active.get(app).is_some_and(|row| row.value == running.record.id));
        let wanted: Vec<(String, DeploymentId, u64)> =
            self.active.iter().map(|(app, row)| (app.clone(), row.value.clone(), row.revision)).collect();
        for (app, id, revision) in wanted {
            let known = self.running.get(&app).is_some_and(|running| running.active >= revision);
            if known {
                continue;
            }
            match self.load(&id, revision) {
                Ok(running) => drop(self.running.insert(app, running)),
                Err(error) => log::warn!(deployment:% = id, error:% = error; "deployment not taken on; trying again"),
            }
        }
    }

    /// A deployment as the store has it: whoever led before may have been anywhere within it.
    fn load(&self, id: &DeploymentId, revision: u64) -> Result<Running, ApiError> {
        let controller = &self.controller;
        let row = controller.deployment(id.as_str())?;
        let release = controller.release(row.value.new_release.as_str())?.value;
        let order = crate::deployments::order(&row.value, &release);
        let machine = match row.value.status {
            DeploymentStatus::RollingBack => Moves::going_back(order, row.value.error.clone().unwrap_or_default()),
            _ => Moves::new(order),
        };
        log::info!(deployment:% = id, status:? = row.value.status; "deployment taken on");
        // Formations may have changed just before it: the mirror must have seen that first.
        let cell = execute::formation_revision(controller, &row.value)?;
        Ok(Running {
            since: row.created,
            record: row.value,
            machine,
            active: revision,
            blind_until: cell,
            retry_at: None,
        })
    }

    fn step_all(&mut self) {
        let apps: Vec<String> = self.running.keys().cloned().collect();
        let now = os::clock::now();
        for app in apps {
            let Some(mut running) = self.running.remove(&app) else { continue };
            if running.retry_at.is_none_or(|at| now >= at) {
                running.retry_at = None;
                match self.step(&mut running) {
                    Ok(()) => {}
                    Err(error) => {
                        log::debug!(deployment:% = running.record.id, error:% = error; "step not done; trying again");
                        // What the machine thought it had done was not done: begin again from what is there.
                        match self.load(&running.record.id, running.active) {
                            Ok(fresh) => running = fresh,
                            Err(error) => log::warn!(error:% = error; "deployment not read"),
                        }
                        running.retry_at = Some(now.after(AGAIN));
                    }
                }
            }
            if !running.machine.ended() {
                self.running.insert(app, running);
            }
        }
    }

    /// Show the machine what is there, and do what it says, until it waits.
    fn step(&mut self, running: &mut Running) -> Result<(), ApiError> {
        for _ in 0..STEPS_MAX {
            if !self.mirror.caught_up(running.blind_until) {
                return Ok(());
            }
            let observed = self.mirror.observe(&running.record, running.since);
            let mut effects = Vec::new();
            running.machine.handle(os::clock::now(), Event::Observed(observed), &mut effects);
            let mut again = false;
            for effect in effects {
                again |= self.execute(running, effect)?;
            }
            if !again {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether the machine is to be asked again at once.
    fn execute(&mut self, running: &mut Running, effect: Effect) -> Result<bool, ApiError> {
        let (controller, term) = (&self.controller, self.leads.unwrap_or(0));
        match effect {
            Effect::Wait(waiting) => {
                log::info!(deployment:% = running.record.id, on:% = waiting; "deployment waits");
                return Ok(false);
            }
            Effect::SetFormations { old, new } => {
                let seen = self.mirror.formation_revisions(&running.record);
                running.blind_until =
                    execute::set_formations(controller, term, &mut running.record, seen, (&old, &new))?;
                return Ok(false);
            }
            Effect::Rollback(reason) => {
                let job = reason.job().cloned().or_else(|| self.mirror.any_job(&running.record));
                let words = job.map(|job| (crate::logs::last_words(controller, &running.record.app, &job), job));
                execute::roll_back(controller, term, &mut running.record, &reason.to_string(), words)?;
                return Ok(true);
            }
            Effect::Finish => execute::finish(controller, term, &mut running.record)?,
            Effect::Fail(_) => execute::fail(controller, term, &mut running.record)?,
        }
        Ok(false)
    }

    /// Tell of changes of formations whose jobs are there.
    fn complete_scales(&mut self) {
        let done: Vec<Row<ScaleRequest>> =
            self.scales.values().filter(|row| self.mirror.reached(row)).cloned().collect();
        for row in done {
            match self.complete_scale(&row) {
                Ok(()) => drop(self.scales.remove(&row.id)),
                Err(error) => {
                    log::debug!(scale:% = row.value.id, error:% = error; "scale not completed; trying again");
                }
            }
        }
    }

    fn complete_scale(&self, row: &Row<ScaleRequest>) -> Result<(), ApiError> {
        let term = self.leads.unwrap_or(0);
        let id: Vec<&str> = row.id.split('/').collect();
        self.controller.writer.commit(|| {
            execute::still_leads(&self.controller, term)?;
            let same = SCALES.get(&self.controller.store, &id)?.is_some_and(|now| now.value.id == row.value.id);
            if !same {
                return Ok((Change::new(), ()));
            }
            let complete =
                ScaleRequest { state: ScaleState::Complete, updated_at: Some(now_text()), ..row.value.clone() };
            let change = Change::new().with(|txn| txn.delete(&SCALES.key(&id)));
            Ok((change.tell(Some(&complete.app), "scale_request", &complete.id, json(&complete)), ()))
        })?;
        Ok(())
    }
}
