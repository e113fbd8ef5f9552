//! What the controller's endpoints take and give, where it is not an object itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use types::app::{ArtifactKind, Map, ProcessSpec, Strategy};
use types::job::{FileMount, PlatformAccess, Resources, VolumeMount};
use types::{AppId, AppName, Digest, HostId, JobId, ProcessType, ReleaseId};

use super::or_null;

/// A new app, or the changes to one. Names are checked by the controller, which then names the field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewApp {
    /// The name; none to have one made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Metadata; `null` is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map>,
    /// How deployments replace jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// Seconds that one step of a deployment may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deploy_timeout: Option<u32>,
}

/// New metadata of an app.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MetaUpdate {
    /// All of it.
    #[serde(deserialize_with = "or_null")]
    pub meta: Map,
}

/// The answer to a removal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Deleted {
    /// The id of what is gone.
    pub id: String,
    /// How many routes went with it.
    pub routes: u32,
    /// How many releases went with it.
    pub releases: u32,
    /// How many jobs were told to stop.
    pub jobs: u32,
}

/// A new release.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewRelease {
    /// Of which app: name or id.
    pub app_id: String,
    /// Over which artifacts.
    #[serde(deserialize_with = "or_null")]
    pub artifacts: Vec<String>,
    /// The environment.
    #[serde(deserialize_with = "or_null")]
    pub env: Map,
    /// Metadata, e.g. `git.commit`.
    #[serde(deserialize_with = "or_null")]
    pub meta: Map,
    /// What can run.
    #[serde(deserialize_with = "or_null")]
    pub processes: BTreeMap<ProcessType, ProcessSpec>,
    /// Why it is made, for people.
    #[serde(deserialize_with = "or_null")]
    pub description: String,
    /// The app's current release that this one was made from, empty for none. When another is current by now, the
    /// answer is `precondition_failed`: what was changed in between would be lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expects: Option<String>,
    /// Deploy it in the same transaction. When that is refused there is no release either.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deploy: bool,
}

/// A new artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewArtifact {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: ArtifactKind,
    /// Its layers, lowest first.
    pub layers: Vec<Digest>,
    /// Bytes of its own content.
    #[serde(default)]
    pub size: u64,
    /// Metadata.
    #[serde(default, deserialize_with = "or_null")]
    pub meta: Map,
}

/// Which release is to be current.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseChoice {
    /// Its id.
    pub id: String,
}

/// A release to deploy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewDeployment {
    /// The release's id, or its number as `v3`.
    pub id: String,
}

/// A deployment to abort.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AbortDeployment {
    /// Who wants that, for the record.
    #[serde(deserialize_with = "or_null")]
    pub by: String,
}

/// New counts of a formation: of all process types.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewFormation {
    /// Counts; what is not named is not to run.
    #[serde(deserialize_with = "or_null")]
    pub processes: BTreeMap<ProcessType, u32>,
}

/// New counts of a formation: of the process types that are named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewScale {
    /// Counts.
    #[serde(deserialize_with = "or_null")]
    pub new_processes: BTreeMap<ProcessType, u32>,
}

/// A change of a formation and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleRequest {
    /// Its id.
    pub id: String,
    /// Of which app.
    pub app: AppId,
    /// Of which release.
    pub release: ReleaseId,
    /// How far.
    pub state: ScaleState,
    /// The counts before.
    pub old_processes: BTreeMap<ProcessType, u32>,
    /// The counts to reach.
    pub new_processes: BTreeMap<ProcessType, u32>,
    /// RFC 3339.
    #[serde(default)]
    pub created_at: Option<String>,
    /// RFC 3339.
    #[serde(default)]
    pub updated_at: Option<String>,
}

/// How far a change of a formation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScaleState {
    /// Jobs are being started or stopped.
    Pending,
    /// All jobs are there.
    Complete,
    /// A later change or a deployment took its place.
    Cancelled,
}

/// A job as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// `HOST-UUID`.
    pub id: JobId,
    /// The part after the host.
    pub uuid: String,
    /// Where it runs or ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_id: Option<HostId>,
    /// Of which app.
    pub app: AppId,
    /// The app's name.
    pub app_name: AppName,
    /// Of which release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseId>,
    /// Its process type.
    #[serde(rename = "type")]
    pub process_type: ProcessType,
    /// `pending blocked starting up stopping down`.
    pub state: String,
    /// Its command.
    #[serde(default)]
    pub args: Vec<String>,
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The exit code of one that ended by itself; 128 and the signal's number of one that was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_status: Option<i32>,
    /// Why it is down, or waits for a host, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why the host could not run it. Flynn's name for a part of `reason`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_error: Option<String>,
    /// How often it was restarted in place.
    #[serde(default)]
    pub restarts: u32,
    /// RFC 3339: when it was committed or asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// RFC 3339: when it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// RFC 3339: when it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
}

/// Something to run once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewJob {
    /// On which release; the current one when empty.
    #[serde(deserialize_with = "or_null")]
    pub release: String,
    /// The program and its arguments.
    #[serde(deserialize_with = "or_null")]
    pub args: Vec<String>,
    /// Environment on top of the release's.
    #[serde(deserialize_with = "or_null")]
    pub env: Map,
    /// Run with this process type's environment, volumes and limits.
    #[serde(deserialize_with = "or_null")]
    pub process_type: String,
    /// Through a terminal.
    pub tty: bool,
    /// The terminal's columns.
    pub tty_columns: u16,
    /// The terminal's rows.
    pub tty_lines: u16,
    /// Limits instead of the release's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Run on these artifacts instead of a release's, with none of its environment: how builds run.
    #[serde(deserialize_with = "or_null")]
    pub artifacts: Vec<String>,
    /// The user and group in the job when it runs on artifacts of its own; 0 is root of its own user namespace.
    pub uid: u32,
    /// Volumes that outlive the job.
    #[serde(deserialize_with = "or_null")]
    pub volumes: Vec<VolumeMount>,
    /// Files that the platform puts into its root.
    #[serde(deserialize_with = "or_null")]
    pub files: Vec<FileMount>,
    /// What of the platform it sees; `sockets` is refused.
    pub platform: PlatformAccess,
}

/// A new route, or a route's new service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewRoute {
    /// `http`, also when empty.
    #[serde(rename = "type", deserialize_with = "or_null")]
    pub kind: String,
    /// Where to; `APP-web` when empty.
    #[serde(deserialize_with = "or_null")]
    pub service: String,
    /// The host name, or `*.NAME`.
    #[serde(deserialize_with = "or_null")]
    pub domain: String,
    /// The path prefix; `/` when empty.
    #[serde(deserialize_with = "or_null")]
    pub path: String,
}

/// A public SSH key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewSshKey {
    /// A line as in `id_ed25519.pub`.
    pub key: String,
}

/// Where a log line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// What the platform says of the job.
    Init,
}

/// One line of an app's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogMessage {
    /// The host that has it.
    pub host_id: String,
    /// The job that wrote it.
    pub job_id: String,
    /// The line.
    pub msg: String,
    /// The job's process type.
    pub process_type: String,
    /// `app`, or `slipway` for what the platform says.
    pub source: String,
    /// Which stream.
    pub stream: LogStream,
    /// RFC 3339.
    pub timestamp: String,
}

/// The answer of the status endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The envelope that Flynn's clients expect.
    pub data: StatusDetail,
}

/// How the controller is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusDetail {
    /// `healthy` or `unhealthy`.
    pub status: String,
    /// Its version.
    pub version: String,
    /// The domain under which apps get their default routes.
    pub domain: String,
    /// The job that acts as the deployer, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<JobId>,
}
