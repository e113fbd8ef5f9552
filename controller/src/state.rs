//! What every endpoint works with, and how objects are found.

use std::path::PathBuf;
use std::sync::Arc;

use api::objects::{APP_NAMES, APPS, ARTIFACTS, DEPLOYMENTS, FORMATIONS, RELEASES};
use api::store::StoreClient;
use api::table::Row;
use os::signal::Shutdown;
use types::app::{App, Artifact, Deployment, Formation, Release};
use types::{ApiError, AppId, Code, JobId};

use crate::events::Hub;
use crate::persist::Writer;

/// The controller of one process.
#[derive(Debug)]
pub(crate) struct Controller {
    pub(crate) store: StoreClient,
    pub(crate) writer: Arc<Writer>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) run_dir: PathBuf,
    pub(crate) domain: String,
    pub(crate) job: JobId,
    pub(crate) version: String,
    pub(crate) shutdown: Shutdown,
}

impl Controller {
    /// The app of that name or id. A name wins over an id that looks like it.
    pub(crate) fn app(&self, name_or_id: &str) -> Result<Row<App>, ApiError> {
        find_app(&self.store, name_or_id)
    }

    pub(crate) fn release(&self, id: &str) -> Result<Row<Release>, ApiError> {
        find_release(&self.store, id)
    }

    /// A release of an app, by id or as `v3`.
    pub(crate) fn release_of(&self, app: &App, text: &str) -> Result<Row<Release>, ApiError> {
        let row = match crate::releases::version(text) {
            Some(version) => crate::releases::by_version(&self.store, app, version)?,
            None => RELEASES.get(&self.store, &[text])?,
        };
        row.filter(|row| row.value.app_id == app.id)
            .ok_or_else(|| ApiError::not_found("release", text).hint("slipway releases lists those of the app"))
    }

    /// The artifacts of a release, in its order.
    pub(crate) fn artifacts(&self, release: &Release) -> Result<Vec<Artifact>, ApiError> {
        artifacts_of(&self.store, release)
    }

    pub(crate) fn formation(&self, app: &App, release: &Release) -> Result<Option<Row<Formation>>, ApiError> {
        Ok(FORMATIONS.get(&self.store, &[app.id.as_str(), release.id.as_str()])?)
    }

    pub(crate) fn deployment(&self, id: &str) -> Result<Row<Deployment>, ApiError> {
        DEPLOYMENTS.get(&self.store, &[id])?.ok_or_else(|| ApiError::not_found("deployment", id))
    }
}

/// The app of that name or id.
pub(crate) fn find_app(store: &StoreClient, name_or_id: &str) -> Result<Row<App>, ApiError> {
    let missing = || ApiError::not_found("app", name_or_id).hint("slipway apps lists them");
    if name_or_id.contains('/') {
        return Err(missing());
    }
    let id = APP_NAMES.get(store, &[name_or_id])?.map(|row| row.value);
    let id = id.map_or_else(|| name_or_id.to_owned(), String::from);
    APPS.get(store, &[&id])?.ok_or_else(missing)
}

pub(crate) fn find_app_by_id(store: &StoreClient, id: &AppId) -> Result<Option<Row<App>>, ApiError> {
    Ok(APPS.get(store, &[id.as_str()])?)
}

pub(crate) fn find_release(store: &StoreClient, id: &str) -> Result<Row<Release>, ApiError> {
    RELEASES.get(store, &[id])?.ok_or_else(|| ApiError::not_found("release", id))
}

pub(crate) fn artifacts_of(store: &StoreClient, release: &Release) -> Result<Vec<Artifact>, ApiError> {
    let artifact = |id: &types::ArtifactId| {
        let row = ARTIFACTS.get(store, &[id.as_str()])?;
        row.map(|row| row.value).ok_or_else(|| ApiError::not_found("artifact", id.as_str()))
    };
    release.artifacts.iter().map(artifact).collect()
}

/// Somebody else's deployment is in the way.
pub(crate) fn deployment_under_way(app: &App, deployment: &str) -> ApiError {
    ApiError::new(Code::Conflict, format!("deployment {deployment} of app {} is under way", app.name))
        .hint(format!("wait for it (`slipway deployments --app {}` shows how far it is), then repeat", app.name))
}
