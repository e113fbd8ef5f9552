//! One-off requests: placed once, ended once, with a record. Who lost its host is not run again.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use types::cell::OneOffState;
use types::host::{EndCause, EndedJob, StopOrder};
use types::job::{DownReason, Lifecycle};
use types::{AppId, JobId};

use crate::cell::{ClaimEntry, Phase};
use crate::cleanup::{end_lost, is_over};
use crate::desired::{Desired, Request};
use crate::draft::Draft;
use crate::limits::ATTACH_WAIT;
use crate::placement::{self, Counts};
use crate::plan::{Action, Ending, Source, Step, Why};

/// Apps whose requests wait for room.
pub(crate) fn waiting_apps(desired: &Desired) -> impl Iterator<Item = &AppId> {
    let waits = |request: &&Request| !matches!(request.one_off.state, OneOffState::Placed { .. });
    desired.requests().filter(waits).map(|request| &request.template.spec.app)
}

pub(crate) fn plan(draft: &mut Draft<'_>, apps: &BTreeSet<AppId>) {
    let desired = draft.desired;
    let mut spoken_for: BTreeSet<&JobId> = BTreeSet::new();
    for request in desired.requests() {
        if let OneOffState::Placed { job, .. } = &request.one_off.state {
            spoken_for.insert(job);
        }
        if apps.contains(&request.template.spec.app) && !draft.full(&request.template.spec.app) {
            match &request.one_off.state {
                OneOffState::Placed { job, .. } => placed(draft, request, job),
                OneOffState::Pending | OneOffState::Blocked { .. } => unplaced(draft, request),
            }
        }
    }
    // Batch jobs without a request: of another scheduler, or the request was deleted. They end, that is all.
    let cell = draft.cell;
    for group in apps.iter().flat_map(|app| cell.groups_of(app)) {
        for claim in cell.group(*group).members.iter().map(|ix| cell.claim_at(*ix)) {
            let alone = claim.lifecycle == Lifecycle::Batch && !spoken_for.contains(&claim.job);
            if let Some(steps) = alone.then(|| over(draft, claim)).flatten() {
                draft.propose(steps);
            }
        }
    }
}

fn over(draft: &mut Draft<'_>, claim: &ClaimEntry) -> Option<Vec<Step>> {
    if is_over(claim) { Some(draft.end_steps(claim, Ending::Down, Why::Ended)) } else { end_lost(draft, claim) }
}

fn placed(draft: &mut Draft<'_>, request: &Request, job: &JobId) {
    let app = &request.template.spec.app;
    let close = |record| Action::Close { id: request.one_off.id.clone(), revision: request.revision, record };
    let Some(claim) = draft.cell.claim(job) else {
        // Somebody took the claim away. If that left no record, the request leaves one.
        let record = (!draft.cell.has_ended(app, job)).then(|| record(request, job, DownReason::Lost));
        let mut steps = draft.forget_steps(app);
        steps.push(Step { action: close(record), why: Why::Ended });
        draft.propose(steps);
        return;
    };
    if let Some(mut steps) = over(draft, claim) {
        steps.push(Step { action: close(None), why: Why::Ended });
        draft.propose(steps);
        return;
    }
    if claim.stop.is_some() {
        return;
    }
    if let Some(order) = request.one_off.stop {
        stop(draft, claim, order, Why::Cancelled);
    } else if claim.attached && claim.phase == Phase::Starting {
        let end = claim.phase_since.after(ATTACH_WAIT);
        if draft.now >= end {
            stop(draft, claim, StopOrder::Kill, Why::NotAttached);
        } else {
            draft.wake_at(end, app);
        }
    }
}

fn stop(draft: &mut Draft<'_>, claim: &ClaimEntry, order: StopOrder, why: Why) {
    let host = draft.cell.host(claim.host).id.clone();
    let action = Action::Stop { host, job: claim.job.clone(), revision: claim.revision, order };
    draft.propose(alloc::vec![Step { action, why }]);
}

fn unplaced(draft: &mut Draft<'_>, request: &Request) {
    let one_off = &request.one_off;
    if one_off.stop.is_some() {
        give_up(draft, request, "cancelled before it was placed".to_string(), Why::Cancelled);
        return;
    }
    match placement::choose(draft, &request.template, &Counts::default()) {
        Ok(ix) => {
            let host = draft.cell.host(ix).id.clone();
            let job = JobId::on(&host, one_off.id.uuid());
            draft.take(ix, &request.template.spec);
            let mut after = one_off.clone();
            after.state = OneOffState::Placed { job: job.clone(), host: host.clone() };
            let source = Source::Request { one_off: Box::new(after), revision: request.revision };
            let action = Action::Place { source, spec: request.template.spec.clone(), host, job };
            draft.propose(alloc::vec![Step { action, why: Why::Asked }]);
        }
        Err(refusal) => {
            let end = request.seen.after(Duration::from_millis(one_off.wait_ms));
            let reason = refusal.to_string();
            if draft.now >= end {
                give_up(draft, request, reason.clone(), Why::Blocked(reason));
                return;
            }
            draft.wake_at(end, &request.template.spec.app);
            let state = OneOffState::Blocked { reason: reason.clone() };
            if one_off.state != state && !draft.frees() {
                let mut after = one_off.clone();
                after.state = state;
                let action = Action::Settle { one_off: Box::new(after), revision: request.revision };
                draft.propose(alloc::vec![Step { action, why: Why::Blocked(reason) }]);
            }
        }
    }
}

fn give_up(draft: &mut Draft<'_>, request: &Request, reason: alloc::string::String, why: Why) {
    let id = request.one_off.id.clone();
    let record = record(request, &id, DownReason::Failed { reason });
    let close = Action::Close { id, revision: request.revision, record: Some(record) };
    let mut steps = alloc::vec![Step { action: close, why }];
    steps.extend(draft.forget_steps(&request.template.spec.app));
    draft.propose(steps);
}

fn record(request: &Request, job: &JobId, reason: DownReason) -> Box<EndedJob> {
    let spec = &request.template.spec;
    Box::new(EndedJob {
        job: job.clone(),
        app: spec.app.clone(),
        app_name: spec.app_name.clone(),
        release: spec.release.clone(),
        process_type: spec.process_type.clone(),
        reason,
        cause: if request.one_off.stop.is_some() { EndCause::Asked } else { EndCause::Unasked },
        started_ms: 0,
        ended_ms: 0,
    })
}
