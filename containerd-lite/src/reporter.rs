//! Writes what became of jobs into the cell. The newest word on each job is written until the store takes it.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::cell::STATUS;
use api::store::{StoreClient, StoreError};
use os::signal::Shutdown;
use types::job::JobStatus;
use types::{HostId, JobId};

use crate::limits::REPORT_AGAIN;

/// One status per job waits at most, so this is bounded by the number of jobs.
type Waiting = BTreeMap<JobId, Option<JobStatus>>;

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    more: Condvar,
}

/// The one writer of this host's statuses.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    shared: Arc<Shared>,
}

impl Reporter {
    pub(crate) fn start(store: &StoreClient, host: &HostId, shutdown: &Shutdown) -> io::Result<Reporter> {
        let reporter = Reporter { shared: Arc::default() };
        let shared = Arc::clone(&reporter.shared);
        let (store, host, shutdown) = (store.clone().patience(Duration::from_secs(1)), host.clone(), shutdown.clone());
        os::thread::spawn("reporter", move || run(&shared, &store, &host, &shutdown))?;
        Ok(reporter)
    }

    /// Say what became of a job.
    pub(crate) fn report(&self, status: JobStatus) {
        self.put(status.job.clone(), Some(status));
    }

    /// Say nothing of it any more.
    pub(crate) fn forget(&self, job: &JobId) {
        self.put(job.clone(), None);
    }

    fn put(&self, job: JobId, status: Option<JobStatus>) {
        self.shared.waiting().insert(job, status);
        self.shared.more.notify_one();
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn run(shared: &Shared, store: &StoreClient, host: &HostId, shutdown: &Shutdown) {
    let look = Duration::from_millis(200);
    loop {
        let batch = {
            let mut waiting = shared.waiting();
            while waiting.is_empty() && !shutdown.asked() {
                waiting = shared.more.wait_timeout(waiting, look).unwrap_or_else(PoisonError::into_inner).0;
            }
            std::mem::take(&mut *waiting)
        };
        if batch.is_empty() {
            return;
        }
        for (job, status) in batch {
            if let Err(error) = write(store, host, &job, status.as_ref()) {
                log::warn!(job:% = job, error:% = os::text::chain(&error); "status not written; trying again");
                // A newer word has come meanwhile, or this one waits.
                shared.waiting().entry(job).or_insert(status);
                if shutdown.asked() {
                    return;
                }
                os::clock::pause(REPORT_AGAIN);
            }
        }
    }
}

fn write(store: &StoreClient, host: &HostId, job: &JobId, status: Option<&JobStatus>) -> Result<(), StoreError> {
    let id = [host.as_str(), job.as_str()];
    match status {
        Some(status) => STATUS.put(store, &id, status, None).map(drop),
        None => STATUS.delete(store, &id).map(drop),
    }
}
