//! The usual mounts, masks and capabilities, in the manner of Docker's defaults.

use std::path::PathBuf;

use super::{Capabilities, Mount, MountFlags, MountKind, Spec};

const SHM_BYTES: u64 = 64 << 20;
const NOT_EXECUTABLE: MountFlags = MountFlags { read_only: false, nosuid: true, nodev: true, noexec: true };

const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Docker's default list; harmless in a private user namespace, where they reach no further than the namespace.
const USUAL: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

impl Spec {
    /// proc, /dev with pts, shm and mqueue, a read-only sysfs. In this order: /dev hides what was below it.
    #[must_use]
    pub fn default_mounts() -> Vec<Mount> {
        let at = |target: &str, kind, flags| Mount { target: PathBuf::from(target), kind, flags };
        let device_files = MountFlags { nodev: false, ..NOT_EXECUTABLE };
        vec![
            at("/proc", MountKind::Proc, NOT_EXECUTABLE),
            at("/dev", MountKind::Dev, device_files),
            at("/dev/pts", MountKind::Devpts, device_files),
            at("/dev/shm", MountKind::Tmpfs { size_bytes: SHM_BYTES, mode: 0o1777 }, NOT_EXECUTABLE),
            at("/dev/mqueue", MountKind::Mqueue, NOT_EXECUTABLE),
            at("/sys", MountKind::Sysfs, MountFlags { read_only: true, ..NOT_EXECUTABLE }),
        ]
    }

    /// What a container must not see of the kernel.
    #[must_use]
    pub fn default_masked_paths() -> Vec<PathBuf> {
        MASKED.iter().map(PathBuf::from).collect()
    }

    /// What a container may read of the kernel and not change.
    #[must_use]
    pub fn default_readonly_paths() -> Vec<PathBuf> {
        READ_ONLY.iter().map(PathBuf::from).collect()
    }
}

impl Capabilities {
    /// Nothing at all.
    #[must_use]
    pub fn none() -> Capabilities {
        Capabilities::default()
    }

    /// The usual set for root in a private user namespace; a program that is not root has none of it in force.
    #[must_use]
    pub fn usual() -> Capabilities {
        Capabilities::only(&USUAL)
    }

    /// Exactly these, bounding, permitted and in force; none inheritable or ambient.
    #[must_use]
    pub fn only(names: &[&str]) -> Capabilities {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Capabilities {
            bounding: names.clone(),
            effective: names.clone(),
            permitted: names,
            inheritable: Vec::new(),
            ambient: Vec::new(),
        }
    }

    /// Exactly these also for a program that is not root: ambient, and therefore inheritable.
    #[must_use]
    pub fn ambient(names: &[&str]) -> Capabilities {
        let only = Capabilities::only(names);
        Capabilities { inheritable: only.bounding.clone(), ambient: only.bounding.clone(), ..only }
    }
}
