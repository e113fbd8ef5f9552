//! A cell of the size a deployment can see: formations, and jobs that follow them.

use std::collections::BTreeMap;
use std::time::Duration;

use controller_core::deployment::{Counts, Failure, Observed, Seen, Side};
use types::job::DownReason;
use types::{JobId, ProcessType};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Which {
    Old,
    New,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Blocked,
    Starting,
    Up,
    Stopping,
}

#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) id: u64,
    pub(crate) side: Which,
    pub(crate) process_type: ProcessType,
    pub(crate) state: State,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    pub(crate) wanted: BTreeMap<Which, Counts>,
    pub(crate) jobs: Vec<Job>,
    pub(crate) failures: Vec<Failure>,
    pub(crate) blocked: bool,
    serial: u64,
}

pub(crate) fn counts(text: &str) -> Counts {
    text.split(',')
        .filter(|part| !part.is_empty() && *part != "-")
        .map(|part| part.split_once('=').unwrap())
        .map(|(name, count)| (ProcessType::parse(name).unwrap(), count.parse().unwrap()))
        .collect()
}

pub(crate) fn show(counts: &Counts) -> String {
    let parts: Vec<String> = counts.iter().map(|(name, count)| format!("{name}={count}")).collect();
    if parts.is_empty() { "-".into() } else { parts.join(",") }
}

impl Cell {
    pub(crate) fn wanted(&self, side: Which, process_type: &ProcessType) -> u32 {
        self.wanted.get(&side).and_then(|counts| counts.get(process_type)).copied().unwrap_or(0)
    }

    pub(crate) fn number(&self, side: Which, process_type: &ProcessType, states: &[State]) -> u32 {
        let of = |job: &&Job| job.side == side && job.process_type == *process_type && states.contains(&job.state);
        u32::try_from(self.jobs.iter().filter(of).count()).unwrap()
    }

    /// What a scheduler does at once when it sees the formations: start what is missing, stop what is too many.
    pub(crate) fn rectify(&mut self) {
        let staying = [State::Blocked, State::Starting, State::Up];
        for side in [Which::Old, Which::New] {
            let mut types: Vec<ProcessType> =
                self.wanted.get(&side).into_iter().flat_map(|c| c.keys().cloned()).collect();
            types.extend(self.jobs.iter().map(|job| job.process_type.clone()));
            types.sort();
            types.dedup();
            for one in types {
                let wanted = self.wanted(side, &one);
                for _ in self.number(side, &one, &staying)..wanted {
                    self.serial += 1;
                    let state = if self.blocked { State::Blocked } else { State::Starting };
                    self.jobs.push(Job { id: self.serial, side, process_type: one.clone(), state });
                }
                let extra = self.number(side, &one, &staying).saturating_sub(wanted);
                self.stop(side, &one, extra);
            }
        }
    }

    fn stop(&mut self, side: Which, one: &ProcessType, extra: u32) {
        for _ in 0..extra {
            let order = [State::Blocked, State::Starting, State::Up];
            let victim = order.iter().find_map(|state| {
                self.jobs.iter().position(|j| j.side == side && j.process_type == *one && j.state == *state)
            });
            let job = &mut self.jobs[victim.unwrap()];
            job.state = State::Stopping;
        }
    }

    pub(crate) fn fail(&mut self, at: usize, reason: DownReason, lived: Duration) {
        let job = self.jobs.remove(at);
        if job.side == Which::New && job.state != State::Stopping {
            let id = JobId::parse(&format!("h-{}", job.id)).unwrap();
            self.failures.push(Failure { job: id, process_type: job.process_type, reason, lived });
        }
        self.rectify();
    }

    fn side(&self, side: Which) -> Side {
        let mut jobs: BTreeMap<ProcessType, Seen> = BTreeMap::new();
        for job in self.jobs.iter().filter(|job| job.side == side) {
            let seen = jobs.entry(job.process_type.clone()).or_default();
            match job.state {
                State::Blocked => seen.blocked += 1,
                State::Starting => seen.starting += 1,
                State::Up => seen.up += 1,
                State::Stopping => seen.stopping += 1,
            }
        }
        Side { wanted: self.wanted.get(&side).cloned().unwrap_or_default(), jobs }
    }

    pub(crate) fn observed(&self) -> Observed {
        let failures = self.failures.clone();
        Observed { old: self.side(Which::Old), new: self.side(Which::New), failures, hosts: 1 }
    }

    pub(crate) fn set(&mut self, old: Counts, new: Counts) {
        self.wanted.insert(Which::Old, old);
        self.wanted.insert(Which::New, new);
        self.rectify();
    }

    /// Every job that starts comes up, every job that stops is gone.
    pub(crate) fn settle(&mut self) {
        self.jobs.retain(|job| job.state != State::Stopping);
        for job in &mut self.jobs {
            if job.state == State::Starting {
                job.state = State::Up;
            }
        }
    }
}
