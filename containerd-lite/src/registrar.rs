//! Puts instances of jobs into discovery and asks how far its observers are, on one thread and in order: what is said
//! of one instance must reach the store as it was said.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use api::discovery::{Instance, OBSERVERS, Observer};
use api::store::StoreClient;
use discovery::agent::AgentError;
use os::signal::Shutdown;
use types::{JobId, ServiceName};

use crate::core::job::Event;
use crate::limits::{INBOX, OBSERVERS_PAUSE, REPORT_AGAIN};

/// What is to be done with an instance.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    /// Put it in.
    Register { run: u32, instance: Box<Instance> },
    /// Mark it as draining.
    Drain { run: u32, service: ServiceName, job: JobId },
    /// Take it out.
    Deregister { service: ServiceName, job: JobId },
    /// Take out every instance of this host but those of these jobs.
    Retain(BTreeSet<JobId>),
}

/// The registrar's inbox.
#[derive(Clone, Debug)]
pub(crate) struct Registrar {
    orders: SyncSender<Order>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Seen { run: u32, revision: u64 },
    Drained { run: u32, revision: u64 },
}

type Tell = Box<dyn Fn(&JobId, Event) + Send>;

struct Desk {
    agent: discovery::Agent,
    store: StoreClient,
    shutdown: Shutdown,
    tell: Tell,
    waits: BTreeMap<JobId, Wait>,
}

impl Registrar {
    pub(crate) fn start(
        agent: discovery::Agent,
        store: &StoreClient,
        shutdown: &Shutdown,
        tell: Tell,
    ) -> io::Result<Registrar> {
        let (orders, inbox) = sync_channel(INBOX);
        let store = store.clone().patience(Duration::from_millis(500));
        let desk = Desk { agent, store, shutdown: shutdown.clone(), tell, waits: BTreeMap::new() };
        os::thread::spawn("instances", move || desk.run(&inbox))?;
        Ok(Registrar { orders })
    }

    /// Have it done. Waits when many are waiting: the store is slow then, and jobs must not run ahead of it.
    pub(crate) fn order(&self, order: Order) {
        // It ends only with the daemon.
        let _ = self.orders.send(order);
    }
}

impl Desk {
    fn run(mut self, inbox: &Receiver<Order>) {
        while !self.shutdown.asked() {
            let pause = if self.waits.is_empty() { Duration::from_millis(200) } else { OBSERVERS_PAUSE };
            match inbox.recv_timeout(pause) {
                Ok(order) => self.execute(&order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while let Ok(order) = inbox.try_recv() {
                self.execute(&order);
            }
            self.ask_observers();
        }
    }

    /// Until it is done: all that waits behind it needs the same store.
    fn execute(&mut self, order: &Order) {
        while let Err(error) = self.attempt(order) {
            log::warn!(error:% = os::text::chain(&error); "instance not changed; trying again");
            if self.shutdown.asked() {
                return;
            }
            os::clock::pause(REPORT_AGAIN);
        }
    }

    fn attempt(&mut self, order: &Order) -> Result<(), AgentError> {
        match order {
            Order::Register { run, instance } => {
                let revision = self.agent.register((**instance).clone())?;
                self.waits.insert(instance.job.clone(), Wait::Seen { run: *run, revision });
                (self.tell)(&instance.job, Event::Registered { run: *run });
            }
            Order::Drain { run, service, job } => match self.agent.drain(service, job)? {
                Some(revision) => drop(self.waits.insert(job.clone(), Wait::Drained { run: *run, revision })),
                None => (self.tell)(job, Event::Drained { run: *run }),
            },
            Order::Deregister { service, job } => {
                self.waits.remove(job);
                self.agent.deregister(service, job)?;
            }
            Order::Retain(live) => {
                let gone = self.agent.retain(live)?;
                if gone > 0 {
                    log::info!(gone; "instances of ended jobs taken out");
                }
            }
        }
        Ok(())
    }

    /// One question for all that wait: during a deployment they are many.
    fn ask_observers(&mut self) {
        if self.waits.is_empty() {
            return;
        }
        let observers: Vec<Observer> = match OBSERVERS.list(&self.store, &[]) {
            Ok((rows, _)) => rows.into_iter().map(|row| row.value).collect(),
            Err(error) => {
                log::debug!(error:% = os::text::chain(&error); "observers not readable");
                return;
            }
        };
        let tell = &self.tell;
        self.waits.retain(|job, wait| {
            let (is_done, event) = match *wait {
                Wait::Seen { run, revision } => (observers.iter().all(|o| o.seen >= revision), Event::Seen { run }),
                Wait::Drained { run, revision } => {
                    (observers.iter().all(|o| o.drained >= revision), Event::Drained { run })
                }
            };
            if is_done {
                tell(job, event);
            }
            !is_done
        });
    }
}
