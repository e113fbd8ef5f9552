//! What the init stage has to do, decided here as data: the stage only executes it, in order.

#[cfg(test)]
mod tests;

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cgroup::{Controller, Hierarchies};
use crate::limits::{LAYERS_MAX, MOUNTS_MAX, WORDS_MAX};
use crate::spec::{
    Access, MountFlags, MountKind, Network, OwnerExit, Program, Root, Spec, User, UserNamespace, WindowSize,
};
use crate::sys;

/// Kernel parameters that belong to one of the container's own namespaces.
const SYSCTLS_PRIVATE: [&str; 6] =
    ["net.", "kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.", "kernel.domainname"];

/// What a runtime orders its stage to become.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    Create(Create),
    Join(Join),
}

/// Become the first process of a container.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Create {
    pub(crate) steps: Vec<Step>,
    pub(crate) stdio: StdioPlan,
    pub(crate) owner_exit: OwnerExit,
    pub(crate) program: Program,
}

/// Become a further program of a container. The last descriptor is the pidfd of its first process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Join {
    pub(crate) user_namespace: UserNamespace,
    pub(crate) stdio: StdioPlan,
    pub(crate) program: Program,
}

/// Where standard input, output and error come from.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum StdioPlan {
    /// The first three descriptors sent along.
    Sent,
    /// A new terminal.
    Terminal(WindowSize),
}

/// One thing to do inside the new namespaces. `fd` counts the descriptors sent along, after those of stdio.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    PrivateMounts,
    Hostname(String),
    CgroupNamespace,
    LoopbackUp,
    AttachRoot { fd: usize },
    EmptyRoot { size_bytes: u64 },
    Proc { target: PathBuf, attributes: u64 },
    Sysfs { target: PathBuf, attributes: u64 },
    Tmpfs { target: PathBuf, attributes: u64, size_bytes: u64, mode: u32 },
    Dev { target: PathBuf, attributes: u64, devices: Vec<PathBuf> },
    Devpts { target: PathBuf, attributes: u64 },
    Mqueue { target: PathBuf, attributes: u64 },
    CgroupV2 { target: PathBuf, attributes: u64 },
    CgroupV1 { target: PathBuf, attributes: u64, hierarchies: Vec<Vec<String>> },
    Bind { target: PathBuf, attributes: u64, fd: usize },
    Terminal(WindowSize),
    Sysctl { name: String, value: String },
    ReadOnlyPath(PathBuf),
    MaskPath(PathBuf),
    PivotRoot,
    RootReadOnly,
}

/// What the plan must know of the host.
pub(crate) struct Facts<'a> {
    pub(crate) hierarchies: Option<&'a Hierarchies>,
}

/// A mount of the host to be sent along, in the order of `fd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent<'a> {
    Root,
    Bind { source: &'a Path, ownership: crate::Ownership },
}

/// The steps for `spec`, and what they expect to be sent.
pub(crate) fn plan<'a>(spec: &'a Spec, stdio: StdioPlan, facts: &Facts<'_>) -> (Vec<Step>, Vec<Sent<'a>>) {
    let mut steps = vec![Step::PrivateMounts, Step::Hostname(spec.hostname.clone())];
    let mut sent = Vec::new();
    if spec.cgroup.is_some() {
        steps.push(Step::CgroupNamespace);
    }
    if spec.network == Network::Private {
        steps.push(Step::LoopbackUp);
    }
    if let Root::Empty { size_bytes } = spec.root {
        steps.push(Step::EmptyRoot { size_bytes });
    } else {
        steps.push(Step::AttachRoot { fd: 0 });
        sent.push(Sent::Root);
    }
    for mount in &spec.mounts {
        let target = mount.target.clone();
        let attributes = attributes(mount.flags);
        let step = match &mount.kind {
            MountKind::Proc => Step::Proc { target, attributes },
            MountKind::Sysfs if sysfs_is_own(spec) => Step::Sysfs { target, attributes },
            MountKind::Sysfs => {
                sent.push(Sent::Bind { source: Path::new("/sys"), ownership: crate::Ownership::Host });
                let attributes = attributes | sys::MOUNT_ATTR_RDONLY;
                Step::Bind { target, attributes, fd: sent.len() - 1 }
            }
            MountKind::Tmpfs { size_bytes, mode } => {
                Step::Tmpfs { target, attributes, size_bytes: *size_bytes, mode: *mode }
            }
            MountKind::Dev => Step::Dev { target, attributes, devices: spec.devices.clone() },
            MountKind::Devpts => Step::Devpts { target, attributes },
            MountKind::Mqueue => Step::Mqueue { target, attributes },
            MountKind::Cgroup => cgroup_step(spec, facts, target, attributes),
            MountKind::Bind { source, ownership } => {
                sent.push(Sent::Bind { source, ownership: *ownership });
                Step::Bind { target, attributes, fd: sent.len() - 1 }
            }
        };
        steps.push(step);
    }
    if let StdioPlan::Terminal(size) = stdio {
        steps.push(Step::Terminal(size));
    }
    let sysctls = spec.sysctls.iter();
    steps.extend(sysctls.map(|(name, value)| Step::Sysctl { name: name.clone(), value: value.clone() }));
    steps.extend(spec.readonly_paths.iter().cloned().map(Step::ReadOnlyPath));
    steps.extend(spec.masked_paths.iter().cloned().map(Step::MaskPath));
    steps.push(Step::PivotRoot);
    if spec.root_access == Access::ReadOnly {
        steps.push(Step::RootReadOnly); // Last: mount points had to be made.
    }
    (steps, sent)
}

/// sysfs shows a network namespace, so only its owner may mount it.
fn sysfs_is_own(spec: &Spec) -> bool {
    spec.network == Network::Private || spec.user_namespace == UserNamespace::Host
}

/// The v1 hierarchies that the group joined, or the v2 tree.
fn cgroup_step(spec: &Spec, facts: &Facts<'_>, target: PathBuf, attributes: u64) -> Step {
    let mut hierarchies: Vec<Vec<String>> = Vec::new();
    if let (Some(host), Some(group)) = (facts.hierarchies, &spec.cgroup) {
        let mut mounts: Vec<&PathBuf> = Vec::new();
        for controller in [Controller::Memory, Controller::Cpu, Controller::Pids] {
            let limited = match controller {
                Controller::Memory => group.limits.memory_bytes.is_some(),
                Controller::Cpu => group.limits.cpu_quota.is_some() || group.limits.cpu_weight.is_some(),
                _ => group.limits.pids.is_some(),
            };
            if let Some(mount) = host.v1.get(&controller)
                && limited
                && !mounts.contains(&mount)
            {
                mounts.push(mount);
                let together = host.v1.iter().filter(|(_, other)| *other == mount);
                hierarchies.push(together.map(|(controller, _)| controller.name().to_owned()).collect());
            }
        }
    }
    if hierarchies.is_empty() {
        return Step::CgroupV2 { target, attributes };
    }
    Step::CgroupV1 { target, attributes, hierarchies }
}

fn attributes(flags: MountFlags) -> u64 {
    let pairs = [
        (flags.read_only, sys::MOUNT_ATTR_RDONLY),
        (flags.nosuid, sys::MOUNT_ATTR_NOSUID),
        (flags.nodev, sys::MOUNT_ATTR_NODEV),
        (flags.noexec, sys::MOUNT_ATTR_NOEXEC),
    ];
    pairs.into_iter().filter(|(set, _)| *set).fold(0, |all, (_, one)| all | one)
}

/// What makes a spec impossible before anything is tried.
pub(crate) fn check(spec: &Spec, stdio: StdioPlan) -> Result<(), String> {
    check_program(&spec.program, spec.user_namespace)?;
    if spec.mounts.len() > MOUNTS_MAX {
        return Err(format!("more than {MOUNTS_MAX} mounts"));
    }
    if let Root::Overlay { layers, .. } = &spec.root
        && (layers.is_empty() || layers.len() > LAYERS_MAX)
    {
        return Err(format!("{} layers, 1 to {LAYERS_MAX} are possible", layers.len()));
    }
    let targets = spec.mounts.iter().map(|mount| &mount.target);
    for path in targets.chain(&spec.masked_paths).chain(&spec.readonly_paths) {
        if !is_plain(path) {
            return Err(format!("path {} inside the container is not absolute and plain", path.display()));
        }
    }
    for device in &spec.devices {
        if !is_plain(&Path::new("/dev").join(device)) || device.is_absolute() {
            return Err(format!("device {} is not below /dev", device.display()));
        }
    }
    let has = |kind: &MountKind| spec.mounts.iter().any(|mount| mount.kind == *kind);
    if matches!(stdio, StdioPlan::Terminal(_)) && !(has(&MountKind::Devpts) && has(&MountKind::Dev)) {
        return Err(String::from("a terminal needs the Dev and Devpts mounts"));
    }
    if has(&MountKind::Cgroup) && spec.cgroup.is_none() {
        return Err(String::from("a Cgroup mount needs a control group"));
    }
    for name in spec.sysctls.keys() {
        let private = SYSCTLS_PRIVATE.iter().any(|prefix| name.starts_with(prefix));
        let shared = name.starts_with("net.") && spec.network != Network::Private;
        if !private || shared || name.contains('/') || name.contains("..") {
            return Err(format!("sysctl {name} is not private to the container"));
        }
    }
    Ok(())
}

/// The part that a joined program shares.
pub(crate) fn check_program(program: &Program, user_namespace: UserNamespace) -> Result<(), String> {
    if program.args.first().is_none_or(String::is_empty) {
        return Err(String::from("no program named"));
    }
    if program.args.len() + program.env.len() > WORDS_MAX {
        return Err(format!("more than {WORDS_MAX} arguments and variables"));
    }
    if program.args.iter().chain(&program.env).any(|word| word.contains('\0')) {
        return Err(String::from("an argument or variable contains NUL"));
    }
    if !program.cwd.is_absolute() {
        return Err(format!("working directory {} is not absolute", program.cwd.display()));
    }
    let User { uid, gid, groups } = &program.user;
    if let UserNamespace::Private { size, host_base } = user_namespace {
        if let Some(id) = [*uid, *gid].iter().chain(groups).find(|id| **id >= size) {
            return Err(format!("id {id} is outside of the {size} ids of the user namespace"));
        }
        if host_base == 0 || host_base.checked_add(size).is_none() || size == 0 {
            return Err(format!("host ids {host_base} + {size} are not a private range"));
        }
    }
    let sets = &program.capabilities;
    let sets = [&sets.bounding, &sets.effective, &sets.permitted, &sets.inheritable, &sets.ambient];
    for name in sets.into_iter().flatten() {
        if name.parse::<caps::Capability>().is_err() {
            return Err(format!("unknown capability {name}"));
        }
    }
    Ok(())
}

fn is_plain(path: &Path) -> bool {
    path.is_absolute()
        && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
        && !path.as_os_str().as_encoded_bytes().contains(&0)
}
