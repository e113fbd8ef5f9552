//! How long the logs of ended jobs are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use types::{AppId, JobId};

use crate::disk;
use crate::jobdir::{self, JobDir};
use crate::limits::{ENDED_AGE, ENDED_MAX, ENDED_PER_APP};

/// Remove the directories of jobs that no claim wants, but for the newest of each app and of all; none for ever.
pub(crate) fn ended_jobs(jobs: &Path, live: &BTreeSet<JobId>, now_ms: u64) {
    let Ok(ids) = jobdir::all(jobs) else { return };
    let mut ended: Vec<(u64, AppId, JobId)> = ids
        .into_iter()
        .filter(|id| !live.contains(id))
        .filter_map(|id| {
            let dir = JobDir::of(jobs, &id);
            let state = dir.state().ok()??;
            let claim = dir.claim().ok()??;
            state.forgotten.then_some((state.ended_ms, claim.spec.app, id))
        })
        .collect();
    // The newest first.
    ended.sort_by(|a, b| b.cmp(a));
    let mut kept: BTreeMap<AppId, usize> = BTreeMap::new();
    let oldest = now_ms.saturating_sub(u64::try_from(ENDED_AGE.as_millis()).unwrap_or(u64::MAX));
    for (place, (ended_ms, app, id)) in ended.into_iter().enumerate() {
        let of_app = kept.entry(app).or_default();
        *of_app += 1;
        let is_old = ended_ms != 0 && ended_ms < oldest;
        if *of_app <= ENDED_PER_APP && place < ENDED_MAX && !is_old {
            continue;
        }
        if let Err(error) = disk::remove_tree(JobDir::of(jobs, &id).path()) {
            log::warn!(job:% = id, error:% = error; "log of an ended job not removed");
        }
    }
}
