//! What ended becomes a record; what belongs to nothing goes.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use types::AppId;
use types::job::Lifecycle;

use crate::cell::{ClaimEntry, Phase, Standing};
use crate::draft::Draft;
use crate::plan::{Action, Ending, Step, Why};

pub(crate) fn plan(draft: &mut Draft<'_>, apps: &BTreeSet<AppId>) {
    let cell = draft.cell;
    for (job, host) in cell.strays() {
        let action = Action::Sweep { host: host.clone(), job: job.clone() };
        draft.propose(alloc::vec![Step { action, why: Why::Stray }]);
    }
    for app in apps {
        for group in cell.groups_of(app) {
            let members = cell.group(*group).members.iter().map(|ix| cell.claim_at(*ix));
            // The ephemeral part ends its own jobs, together with their requests.
            let ended: Vec<&ClaimEntry> = members.filter(|claim| is_over(claim)).collect();
            for claim in ended {
                if claim.lifecycle != Lifecycle::Batch && !draft.full(app) {
                    let steps = draft.end_steps(claim, Ending::Down, Why::Ended);
                    draft.propose(steps);
                }
            }
        }
    }
}

/// Whether a claim's job has ended for good. A system job that went down is for its host to start again.
pub(crate) fn is_over(claim: &ClaimEntry) -> bool {
    claim.phase == Phase::Down && (claim.lifecycle != Lifecycle::System || claim.stop.is_some())
}

/// The steps that end a claim on a lost host, or `None` while its host may still be there.
pub(crate) fn end_lost(draft: &mut Draft<'_>, claim: &ClaimEntry) -> Option<Vec<Step>> {
    let host = draft.cell.host(claim.host);
    match host.standing(draft.now) {
        Standing::Lost => {
            let why = Why::HostLost(host.id.clone());
            Some(draft.end_steps(claim, Ending::HostLost, why))
        }
        Standing::Doubtful { until } => {
            let app = draft.cell.group(claim.group).key.app.clone();
            draft.wake_at(until, &app);
            None
        }
        Standing::Open | Standing::Draining => None,
    }
}
