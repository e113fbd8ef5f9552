//! Records of ended jobs: what is kept of them, and what they say about crashes.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use stdx::Instant;
use types::host::{EndCause, EndedJob};
use types::job::DownReason;
use types::{AppId, JobId, ProcessType, ReleaseId};

use super::claims::GroupKey;
use crate::limits::{ENDED_PER_APP_MAX, STABLE_AFTER};

/// Crashes in a row, with no stable time between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crashes {
    /// How many.
    pub count: u32,
    /// When this scheduler learnt of the last one. After its own restart, that is then: a restart may make a
    /// wait longer, never shorter.
    pub last: Option<Instant>,
    /// When the last one was, in milliseconds since 1970.
    pub last_ms: u64,
}

impl Crashes {
    /// Count one more, which ended at `ended_ms` and was learnt of at `now`.
    pub(crate) fn add(&mut self, now: Instant, ended_ms: u64) {
        let gap = Duration::from_millis(ended_ms.saturating_sub(self.last_ms));
        if gap >= STABLE_AFTER {
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        self.last = Some(self.last.map_or(now, |last| last.max(now)));
        self.last_ms = self.last_ms.max(ended_ms);
    }
}

/// Whether such an end counts as a crash.
pub(crate) fn is_crash(cause: EndCause, reason: &DownReason) -> bool {
    cause == EndCause::Unasked && *reason != DownReason::Lost
}

#[derive(Debug)]
struct Record {
    release: Option<ReleaseId>,
    process_type: ProcessType,
    crash: bool,
    learnt: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Ended {
    /// In the order in which they ended.
    apps: BTreeMap<AppId, BTreeMap<(u64, JobId), Record>>,
}

impl Ended {
    pub(super) fn put(&mut self, now: Instant, ended: &EndedJob) {
        let record = Record {
            release: ended.release.clone(),
            process_type: ended.process_type.clone(),
            crash: is_crash(ended.cause, &ended.reason),
            learnt: now,
        };
        let app = self.apps.entry(ended.app.clone()).or_default();
        app.insert((ended.ended_ms, ended.job.clone()), record);
    }

    pub(super) fn drop_record(&mut self, app: &AppId, job: &JobId) {
        if let Some(records) = self.apps.get_mut(app) {
            records.retain(|(_, other), _| other != job);
            if records.is_empty() {
                self.apps.remove(app);
            }
        }
    }

    pub(super) fn contains(&self, app: &AppId, job: &JobId) -> bool {
        self.apps.get(app).is_some_and(|records| records.keys().any(|(_, other)| other == job))
    }

    pub(super) fn crashes(&self, key: &GroupKey) -> Crashes {
        let mut crashes = Crashes::default();
        for ((ended_ms, _), record) in self.apps.get(&key.app).into_iter().flatten() {
            if record.crash && record.release == key.release && record.process_type == key.process_type {
                crashes.add(record.learnt, *ended_ms);
            }
        }
        crashes
    }

    pub(super) fn surplus(&self, app: &AppId, more: usize) -> Vec<JobId> {
        let Some(records) = self.apps.get(app) else { return Vec::new() };
        let over = (records.len() + more).saturating_sub(ENDED_PER_APP_MAX);
        records.keys().take(over).map(|(_, job)| job.clone()).collect()
    }
}
