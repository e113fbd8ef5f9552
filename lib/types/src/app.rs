//! The controller's objects. Field names are Flynn's where Flynn has the field.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::id::{
    AppId, AppName, ArtifactId, DeploymentId, Digest, KeyId, ProcessType, ReleaseId, RouteId, ServiceName,
};
use crate::job::{HealthCheck, Resources};

/// Name to value, as environments and metadata are.
pub type Map = BTreeMap<String, String>;

/// The metadata key that marks an app as part of the platform.
pub const META_SYSTEM_APP: &str = "slipway-system-app";

/// A namespace for releases, formations, routes and jobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// Its id.
    pub id: AppId,
    /// Its name.
    pub name: AppName,
    /// Free metadata.
    #[serde(default)]
    pub meta: Map,
    /// How deployments replace jobs.
    #[serde(default)]
    pub strategy: Strategy,
    /// The current release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseId>,
    /// Seconds that one step of a deployment may take.
    #[serde(default = "default_deploy_timeout")]
    pub deploy_timeout: u32,
    /// RFC 3339.
    #[serde(default)]
    pub created_at: Option<String>,
    /// RFC 3339.
    #[serde(default)]
    pub updated_at: Option<String>,
}

fn default_deploy_timeout() -> u32 {
    120
}

/// How a deployment replaces jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// All new jobs up, then all old ones down.
    #[default]
    AllAtOnce,
    /// One up, one down, process type by process type.
    OneByOne,
    /// One down, one up: for what cannot overlap.
    OneDownOneUp,
    /// As one by one, several at a time.
    InBatches,
}

/// Immutable content: the layers of a root file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Its id.
    pub id: ArtifactId,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: ArtifactKind,
    /// Its layers, lowest first.
    pub layers: Vec<Digest>,
    /// Bytes of its own content (the slug's, not the stack's).
    #[serde(default)]
    pub size: u64,
    /// Free metadata.
    #[serde(default)]
    pub meta: Map,
    /// RFC 3339.
    #[serde(default)]
    pub created_at: Option<String>,
}

/// What an artifact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ArtifactKind {
    /// A slug on its stack layers.
    Slug,
    /// Stack layers alone: what builds and system jobs run on.
    Stack,
    /// The platform's own binary in an empty root.
    System,
}

/// Immutable configuration over artifacts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Its id.
    pub id: ReleaseId,
    /// Of which app.
    pub app_id: AppId,
    /// Which artifacts; none before the first push.
    #[serde(default)]
    pub artifacts: Vec<ArtifactId>,
    /// The environment of every process type.
    #[serde(default)]
    pub env: Map,
    /// Free metadata, e.g. `git.commit`.
    #[serde(default)]
    pub meta: Map,
    /// What can run.
    #[serde(default)]
    pub processes: BTreeMap<ProcessType, ProcessSpec>,
    /// The number people see: v1, v2, ... within the app.
    #[serde(default)]
    pub version: u64,
    /// Why it was made, for people: `deploy 1a2b3c4`, `set DATABASE_URL`.
    #[serde(default)]
    pub description: String,
    /// RFC 3339.
    #[serde(default)]
    pub created_at: Option<String>,
}

/// One process type of a release.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// The program and its arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Environment on top of the release's.
    #[serde(default)]
    pub env: Map,
    /// Ports, the first given as `PORT`.
    #[serde(default)]
    pub ports: Vec<Port>,
    /// The name of the service it offers, when it offers one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// One job on each host instead of a count.
    #[serde(default)]
    pub omni: bool,
    /// Whether it shares the host's network.
    #[serde(default)]
    pub host_network: bool,
    /// Volumes that outlive its jobs.
    #[serde(default)]
    pub volumes: Vec<ProcessVolume>,
    /// Its limits.
    #[serde(default)]
    pub resources: Resources,
    /// Capabilities beyond the default ones.
    #[serde(default)]
    pub linux_capabilities: Vec<String>,
}

/// A volume that a process type asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessVolume {
    /// Where in the job's root.
    pub path: String,
}

/// A port of a process type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// The number.
    pub port: u16,
    /// `tcp`.
    #[serde(default = "default_proto")]
    pub proto: String,
    /// The health check behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<HealthCheck>,
}

fn default_proto() -> String {
    String::from("tcp")
}

/// How many jobs of each process type of a release are wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Formation {
    /// Of which app.
    pub app: AppId,
    /// Of which release.
    pub release: ReleaseId,
    /// Counts.
    #[serde(default)]
    pub processes: BTreeMap<ProcessType, u32>,
    /// RFC 3339.
    #[serde(default)]
    pub updated_at: Option<String>,
}

/// A move of an app's formation from one release to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// Of which app.
    pub app: AppId,
    /// From; absent on the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_release: Option<ReleaseId>,
    /// To.
    pub new_release: ReleaseId,
    /// How.
    pub strategy: Strategy,
    /// How far.
    pub status: DeploymentStatus,
    /// The counts to reach.
    #[serde(default)]
    pub processes: BTreeMap<ProcessType, u32>,
    /// The old release's counts before it: what going back restores.
    #[serde(default)]
    pub old_processes: BTreeMap<ProcessType, u32>,
    /// Jobs at a time, for `in-batches`; 0 means one.
    #[serde(default)]
    pub deploy_batch_size: u32,
    /// Seconds that one step may take.
    pub deploy_timeout: u32,
    /// Why it failed, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// RFC 3339.
    #[serde(default)]
    pub created_at: Option<String>,
    /// RFC 3339.
    #[serde(default)]
    pub finished_at: Option<String>,
}

/// How far a deployment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeploymentStatus {
    /// Accepted.
    Pending,
    /// Under way.
    Running,
    /// Going back to the old release.
    RollingBack,
    /// The new release has taken over.
    Complete,
    /// The old release still serves.
    Failed,
}

impl DeploymentStatus {
    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, DeploymentStatus::Complete | DeploymentStatus::Failed)
    }
}

/// Which requests go to which service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Its id.
    pub id: RouteId,
    /// `http`.
    #[serde(rename = "type", default = "default_route_kind")]
    pub kind: String,
    /// Whose: `controller/apps/ID`.
    pub parent_ref: String,
    /// Where to.
    pub service: ServiceName,
    /// The host name, or `*.NAME`.
    pub domain: String,
    /// The path prefix; `/` for all.
    #[serde(default = "default_path")]
    pub path: String,
    /// RFC 3339.
    #[serde(default)]
    pub created_at: Option<String>,
    /// RFC 3339.
    #[serde(default)]
    pub updated_at: Option<String>,
}

fn default_route_kind() -> String {
    String::from("http")
}

fn default_path() -> String {
    String::from("/")
}

/// A public SSH key that may push.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshKey {
    /// The hex SHA-256 of the key's blob.
    pub id: KeyId,
    /// `SHA256:...` as ssh-keygen prints it.
    pub fingerprint: String,
    /// `TYPE BASE64`.
    pub public: String,
    /// The comment at the key's end.
    #[serde(default)]
    pub comment: String,
    /// RFC 3339.
    #[serde(default)]
    pub created_at: Option<String>,
}

/// Something that happened to an object, written in the transaction that did it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its number, given out in that transaction: grows, never repeats. 0 for what is only told, not kept:
    /// the states of jobs, which hosts write.
    pub id: u64,
    /// Of which app, when of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppId>,
    /// `app`, `release`, `deployment`, `job`, ...
    pub object_type: String,
    /// Which object.
    pub object_id: String,
    /// The object then, as JSON text.
    pub data: String,
    /// RFC 3339.
    #[serde(default)]
    pub created_at: Option<String>,
}
