//! What the claims want against what there is.

use std::collections::BTreeMap;

use types::JobId;
use types::host::{Claim, StopOrder};

use crate::limits::JOBS_MAX;

/// What a machine of this host says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The stop order it has taken.
    pub stop: Option<StopOrder>,
    /// Whether it knows that its claim is gone.
    pub forgotten: bool,
}

/// What must be done to make them match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A claim that nothing here answers.
    Create(JobId),
    /// A stop order that its job has not taken.
    Stop(JobId, StopOrder),
    /// A job that no claim wants.
    Forget(JobId),
    /// A claim beyond what one host can hold.
    Refuse(JobId),
}

/// Compare the claims of this host with its jobs. The order is that of execution: endings first, because they free
/// what beginnings need; then beginnings by priority, so that after a power cut the platform comes before its apps.
#[must_use]
pub fn plan(claims: &BTreeMap<JobId, Claim>, jobs: &BTreeMap<JobId, Observed>) -> Vec<Action> {
    let mut actions = Vec::new();
    for (id, job) in jobs {
        match claims.get(id) {
            None if !job.forgotten => actions.push(Action::Forget(id.clone())),
            Some(Claim { stop: Some(order), .. }) if stronger(*order, job.stop) => {
                actions.push(Action::Stop(id.clone(), *order));
            }
            _ => {}
        }
    }
    let mut new: Vec<&Claim> = claims.values().filter(|claim| !jobs.contains_key(&claim.job)).collect();
    new.sort_by_key(|claim| (claim.spec.priority, claim.created_ms, claim.job.clone()));
    let room = JOBS_MAX.saturating_sub(jobs.len());
    for (place, claim) in new.into_iter().enumerate() {
        if place >= room {
            actions.push(Action::Refuse(claim.job.clone()));
            continue;
        }
        actions.push(Action::Create(claim.job.clone()));
        if let Some(order) = claim.stop {
            actions.push(Action::Stop(claim.job.clone(), order));
        }
    }
    actions
}

fn stronger(wanted: StopOrder, taken: Option<StopOrder>) -> bool {
    match taken {
        None => true,
        Some(StopOrder::Drain) => wanted == StopOrder::Kill,
        Some(StopOrder::Kill) => false,
    }
}

#[cfg(test)]
mod tests;
