//! What a container is: plain data, no behaviour. [`Spec`] says everything that [`crate::Runtime::create`] needs.

mod defaults;
use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cgroup::CgroupSpec;

/// A container and the first program in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Where the root file system comes from.
    pub root: Root,
    /// Whether the root file system can be written. Mounts have their own flags.
    pub root_access: Access,
    /// Mounted in this order, on top of the root. [`Spec::default_mounts`] holds the usual ones.
    pub mounts: Vec<Mount>,
    /// Devices of the host, by path below `/dev`, shown beside the default ones (null zero full random urandom tty).
    pub devices: Vec<PathBuf>,
    /// Paths that the container must not see; a missing one is passed over.
    pub masked_paths: Vec<PathBuf>,
    /// Paths that the container must not change; a missing one is passed over.
    pub readonly_paths: Vec<PathBuf>,
    /// Host name inside.
    pub hostname: String,
    /// Whose ids the container's ids are.
    pub user_namespace: UserNamespace,
    /// Which network the container sees.
    pub network: Network,
    /// `net.*`, `kernel.shm*`, `kernel.msg*`, `kernel.sem`, `fs.mqueue.*`: only what is private to the container.
    pub sysctls: BTreeMap<String, String>,
    /// Accounting and limits; None runs in the caller's own groups.
    pub cgroup: Option<CgroupSpec>,
    /// Score for the OOM killer. Lowering needs a privilege of the host: without it a warning is given.
    pub oom_score_adj: Option<i32>,
    /// What becomes of the container when the process that created it ends.
    pub owner_exit: OwnerExit,
    /// The program to run.
    pub program: Program,
}

/// A program to run inside a container: the first one, or one added by [`crate::Runtime::exec`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The program and its arguments; a name without a slash is looked up in `PATH` of `env`.
    pub args: Vec<String>,
    /// `KEY=value`, all there is: nothing is inherited.
    pub env: Vec<String>,
    /// Working directory, absolute. It must exist.
    pub cwd: PathBuf,
    /// Who runs it, in ids of the container.
    pub user: User,
    /// The five capability sets.
    pub capabilities: Capabilities,
    /// System call filter.
    pub seccomp: Seccomp,
    /// Whether set-uid files and file capabilities work.
    pub new_privileges: NewPrivileges,
    /// Resource limits. Raising a hard limit needs a privilege of the host: without it a warning is given.
    pub rlimits: Vec<Rlimit>,
    /// File mode mask.
    pub umask: u32,
}

/// Source of the root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Root {
    /// An overlay of shared directories.
    Overlay {
        /// Read-only layers, the bottom first, at least one.
        layers: Vec<PathBuf>,
        /// Where changes go.
        upper: Upper,
        /// How the ids of the layers' files are seen.
        ownership: Ownership,
    },
    /// A directory of the host, used as it is.
    Dir {
        /// The directory.
        path: PathBuf,
        /// How the ids of its files are seen.
        ownership: Ownership,
    },
    /// An empty tmpfs.
    Empty {
        /// Its size limit.
        size_bytes: u64,
    },
}

/// Where an overlay keeps changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Upper {
    /// Nowhere: the root cannot be written, and every mount point must exist in the layers.
    None,
    /// In two directories of one host file system. `upper` is given to the container's root. The overlay is
    /// `volatile`: `work` serves one container only, and after a crash of the host both must be thrown away.
    Dirs {
        /// The changes.
        upper: PathBuf,
        /// Scratch space of overlayfs.
        work: PathBuf,
    },
    /// In memory, gone with the container.
    Memory {
        /// Its size limit.
        size_bytes: u64,
    },
}

/// How files of the host are owned inside a private user namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ownership {
    /// Uid 0 on disk is uid 0 inside, and so on (an idmapped mount). Without effect in the host's user namespace.
    Mapped,
    /// As on disk: for files that already carry the ids of the mapped range, and for sockets of the host.
    Host,
}

/// Whether something can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// It cannot.
    ReadOnly,
    /// It can.
    ReadWrite,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where, absolute, inside the root. Symlinks resolve inside the root. Made when missing.
    pub target: PathBuf,
    /// What.
    pub kind: MountKind,
    /// How.
    pub flags: MountFlags,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// procfs of the container.
    Proc,
    /// sysfs of the container's network namespace, or the host's, read-only, where that is shared.
    Sysfs,
    /// A tmpfs.
    Tmpfs {
        /// Its size limit.
        size_bytes: u64,
        /// Mode of its root directory.
        mode: u32,
    },
    /// `/dev`: a tmpfs of mode 755 with the default devices, [`Spec::devices`] and the usual symlinks.
    Dev,
    /// A private devpts. Needed for a terminal.
    Devpts,
    /// POSIX message queues.
    Mqueue,
    /// The container's own view of its control groups.
    Cgroup,
    /// A file, directory or socket of the host.
    Bind {
        /// Path on the host.
        source: PathBuf,
        /// How the ids of its files are seen.
        ownership: Ownership,
    },
}

/// Restrictions of a mount; all false restricts nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MountFlags {
    /// No writes.
    pub read_only: bool,
    /// Set-uid bits and file capabilities are ignored.
    pub nosuid: bool,
    /// Device nodes do not open.
    pub nodev: bool,
    /// Nothing can be executed.
    pub noexec: bool,
}

/// Whose ids the container's ids are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserNamespace {
    /// The host's: uid 0 inside is uid 0 outside. For jobs of the platform.
    Host,
    /// Ids 0 to `size` - 1 inside are `host_base` to `host_base + size - 1` outside.
    Private {
        /// First id on the host.
        host_base: u32,
        /// How many.
        size: u32,
    },
}

/// Which network the container sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// The host's.
    Host,
    /// Its own, with only a loopback that is up; the caller adds more between create and start.
    Private,
    /// That of a namespace file such as `/run/netns/x` or `/proc/PID/ns/net`.
    Join(PathBuf),
}

/// What becomes of a container when the process that created it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OwnerExit {
    /// It is killed at once, so that nothing runs unowned.
    Kill,
    /// It runs on.
    Survive,
}

/// Ids of a program, as numbers of the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// The five sets, by kernel name (`CAP_CHOWN`). What is absent is dropped.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Capabilities {
    /// The most that can ever be gained.
    pub bounding: Vec<String>,
    /// In force.
    pub effective: Vec<String>,
    /// Can be put in force.
    pub permitted: Vec<String>,
    /// Passed to files that ask for it. Leave empty (CVE-2022-29162).
    pub inheritable: Vec<String>,
    /// Kept over exec by a program that is not root.
    pub ambient: Vec<String>,
}

/// System call filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// An allow-list in the manner of Docker's.
    Default,
    /// None.
    Unconfined,
}

/// Whether exec may grant what the caller does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NewPrivileges {
    /// Never (`no_new_privs`).
    Denied,
    /// As file modes and file capabilities say.
    Allowed,
}

/// One resource limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// Which.
    pub resource: Resource,
    /// What the program meets.
    pub soft: u64,
    /// How far it may raise that. `u64::MAX` is unlimited.
    pub hard: u64,
}

/// Resources with a limit per process.
#[expect(missing_docs, reason = "the names of setrlimit(2)")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resource {
    As,
    Core,
    Cpu,
    Data,
    Fsize,
    Locks,
    Memlock,
    Msgqueue,
    Nice,
    Nofile,
    Nproc,
    Rss,
    Rtprio,
    Rttime,
    Sigpending,
    Stack,
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters per line.
    pub columns: u16,
}
