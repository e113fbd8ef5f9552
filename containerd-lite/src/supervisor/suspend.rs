//! Stopping the whole host in good order. Claims stay: whatever was claimed runs again when the host does.

use std::sync::mpsc::SyncSender;

use stdx::Instant;
use types::JobId;
use types::host::StopOrder;
use types::job::Isolation;

use super::Supervisor;
use crate::core::job::Event;
use crate::limits::STOP_ALL_WAIT;
use crate::shim::names;

/// How far the stop of everything is.
#[derive(Debug)]
pub(crate) struct Suspension {
    progress: SyncSender<String>,
    stage: Stage,
    until: Instant,
    told: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Apps end while the platform still serves them.
    Tenants,
    /// Then the platform.
    Platform,
    /// Whatever does not end.
    Killing,
}

impl Supervisor {
    pub(super) fn suspend(&mut self, progress: SyncSender<String>) {
        let until = os::clock::now().after(STOP_ALL_WAIT);
        self.suspension = Some(Suspension { progress, stage: Stage::Tenants, until, told: usize::MAX });
        self.stop_those(|isolation| isolation == Isolation::Tenant, StopOrder::Drain);
    }

    fn stop_those(&mut self, which: impl Fn(Isolation) -> bool, order: StopOrder) {
        let chosen: Vec<JobId> = self
            .entries
            .iter()
            .filter(|(_, entry)| which(entry.claim.spec.isolation) && !entry.job.is_down())
            .map(|(id, _)| id.clone())
            .collect();
        for job in chosen {
            self.feed(&job, Event::Stop(order));
        }
    }

    pub(super) fn go_on_suspending(&mut self, now: Instant) {
        let Some(suspension) = &self.suspension else { return };
        let (stage, until) = (suspension.stage, suspension.until);
        let left = |isolation: Option<Isolation>| {
            self.entries
                .values()
                .filter(|entry| !entry.job.is_down())
                .filter(|entry| isolation.is_none_or(|wanted| entry.claim.spec.isolation == wanted))
                .count()
        };
        let (tenants, all) = (left(Some(Isolation::Tenant)), left(None));
        if all == 0 {
            return self.suspended();
        }
        self.tell(all);
        if now >= until && stage != Stage::Killing {
            self.set_stage(Stage::Killing);
            self.stop_those(|_| true, StopOrder::Kill);
        } else if stage == Stage::Tenants && tenants == 0 {
            self.set_stage(Stage::Platform);
            self.stop_those(|_| true, StopOrder::Drain);
            // No router is left whose requests could be waited for.
            let rest: Vec<(JobId, u32)> = self.entries.iter().map(|(id, e)| (id.clone(), e.job.run())).collect();
            for (job, run) in rest {
                self.feed(&job, Event::Drained { run });
            }
        }
    }

    fn set_stage(&mut self, stage: Stage) {
        if let Some(suspension) = &mut self.suspension {
            suspension.stage = stage;
        }
    }

    fn tell(&mut self, left: usize) {
        if let Some(suspension) = &mut self.suspension
            && suspension.told != left
        {
            suspension.told = left;
            // Whoever asked may have gone; the stop goes on.
            let _ = suspension.progress.try_send(format!("{left} jobs to stop"));
        }
    }

    /// All are down: forget how they ended, so that the next start finds them as after a power cut.
    fn suspended(&mut self) {
        for (job, entry) in &self.entries {
            if entry.job.record().ended.is_some() && entry.state.is_down() {
                continue;
            }
            if let Err(error) = self.tools.dir(job).remove(names::EXIT) {
                log::warn!(job:% = job, error:% = os::text::chain(&error); "the end of a job stays known");
            }
        }
        self.tools.empty_trash();
        self.entries.clear();
        if let Some(suspension) = &mut self.suspension {
            // The other end sees the sender go when all is done.
            let (closed, _) = std::sync::mpsc::sync_channel(1);
            let _ = suspension.progress.try_send("all jobs are stopped".to_owned());
            suspension.progress = closed;
        }
    }
}
