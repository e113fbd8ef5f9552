//! The controller: apps, releases, formations, deployments, jobs, routes, keys, events and logs.
//!
//! Paths and fields are Flynn's where Flynn has them. `:app` is an app's name or id. Lists are newest first,
//! apps and routes by name. See `docs/api.md`.

use serde::{Deserialize, Deserializer};
use types::app::{App, Artifact, Deployment, Event, Formation, Release, Route, SshKey};

use crate::endpoint::{Endpoint, Lines, Raw, Upgrade};

mod bodies;

pub use bodies::{
    AbortDeployment, Deleted, Job, LogMessage, LogStream, MetaUpdate, NewApp, NewArtifact, NewDeployment, NewFormation,
    NewJob, NewRelease, NewRoute, NewScale, NewSshKey, ReleaseChoice, ScaleRequest, ScaleState, Status, StatusDetail,
};

/// The name of the service, and of the folder with its sockets.
pub const SERVICE: &str = "controller";

/// All apps; query `system` = `only`, `none` or `all` (the default).
pub const APPS: Endpoint<(), Vec<App>> = Endpoint::get("/apps");
/// Make an app, its name if none is given, and its default route.
pub const APP_CREATE: Endpoint<NewApp, App> = Endpoint::post("/apps");
/// One app.
pub const APP: Endpoint<(), App> = Endpoint::get("/apps/:app");
/// Change what is given: strategy, time-out, metadata.
pub const APP_UPDATE: Endpoint<NewApp, App> = Endpoint::post("/apps/:app");
/// Replace the metadata, also with none.
pub const APP_META: Endpoint<MetaUpdate, App> = Endpoint::post("/apps/:app/meta");
/// Delete an app with its routes, formations, releases and jobs.
pub const APP_DELETE: Endpoint<(), Deleted> = Endpoint::delete("/apps/:app");

/// The current release; 404 before the first.
pub const APP_RELEASE: Endpoint<(), Release> = Endpoint::get("/apps/:app/release");
/// Make a release current without a deployment. For apps that run nothing.
pub const APP_RELEASE_SET: Endpoint<ReleaseChoice, Release> = Endpoint::put("/apps/:app/release");
/// An app's releases.
pub const APP_RELEASES: Endpoint<(), Vec<Release>> = Endpoint::get("/apps/:app/releases");
/// Delete a release that is not current.
pub const RELEASE_DELETE: Endpoint<(), Deleted> = Endpoint::delete("/apps/:app/releases/:release");
/// Make a release; its number is given out in the same transaction, and its deployment made when `deploy` says so.
pub const RELEASE_CREATE: Endpoint<NewRelease, Release> = Endpoint::post("/releases");
/// All releases.
pub const RELEASES: Endpoint<(), Vec<Release>> = Endpoint::get("/releases");
/// One release.
pub const RELEASE: Endpoint<(), Release> = Endpoint::get("/releases/:release");

/// Make an artifact.
pub const ARTIFACT_CREATE: Endpoint<NewArtifact, Artifact> = Endpoint::post("/artifacts");
/// All artifacts.
pub const ARTIFACTS: Endpoint<(), Vec<Artifact>> = Endpoint::get("/artifacts");
/// One artifact.
pub const ARTIFACT: Endpoint<(), Artifact> = Endpoint::get("/artifacts/:artifact");

/// An app's formations.
pub const FORMATIONS: Endpoint<(), Vec<Formation>> = Endpoint::get("/apps/:app/formations");
/// One formation; 404 when there is none.
pub const FORMATION: Endpoint<(), Formation> = Endpoint::get("/apps/:app/formations/:release");
/// Set a formation's counts.
pub const FORMATION_SET: Endpoint<NewFormation, Formation> = Endpoint::put("/apps/:app/formations/:release");
/// Remove a formation: none of its jobs stay.
pub const FORMATION_DELETE: Endpoint<(), Deleted> = Endpoint::delete("/apps/:app/formations/:release");
/// Set the counts of the process types that are named; the others stay. Complete when the jobs are there.
pub const SCALE: Endpoint<NewScale, ScaleRequest> = Endpoint::put("/apps/:app/scale/:release");

/// An app's jobs: those that are there, and those that ended lately (query `ended` = `no` leaves them out).
pub const JOBS: Endpoint<(), Vec<Job>> = Endpoint::get("/apps/:app/jobs");
/// The jobs of all apps that have not ended.
pub const ACTIVE_JOBS: Endpoint<(), Vec<Job>> = Endpoint::get("/active-jobs");
/// One job, by its id, its UUID, or the first characters of that.
pub const JOB: Endpoint<(), Job> = Endpoint::get("/apps/:app/jobs/:job");
/// Stop a job; one of a formation is replaced. Query `now` kills it without draining.
pub const JOB_STOP: Endpoint<(), Deleted> = Endpoint::delete("/apps/:app/jobs/:job");
/// Run something once, detached.
pub const JOB_RUN: Endpoint<NewJob, Job> = Endpoint::post("/apps/:app/jobs");
/// The same path with `Upgrade: flynn-attach/0`: run something once, and be its terminal.
pub const JOB_ATTACH: Endpoint<NewJob, Upgrade> = Endpoint::post("/apps/:app/jobs");

/// Move the app's formation to a release.
pub const DEPLOY: Endpoint<NewDeployment, Deployment> = Endpoint::post("/apps/:app/deploy");
/// An app's deployments.
pub const DEPLOYMENTS: Endpoint<(), Vec<Deployment>> = Endpoint::get("/apps/:app/deployments");
/// One deployment.
pub const DEPLOYMENT: Endpoint<(), Deployment> = Endpoint::get("/deployments/:deployment");
/// Stop a deployment and go back.
pub const DEPLOYMENT_ABORT: Endpoint<AbortDeployment, Deployment> = Endpoint::post("/deployments/:deployment/abort");

/// All routes.
pub const ALL_ROUTES: Endpoint<(), Vec<Route>> = Endpoint::get("/routes");
/// An app's routes.
pub const ROUTES: Endpoint<(), Vec<Route>> = Endpoint::get("/apps/:app/routes");
/// Add a route.
pub const ROUTE_CREATE: Endpoint<NewRoute, Route> = Endpoint::post("/apps/:app/routes");
/// One route.
pub const ROUTE: Endpoint<(), Route> = Endpoint::get("/apps/:app/routes/:type/:route");
/// Change a route's service.
pub const ROUTE_UPDATE: Endpoint<NewRoute, Route> = Endpoint::put("/apps/:app/routes/:type/:route");
/// Remove a route.
pub const ROUTE_DELETE: Endpoint<(), Deleted> = Endpoint::delete("/apps/:app/routes/:type/:route");

/// An app's log. Queries `follow`, `lines`, `process_type`, `job_id`, `stream_types` = `stdout,stderr,init`.
pub const LOG: Endpoint<(), Lines<LogMessage>> = Endpoint::get("/apps/:app/log");
/// Events. `Accept: application/json` lists (queries `app_id`, `object_types`, `object_id`, `before_id`,
/// `since_id`, `count`); anything else streams them as they happen (and `past=true` those before), as
/// server-sent events, or as JSON lines with `Accept: application/x-ndjson`. Resume with `Last-Event-Id` or `since_id`.
pub const EVENTS: Endpoint<(), Raw> = Endpoint::get("/events");
/// The same path as a list.
pub const EVENT_LIST: Endpoint<(), Vec<Event>> = Endpoint::get("/events");
/// The same path as a stream of JSON lines, with the query `stream=lines`.
pub const EVENT_LINES: Endpoint<(), Lines<Event>> = Endpoint::get("/events");
/// One event.
pub const EVENT: Endpoint<(), Event> = Endpoint::get("/events/:event");

/// Register a public SSH key. One that is registered already is answered as it is.
pub const KEY_CREATE: Endpoint<NewSshKey, SshKey> = Endpoint::post("/keys");
/// All keys.
pub const KEYS: Endpoint<(), Vec<SshKey>> = Endpoint::get("/keys");
/// One key, by its id or its fingerprint (`SHA256:...`); 404 when it is not registered.
pub const KEY: Endpoint<(), SshKey> = Endpoint::get("/keys/:key");
/// Remove a key.
pub const KEY_DELETE: Endpoint<(), Deleted> = Endpoint::delete("/keys/:key");

/// Whether the controller can do its work.
pub const STATUS: Endpoint<(), Status> = Endpoint::get("/.well-known/status");
/// Whether it answers at all.
pub const PING: Endpoint<(), ()> = Endpoint::get("/ping");

/// A field that clients send as `null` for none.
fn or_null<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(input: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(input).map(Option::unwrap_or_default)
}
