//! Formations: how many jobs of each process type are wanted.

use std::collections::BTreeMap;

use api::cell;
use api::controller::{Deleted, NewFormation, NewScale, ScaleRequest, ScaleState};
use api::objects::{ACTIVE_DEPLOYMENTS, FORMATIONS, SCALES};
use api::serve::{Call, Exchange};
use api::store::Txn;
use controller_core::validate;
use types::app::{App, Artifact, Formation, Release};
use types::{ApiError, Code, ProcessType};

use crate::persist::{Change, json, now_text};
use crate::releases::none_yet;
use crate::state::{Controller, deployment_under_way};
use crate::system::META_CRITICAL;
use crate::{services, system, template};

pub(crate) type Counts = BTreeMap<ProcessType, u32>;

/// Ask for these counts of a release, in the objects and in the cell alike.
pub(crate) fn put(txn: Txn, app: &App, release: &Release, artifacts: &[Artifact], counts: &Counts) -> Txn {
    let id = [app.id.as_str(), release.id.as_str()];
    let formation = Formation {
        app: app.id.clone(),
        release: release.id.clone(),
        processes: counts.clone(),
        updated_at: Some(now_text()),
    };
    let txn = FORMATIONS.put_in(txn, &id, &formation);
    cell::FORMATIONS.put_in(txn, &id, &template::formation(app, release, artifacts, counts))
}

/// Ask for nothing of a release.
pub(crate) fn remove(txn: Txn, app: &App, release: &str) -> Txn {
    let id = [app.id.as_str(), release];
    txn.delete(&FORMATIONS.key(&id)).delete(&cell::FORMATIONS.key(&id))
}

pub(crate) fn list(controller: &Controller, call: &Call) -> Result<Vec<Formation>, ApiError> {
    let app = controller.app(call.param(0))?.value;
    let (mut rows, _) = FORMATIONS.list(&controller.store, &[app.id.as_str()])?;
    rows.sort_by_key(|row| std::cmp::Reverse(row.created));
    Ok(rows.into_iter().map(|row| row.value).collect())
}

pub(crate) fn one(controller: &Controller, call: &Call, exchange: &mut Exchange<'_>) -> Result<(), ApiError> {
    let app = controller.app(call.param(0))?.value;
    let release = controller.release_of(&app, call.param(1))?.value;
    match controller.formation(&app, &release)? {
        Some(row) => exchange.json(200, &row.value),
        None => {
            none_yet(exchange);
            Ok(())
        }
    }
}

/// `PUT formations`: all counts.
pub(crate) fn set(controller: &Controller, call: &Call, new: &NewFormation) -> Result<Formation, ApiError> {
    change(controller, call, |_| new.processes.clone())?;
    let app = controller.app(call.param(0))?.value;
    let release = controller.release_of(&app, call.param(1))?.value;
    let row = controller.formation(&app, &release)?;
    Ok(row.ok_or_else(|| ApiError::not_found("formation", release.id.as_str()))?.value)
}

/// `PUT scale`: the counts that are named.
pub(crate) fn scale(controller: &Controller, call: &Call, new: &NewScale) -> Result<ScaleRequest, ApiError> {
    change(controller, call, |old| {
        let mut counts = old.clone();
        counts.extend(new.new_processes.clone());
        counts
    })
}

fn change(controller: &Controller, call: &Call, counts: impl Fn(&Counts) -> Counts) -> Result<ScaleRequest, ApiError> {
    let id = os::entropy::uuid();
    let (request, _) = controller.writer.commit(|| {
        let app = controller.app(call.param(0))?.value;
        let release = controller.release_of(&app, call.param(1))?.value;
        if let Some(active) = ACTIVE_DEPLOYMENTS.get(&controller.store, &[app.id.as_str()])? {
            return Err(deployment_under_way(&app, active.value.as_str()));
        }
        let old = controller.formation(&app, &release)?.map(|row| row.value.processes).unwrap_or_default();
        let new = counts(&old);
        if release.artifacts.is_empty() && new.values().any(|count| *count > 0) {
            let text = format!("release v{} of {} has nothing to run", release.version, app.name);
            return Err(ApiError::new(Code::Conflict, text).hint("push the app first: git push slipway main"));
        }
        validate::counts(&release, &new)?;
        refuse_end_of_critical(&app, &old, &new)?;
        refuse_second_of_single(&app, &new)?;
        let now = Some(now_text());
        let unchanged = nonzero(&old) == nonzero(&new);
        let request = ScaleRequest {
            id: id.clone(),
            app: app.id.clone(),
            release: release.id.clone(),
            state: if unchanged { ScaleState::Complete } else { ScaleState::Pending },
            old_processes: old,
            new_processes: new,
            created_at: now.clone(),
            updated_at: now,
        };
        Ok((build(controller, &app, &release, &request)?, request))
    })?;
    Ok(request)
}

fn nonzero(counts: &Counts) -> Counts {
    counts.iter().filter(|(_, count)| **count > 0).map(|(one, count)| (one.clone(), *count)).collect()
}

fn build(controller: &Controller, app: &App, release: &Release, request: &ScaleRequest) -> Result<Change, ApiError> {
    let key = [app.id.as_str(), release.id.as_str()];
    let artifacts = controller.artifacts(release)?;
    // A release of a time before names were claimed.
    let change = services::claim(&controller.store, Change::new(), app, services::of_release(app, release))?;
    let mut change = change.with(|txn| put(txn, app, release, &artifacts, &request.new_processes));
    if let Some(row) = SCALES.get(&controller.store, &key)? {
        let cancelled = ScaleRequest { state: ScaleState::Cancelled, updated_at: Some(now_text()), ..row.value };
        change = change.tell(Some(&app.id), "scale_request_cancelation", &cancelled.id, json(&cancelled));
    }
    change = match request.state {
        ScaleState::Pending => change.with(|txn| SCALES.put_in(txn, &key, request)),
        ScaleState::Complete | ScaleState::Cancelled => change.with(|txn| txn.delete(&SCALES.key(&key))),
    };
    Ok(change.tell(Some(&app.id), "scale_request", &request.id, json(request)))
}

/// Without these there is no API left to scale them up again with.
fn refuse_end_of_critical(app: &App, old: &Counts, new: &Counts) -> Result<(), ApiError> {
    let critical = app.meta.get(META_CRITICAL).is_some_and(|value| value == "true");
    for (process_type, count) in old {
        if critical && *count > 0 && new.get(process_type).copied().unwrap_or(0) == 0 {
            let why = format!("{process_type} of {} cannot be scaled to zero: the platform needs it", app.name);
            return Err(ApiError::new(Code::Forbidden, why).hint("slipway kill restarts a job of it"));
        }
    }
    Ok(())
}

fn refuse_second_of_single(app: &App, new: &Counts) -> Result<(), ApiError> {
    if system::is_single(app) && new.values().any(|count| *count > 1) {
        let why =
            format!("{} cannot be scaled beyond one job: it owns a volume that no second one can share", app.name);
        return Err(ApiError::new(Code::Forbidden, why).hint("leave it at 1; apps are scaled with slipway scale web=2"));
    }
    Ok(())
}

pub(crate) fn delete(controller: &Controller, call: &Call) -> Result<Deleted, ApiError> {
    let (id, _) = controller.writer.commit(|| {
        let app = controller.app(call.param(0))?.value;
        let release = controller.release_of(&app, call.param(1))?.value;
        if let Some(active) = ACTIVE_DEPLOYMENTS.get(&controller.store, &[app.id.as_str()])? {
            return Err(deployment_under_way(&app, active.value.as_str()));
        }
        let old = controller.formation(&app, &release)?.map(|row| row.value.processes).unwrap_or_default();
        refuse_end_of_critical(&app, &old, &Counts::new())?;
        let change = Change::new().with(|txn| remove(txn, &app, release.id.as_str()));
        let key = SCALES.key(&[app.id.as_str(), release.id.as_str()]);
        Ok((change.with(|txn| txn.delete(&key)), release.id))
    })?;
    Ok(Deleted { id: id.to_string(), ..Deleted::default() })
}
