//! Releases: immutable, numbered within their app.

use api::controller::{Deleted, NewRelease, ReleaseChoice};
use api::objects::{ACTIVE_DEPLOYMENTS, APP_RELEASES, APPS, ARTIFACTS, FORMATIONS, RELEASES};
use api::serve::{Call, Exchange};
use api::store::StoreClient;
use api::table::Row;
use controller_core::validate;
use types::app::{App, Release};
use types::{ApiError, ArtifactId, Code, DeploymentId, ReleaseId};

use crate::persist::{Change, json, now_text};
use crate::state::{Controller, deployment_under_way};
use crate::{deployments, garbage, services};

/// `v3` as 3.
pub(crate) fn version(text: &str) -> Option<u64> {
    text.strip_prefix('v').filter(|rest| rest.len() < 12)?.parse().ok()
}

fn version_key(version: u64) -> String {
    format!("{version:012}")
}

/// The release as events tell of it: the names of its environment, not the values.
pub(crate) fn without_secrets(release: &Release) -> Release {
    let hide = |env: &types::app::Map| env.keys().map(|name| (name.clone(), "[hidden]".to_owned())).collect();
    let mut shown = release.clone();
    shown.env = hide(&shown.env);
    for spec in shown.processes.values_mut() {
        spec.env = hide(&spec.env);
    }
    shown
}

pub(crate) fn by_version(store: &StoreClient, app: &App, version: u64) -> Result<Option<Row<Release>>, ApiError> {
    let id = APP_RELEASES.get(store, &[app.id.as_str(), &version_key(version)])?;
    let Some(id) = id else { return Ok(None) };
    Ok(RELEASES.get(store, &[id.value.as_str()])?)
}

/// The number that an app's next release gets.
fn next_version(store: &StoreClient, app: &App) -> Result<u64, ApiError> {
    let (rows, _) = APP_RELEASES.list(store, &[app.id.as_str()])?;
    let last = rows.last().and_then(|row| row.id.rsplit('/').next()?.parse::<u64>().ok());
    Ok(last.unwrap_or(0) + 1)
}

/// Add a release to a change.
pub(crate) fn add(change: Change, release: &Release) -> Change {
    let (app, id) = (release.app_id.as_str(), release.id.as_str());
    change
        .with(|txn| RELEASES.put_in(txn, &[id], release))
        .with(|txn| APP_RELEASES.put_in(txn, &[app, &version_key(release.version)], &release.id))
        .tell(Some(&release.app_id), "release", id, json(&without_secrets(release)))
}

pub(crate) fn create(controller: &Controller, new: &NewRelease) -> Result<Release, ApiError> {
    if new.app_id.is_empty() {
        return Err(ApiError::invalid("app_id", "is needed: the name or id of the app"));
    }
    let id = ReleaseId::parse(&os::entropy::uuid()).expect("a UUID is an id");
    let deployment = DeploymentId::parse(&os::entropy::uuid()).expect("a UUID is an id");
    let (release, _) = controller.writer.commit(|| {
        let app = controller.app(&new.app_id)?.value;
        let mut release = Release {
            id: id.clone(),
            app_id: app.id.clone(),
            artifacts: Vec::new(),
            env: new.env.clone(),
            meta: new.meta.clone(),
            processes: new.processes.clone(),
            version: next_version(&controller.store, &app)?,
            description: new.description.clone(),
            created_at: Some(now_text()),
        };
        for text in &new.artifacts {
            release.artifacts.push(artifact(&controller.store, text)?);
        }
        validate::release(&release)?;
        check_services(&app, &release)?;
        check_expected(controller, &app, new)?;
        let change = services::claim(&controller.store, Change::new(), &app, services::of_release(&app, &release))?;
        let change = add(change, &release);
        if !new.deploy {
            return Ok((change, release));
        }
        let (change, _) = deployments::begin(controller, change, app, &release, deployment.clone())?;
        Ok((change, release))
    })?;
    log::info!(app:% = release.app_id, release:% = release.id, version = release.version; "release created");
    Ok(release)
}

/// Whoever made this release from another one than is current now does not know of a change since.
fn check_expected(controller: &Controller, app: &App, new: &NewRelease) -> Result<(), ApiError> {
    let now = app.release.as_ref().map_or("", |id| id.as_str());
    if new.expects.as_deref().is_none_or(|expected| expected == now) {
        return Ok(());
    }
    let current = match &app.release {
        Some(id) => format!("v{}", controller.release(id.as_str())?.value.version),
        None => "none".to_owned(),
    };
    let text = format!("the current release of app {} is {current}: it was changed in the meantime", app.name);
    Err(ApiError::new(Code::PreconditionFailed, text).hint("read it again, then repeat the change"))
}

fn artifact(store: &StoreClient, text: &str) -> Result<ArtifactId, ApiError> {
    let id = ArtifactId::parse(text).map_err(|error| ApiError::invalid("artifacts", &error.to_string()))?;
    match ARTIFACTS.get(store, &[id.as_str()])? {
        Some(_) => Ok(id),
        None => Err(ApiError::invalid("artifacts", &format!("names {id}, which does not exist"))),
    }
}

/// An app offers services under its own name only: otherwise it could take another app's traffic.
fn check_services(app: &App, release: &Release) -> Result<(), ApiError> {
    if crate::template::is_system(app) {
        return Ok(());
    }
    if release.env.contains_key("PORT") {
        return Err(port_is_set("env.PORT"));
    }
    let own = format!("{}-", app.name);
    for (process_type, spec) in &release.processes {
        let field = |name: &str| format!("processes.{process_type}.{name}");
        if spec.service.as_ref().is_some_and(|service| !service.as_str().starts_with(&own)) {
            return Err(ApiError::invalid(&field("service"), &format!("must begin with {own}")));
        }
        if spec.env.contains_key("PORT") {
            return Err(port_is_set(&field("env.PORT")));
        }
        if spec.host_network {
            return Err(ApiError::invalid(&field("host_network"), "is for the platform's own apps"));
        }
        if !spec.linux_capabilities.is_empty() {
            return Err(ApiError::invalid(&field("linux_capabilities"), "is for the platform's own apps"));
        }
    }
    Ok(())
}

fn port_is_set(field: &str) -> ApiError {
    ApiError::invalid(field, "is set by the platform: the router sends requests to the port that it gives out")
        .hint("listen on $PORT, and leave it out of the environment (slipway env unset PORT)")
}

pub(crate) fn all(controller: &Controller) -> Result<Vec<Release>, ApiError> {
    let (mut rows, _) = RELEASES.list(&controller.store, &[])?;
    rows.sort_by_key(|row| std::cmp::Reverse(row.created));
    Ok(rows.into_iter().map(|row| row.value).collect())
}

pub(crate) fn of_app(controller: &Controller, app: &App) -> Result<Vec<Release>, ApiError> {
    let mut releases = all(controller)?;
    releases.retain(|release| release.app_id == app.id);
    releases.sort_by_key(|release| std::cmp::Reverse(release.version));
    Ok(releases)
}

/// Flynn's clients know "there is none yet" by a bare 404 alone.
pub(crate) fn none_yet(exchange: &mut Exchange<'_>) {
    exchange.whole(404, "text/plain", b"");
}

pub(crate) fn current(controller: &Controller, call: &Call, exchange: &mut Exchange<'_>) -> Result<(), ApiError> {
    let app = controller.app(call.param(0))?.value;
    match &app.release {
        Some(id) => exchange.json(200, &controller.release(id.as_str())?.value),
        None => {
            none_yet(exchange);
            Ok(())
        }
    }
}

/// Make a release current without a deployment: for an app of which nothing runs.
pub(crate) fn choose(controller: &Controller, call: &Call, choice: &ReleaseChoice) -> Result<Release, ApiError> {
    let (release, _) = controller.writer.commit(|| {
        let mut app = controller.app(call.param(0))?.value;
        let release = controller.release_of(&app, &choice.id)?.value;
        if let Some(active) = ACTIVE_DEPLOYMENTS.get(&controller.store, &[app.id.as_str()])? {
            return Err(deployment_under_way(&app, active.value.as_str()));
        }
        let (formations, _) = FORMATIONS.list(&controller.store, &[app.id.as_str()])?;
        if formations.iter().any(|row| row.value.processes.values().any(|count| *count > 0)) {
            let error = ApiError::new(Code::Conflict, format!("app {} has jobs of another release", app.name));
            return Err(error.hint("deploy the release instead: that replaces them"));
        }
        app.release = Some(release.id.clone());
        app.updated_at = Some(now_text());
        let change = Change::new().with(|txn| APPS.put_in(txn, &[app.id.as_str()], &app));
        let shown = json(&without_secrets(&release));
        Ok((change.tell(Some(&app.id), "app_release", release.id.as_str(), shown), release))
    })?;
    Ok(release)
}

pub(crate) fn delete(controller: &Controller, call: &Call) -> Result<Deleted, ApiError> {
    let (id, _) = controller.writer.commit(|| {
        let app = controller.app(call.param(0))?.value;
        let release = controller.release_of(&app, call.param(1))?.value;
        let in_use = |why: &str| Err(ApiError::new(Code::Conflict, format!("release v{} is {why}", release.version)));
        if app.release.as_ref() == Some(&release.id) {
            return in_use("current");
        }
        if let Some(active) = ACTIVE_DEPLOYMENTS.get(&controller.store, &[app.id.as_str()])? {
            return Err(deployment_under_way(&app, active.value.as_str()));
        }
        let formation = controller.formation(&app, &release)?;
        if formation.is_some_and(|row| row.value.processes.values().any(|count| *count > 0)) {
            return in_use("scaled: scale it to zero first");
        }
        let (app_id, id) = (app.id.as_str(), release.id.as_str());
        let change = Change::new().with(|txn| {
            // Its row among the app's numbers stays, so that the number never names another release.
            txn.delete(&RELEASES.key(&[id]))
                .delete(&FORMATIONS.key(&[app_id, id]))
                .delete(&api::cell::FORMATIONS.key(&[app_id, id]))
        });
        let change = change.tell(Some(&app.id), "release_deletion", id, json(&without_secrets(&release)));
        Ok((change, release.id))
    })?;
    garbage::mark(controller)?;
    Ok(Deleted { id: id.to_string(), releases: 1, ..Deleted::default() })
}
