//! The host's API: what runs on it, its logs, terminals, stack layers and volumes.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use types::host::Host;
use types::job::{FileMount, JobSpec, JobStatus};
use types::stack::LayerName;
use types::{AppId, Digest, HostId, JobId, VolumeName};

use crate::controller::LogMessage;
use crate::endpoint::{Endpoint, Lines, Upgrade};

/// How the host is, and what it has.
pub const STATUS: Endpoint<(), HostStatus> = Endpoint::get("/host/status");
/// Every job on the host; query `all` adds those that ended and are still known.
pub const JOBS: Endpoint<(), Vec<HostJob>> = Endpoint::get("/host/jobs");
/// One job, by its id, its UUID, or the first characters of that.
pub const JOB: Endpoint<(), HostJob> = Endpoint::get("/host/jobs/:job");
/// Send a signal to a job.
pub const SIGNAL: Endpoint<Signal, ()> = Endpoint::post("/host/jobs/:job/signal");
/// Be the terminal of a job that waits for one, or look on: `Upgrade: flynn-attach/0`.
pub const ATTACH: Endpoint<(), Upgrade> = Endpoint::post("/host/jobs/:job/attach");
/// Run another program inside a running job: `Upgrade: flynn-attach/0`.
pub const EXEC: Endpoint<Exec, Upgrade> = Endpoint::post("/host/jobs/:job/exec");
/// A job's log. Queries `follow`, `lines`, `stream_types` = `stdout,stderr,init`.
pub const JOB_LOG: Endpoint<(), Lines<LogMessage>> = Endpoint::get("/host/jobs/:job/log");
/// The logs of all of an app's jobs on this host, by time. Queries as above, and `process_type`, `job_id`.
pub const APP_LOG: Endpoint<(), Lines<LogMessage>> = Endpoint::get("/host/apps/:app/log");
/// Make a layer of the stack if it is not there: lines of progress, then the layer.
pub const STACK: Endpoint<(), Lines<StackProgress>> = Endpoint::post("/host/stack/:layer");
/// What a build job is given of this host: variables and files for package clients.
pub const BUILD_SETTINGS: Endpoint<(), BuildSettings> = Endpoint::get("/host/build-settings");
/// The host's volumes.
pub const VOLUMES: Endpoint<(), Vec<Volume>> = Endpoint::get("/host/volumes");
/// Remove a volume that no job uses.
pub const VOLUME_DELETE: Endpoint<(), ()> = Endpoint::delete("/host/volumes/:volume");
/// Stop every job in good order, then the daemon; nothing of it stays on the machine but its data.
/// Lines of progress; the stream ends when all is gone.
pub const STOP: Endpoint<(), Lines<StopProgress>> = Endpoint::post("/host/stop");

/// How a host is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStatus {
    /// What the cell knows of it.
    pub host: Host,
    /// `healthy`, or `degraded` when there are warnings.
    pub status: String,
    /// What needs attention, for people.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// The daemon's process number.
    pub pid: u32,
    /// Jobs that run.
    pub jobs_up: u32,
    /// Jobs that should run and do not yet.
    pub jobs_not_up: u32,
    /// Bytes free on the disk of its data.
    pub disk_free_bytes: u64,
    /// Bytes of that disk.
    pub disk_bytes: u64,
}

/// A job as its host knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostJob {
    /// Which job.
    pub id: JobId,
    /// On which host.
    pub host: HostId,
    /// What it runs.
    pub spec: JobSpec,
    /// What became of it.
    pub status: JobStatus,
    /// Memory it uses now, in bytes, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

/// A signal for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// Its number.
    pub signal: i32,
}

/// A program to run inside a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exec {
    /// The program and its arguments.
    pub args: Vec<String>,
    /// Variables on top of the job's.
    pub env: BTreeMap<String, String>,
    /// Through a terminal.
    pub tty: bool,
    /// The terminal's rows.
    pub rows: u16,
    /// The terminal's columns.
    pub columns: u16,
}

/// How far the making of a stack layer is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StackProgress {
    /// Something was done.
    Step(String),
    /// The layer is there.
    Ready(StackLayer),
}

/// A layer of the stack on this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackLayer {
    /// Which one.
    pub name: LayerName,
    /// Its identity among layers.
    pub digest: Digest,
    /// Bytes of its files.
    #[serde(default)]
    pub bytes: u64,
}

/// What a build job is given of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildSettings {
    /// Variables: certificates, proxies, mirrors.
    pub env: BTreeMap<String, String>,
    /// Files: the CA bundle, the settings of package clients.
    pub files: Vec<FileMount>,
}

/// A volume on this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name.
    pub name: VolumeName,
    /// Of which app, when of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppId>,
    /// Jobs that use it.
    #[serde(default)]
    pub jobs: Vec<JobId>,
}

/// How far the end is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopProgress {
    /// What was done.
    pub step: String,
}
