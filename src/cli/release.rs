//! `releases`, `rollback`, `deployments`, and following a deployment to its end.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use api::Client;
use api::controller::{self as endpoints, NewDeployment};
use clap::Args;
use types::app::{App, Deployment, DeploymentStatus, Release};
use types::{ApiError, Code};

use super::Context;
use crate::term::{self, Format};

/// How long a deployment is followed beyond the time the controller gives it.
const DEPLOY_TIMEOUT: Duration = Duration::from_secs(900);

#[derive(Debug, Args)]
pub(super) struct Releases {
    /// So many of the newest
    #[arg(short = 'n', long, default_value_t = 20)]
    lines: usize,
}

#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// The release: a number as v3, or an id; none is the one before the current
    release: Option<String>,
}

pub(super) fn releases(context: &Context, args: &Releases) -> Result<()> {
    let controller = context.controller()?;
    let app = context.app(&controller)?;
    let releases = controller.call(&endpoints::APP_RELEASES, &[app.id.as_str()], &())?;
    if context.format == Format::Json {
        return term::json(&releases);
    }
    if releases.is_empty() {
        term::note(&format!("{} has no releases yet; `git push slipway main` makes the first", app.name));
    }
    let rows: Vec<Vec<String>> = releases
        .iter()
        .take(args.lines)
        .map(|release| {
            let current = if app.release.as_ref() == Some(&release.id) { "current" } else { "" };
            let age = term::age_of(release.created_at.as_deref());
            vec![format!("v{}", release.version), age, release.description.clone(), current.to_owned()]
        })
        .collect();
    term::table(&["RELEASE", "AGE", "WHAT", ""], &rows);
    Ok(())
}

pub(super) fn rollback(context: &Context, args: &Rollback) -> Result<()> {
    let controller = context.controller()?;
    let app = context.app(&controller)?;
    let current = context.deployed(&controller, &app)?;
    let releases = controller.call(&endpoints::APP_RELEASES, &[app.id.as_str()], &())?;
    let target = match &args.release {
        Some(wanted) => releases
            .iter()
            .find(|release| release.id.as_str() == wanted || format!("v{}", release.version) == *wanted)
            .with_context(|| format!("{} has no release {wanted}; `slipway releases` lists them", app.name))?,
        None => {
            let deployments = controller.call(&endpoints::DEPLOYMENTS, &[app.id.as_str()], &())?;
            before(&releases, &deployments, &current).ok_or_else(|| {
                let text = format!("{} has no release before v{} that was deployed", app.name, current.version);
                ApiError::new(Code::NotFound, text).hint("name one: slipway rollback v1; `slipway releases` lists them")
            })?
        }
    };
    if target.id == current.id {
        bail!("v{} is the current release already", current.version);
    }
    term::step(&format!("Rolling back {} from v{} to v{}", app.name, current.version, target.version));
    deploy(context, &controller, &app, target)
}

/// The newest release before the current one that was deployed, and ran if the current one can.
fn before<'a>(releases: &'a [Release], deployments: &[Deployment], current: &Release) -> Option<&'a Release> {
    let ran = |release: &&Release| {
        let complete = |one: &Deployment| one.new_release == release.id && one.status == DeploymentStatus::Complete;
        release.artifacts.is_empty() == current.artifacts.is_empty() && deployments.iter().any(complete)
    };
    let older = releases.iter().filter(|release| release.version < current.version);
    older.filter(ran).max_by_key(|release| release.version)
}

/// Follow the deployment that was made with a release.
pub(super) fn made(context: &Context, controller: &Client, app: &App, release: &Release) -> Result<()> {
    let start = os::clock::now();
    let deployments = controller.call(&endpoints::DEPLOYMENTS, &[app.id.as_str()], &())?;
    let deployment = deployments
        .into_iter()
        .find(|deployment| deployment.new_release == release.id)
        .with_context(|| format!("v{} has no deployment; `slipway deployments` lists them", release.version))?;
    end(context, controller, app, release, deployment, start)
}

/// Deploy a release and follow it to its end.
pub(super) fn deploy(context: &Context, controller: &Client, app: &App, release: &Release) -> Result<()> {
    let start = os::clock::now();
    let request = NewDeployment { id: release.id.to_string() };
    let deployment = controller.call(&endpoints::DEPLOY, &[app.id.as_str()], &request)?;
    end(context, controller, app, release, deployment, start)
}

fn end(
    context: &Context,
    controller: &Client,
    app: &App,
    release: &Release,
    deployment: Deployment,
    start: stdx::Instant,
) -> Result<()> {
    let ended = follow(controller, deployment)?;
    let took = term::duration(os::clock::now().since(start));
    if context.format == Format::Json {
        term::json(&ended)?;
    }
    match ended.status {
        DeploymentStatus::Complete => {
            term::note(&format!("{} v{} deployed in {took}", app.name, release.version));
            Ok(())
        }
        _ => {
            let why = ended.error.unwrap_or_else(|| "it did not come up".to_owned());
            let error = ApiError::new(Code::DeployFailed, format!("v{} was not deployed: {why}", release.version));
            Err(match &ended.old_release {
                Some(_) => error.hint("the old release still serves; `slipway log` shows what the new one said"),
                None => error.hint("`slipway log` shows what it said"),
            }
            .into())
        }
    }
}

fn follow(controller: &Client, deployment: Deployment) -> Result<Deployment> {
    let mut now = deployment;
    let id = now.id.clone();
    let ended = os::clock::wait_for(DEPLOY_TIMEOUT, || {
        if now.status.is_final() {
            return Some(());
        }
        // A controller that is being replaced answers again shortly.
        if let Ok(next) = controller.call(&endpoints::DEPLOYMENT, &[id.as_str()], &()) {
            now = next;
        }
        None
    });
    if ended.is_none() {
        bail!("deployment {id} has not ended; `slipway deployments` shows how far it is");
    }
    Ok(now)
}

pub(super) fn deployments(context: &Context) -> Result<()> {
    let controller = context.controller()?;
    let app = context.app(&controller)?;
    let deployments = controller.call(&endpoints::DEPLOYMENTS, &[app.id.as_str()], &())?;
    if context.format == Format::Json {
        return term::json(&deployments);
    }
    if deployments.is_empty() {
        term::note(&format!("{} has had no deployments", app.name));
    }
    let releases = controller.call(&endpoints::APP_RELEASES, &[app.id.as_str()], &())?;
    let version = |id: &types::ReleaseId| {
        releases
            .iter()
            .find(|release| release.id == *id)
            .map_or("-".to_owned(), |release| format!("v{}", release.version))
    };
    let rows: Vec<Vec<String>> = deployments
        .iter()
        .map(|deployment| {
            let from = deployment.old_release.as_ref().map_or_else(|| "-".to_owned(), version);
            let word = serde_json::to_value(deployment.status).ok();
            vec![
                format!("{from} -> {}", version(&deployment.new_release)),
                word.as_ref().and_then(|word| word.as_str()).unwrap_or("-").to_owned(),
                term::age_of(deployment.created_at.as_deref()),
                took(deployment),
                deployment.error.clone().unwrap_or_default().lines().next().unwrap_or("").to_owned(),
            ]
        })
        .collect();
    term::table(&["RELEASE", "STATUS", "AGE", "TOOK", "WHY"], &rows);
    Ok(())
}

fn took(deployment: &Deployment) -> String {
    let parse = |text: &Option<String>| text.as_deref().and_then(os::clock::WallTime::parse);
    match (parse(&deployment.created_at), parse(&deployment.finished_at)) {
        (Some(start), Some(end)) => term::duration(end.since(start)),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(version: u64, artifact: &str) -> Release {
        let json = serde_json::json!({ "id": format!("r{version}"), "app_id": "a1", "version": version,
            "artifacts": if artifact.is_empty() { vec![] } else { vec![artifact] } });
        serde_json::from_value(json).unwrap()
    }

    fn deployment(version: u64, status: &str) -> Deployment {
        let json = serde_json::json!({ "id": format!("d{version}"), "app": "a1", "status": status,
            "new_release": format!("r{version}"), "strategy": "all-at-once", "deploy_timeout": 120 });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn rollback_goes_to_the_newest_release_that_ran() {
        let releases = [release(5, "x"), release(4, "x"), release(3, "x"), release(2, "x"), release(1, "")];
        let deployments =
            [deployment(5, "complete"), deployment(3, "failed"), deployment(2, "complete"), deployment(1, "complete")];
        let target = |current: &Release| before(&releases, &deployments, current).map(|release| release.version);
        assert_eq!(target(&releases[0]), Some(2), "v4 was never deployed, v3 failed");
        assert_eq!(target(&releases[3]), None, "v1 has nothing to run");
    }
}
