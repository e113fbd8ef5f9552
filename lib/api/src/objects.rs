//! The controller's objects in the store.

use serde::{Deserialize, Serialize};
use types::app::{App, Artifact, Deployment, Event, Formation, Release, Route, SshKey};
use types::{AppId, DeploymentId, ReleaseId};

use crate::controller::ScaleRequest;
use crate::table::Table;

/// Apps, by id.
pub const APPS: Table<App> = Table::new("objects/apps/");
/// Which app has a name, by name. Its absence is what a new app's transaction compares.
pub const APP_NAMES: Table<AppId> = Table::new("objects/app-names/");
/// Artifacts, by id.
pub const ARTIFACTS: Table<Artifact> = Table::new("objects/artifacts/");
/// Releases, by id.
pub const RELEASES: Table<Release> = Table::new("objects/releases/");
/// Which releases an app has, by app id and version number with leading zeros.
pub const APP_RELEASES: Table<ReleaseId> = Table::new("objects/app-releases/");
/// Formations, by app id and release id.
pub const FORMATIONS: Table<Formation> = Table::new("objects/formations/");
/// Deployments, by id.
pub const DEPLOYMENTS: Table<Deployment> = Table::new("objects/deployments/");
/// The deployment that is under way, by app id: its absence is what a new one's transaction compares.
pub const ACTIVE_DEPLOYMENTS: Table<DeploymentId> = Table::new("objects/active-deployments/");
/// Routes, by id. Routers follow this table.
pub const ROUTES: Table<Route> = Table::new("routes/");
/// Which route serves a domain and path, by `DOMAIN/PATH` percent-encoded.
pub const ROUTE_NAMES: Table<types::RouteId> = Table::new("objects/route-names/");
/// Which app offers a service, by the service's name: the first to claim it, until that app is deleted.
pub const SERVICES: Table<AppId> = Table::new("objects/services/");
/// Apps that are being deleted, by id: what is left of them goes in several transactions, their name at last.
pub const DELETING: Table<App> = Table::new("objects/deleting/");
/// SSH keys, by id.
pub const SSH_KEYS: Table<SshKey> = Table::new("objects/ssh-keys/");
/// Events, by the controller's event number with leading zeros.
pub const EVENTS: Table<Event> = Table::new("objects/events/");
/// Changes of formations that are under way, by app id and release id.
pub const SCALES: Table<ScaleRequest> = Table::new("objects/scales/");
/// Slugs that no artifact needs any more, by digest, with the time in milliseconds since 1970 when that began.
pub const GARBAGE: Table<u64> = Table::new("objects/garbage/");
/// Cluster-wide settings, by name.
pub const SETTINGS: Table<Setting> = Table::new("objects/settings/");

/// One cluster-wide setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Its value.
    pub value: String,
}
