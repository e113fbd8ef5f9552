//! Going on with what the last daemon left: jobs that run, jobs that ended meanwhile, and what a power cut left.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;

use types::JobId;
use types::job::NetworkMode;

use super::{Order, Supervisor};
use crate::core::job::{Event, Found};
use crate::jobdir::{self, JobDir, JobDirError};
use crate::limits::SHIM_LEAVES;
use crate::process;
use crate::shim::call;
use crate::shim::wire::{ShimPhase, State};
use crate::stored::{Record, StoredState, VERSION};

/// A state is one short line.
const STATE_BYTES_MAX: u64 = 64 * 1024;

struct Lost {
    job: JobId,
    found: Found,
    stream: Option<UnixStream>,
}

impl Supervisor {
    /// Take up every job that has a directory, the platform's first, and remove what belongs to none that lives.
    ///
    /// # Errors
    /// When the directory of jobs cannot be read.
    pub(crate) fn recover(&mut self) -> Result<(), JobDirError> {
        self.tools.empty_trash();
        let mut taken = Vec::new();
        for job in jobdir::all(&self.tools.jobs)? {
            match self.take_up(&job) {
                Ok(lost) => taken.extend(lost),
                // One unreadable directory must not keep the others from running.
                Err(error) => log::error!(job:% = job, error:% = os::text::chain(&error); "job not taken up"),
            }
        }
        let lives = |lost: &&Lost| matches!(lost.found, Found::Created | Found::Running);
        let live: BTreeSet<JobId> = taken.iter().filter(lives).map(|lost| lost.job.clone()).collect();
        self.drop_leftovers(&live);
        taken.sort_by_key(|lost| self.entries.get(&lost.job).map(|entry| entry.claim.spec.priority));
        log::info!(jobs = taken.len(), running = live.len(); "jobs taken up");
        for Lost { job, found, stream } in taken {
            let run = self.entries.get(&job).map_or(0, |entry| entry.job.run());
            if let Some(stream) = stream {
                self.parts.follower.follow(&job, run, stream);
            }
            self.feed(&job, Event::Found(found));
        }
        self.drain_events();
        Ok(())
    }

    fn take_up(&mut self, job: &JobId) -> Result<Option<Lost>, JobDirError> {
        let dir = self.tools.dir(job);
        let Some(claim) = dir.claim()? else {
            // A power cut between the directory and its first file: the claim makes it again.
            dir.retire()?;
            return Ok(None);
        };
        let state = dir.state()?.unwrap_or(StoredState {
            version: VERSION,
            record: Record::default(),
            started_ms: 0,
            ended_ms: 0,
            address: None,
            forgotten: false,
        });
        if state.forgotten {
            return Ok(None);
        }
        let network = claim.spec.network;
        let (found, living) = find(&dir, state.record.run)?;
        self.adopt(claim, state.record);
        if let Some(entry) = self.entries.get_mut(job) {
            (entry.started_ms, entry.ended_ms) = (state.started_ms, state.ended_ms);
            if let Some((_, shim)) = &living {
                entry.pid = Some(shim.job.pid);
                let kept = state.address.as_deref().and_then(|address| address.parse().ok());
                let attached = || self.tools.net.as_ref()?.attachment(job).ok()?.map(|attachment| attachment.ip);
                entry.address = if network == NetworkMode::Bridge { attached().or(kept) } else { None };
            }
        }
        Ok(Some(Lost { job: job.clone(), found, stream: living.map(|(stream, _)| stream) }))
    }

    fn drop_leftovers(&self, live: &BTreeSet<JobId>) {
        if let Some(net) = &self.tools.net {
            match net.reconcile(live) {
                Ok(done) if !done.removed.is_empty() => log::info!(count = done.removed.len(); "wires removed"),
                Ok(_) => {}
                Err(error) => log::warn!(error:% = os::text::chain(&error); "wires of ended jobs stay"),
            }
        }
        self.parts.registrar.order(Order::Retain(live.clone()));
    }
}

/// What there is of a run.
fn find(dir: &JobDir, run: u32) -> Result<(Found, Option<(UnixStream, State)>), JobDirError> {
    if run == 0 {
        return Ok((Found::Nothing, None));
    }
    // The shim is looked for before its last word: it may be ending just now.
    if let Some(shim) = dir.living_shim(run)? {
        if let Some((stream, state)) = ask(dir).filter(|(_, state)| state.run == run) {
            return Ok(match &state.phase {
                ShimPhase::Created => (Found::Created, Some((stream, state))),
                ShimPhase::Running => (Found::Running, Some((stream, state))),
                ShimPhase::Ended(reason) => (Found::Ended(reason.clone()), None),
            });
        }
        // It lives and does not answer: it is writing down the end, or it is of no use and the clean-up ends it.
        let is_settled = || matches!(dir.exit(run), Ok(Some(_))) || !process::is_alive(shim.shim);
        let _ = os::clock::wait_for(SHIM_LEAVES * 5, || is_settled().then_some(()));
    }
    let found = dir.exit(run)?.map_or(Found::Nothing, |exit| Found::Ended(exit.reason));
    Ok((found, None))
}

fn ask(dir: &JobDir) -> Option<(UnixStream, State)> {
    let stream = call::watch(dir.path()).ok()?;
    let mut line = Vec::new();
    // Byte by byte out of the socket: what comes after the line is for who listens next.
    let mut one = BufReader::with_capacity(1, (&stream).take(STATE_BYTES_MAX));
    one.read_until(b'\n', &mut line).ok()?;
    let state = serde_json::from_slice(&line).ok()?;
    Some((stream, state))
}
