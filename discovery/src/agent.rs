//! The host's side of discovery: what its jobs offer, whether they are well, and who has taken note.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::discovery::{INSTANCES, Instance, InstanceState, OBSERVERS, Observer};
use api::store::{LeaseId, LeaseKeeper, StoreClient, StoreError};
use os::signal::Shutdown;
use types::job::HealthCheck;
use types::{HostId, JobId, ServiceName};

use crate::checks::Checks;
use crate::limits::{LEASE_WAIT, SHUTDOWN_CHECK};

/// What an agent is made of.
#[derive(Debug)]
pub struct Options {
    /// The host it speaks for.
    pub host: HostId,
    /// The store.
    pub store: StoreClient,
    /// The host's lease, under which instances are kept.
    pub lease: LeaseKeeper,
    /// Ends its threads.
    pub shutdown: Shutdown,
}

/// What became of a job's health. Said when it changes, not with every probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It passed, for the first time or again.
    Healthy,
    /// It was well and failed as often in a row as its check allows.
    Unhealthy {
        /// Why the last probe failed.
        reason: String,
    },
    /// It did not pass in the time it had to start. Nothing more is tried.
    StartFailed {
        /// Why the last probe failed.
        reason: String,
    },
}

/// Whether it was the job that answered a probe, or why not. Called on the probing thread: it must be quick.
pub type Vet = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What a check assumes of the job when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// It has just been started: its start timeout counts from now.
    Starting,
    /// It was found well before the daemon's restart: only a run of failures shows otherwise.
    KnownWell,
}

/// How a wait for observers ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waited {
    /// Every observer that lives has come so far.
    All,
    /// The time was up, and these had not. Empty when the store could not be asked.
    Behind(BTreeSet<String>),
}

/// Why the agent could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A thread, or what wakes it, could not be had.
    #[error("start the discovery agent")]
    Start {
        /// What the kernel said.
        source: io::Error,
    },
    /// The store did not do it.
    #[error("{action} instance {job} of service {service}")]
    Instance {
        /// What was tried.
        action: &'static str,
        /// Of which service.
        service: ServiceName,
        /// Which instance.
        job: JobId,
        /// Why not.
        source: Box<StoreError>,
    },
    /// The store could not be read.
    #[error("list the instances of host {host}")]
    List {
        /// Whose.
        host: HostId,
        /// Why not.
        source: Box<StoreError>,
    },
    /// As many jobs are checked as a host can.
    #[error("check the health of job {job}: {limit} jobs are checked already")]
    TooManyChecks {
        /// Which job.
        job: JobId,
        /// How many.
        limit: usize,
    },
}

type Registered = BTreeMap<(ServiceName, JobId), Instance>;

/// The agent of one host. Clones share its threads.
#[derive(Clone, Debug)]
pub struct Agent {
    shared: Arc<Shared>,
    checks: Checks,
}

#[derive(Debug)]
struct Shared {
    options: Options,
    /// What must be in the store. Held while it is written there, so that writes of one instance keep their order.
    registered: Mutex<Registered>,
}

impl Agent {
    /// Start the threads that probe, and that register again when the lease was lost. `report` is called from the
    /// probing thread with each change of health: it hands the news on and does not call the agent, for which that
    /// thread would have to answer.
    ///
    /// # Errors
    /// When the kernel gives no thread.
    pub fn start(options: Options, report: impl Fn(JobId, Health) + Send + 'static) -> Result<Agent, AgentError> {
        let checks = Checks::start(&options.shutdown, report).map_err(|source| AgentError::Start { source })?;
        let shared = Arc::new(Shared { options, registered: Mutex::new(BTreeMap::new()) });
        let first = shared.options.lease.id();
        let guard = Arc::clone(&shared);
        os::thread::spawn("registrar", move || guard.guard_lease(first))
            .map_err(|source| AgentError::Start { source })?;
        Ok(Agent { shared, checks })
    }

    /// Begin to probe the job at `address`; a check it already has is replaced. Results go to `report`.
    ///
    /// # Errors
    /// When the host checks as many jobs as it can.
    pub fn check(&self, job: &JobId, address: SocketAddr, check: &HealthCheck, begin: Begin) -> Result<(), AgentError> {
        self.checks.add(job, address, check, begin, None)
    }

    /// As [`Agent::check`], for a job that shares its address with others: a probe passes only if `vet` agrees.
    ///
    /// # Errors
    /// When the host checks as many jobs as it can.
    pub fn check_vetted(
        &self,
        job: &JobId,
        address: SocketAddr,
        check: &HealthCheck,
        begin: Begin,
        vet: Vet,
    ) -> Result<(), AgentError> {
        self.checks.add(job, address, check, begin, Some(vet))
    }

    /// Stop probing the job. Once this returns, nothing is reported about it any more, except what was on its way.
    pub fn uncheck(&self, job: &JobId) {
        self.checks.remove(job);
    }

    /// Put the instance into the store under the host's lease, or change it there. The revision, for
    /// [`Agent::wait_seen`].
    ///
    /// # Errors
    /// When the store does not take it; it is registered as soon as the lease is renewed all the same.
    pub fn register(&self, instance: Instance) -> Result<u64, AgentError> {
        let mut registered = self.shared.registered();
        registered.insert((instance.service.clone(), instance.job.clone()), instance.clone());
        self.shared.put("register", &instance)
    }

    /// Mark the instance as draining. The revision, for [`Agent::wait_drained`]; `None` when there is none.
    ///
    /// # Errors
    /// When the store does not take it.
    pub fn drain(&self, service: &ServiceName, job: &JobId) -> Result<Option<u64>, AgentError> {
        let mut registered = self.shared.registered();
        let key = (service.clone(), job.clone());
        let mut instance = match registered.get(&key) {
            Some(instance) => instance.clone(),
            None => {
                let row = INSTANCES.get(&self.shared.options.store, &[service.as_str(), job.as_str()]);
                match row.map_err(|source| failed("find", service, job, source))? {
                    Some(row) => row.value,
                    None => return Ok(None),
                }
            }
        };
        instance.state = InstanceState::Draining;
        registered.insert(key, instance.clone());
        self.shared.put("drain", &instance).map(Some)
    }

    /// Take the instance out of the store. The revision; fine when there is none.
    ///
    /// # Errors
    /// When the store does not do it; it is not registered again in any case.
    pub fn deregister(&self, service: &ServiceName, job: &JobId) -> Result<u64, AgentError> {
        let mut registered = self.shared.registered();
        registered.remove(&(service.clone(), job.clone()));
        let done = INSTANCES.delete(&self.shared.options.store, &[service.as_str(), job.as_str()]);
        done.map(|(revision, _)| revision).map_err(|source| failed("deregister", service, job, source))
    }

    /// Take out every instance of this host whose job is not in `live`: those of jobs that ended while the daemon
    /// was away. How many there were.
    ///
    /// # Errors
    /// When the store cannot be read or does not do it.
    pub fn retain(&self, live: &BTreeSet<JobId>) -> Result<usize, AgentError> {
        let Options { host, store, .. } = &self.shared.options;
        let rows = INSTANCES.list(store, &[]);
        let (rows, _) = rows.map_err(|source| AgentError::List { host: host.clone(), source: Box::new(source) })?;
        let gone: Vec<Instance> = rows
            .into_iter()
            .map(|row| row.value)
            .filter(|instance| instance.job.host().as_ref() == Some(host) && !live.contains(&instance.job))
            .collect();
        for instance in &gone {
            self.deregister(&instance.service, &instance.job)?;
        }
        Ok(gone.len())
    }

    /// Wait until every observer acts on `revision`, at most for `cap`. Without observers that is at once.
    #[must_use]
    pub fn wait_seen(&self, revision: u64, cap: Duration) -> Waited {
        self.wait(cap, |observer| observer.seen >= revision)
    }

    /// Wait until no observer has a request in flight to an instance that was draining or gone at `revision`, at
    /// most for `cap`.
    #[must_use]
    pub fn wait_drained(&self, revision: u64, cap: Duration) -> Waited {
        self.wait(cap, |observer| observer.drained >= revision)
    }

    /// Observers are read each time and not followed: one that has just come must count, too, and the read is
    /// linearizable. Nothing of it runs but during a deployment.
    fn wait(&self, cap: Duration, far_enough: impl Fn(&Observer) -> bool) -> Waited {
        let end = os::clock::now().after(cap);
        let mut pause = Duration::from_millis(1);
        let mut behind = BTreeSet::new();
        loop {
            let left = end.since(os::clock::now());
            let store = self.shared.options.store.clone().patience(left);
            match OBSERVERS.list(&store, &[]) {
                Ok((rows, _)) => {
                    behind = rows.into_iter().filter(|row| !far_enough(&row.value)).map(|row| row.id).collect();
                    if behind.is_empty() {
                        return Waited::All;
                    }
                }
                Err(error) => log::debug!(error:% = os::text::chain(&error); "observers not readable"),
            }
            if os::clock::now() >= end || self.shared.options.shutdown.asked() {
                return Waited::Behind(behind);
            }
            os::clock::pause(pause.min(end.since(os::clock::now())));
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }
}

impl Shared {
    fn registered(&self) -> MutexGuard<'_, Registered> {
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A lease that was lost is granted anew by its keeper within moments; until then the store knows it no more.
    fn put(&self, action: &'static str, instance: &Instance) -> Result<u64, AgentError> {
        const NOT_FOUND: u32 = 5;
        let Instance { service, job, .. } = instance;
        let end = os::clock::now().after(LEASE_WAIT);
        loop {
            let lease = self.options.lease.id();
            let done = INSTANCES.put(&self.options.store, &[service.as_str(), job.as_str()], instance, Some(lease));
            match done {
                Ok(revision) => return Ok(revision),
                Err(StoreError::Refused { code: NOT_FOUND, .. })
                    if os::clock::now() < end && !self.options.shutdown.asked() =>
                {
                    os::clock::pause(Duration::from_millis(20));
                }
                Err(source) => return Err(failed(action, service, job, source)),
            }
        }
    }

    /// Whatever was under a lost lease is put under the new one.
    fn guard_lease(&self, first: LeaseId) {
        let mut kept = first;
        while !self.options.shutdown.asked() {
            os::clock::pause(SHUTDOWN_CHECK);
            let now = self.options.lease.id();
            if now == kept {
                continue;
            }
            let registered = self.registered();
            let again = registered.values().try_for_each(|instance| self.put("register again", instance).map(drop));
            match again {
                Ok(()) => {
                    log::info!(instances = registered.len(); "instances registered again under a new lease");
                    kept = now;
                }
                Err(error) => log::warn!(error:% = os::text::chain(&error); "instances not registered again yet"),
            }
        }
    }
}

fn failed(action: &'static str, service: &ServiceName, job: &JobId, source: StoreError) -> AgentError {
    AgentError::Instance { action, service: service.clone(), job: job.clone(), source: Box::new(source) }
}
