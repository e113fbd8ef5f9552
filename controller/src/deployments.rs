//! Deployments as objects: asked for, looked at, aborted. The deployer does the work.

use std::collections::BTreeMap;

use api::controller::{AbortDeployment, NewDeployment};
use api::objects::{ACTIVE_DEPLOYMENTS, APPS, DEPLOYMENTS, FORMATIONS, SCALES};
use api::serve::Call;
use controller_core::deployment::Counts;
use types::app::{App, Deployment, DeploymentStatus, Release};
use types::{ApiError, Code, DeploymentId, ProcessType};

use crate::persist::{Change, json, now_text};
use crate::state::{Controller, deployment_under_way};
use crate::{services, template};

/// The metadata key of the batch size of `in-batches`. Flynn's is understood too.
const META_BATCH: [&str; 2] = ["slipway-deploy-batch-size", "flynn-deploy-batch-size"];

pub(crate) fn list(controller: &Controller, call: &Call) -> Result<Vec<Deployment>, ApiError> {
    let app = controller.app(call.param(0))?.value;
    let (mut rows, _) = DEPLOYMENTS.list(&controller.store, &[])?;
    rows.retain(|row| row.value.app == app.id);
    rows.sort_by_key(|row| std::cmp::Reverse(row.created));
    Ok(rows.into_iter().map(|row| row.value).collect())
}

pub(crate) fn one(controller: &Controller, call: &Call) -> Result<Deployment, ApiError> {
    Ok(controller.deployment(call.param(0))?.value)
}

/// Add a deployment's record and event to a change.
pub(crate) fn tell(change: Change, deployment: &Deployment) -> Change {
    let id = deployment.id.as_str();
    change.with(|txn| DEPLOYMENTS.put_in(txn, &[id], deployment)).tell(
        Some(&deployment.app),
        "deployment",
        id,
        json(deployment),
    )
}

pub(crate) fn create(controller: &Controller, call: &Call, new: &NewDeployment) -> Result<Deployment, ApiError> {
    if new.id.is_empty() {
        return Err(ApiError::invalid("id", "is needed: the release to deploy"));
    }
    let id = DeploymentId::parse(&os::entropy::uuid()).expect("a UUID is an id");
    let (deployment, _) = controller.writer.commit(|| {
        let app = controller.app(call.param(0))?.value;
        let release = controller.release_of(&app, &new.id)?.value;
        // A release of a time before names were claimed.
        let change = services::claim(&controller.store, Change::new(), &app, services::of_release(&app, &release))?;
        begin(controller, change, app, &release, id.clone())
    })?;
    log::info!(app:% = deployment.app, deployment:% = deployment.id, release:% = deployment.new_release;
        "deployment accepted");
    Ok(deployment)
}

/// Add the deployment of a release to a change.
pub(crate) fn begin(
    controller: &Controller,
    mut change: Change,
    mut app: App,
    release: &Release,
    id: DeploymentId,
) -> Result<(Change, Deployment), ApiError> {
    if let Some(active) = ACTIVE_DEPLOYMENTS.get(&controller.store, &[app.id.as_str()])? {
        return Err(deployment_under_way(&app, active.value.as_str()));
    }
    let mut deployment = plan(controller, &app, release, id)?;
    let app_key = app.id.to_string();
    if nothing_to_do(&app, &deployment) {
        deployment.status = DeploymentStatus::Complete;
        deployment.finished_at.clone_from(&deployment.created_at);
        if app.release.as_ref() != Some(&release.id) {
            app.release = Some(release.id.clone());
            app.updated_at = Some(now_text());
            let shown = json(&crate::releases::without_secrets(release));
            change = change.with(|txn| APPS.put_in(txn, &[&app_key], &app)).tell(
                Some(&app.id),
                "app_release",
                release.id.as_str(),
                shown,
            );
        }
    } else {
        if release.artifacts.is_empty() {
            let error = ApiError::new(Code::Conflict, format!("release v{} has nothing to run", release.version));
            return Err(error.hint("push the app first"));
        }
        change = change.with(|txn| ACTIVE_DEPLOYMENTS.put_in(txn, &[&app_key], &deployment.id));
    }
    // Jobs are counted by the deployment from here on.
    let scales = SCALES.key(&[&app_key, ""]);
    Ok((tell(change.with(|txn| txn.delete_prefix(&scales)), &deployment), deployment))
}

fn nothing_to_do(app: &App, deployment: &Deployment) -> bool {
    let none = |counts: &Counts| counts.values().all(|count| *count == 0);
    app.release.as_ref() == Some(&deployment.new_release)
        || (none(&deployment.processes) && none(&deployment.old_processes))
}

fn plan(controller: &Controller, app: &App, release: &Release, id: DeploymentId) -> Result<Deployment, ApiError> {
    let old = match &app.release {
        Some(id) => Some(controller.release(id.as_str())?.value),
        None => None,
    };
    let formation = match &old {
        Some(old) => FORMATIONS.get(&controller.store, &[app.id.as_str(), old.id.as_str()])?,
        None => None,
    };
    let old_processes = formation.map(|row| row.value.processes).unwrap_or_default();
    let batch = META_BATCH.iter().find_map(|key| app.meta.get(*key)?.parse().ok()).unwrap_or(1);
    Ok(Deployment {
        id,
        app: app.id.clone(),
        old_release: old.as_ref().map(|release| release.id.clone()),
        new_release: release.id.clone(),
        strategy: app.strategy,
        status: DeploymentStatus::Pending,
        processes: target(old.as_ref(), &old_processes, release),
        old_processes,
        deploy_batch_size: batch,
        deploy_timeout: app.deploy_timeout,
        error: None,
        created_at: Some(now_text()),
        finished_at: None,
    })
}

/// The counts stay as they are for the process types that the new release has. The first release that can run
/// anything gets one web job.
pub(crate) fn target(old: Option<&Release>, counts: &Counts, release: &Release) -> BTreeMap<ProcessType, u32> {
    let first = old.is_none_or(|old| old.processes.is_empty());
    if first && counts.values().all(|count| *count == 0) {
        let web = release.processes.keys().find(|one| one.as_str() == "web");
        return web.map(|one| (one.clone(), 1)).into_iter().collect();
    }
    let known = |one: &&ProcessType| release.processes.contains_key(*one);
    counts.keys().filter(known).map(|one| (one.clone(), counts[one])).collect()
}

/// The controller that leads sees the record and goes back.
pub(crate) fn abort(controller: &Controller, call: &Call, by: &AbortDeployment) -> Result<Deployment, ApiError> {
    let who = if by.by.is_empty() { "an operator" } else { &by.by };
    let (deployment, _) = controller.writer.commit(|| {
        let mut deployment = controller.deployment(call.param(0))?.value;
        if deployment.status.is_final() {
            let error = ApiError::new(Code::Conflict, format!("deployment {} has ended", deployment.id));
            return Err(error.hint("slipway rollback deploys the release before"));
        }
        if deployment.status == DeploymentStatus::RollingBack {
            return Ok((Change::new(), deployment));
        }
        deployment.status = DeploymentStatus::RollingBack;
        deployment.error = Some(format!("aborted by {}", who.chars().take(100).collect::<String>()));
        let app = deployment.app.clone();
        // Written again so that who follows the active deployments looks at this one.
        let change = Change::new().with(|txn| ACTIVE_DEPLOYMENTS.put_in(txn, &[app.as_str()], &deployment.id));
        Ok((tell(change, &deployment), deployment))
    })?;
    Ok(deployment)
}

/// What a deployment's machine is told.
pub(crate) fn order(deployment: &Deployment, release: &Release) -> controller_core::deployment::Order {
    let omni = release.processes.iter().filter(|(_, spec)| spec.omni).map(|(one, _)| one.clone());
    controller_core::deployment::Order {
        strategy: deployment.strategy,
        batch: deployment.deploy_batch_size.max(1),
        timeout: std::time::Duration::from_secs(u64::from(deployment.deploy_timeout)),
        start_timeout: template::start_timeout(release),
        original: deployment.old_processes.clone(),
        target: deployment.processes.clone(),
        omni: omni.collect(),
    }
}
