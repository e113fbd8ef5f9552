//! The thread that probes: one loop over all sockets, so that a job that hangs delays no other.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use os::signal::Shutdown;
use stdx::{Instant, Machine};
use types::JobId;
use types::job::{CheckKind, HealthCheck};

use crate::agent::{AgentError, Begin, Health, Vet};
use crate::core::health::{Effect, Event, HealthMachine};
use crate::limits::{CHECK_COMMANDS_MAX, CHECKS_MAX, SHUTDOWN_CHECK};
use crate::probe::Probe;

enum Command {
    Add { job: JobId, address: SocketAddr, check: HealthCheck, begin: Begin, vet: Option<Vet> },
    Remove { job: JobId, done: SyncSender<()> },
}

/// The face of the probing thread.
#[derive(Clone, Debug)]
pub(crate) struct Checks {
    commands: SyncSender<Command>,
    waker: Arc<UnixStream>,
    count: Arc<AtomicUsize>,
}

struct Check {
    address: SocketAddr,
    kind: CheckKind,
    machine: HealthMachine,
    probe: Option<Probe>,
    vet: Option<Vet>,
}

impl Checks {
    pub(crate) fn start(shutdown: &Shutdown, report: impl Fn(JobId, Health) + Send + 'static) -> io::Result<Checks> {
        let (commands, inbox) = sync_channel(CHECK_COMMANDS_MAX);
        let (waker, woken) = UnixStream::pair()?;
        waker.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let count = Arc::new(AtomicUsize::new(0));
        let prober = Prober {
            inbox,
            woken,
            checks: BTreeMap::new(),
            count: Arc::clone(&count),
            report: Box::new(report),
            effects: Vec::new(),
        };
        let shutdown = shutdown.clone();
        os::thread::spawn("health", move || prober.run(&shutdown))?;
        Ok(Checks { commands, waker: Arc::new(waker), count })
    }

    pub(crate) fn add(
        &self,
        job: &JobId,
        address: SocketAddr,
        check: &HealthCheck,
        begin: Begin,
        vet: Option<Vet>,
    ) -> Result<(), AgentError> {
        if self.count.load(Ordering::Relaxed) >= CHECKS_MAX {
            return Err(AgentError::TooManyChecks { job: job.clone(), limit: CHECKS_MAX });
        }
        self.send(Command::Add { job: job.clone(), address, check: check.clone(), begin, vet });
        Ok(())
    }

    pub(crate) fn remove(&self, job: &JobId) {
        let (done, answer) = sync_channel(1);
        self.send(Command::Remove { job: job.clone(), done });
        // The thread is gone once the shutdown was asked for, and then nothing is probed either.
        let _ = answer.recv();
    }

    fn send(&self, command: Command) {
        if self.commands.send(command).is_ok() {
            // A full socket means that the thread has been woken already.
            let _ = (&*self.waker).write(&[1]);
        }
    }
}

struct Prober {
    inbox: Receiver<Command>,
    woken: UnixStream,
    checks: BTreeMap<JobId, Check>,
    count: Arc<AtomicUsize>,
    report: Box<dyn Fn(JobId, Health) + Send>,
    effects: Vec<Effect>,
}

impl Prober {
    fn run(mut self, shutdown: &Shutdown) {
        while !shutdown.asked() {
            self.take_commands();
            self.tick(os::clock::now());
            let ready = self.wait();
            self.advance(&ready);
        }
    }

    fn take_commands(&mut self) {
        let mut bytes = [0; 64];
        while self.woken.read(&mut bytes).is_ok_and(|n| n > 0) {}
        while let Ok(command) = self.inbox.try_recv() {
            match command {
                Command::Add { job, address, check, begin, vet } => {
                    let now = os::clock::now();
                    let machine = match begin {
                        Begin::Starting => HealthMachine::new(now, &check),
                        Begin::KnownWell => HealthMachine::known_well(now, &check),
                    };
                    self.checks.insert(job, Check { address, kind: check.kind, machine, probe: None, vet });
                }
                Command::Remove { job, done } => {
                    self.checks.remove(&job);
                    let _ = done.send(());
                }
            }
        }
        self.count.store(self.checks.len(), Ordering::Relaxed);
    }

    /// Tell machines that time has passed, and probes that theirs is up.
    fn tick(&mut self, now: Instant) {
        let due: Vec<JobId> = self
            .checks
            .iter()
            .filter(|(_, check)| check.next().is_some_and(|next| next <= now))
            .map(|(job, _)| job.clone())
            .collect();
        for job in due {
            let Some(check) = self.checks.get_mut(&job) else { continue };
            let late = check.probe.take_if(|probe| probe.deadline <= now);
            let event = match late {
                Some(probe) => Event::Failed { number: probe.number, reason: probe.late() },
                None => Event::Tick,
            };
            self.handle(&job, now, event);
        }
    }

    fn handle(&mut self, job: &JobId, now: Instant, event: Event) {
        let Some(check) = self.checks.get_mut(job) else { return };
        let mut effects = std::mem::take(&mut self.effects);
        check.machine.handle(now, event, &mut effects);
        for effect in effects.drain(..) {
            let health = match effect {
                Effect::Probe { number, timeout } => {
                    // A refusal at once is told by the probe's first step, so that there is one way to fail.
                    check.probe = Some(Probe::start(number, check.address, &check.kind, now, timeout));
                    continue;
                }
                Effect::Healthy => Health::Healthy,
                Effect::Unhealthy { reason } => Health::Unhealthy { reason },
                Effect::StartFailed { reason } => {
                    check.probe = None;
                    Health::StartFailed { reason }
                }
            };
            (self.report)(job.clone(), health);
        }
        self.effects = effects;
    }

    /// Sleep until a socket is ready, a deadline is there or a command comes. The jobs whose probes can go on.
    fn wait(&self) -> Vec<JobId> {
        let now = os::clock::now();
        let mut sleep = SHUTDOWN_CHECK;
        let mut fds = vec![PollFd::new(self.woken.as_fd(), PollFlags::POLLIN)];
        let mut jobs = Vec::new();
        let mut ready = Vec::new();
        for (job, check) in &self.checks {
            if let Some(next) = check.next() {
                sleep = sleep.min(next.since(now));
            }
            match check.probe.as_ref().map(|probe| (probe.socket(), probe.interest())) {
                Some((Some(socket), interest)) => {
                    fds.push(PollFd::new(socket, interest));
                    jobs.push(job);
                }
                Some((None, _)) => ready.push(job.clone()),
                None => {}
            }
        }
        if !ready.is_empty() {
            sleep = Duration::ZERO;
        }
        // A part of a millisecond is rounded up: rounding down would spin until the deadline.
        let sleep = sleep.as_micros().div_ceil(1000);
        let timeout = PollTimeout::from(u16::try_from(sleep).unwrap_or(u16::MAX));
        if let Err(errno) = poll(&mut fds, timeout) {
            log::debug!(error:% = errno; "poll was interrupted");
            return ready;
        }
        let pending = fds.iter().skip(1).zip(jobs);
        ready.extend(pending.filter(|(fd, _)| fd.any().unwrap_or(true)).map(|(_, job)| job.clone()));
        ready
    }

    fn advance(&mut self, ready: &[JobId]) {
        for job in ready {
            let Some(check) = self.checks.get_mut(job) else { continue };
            let Some(probe) = check.probe.as_mut() else { continue };
            let number = probe.number;
            let event = match probe.advance() {
                None => continue,
                // An answer is only worth something from who was asked.
                Some(Ok(())) => match check.vet.as_ref().map_or(Ok(()), |vet| vet()) {
                    Ok(()) => Event::Passed { number },
                    Err(reason) => Event::Failed { number, reason },
                },
                Some(Err(reason)) => Event::Failed { number, reason },
            };
            check.probe = None;
            self.handle(job, os::clock::now(), event);
        }
    }
}

impl Check {
    /// When something is to be done if no socket has news before.
    fn next(&self) -> Option<Instant> {
        let probe = self.probe.as_ref().map(|probe| probe.deadline);
        match (self.machine.deadline(), probe) {
            (Some(machine), Some(probe)) => Some(machine.min(probe)),
            (machine, probe) => machine.or(probe),
        }
    }
}
