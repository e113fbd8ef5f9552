//! The role: events in, plans out, one after the other.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};

use api::serve::ListenError;
use api::store::{LeaseId, LeaseKeeper, StoreClient, StoreError, WatchEvent};
use os::signal::Shutdown;
use scheduler_core::commit::scope_of;
use scheduler_core::{Execution, Mode, Plan, Scope, Stamp, View};
use stdx::{Backoff, Instant, Rng};
use types::JobId;

use crate::leader::Leadership;
use crate::limits::{EVENTS_MAX, LEASE, REFUSED_PATIENCE, RETRY};
use crate::{feed, framework, txn};

/// What the role needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the platform's sockets are.
    pub run_dir: PathBuf,
    /// The job that this is: names its socket, and its seat when it leads.
    pub job: JobId,
    /// Under which name one of the schedulers acts for all of the cell; `scheduler` but for tests.
    pub name: String,
}

/// Why the role ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No lease to lead under.
    #[error("get a lease from the store")]
    Lease(#[source] StoreError),
    /// No thread for the watch.
    #[error("start the watch thread")]
    Thread(#[source] io::Error),
    /// No socket for the framework's API.
    #[error("serve the framework's API")]
    Listen(#[source] ListenError),
}

enum Event {
    Watch(WatchEvent),
    /// The lease was lost, and this one granted in its place.
    Lease(LeaseId),
}

/// Schedule until `shutdown` is asked for.
///
/// # Errors
/// When it cannot start; once started it waits out whatever happens to the store.
pub fn run(options: Options, shutdown: Shutdown) -> Result<(), RunError> {
    let store = StoreClient::new(&api::paths::store_socket(&options.run_dir));
    let listening = framework::listen(&options, &store, &shutdown).map_err(RunError::Listen)?;
    let (sender, events) = sync_channel(EVENTS_MAX);
    let renewed = sender.clone();
    let tell = move |lease| drop(renewed.send(Event::Lease(lease)));
    let keeper = LeaseKeeper::start(&store, LEASE, &shutdown, tell).map_err(RunError::Lease)?;
    watch(&store, sender, &shutdown).map_err(RunError::Thread)?;
    let mut scheduler = Scheduler::new(&options, store, keeper.id());
    scheduler.serve(&events, &shutdown);
    listening.finish();
    Ok(())
}

/// Feed the watch into the channel until the shutdown ends it.
fn watch(store: &StoreClient, sender: SyncSender<Event>, shutdown: &Shutdown) -> io::Result<()> {
    let watch = store.watch(feed::PREFIX, shutdown);
    os::thread::spawn("cell-watch", move || {
        for event in watch {
            if sender.send(Event::Watch(event)).is_err() {
                return;
            }
        }
    })
    .map(drop)
}

struct Scheduler {
    name: String,
    store: StoreClient,
    leadership: Leadership,
    lease: LeaseId,
    view: View,
    rng: Rng,
    /// What the view shows.
    revision: u64,
    /// The view must show this before the next plan.
    wait_for: u64,
    /// After a refusal or a failure: not before this moment, unless the view moved on.
    hold: Option<Instant>,
    retry: Backoff,
}

impl Scheduler {
    fn new(options: &Options, store: StoreClient, lease: LeaseId) -> Scheduler {
        Scheduler {
            name: options.name.clone(),
            store,
            leadership: Leadership::new(&options.name, &options.job),
            lease,
            view: View::new(),
            rng: Rng::new(os::entropy::seed()),
            revision: 0,
            wait_for: u64::MAX, // Nothing is known before the first reset.
            hold: None,
            retry: Backoff::new(RETRY.0, RETRY.1),
        }
    }

    fn serve(&mut self, events: &Receiver<Event>, shutdown: &Shutdown) {
        while !shutdown.asked() {
            match self.receive(events) {
                Ok(Some(event)) => {
                    self.take(event);
                    // What is already there belongs into the same picture.
                    while let Ok(event) = events.try_recv() {
                        self.take(event);
                    }
                }
                Ok(None) => {}
                Err(_) => return,
            }
            // Who goes gives its seat back and does not take it again.
            if !shutdown.asked() {
                self.act();
            }
        }
    }

    fn receive(&self, events: &Receiver<Event>) -> Result<Option<Event>, TryRecvError> {
        let Some(due) = self.due() else { return events.recv().map(Some).map_err(|_| TryRecvError::Disconnected) };
        match events.recv_timeout(due.since(os::clock::now())) {
            Ok(event) => Ok(Some(event)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(TryRecvError::Disconnected),
        }
    }

    /// When there is something to do that no event announces. Who waits for its turn, or for the view to come as far
    /// as it has written itself, waits for events alone: what is due stays due, and asking again would spin.
    fn due(&self) -> Option<Instant> {
        if self.revision < self.wait_for {
            return None;
        }
        self.hold.or_else(|| self.leadership.since().and_then(|_| self.view.deadline()))
    }

    fn take(&mut self, event: Event) {
        let now = os::clock::now();
        match event {
            Event::Lease(lease) => {
                self.lease = lease;
                self.leadership.lose();
                // What the old lease was refused for is over.
                self.retry.reset();
                self.hold = None;
            }
            Event::Watch(WatchEvent::Reset { records, revision }) => {
                self.view = View::new();
                self.leadership.reset(&records);
                for change in records.iter().filter_map(feed::put) {
                    self.view.apply(now, change);
                }
                self.revision = revision;
                self.wait_for = 0;
                self.hold = None;
                log::info!(revision, claims = self.view.cell.claim_count(); "cell read");
            }
            Event::Watch(WatchEvent::Changes { changes, revision }) => {
                for change in &changes {
                    self.leadership.hear(change);
                    if let Some(change) = feed::changed(change) {
                        self.view.apply(now, change);
                    }
                }
                self.revision = revision;
                if self.retry.attempts() == 0 {
                    self.hold = None;
                }
            }
        }
    }

    fn act(&mut self) {
        let now = os::clock::now();
        if self.revision < self.wait_for || self.hold.is_some_and(|until| now < until) {
            return;
        }
        self.hold = None;
        match self.decide(now) {
            Ok(()) => self.retry.reset(),
            Err(error) => {
                let wait = self.retry.next(&mut self.rng);
                log::warn!(error:% = os::text::chain(&error), wait:? = wait; "commit failed");
                // What was committed of it is unknown, so everything is looked at again.
                self.view.touch(Scope::All);
                self.hold = Some(now.after(wait));
            }
        }
    }

    fn decide(&mut self, now: Instant) -> Result<(), StoreError> {
        if !self.leadership.claim(&self.store, self.lease)? {
            return Ok(());
        }
        let Some(since) = self.leadership.since() else { return Ok(()) };
        if self.revision < since {
            // What the one before committed is in the store by now; see it first.
            self.wait_for = since;
            return Ok(());
        }
        let plan = self.view.plan(now, &mut self.rng);
        if plan.proposals.is_empty() {
            return Ok(());
        }
        self.commit(plan, since, now)
    }

    fn commit(&mut self, plan: Plan, since: u64, now: Instant) -> Result<(), StoreError> {
        let stamp = Stamp { wall_ms: os::clock::wall().unix_millis(), leads_since: Some(since) };
        let mut execution = Execution::new(&self.view.cell, plan, Mode::Incremental, stamp);
        txn::execute(&self.store, &self.name, &mut execution)?;
        self.wait_for = self.wait_for.max(execution.revision());
        for step in execution.committed().iter().flat_map(|proposal| &proposal.steps) {
            log::info!(action:? = Brief(&step.action), why:% = step.why; "committed");
        }
        if !execution.refused().is_empty() {
            log::debug!(proposals = execution.refused().len(); "refused; planning again");
            self.view.touch(scope_of(execution.refused()));
            self.hold = Some(now.after(REFUSED_PATIENCE));
        }
        Ok(())
    }
}

/// An action in a log line: what and which job, never a specification, which holds the app's secrets.
struct Brief<'a>(&'a scheduler_core::Action);

impl std::fmt::Debug for Brief<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use scheduler_core::Action;
        match self.0 {
            Action::Place { job, spec, .. } => write!(f, "place {job} {} {}", spec.app_name, spec.process_type),
            Action::Stop { job, .. } => write!(f, "stop {job}"),
            Action::End { record, .. } => write!(f, "end {}: {}", record.job, record.reason),
            Action::Settle { one_off, .. } => write!(f, "settle {}", one_off.id.uuid()),
            Action::Close { id, .. } => write!(f, "close {}", id.uuid()),
            Action::Sweep { job, .. } => write!(f, "sweep {job}"),
            Action::Forget { job, .. } => write!(f, "forget {job}"),
            Action::Report(trouble) => write!(f, "report {} {}", trouble.app, trouble.release),
            Action::Clear { app, release } => write!(f, "clear {app} {release}"),
        }
    }
}

#[cfg(test)]
mod tests;
