//! What the schedulers are asked for, and what they say of it.

use alloc::collections::BTreeMap;
use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::host::StopOrder;
use crate::id::{AppId, AppName, HostId, JobId, ProcessType, ReleaseId};
use crate::job::JobSpec;

/// What the service scheduler keeps running of one release of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormationSpec {
    /// Of which app.
    pub app: AppId,
    /// The app's name.
    pub app_name: AppName,
    /// Of which release.
    pub release: ReleaseId,
    /// How many jobs of which process type, and of what kind.
    #[serde(default)]
    pub processes: BTreeMap<ProcessType, ProcessWant>,
}

/// How many jobs of one process type are wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessWant {
    /// How many; on each host when the template is omni.
    pub count: u32,
    /// What each of them is.
    pub template: JobTemplate,
}

/// What every job of a process type has in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobTemplate {
    /// What a host runs.
    pub spec: JobSpec,
    /// On each host that qualifies, instead of a count over all.
    #[serde(default)]
    pub omni: bool,
    /// A host qualifies when it has all of these tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// A request to the ephemeral scheduler: run this once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneOff {
    /// The request's id, see [`OneOff::request_id`]. The job that comes of it has the same UUID.
    pub id: JobId,
    /// What to run, with lifecycle `batch`.
    pub spec: JobSpec,
    /// A host qualifies when it has all of these tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// How long it may wait for room before it counts as failed.
    #[serde(default = "default_wait_ms")]
    pub wait_ms: u64,
    /// Set once by who asked, when the job is to end or not to start at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<StopOrder>,
    /// How far the scheduler is with it.
    #[serde(default)]
    pub state: OneOffState,
    /// Milliseconds since 1970 when it was asked for.
    #[serde(default)]
    pub created_ms: u64,
}

fn default_wait_ms() -> u64 {
    60_000
}

/// How far the scheduler is with a one-off request. After its end the request is gone and
/// an [`EndedJob`](crate::host::EndedJob) is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OneOffState {
    /// Not looked at yet.
    #[default]
    Pending,
    /// No host can take it now.
    Blocked {
        /// Why, for people.
        reason: String,
    },
    /// A host was told to run it.
    Placed {
        /// The job.
        job: JobId,
        /// The host.
        host: HostId,
    },
}

impl OneOff {
    /// The id of a request: the UUID of the job to come, on the host that no job is on.
    #[must_use]
    pub fn request_id(uuid: &str) -> JobId {
        let nowhere = HostId::parse("new").expect("a literal that obeys the rule");
        JobId::on(&nowhere, uuid)
    }
}

/// What keeps a formation from being what it should be. There is none while all goes well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormationTrouble {
    /// Of which app.
    pub app: AppId,
    /// Of which release.
    pub release: ReleaseId,
    /// Process types in trouble.
    pub processes: BTreeMap<ProcessType, ProcessTrouble>,
}

/// What keeps jobs of a process type from running.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessTrouble {
    /// How many jobs wait for a host.
    #[serde(default)]
    pub blocked: u32,
    /// Why no host can take them, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Unasked ends in a row, with no stable time between them.
    #[serde(default)]
    pub crashes: u32,
    /// How long the next restart waits after the last crash.
    #[serde(default)]
    pub backoff_ms: u64,
}

/// On which host a volume is. Written by the commit that first asked for it, and pins the jobs that use it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeHome {
    /// The host.
    pub host: HostId,
}
