//! From what a claim says to what the runtime is told: limits, mounts, ids, environment. No policy is anywhere else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use runtime::cgroup::{CgroupSpec, CpuQuota, Limits};
use runtime::{
    Access, Capabilities, Mount, MountFlags, MountKind, Network, NewPrivileges, OwnerExit, Ownership, Program,
    Resource, Rlimit, Root, Seccomp, Spec, Upper, User, UserNamespace,
};
use types::JobId;
use types::job::{Isolation, JobSpec, Lifecycle, NetworkMode, PlatformAccess, Stdio};

use crate::limits;
use crate::shim::plan::{ShimPlan, Wiring};
use crate::stored::VERSION;

/// Where a job sees the platform's binary.
pub const BINARY: &str = "/usr/local/bin/slipway";

/// Search path of a job that names none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// CPU is shared out in periods of this length: the kernel's own.
const CPU_PERIOD_US: u64 = 100_000;

/// What on this host a run is given.
#[derive(Clone, Debug)]
pub struct Place {
    /// The layers' directories, lowest first.
    pub layers: Vec<PathBuf>,
    /// Where changes go, and overlayfs' work directory beside it.
    pub upper: PathBuf,
    /// See `upper`.
    pub work: PathBuf,
    /// The platform's binary.
    pub binary: PathBuf,
    /// The platform's sockets.
    pub run_dir: PathBuf,
    /// The first id of the job's range, for tenants.
    pub user_base: u32,
    /// Volumes, by where they are in the job.
    pub volumes: Vec<(String, PathBuf)>,
    /// Files, by where they are in the job.
    pub files: Vec<(String, PathBuf)>,
    /// The first folder of all control groups.
    pub cgroup_root: String,
}

/// The host name of a job: what kind it is and which.
#[must_use]
pub fn hostname(job: &JobId, spec: &JobSpec) -> String {
    format!("{}-{}", spec.process_type, job.short()).to_ascii_lowercase().replace('_', "-")
}

/// The control group of a job.
#[must_use]
pub fn cgroup(root: &str, job: &JobId, spec: &JobSpec) -> CgroupSpec {
    let resources = &spec.resources;
    let memory = match spec.isolation {
        Isolation::Tenant => limits::TENANT_MEMORY_BYTES,
        Isolation::Platform => limits::PLATFORM_MEMORY_BYTES,
    };
    let quota = |milli: u32| CpuQuota { quota_us: u64::from(milli) * CPU_PERIOD_US / 1_000, period_us: CPU_PERIOD_US };
    CgroupSpec {
        root: root.to_owned(),
        path: format!("jobs/{job}"),
        limits: Limits {
            memory_bytes: Some(resources.memory_bytes.unwrap_or(memory)),
            cpu_quota: resources.cpu_milli.map(quota),
            cpu_weight: Some(u64::from(resources.cpu_weight.unwrap_or(limits::CPU_WEIGHT))),
            pids: Some(u64::from(resources.pids.unwrap_or(limits::PIDS))),
        },
    }
}

/// The environment of every program in a job: its own, and what the host adds. The host's word counts.
#[must_use]
pub fn environment(job: &JobId, spec: &JobSpec) -> BTreeMap<String, String> {
    let mut env = spec.env.clone();
    env.entry("PATH".to_owned()).or_insert_with(|| PATH.to_owned());
    if matches!(spec.stdio, Stdio::Terminal { .. }) {
        env.entry("TERM".to_owned()).or_insert_with(|| "xterm-256color".to_owned());
    }
    let mut add = |name: &str, value: String| drop(env.insert(name.to_owned(), value));
    add("HOSTNAME", hostname(job, spec));
    add("SLIPWAY_JOB", job.to_string());
    add("SLIPWAY_APP", spec.app_name.to_string());
    add("SLIPWAY_PROCESS_TYPE", spec.process_type.to_string());
    if let Some(release) = &spec.release {
        add("SLIPWAY_RELEASE", release.to_string());
    }
    if let Some(service) = &spec.service {
        add("PORT", service.port.to_string());
    }
    env
}

/// A program of the job: its own with `args`, or one more.
#[must_use]
pub fn program(spec: &JobSpec, args: Vec<String>, env: BTreeMap<String, String>) -> Program {
    let open_files = spec.resources.open_files.unwrap_or(limits::OPEN_FILES);
    Program {
        args,
        env: env.into_iter().map(|(name, value)| format!("{name}={value}")).collect(),
        cwd: PathBuf::from(if spec.working_dir.is_empty() { "/" } else { &spec.working_dir }),
        user: User { uid: spec.uid, gid: spec.gid, groups: Vec::new() },
        capabilities: capabilities(spec),
        seccomp: Seccomp::Default,
        new_privileges: NewPrivileges::Denied,
        rlimits: vec![
            Rlimit { resource: Resource::Nofile, soft: open_files, hard: open_files },
            // Core files would fill the scratch space with what nobody can get at.
            Rlimit { resource: Resource::Core, soft: 0, hard: 0 },
        ],
        umask: 0o022,
    }
}

fn capabilities(spec: &JobSpec) -> Capabilities {
    let asked: Vec<&str> = spec.capabilities.iter().map(String::as_str).collect();
    match spec.isolation {
        // Root of a tenant's job is root of its own namespace only. Its other users get nothing but what was asked for.
        Isolation::Tenant if spec.uid == 0 => {
            let mut usual = Capabilities::usual();
            for name in &spec.capabilities {
                for set in [&mut usual.bounding, &mut usual.effective, &mut usual.permitted] {
                    if !set.contains(name) {
                        set.push(name.clone());
                    }
                }
            }
            usual
        }
        Isolation::Tenant | Isolation::Platform => Capabilities::ambient(&asked),
    }
}

/// What the runtime makes of a job.
#[must_use]
pub fn outline(job: &JobId, spec: &JobSpec, place: &Place) -> Spec {
    let is_tenant = spec.isolation == Isolation::Tenant;
    let root = if place.layers.is_empty() {
        Root::Empty { size_bytes: limits::EMPTY_ROOT_BYTES }
    } else {
        Root::Overlay {
            layers: place.layers.clone(),
            upper: Upper::Dirs { upper: place.upper.clone(), work: place.work.clone() },
            ownership: Ownership::Mapped,
        }
    };
    let mut sysctls = BTreeMap::new();
    if is_tenant && spec.network != NetworkMode::Host {
        // Low ports mean nothing in a network of one's own.
        sysctls.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned());
    }
    Spec {
        root,
        root_access: Access::ReadWrite,
        mounts: mounts(spec, place),
        devices: Vec::new(),
        masked_paths: Spec::default_masked_paths(),
        readonly_paths: Spec::default_readonly_paths(),
        hostname: hostname(job, spec),
        user_namespace: if is_tenant {
            UserNamespace::Private { host_base: place.user_base, size: limits::USER_RANGE }
        } else {
            UserNamespace::Host
        },
        network: match spec.network {
            NetworkMode::Host => Network::Host,
            NetworkMode::Bridge | NetworkMode::Loopback => Network::Private,
        },
        sysctls,
        cgroup: Some(cgroup(&place.cgroup_root, job, spec)),
        // When memory runs out on the host, what runs once goes first, then apps, then the platform.
        oom_score_adj: match (spec.isolation, spec.lifecycle) {
            (Isolation::Platform, _) => None,
            (Isolation::Tenant, Lifecycle::Batch) => Some(600),
            (Isolation::Tenant, _) => Some(300),
        },
        owner_exit: OwnerExit::Kill,
        program: program(spec, spec.args.clone(), environment(job, spec)),
    }
}

fn bind(target: &str, source: &Path, ownership: Ownership, flags: MountFlags) -> Mount {
    let kind = MountKind::Bind { source: source.to_path_buf(), ownership };
    Mount { target: PathBuf::from(target), kind, flags }
}

fn mounts(spec: &JobSpec, place: &Place) -> Vec<Mount> {
    let read_only = MountFlags { read_only: true, nosuid: true, nodev: true, noexec: false };
    let harmless = MountFlags { read_only: false, nosuid: true, nodev: true, noexec: false };
    let mut mounts = Spec::default_mounts();
    if place.layers.is_empty() {
        let kind = MountKind::Tmpfs { size_bytes: limits::EMPTY_ROOT_BYTES, mode: 0o1777 };
        mounts.push(Mount { target: PathBuf::from("/tmp"), kind, flags: harmless });
    }
    for (target, source) in &place.volumes {
        mounts.push(bind(target, source, Ownership::Mapped, harmless));
    }
    if spec.platform != PlatformAccess::None {
        mounts.push(bind(BINARY, &place.binary, Ownership::Mapped, read_only));
    }
    if spec.platform == PlatformAccess::Sockets {
        mounts.push(bind(api::paths::RUN_DIR, &place.run_dir, Ownership::Host, harmless));
    }
    // Last: a file of the platform is seen even below a volume.
    for (target, source) in &place.files {
        mounts.push(bind(target, source, Ownership::Mapped, read_only));
    }
    mounts
}

/// What the shim is told.
#[must_use]
pub fn shim_plan(job: &JobId, run: u32, spec: &JobSpec, place: &Place) -> ShimPlan {
    let runtime = outline(job, spec, place);
    let wiring = match spec.stdio {
        Stdio::Log => Wiring::Output,
        Stdio::Attached => Wiring::Pipes,
        Stdio::Terminal { rows, columns } => Wiring::Terminal { rows, columns },
    };
    // Output that a client waits for belongs to that client; of a build the log keeps what people read.
    let logs_output = wiring == Wiring::Output;
    let logs_error = logs_output || (wiring == Wiring::Pipes && spec.process_type.as_str() == "build");
    let memory_bytes = runtime.cgroup.as_ref().and_then(|group| group.limits.memory_bytes);
    ShimPlan { version: VERSION, job: job.clone(), run, spec: runtime, wiring, logs_output, logs_error, memory_bytes }
}

#[cfg(test)]
mod tests;
