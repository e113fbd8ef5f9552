//! The effects of a deployment, one transaction each.

use api::cell::{self, LEADERS};
use api::objects::{ACTIVE_DEPLOYMENTS, APPS};
use controller_core::deployment::Counts;
use types::app::{App, Deployment, DeploymentStatus};
use types::{ApiError, Code, JobId};

use super::LEADER;
use crate::deployments::tell;
use crate::formations;
use crate::persist::{Change, json, now_text};
use crate::state::{Controller, find_app_by_id};

/// Refuse what a controller does that no longer leads.
pub(super) fn still_leads(controller: &Controller, term: u64) -> Result<(), ApiError> {
    match LEADERS.get(&controller.store, &[LEADER])? {
        Some(row) if row.created == term => Ok(()),
        _ => Err(ApiError::retryable(Code::Conflict, "another controller leads the deployments")),
    }
}

fn guarded(change: Change, term: u64) -> Change {
    change.with(|txn| txn.if_created(&LEADERS.key(&[LEADER]), term))
}

/// The app of a deployment that is still as it was when the machine decided. Somebody may have aborted it since,
/// or deleted the app.
fn app_of(controller: &Controller, record: &Deployment) -> Result<App, ApiError> {
    let active = ACTIVE_DEPLOYMENTS.get(&controller.store, &[record.app.as_str()])?;
    let app = find_app_by_id(&controller.store, &record.app)?;
    let (Some(app), true) = (app, active.is_some_and(|active| active.value == record.id)) else {
        return Err(ApiError::new(Code::Conflict, format!("deployment {} is no longer the active one", record.id)));
    };
    if controller.deployment(record.id.as_str())?.value != *record {
        return Err(ApiError::retryable(Code::Conflict, format!("deployment {} was changed", record.id)));
    }
    Ok(app.value)
}

fn releases(record: &Deployment) -> impl Iterator<Item = &str> {
    record.old_release.iter().chain([&record.new_release]).map(types::ReleaseId::as_str)
}

/// The revision up to which a deployment's formations have changed.
pub(super) fn formation_revision(controller: &Controller, record: &Deployment) -> Result<u64, ApiError> {
    let mut last = 0;
    for release in releases(record) {
        let row = cell::FORMATIONS.get(&controller.store, &[record.app.as_str(), release])?;
        last = last.max(row.map_or(0, |row| row.revision));
    }
    Ok(last)
}

/// Ask for these counts, if the formations are still as they were seen; gives the revision.
pub(super) fn set_formations(
    controller: &Controller,
    term: u64,
    record: &mut Deployment,
    seen: Vec<(String, u64)>,
    counts: (&Counts, &Counts),
) -> Result<u64, ApiError> {
    let (after, revision) = controller.writer.commit(|| {
        still_leads(controller, term)?;
        let app = app_of(controller, record)?;
        let mut change = guarded(Change::new(), term);
        for (key, revision) in &seen {
            let now = controller.store.get(key)?.map_or(0, |found| found.revision);
            if now != *revision {
                return Err(ApiError::retryable(Code::Conflict, "the formations have changed"));
            }
            change = change.with(|txn| txn.if_unchanged(key, *revision));
        }
        for (release, counts) in [(record.old_release.as_ref(), counts.0), (Some(&record.new_release), counts.1)] {
            let Some(release) = release else { continue };
            let release = controller.release(release.as_str())?.value;
            let artifacts = controller.artifacts(&release)?;
            change = change.with(|txn| formations::put(txn, &app, &release, &artifacts, counts));
        }
        let mut after = record.clone();
        if after.status == DeploymentStatus::Pending {
            after.status = DeploymentStatus::Running;
            change = tell(change, &after);
        }
        Ok((change, after))
    })?;
    log::info!(deployment:% = record.id, old:? = counts.0, new:? = counts.1; "formations set");
    *record = after;
    Ok(revision)
}

/// Record that it goes back and why, before anything is undone.
pub(super) fn roll_back(
    controller: &Controller,
    term: u64,
    record: &mut Deployment,
    reason: &str,
    words: Option<(Vec<String>, JobId)>,
) -> Result<(), ApiError> {
    let mut error = reason.to_owned();
    if let Some((lines, job)) = words.filter(|(lines, _)| !lines.is_empty()) {
        error.push_str(&format!("\nlast output of job {}:\n  {}", job.short(), lines.join("\n  ")));
    }
    let after = Deployment { status: DeploymentStatus::RollingBack, error: Some(error), ..record.clone() };
    controller.writer.commit(|| {
        still_leads(controller, term)?;
        app_of(controller, record)?;
        Ok((tell(guarded(Change::new(), term), &after), ()))
    })?;
    log::warn!(deployment:% = record.id, reason:% = reason; "deployment goes back");
    *record = after;
    Ok(())
}

/// The new release is the app's; nothing is asked for of the old one any more.
pub(super) fn finish(controller: &Controller, term: u64, record: &mut Deployment) -> Result<(), ApiError> {
    let after =
        Deployment { status: DeploymentStatus::Complete, finished_at: Some(now_text()), error: None, ..record.clone() };
    controller.writer.commit(|| {
        still_leads(controller, term)?;
        let mut app = app_of(controller, record)?;
        let release = controller.release(record.new_release.as_str())?.value;
        app.release = Some(release.id.clone());
        app.updated_at = Some(now_text());
        let mut change = guarded(Change::new(), term)
            .with(|txn| APPS.put_in(txn, &[app.id.as_str()], &app))
            .with(|txn| txn.delete(&ACTIVE_DEPLOYMENTS.key(&[app.id.as_str()])));
        if let Some(old) = record.old_release.as_ref().filter(|old| **old != release.id) {
            change = change.with(|txn| formations::remove(txn, &app, old.as_str()));
        }
        let shown = json(&crate::releases::without_secrets(&release));
        let change = change.tell(Some(&app.id), "app_release", release.id.as_str(), shown);
        Ok((tell(change, &after), ()))
    })?;
    log::info!(deployment:% = record.id, app:% = record.app; "deployment complete");
    *record = after;
    Ok(())
}

/// The old formation is as it was; nothing is asked for of the new release any more.
pub(super) fn fail(controller: &Controller, term: u64, record: &mut Deployment) -> Result<(), ApiError> {
    let after = Deployment { status: DeploymentStatus::Failed, finished_at: Some(now_text()), ..record.clone() };
    controller.writer.commit(|| {
        still_leads(controller, term)?;
        let app = app_of(controller, record)?;
        let change = guarded(Change::new(), term)
            .with(|txn| txn.delete(&ACTIVE_DEPLOYMENTS.key(&[app.id.as_str()])))
            .with(|txn| formations::remove(txn, &app, record.new_release.as_str()));
        Ok((tell(change, &after), ()))
    })?;
    log::warn!(deployment:% = record.id, app:% = record.app; "deployment failed; the old release serves");
    *record = after;
    Ok(())
}
