//! The platform's own apps, made by the bootstrap before there is an API to make them with.

use std::collections::BTreeMap;

use api::objects::{APP_NAMES, APP_RELEASES, APPS, ARTIFACTS, FORMATIONS, RELEASES};
use api::store::StoreClient;
use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
use types::app::{App, Artifact, ArtifactKind, META_SYSTEM_APP, Map, ProcessSpec, Release, Strategy};
use types::cell::FormationSpec;
use types::{ApiError, AppId, AppName, ArtifactId, Digest, ProcessType, ReleaseId};

use crate::persist::{Change, Writer, json, now_text};
use crate::{formations, releases, services, template};

/// The metadata key of an app that must not be scaled to zero.
pub const META_CRITICAL: &str = "slipway-system-critical";

/// The metadata key that remembers what was last installed, so that what operators changed since stays.
pub(crate) const META_INSTALLED: &str = "slipway-system-installed";

/// The apps that own a volume or a port of which there is one: a second job would have an empty store of its own,
/// or not come up.
const SINGLE: [&str; 2] = ["gitd", "blobs"];

/// Whether more than one job of an app cannot be.
pub(crate) fn is_single(app: &App) -> bool {
    template::is_system(app) && SINGLE.contains(&app.name.as_str())
}

/// An app of the platform as the bootstrap wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemApp {
    /// Its name, e.g. `router`.
    pub name: AppName,
    /// Whether the platform cannot be operated without it.
    pub critical: bool,
    /// How deployments replace its jobs: `one-down-one-up` for what owns a port of the host.
    pub strategy: Strategy,
    /// The layers of its root; none for an empty one.
    pub layers: Vec<Digest>,
    /// Its environment.
    pub env: Map,
    /// Its process types, with their full commands.
    pub processes: BTreeMap<ProcessType, ProcessSpec>,
    /// How many jobs of each when it is made; later what operators scaled it to.
    pub counts: BTreeMap<ProcessType, u32>,
    /// What the release is called, e.g. the version of the binary.
    pub description: String,
}

/// Why a system app is not there.
#[derive(Debug, thiserror::Error)]
#[error("install the system app {app}")]
pub struct InstallError {
    /// Which one.
    pub app: AppName,
    /// What went wrong.
    pub source: ApiError,
}

/// Make a system app, or bring an existing one up to date, in one transaction. Doing it again changes nothing.
///
/// When layers, environment or process types are others than at the last time, the app gets a new release, and
/// its formation moves to it at once with the counts that it has; the scheduler replaces the jobs. Counts and
/// variables that operators have set stay. Gives what the scheduler is asked for.
///
/// # Errors
/// When the store does not take it, or a user's app has the name.
pub fn install_system_app(store: &StoreClient, wanted: &SystemApp) -> Result<FormationSpec, InstallError> {
    let writer = Writer::new(store.clone());
    let installed = writer.commit(|| install(store, wanted));
    installed.map(|(spec, _)| spec).map_err(|source| InstallError { app: wanted.name.clone(), source })
}

fn install(store: &StoreClient, wanted: &SystemApp) -> Result<(Change, FormationSpec), ApiError> {
    let mut change = Change::new();
    let known = APP_NAMES.get(store, &[wanted.name.as_str()])?;
    let mut app = match known {
        Some(row) => crate::state::find_app(store, row.value.as_str())?.value,
        None => new_app(wanted),
    };
    if !template::is_system(&app) {
        let text = format!("an app of a user has the name {}", app.name);
        return Err(ApiError::new(types::Code::ObjectExists, text).hint("delete that app"));
    }
    let current = match &app.release {
        Some(id) => RELEASES.get(store, &[id.as_str()])?.map(|row| row.value),
        None => None,
    };
    let artifacts = match &current {
        Some(release) => crate::state::artifacts_of(store, release)?,
        None => Vec::new(),
    };
    let counts = match &current {
        Some(release) => FORMATIONS.get(store, &[app.id.as_str(), release.id.as_str()])?.map(|row| row.value.processes),
        None => None,
    };
    let mark = fingerprint(wanted);
    let same = app.meta.get(META_INSTALLED) == Some(&mark);
    if let Some(release) = current.as_ref().filter(|_| same) {
        let counts = counts.unwrap_or_default();
        return Ok((Change::new(), template::formation(&app, release, &artifacts, &counts)));
    }
    let (mut release, artifact) = new_release(store, &app, wanted)?;
    for (name, value) in current.iter().flat_map(|release| &release.env) {
        release.env.entry(name.clone()).or_insert_with(|| value.clone());
    }
    let counts = counts.unwrap_or_else(|| wanted.counts.clone());
    if let Some(old) = &current {
        change = change.with(|txn| formations::remove(txn, &app, old.id.as_str()));
    }
    app.release = Some(release.id.clone());
    app.strategy = wanted.strategy;
    app.meta.insert(META_INSTALLED.to_owned(), mark);
    app.updated_at = Some(now_text());
    let artifacts = [artifact];
    change = change
        .with(|txn| ARTIFACTS.put_in(txn, &[artifacts[0].id.as_str()], &artifacts[0]))
        .with(|txn| APPS.put_in(txn, &[app.id.as_str()], &app))
        .with(|txn| APP_NAMES.put_in(txn, &[app.name.as_str()], &app.id))
        .with(|txn| formations::put(txn, &app, &release, &artifacts, &counts))
        .tell(Some(&app.id), "app", app.id.as_str(), json(&app));
    change = services::claim(store, change, &app, services::of_release(&app, &release))?;
    change = releases::add(change, &release);
    Ok((change, template::formation(&app, &release, &artifacts, &counts)))
}

/// Names what is installed, without the counts.
fn fingerprint(wanted: &SystemApp) -> String {
    let parts = (json(&wanted.layers), json(&wanted.env), json(&wanted.processes));
    HEXLOWER.encode(&Sha256::digest(format!("{parts:?}").as_bytes()))
}

fn new_app(wanted: &SystemApp) -> App {
    let mut meta = Map::from([(META_SYSTEM_APP.to_owned(), "true".to_owned())]);
    if wanted.critical {
        meta.insert(META_CRITICAL.to_owned(), "true".to_owned());
    }
    let now = Some(now_text());
    App {
        id: AppId::parse(&format!("system-{}", wanted.name)).expect("a name after a word is an id"),
        name: wanted.name.clone(),
        meta,
        strategy: wanted.strategy,
        release: None,
        deploy_timeout: 120,
        created_at: now.clone(),
        updated_at: now,
    }
}

fn new_release(store: &StoreClient, app: &App, wanted: &SystemApp) -> Result<(Release, Artifact), ApiError> {
    let id = os::entropy::uuid();
    let artifact = Artifact {
        id: ArtifactId::parse(&id).expect("a UUID is an id"),
        kind: if wanted.layers.is_empty() { ArtifactKind::System } else { ArtifactKind::Stack },
        layers: wanted.layers.clone(),
        size: 0,
        meta: Map::new(),
        created_at: Some(now_text()),
    };
    let last = APP_RELEASES.list(store, &[app.id.as_str()])?.0.len();
    let release = Release {
        id: ReleaseId::parse(&id).expect("a UUID is an id"),
        app_id: app.id.clone(),
        artifacts: vec![artifact.id.clone()],
        env: wanted.env.clone(),
        meta: Map::new(),
        processes: wanted.processes.clone(),
        version: last as u64 + 1,
        description: wanted.description.clone(),
        created_at: Some(now_text()),
    };
    Ok((release, artifact))
}
