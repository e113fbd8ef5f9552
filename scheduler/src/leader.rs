//! Who acts. One key under a lease; who holds it commits, the others watch.

use api::cell::{LEADERS, Leader};
use api::store::{Change, LeaseId, Record, Repeat, StoreClient, StoreError, Txn};
use types::JobId;

/// The seat as the store shows it, and whether it is ours.
#[derive(Debug)]
pub(crate) struct Leadership {
    name: String,
    job: JobId,
    key: String,
    /// Who sits there and since which revision, as far as was heard.
    holder: Option<(JobId, u64)>,
    /// The revision at which this very process took the seat.
    taken: Option<u64>,
}

impl Leadership {
    pub(crate) fn new(name: &str, job: &JobId) -> Leadership {
        Leadership { name: name.to_owned(), job: job.clone(), key: LEADERS.key(&[name]), holder: None, taken: None }
    }

    /// Everything is read anew.
    pub(crate) fn reset(&mut self, records: &[Record]) {
        self.holder = None;
        records.iter().for_each(|record| self.see(record));
    }

    pub(crate) fn hear(&mut self, change: &Change) {
        match change {
            Change::Put(record) => self.see(record),
            Change::Deleted { key, .. } if *key == self.key => self.holder = None,
            Change::Deleted { .. } => {}
        }
    }

    fn see(&mut self, record: &Record) {
        if record.key == self.key {
            self.holder = LEADERS.decode(record).ok().map(|row| (row.value.job, row.revision));
        }
    }

    /// The revision at which this process took the seat, while it holds it.
    pub(crate) fn since(&self) -> Option<u64> {
        let (_, revision) = self.holder.as_ref()?;
        self.taken.filter(|taken| taken == revision)
    }

    /// Take the seat if it is free, or was taken by an earlier life of this job. A host runs a job once, so that
    /// one is over. Gives whether it is ours.
    pub(crate) fn claim(&mut self, store: &StoreClient, lease: LeaseId) -> Result<bool, StoreError> {
        if self.since().is_some() {
            return Ok(true);
        }
        let free = match &self.holder {
            None => 0,
            Some((job, revision)) if *job == self.job => *revision,
            Some(_) => return Ok(false),
        };
        let leader = Leader { job: self.job.clone() };
        let txn = Txn::new().if_unchanged(&self.key, free).put_leased(&self.key, LEADERS.encode(&leader), Some(lease));
        let outcome = store.txn(txn, Repeat::Harmless)?;
        if outcome.succeeded {
            log::info!(scheduler:% = self.name, revision = outcome.revision; "acting from here on");
            self.taken = Some(outcome.revision);
            self.holder = Some((self.job.clone(), outcome.revision));
        }
        Ok(outcome.succeeded)
    }

    /// The lease is gone, and the key with it.
    pub(crate) fn lose(&mut self) {
        self.taken = None;
    }
}
