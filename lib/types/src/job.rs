//! What a job is: the whole of what a host needs to run it, and what the host says of it.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{AppId, AppName, Digest, JobId, ProcessType, ReleaseId, ServiceName, VolumeName};

/// What a host needs to know to run a job, and nothing that it would have to ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// The app it belongs to.
    pub app: AppId,
    /// The app's name when the job was made.
    pub app_name: AppName,
    /// The release it runs, if it is of a release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseId>,
    /// The process type, e.g. `web`, `run` or `build`.
    pub process_type: ProcessType,
    /// Who restarts it, and what a lost host means for it.
    pub lifecycle: Lifecycle,
    /// The read-only layers of its root, lowest first. Without any the root is empty.
    #[serde(default)]
    pub layers: Vec<Digest>,
    /// The program and its arguments.
    pub args: Vec<String>,
    /// Its environment, complete but for what the host adds (`PORT`, `SLIPWAY_JOB`, `HOSTNAME`).
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Where it starts; `/` when empty.
    #[serde(default)]
    pub working_dir: String,
    /// The user inside its user namespace.
    #[serde(default)]
    pub uid: u32,
    /// The group inside its user namespace.
    #[serde(default)]
    pub gid: u32,
    /// Whether it is another system than the host (tenants) or a part of the platform.
    #[serde(default)]
    pub isolation: Isolation,
    /// Where its traffic goes.
    #[serde(default)]
    pub network: NetworkMode,
    /// What of the platform it sees.
    #[serde(default)]
    pub platform: PlatformAccess,
    /// Its limits.
    #[serde(default)]
    pub resources: Resources,
    /// Volumes that outlive it.
    #[serde(default)]
    pub volumes: Vec<VolumeMount>,
    /// The service it offers, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceSpec>,
    /// Capabilities beyond the default set of its isolation, e.g. `CAP_NET_BIND_SERVICE`.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// How its standard streams are wired.
    #[serde(default)]
    pub stdio: Stdio,
    /// How long it may take to end after SIGTERM before SIGKILL.
    #[serde(default = "default_grace_ms")]
    pub grace_ms: u64,
    /// How long in-flight requests may take to drain before SIGTERM.
    #[serde(default = "default_drain_ms")]
    pub drain_ms: u64,
    /// Files the platform puts into its root, read-only, e.g. the CA bundle and client settings of a build.
    #[serde(default)]
    pub files: Vec<FileMount>,
    /// Which goes first when a host comes back or is full; smaller first. 0 is for the platform.
    #[serde(default = "default_priority")]
    pub priority: u8,
}

fn default_grace_ms() -> u64 {
    10_000
}

fn default_drain_ms() -> u64 {
    30_000
}

fn default_priority() -> u8 {
    50
}

/// Who restarts a job, and what it means that its host was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lifecycle {
    /// Part of the platform: the host restarts it in place for as long as its claim stands.
    System,
    /// Of a formation: the host re-creates it after its own restart; an exit is for the scheduler to answer.
    Service,
    /// Runs once: an exit, or the loss of its host, ends it.
    Batch,
}

/// How far a job is kept from the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// Own user namespace, default capabilities of a container, full seccomp list.
    #[default]
    Tenant,
    /// The host's user namespace with nearly no capabilities: for the platform's own roles.
    Platform,
}

/// Where a job's traffic goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkMode {
    /// Own network namespace with an address on the host's bridge.
    #[default]
    Bridge,
    /// Own network namespace with loopback alone.
    Loopback,
    /// The host's network namespace.
    Host,
}

/// What of the platform a job sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlatformAccess {
    /// Nothing.
    #[default]
    None,
    /// The platform's binary, read-only at `/usr/local/bin/slipway`: launching and building.
    Binary,
    /// The binary, and the platform's sockets at `/run/slipway`: system jobs only.
    Sockets,
}

/// Limits of a job. Absent means the host's default, not unlimited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Memory in bytes; more is an OOM kill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// CPU in thousandths of a core, as a hard quota.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_milli: Option<u32>,
    /// Share of the CPU under contention, 1 to 10,000; 100 is usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_weight: Option<u32>,
    /// Processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
    /// Open files of each process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u64>,
}

/// A volume in a job's root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeMount {
    /// Which volume; made on first use.
    pub volume: VolumeName,
    /// Where in the job's root.
    pub path: String,
}

/// A small read-only file in a job's root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMount {
    /// Where in the job's root.
    pub path: String,
    /// What it is.
    pub source: FileSource,
}

/// Where a [`FileMount`]'s content comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileSource {
    /// This text.
    Text(String),
    /// The host's bundle of certificate authorities.
    CaBundle,
}

/// How a job's standard streams are wired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stdio {
    /// No input; output goes to the log.
    #[default]
    Log,
    /// A client attaches before the job starts and gets everything; the log gets standard error too when it is a build.
    Attached,
    /// As `Attached`, through a terminal of this size.
    Terminal {
        /// Rows.
        rows: u16,
        /// Columns.
        columns: u16,
    },
}

/// The service that a job offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// Its name in discovery.
    pub name: ServiceName,
    /// The port it listens on, also given as `PORT`.
    pub port: u16,
    /// How the host finds out that it is up. Without one it is up when it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<HealthCheck>,
}

/// How the host finds out that a job is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// What is tried.
    pub kind: CheckKind,
    /// Time between tries.
    #[serde(default = "default_interval_ms")]
    pub interval_ms: u64,
    /// How long one try may take.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    /// Failures in a row that make an up job unhealthy.
    #[serde(default = "default_threshold")]
    pub threshold: u32,
    /// How long the job may take to pass for the first time before it counts as failed.
    #[serde(default = "default_start_timeout_ms")]
    pub start_timeout_ms: u64,
}

fn default_interval_ms() -> u64 {
    2_000
}

fn default_timeout_ms() -> u64 {
    2_000
}

fn default_threshold() -> u32 {
    3
}

fn default_start_timeout_ms() -> u64 {
    60_000
}

/// What a health check tries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckKind {
    /// A connection is accepted.
    Tcp,
    /// `GET path` answers with a status from 200 to 399.
    Http {
        /// The path.
        path: String,
    },
}

impl HealthCheck {
    /// A check of `kind` with the usual times.
    #[must_use]
    pub fn new(kind: CheckKind) -> HealthCheck {
        HealthCheck {
            kind,
            interval_ms: default_interval_ms(),
            timeout_ms: default_timeout_ms(),
            threshold: default_threshold(),
            start_timeout_ms: default_start_timeout_ms(),
        }
    }
}

/// The one job state of all layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    /// Wanted, not yet placed.
    Pending,
    /// Wanted, and no host can take it.
    Blocked,
    /// Being started, or not healthy yet.
    Starting,
    /// Running, healthy, and known to every router.
    Up,
    /// Draining or asked to end.
    Stopping,
    /// Ended.
    Down(DownReason),
}

/// Why a job is down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DownReason {
    /// It ended by itself or on request with this code.
    Exited {
        /// The code.
        code: i32,
    },
    /// A signal ended it.
    Signaled {
        /// The signal's number.
        signal: i32,
        /// Whether the kernel did it because the job went over its memory limit.
        #[serde(default)]
        oom: bool,
    },
    /// It could not be started, or never became healthy.
    Failed {
        /// Why, for people.
        reason: String,
    },
    /// Its host went away under it.
    Lost,
}

impl JobState {
    /// Whether it has ended.
    #[must_use]
    pub fn is_down(&self) -> bool {
        matches!(self, JobState::Down(_))
    }

    /// The state's word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            JobState::Pending => "pending",
            JobState::Blocked => "blocked",
            JobState::Starting => "starting",
            JobState::Up => "up",
            JobState::Stopping => "stopping",
            JobState::Down(_) => "down",
        }
    }
}

impl fmt::Display for DownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DownReason::Exited { code } => write!(f, "exited with code {code}"),
            DownReason::Signaled { oom: true, .. } => f.write_str("killed: it went over its memory limit"),
            DownReason::Signaled { signal, .. } => write!(f, "killed by {}", SignalName(*signal)),
            DownReason::Failed { reason } => f.write_str(reason),
            DownReason::Lost => f.write_str("lost with its host"),
        }
    }
}

struct SignalName(i32);

impl fmt::Display for SignalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = match self.0 {
            1 => "SIGHUP",
            2 => "SIGINT",
            3 => "SIGQUIT",
            4 => "SIGILL",
            6 => "SIGABRT",
            7 => "SIGBUS",
            8 => "SIGFPE",
            9 => "SIGKILL",
            11 => "SIGSEGV",
            13 => "SIGPIPE",
            14 => "SIGALRM",
            15 => "SIGTERM",
            31 => "SIGSYS",
            other => return write!(f, "signal {other}"),
        };
        f.write_str(known)
    }
}

/// What a host says of one job. Written by that host alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStatus {
    /// Which job.
    pub job: JobId,
    /// Its state.
    pub state: JobState,
    /// Its address, while it has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The host's number of its first process, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// How often the host has restarted it in place.
    #[serde(default)]
    pub restarts: u32,
    /// What ended the run before this one, for jobs the host restarts in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<DownReason>,
    /// Milliseconds since 1970 when it was started.
    #[serde(default)]
    pub started_ms: u64,
    /// Milliseconds since 1970 when it ended.
    #[serde(default)]
    pub ended_ms: u64,
}
