//! Control groups behind one port: v2, v1, and v1 beside v2 (hybrid).
//!
//! A group joins only the hierarchies that one of its limits needs, because every v1 hierarchy costs a directory
//! and an attach. Where a v2 tree exists it is always joined: it counts CPU time, freezes and kills, with or without
//! controllers. Without it v1's freezer does that.

#[cfg(test)]
mod tests;

mod detect;
mod v1;
mod v2;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use detect::{Controller, Hierarchies};

use crate::limits::{GROUP_BUSY_WAIT, GROUP_DEPTH_MAX};

/// Which group, and its limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupSpec {
    /// First folder in every hierarchy, the platform's own. Tests take their own.
    pub root: String,
    /// The group below it, such as `jobs/ID`. Several components are allowed.
    pub path: String,
    /// What the group may use.
    pub limits: Limits,
}

/// What a group may use; None does not limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// Memory with page cache; no swap on top. Beyond it the OOM killer acts.
    pub memory_bytes: Option<u64>,
    /// Hard CPU limit.
    pub cpu_quota: Option<CpuQuota>,
    /// Share under contention, 1 to 10000, where 100 is usual (the v2 scale).
    pub cpu_weight: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// So much CPU time in every period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuQuota {
    /// CPU time per period, in microseconds; more than one period's worth means more than one CPU.
    pub quota_us: u64,
    /// Length of the period in microseconds, 1000 to 1000000.
    pub period_us: u64,
}

/// What a group uses. None where the kernel does not count it for this group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Memory in use, with page cache.
    pub memory_bytes: Option<u64>,
    /// The most memory ever in use.
    pub memory_peak_bytes: Option<u64>,
    /// CPU time used, in microseconds.
    pub cpu_us: Option<u64>,
    /// Periods in which the quota was used up.
    pub throttled_periods: Option<u64>,
    /// Time spent waiting for the next period, in microseconds.
    pub throttled_us: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// How often the pids limit refused one.
    pub pids_refused: Option<u64>,
    /// Processes killed because memory ran out.
    pub oom_kills: Option<u64>,
}

/// A group could not be made, used or removed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// No hierarchy of this host has the controller that a limit needs.
    #[error("the kernel offers no {controller} controller, which a limit needs")]
    ControllerMissing {
        /// The controller.
        controller: Controller,
    },
    /// No control group file system is mounted.
    #[error("no control group hierarchy is mounted")]
    NoHierarchy,
    /// A name with `..`, an empty component or a leading slash.
    #[error("control group name `{name}` is not valid")]
    BadName {
        /// The name.
        name: String,
    },
    /// The mounts could not be read.
    #[error("read the control group hierarchies")]
    Detect {
        /// The kernel's answer.
        source: io::Error,
    },
    /// A folder could not be made.
    #[error("make control group {path}")]
    Make {
        /// Which.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A limit was refused.
    #[error("write `{value}` to {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What was written.
        value: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A counter could not be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A v1 limit was refused.
    #[error("limit {path}: {source}")]
    Limit {
        /// The group.
        path: PathBuf,
        /// The library's answer.
        source: cgroups_rs::error::Error,
    },
    /// Processes are left in the group, or it cannot be removed.
    #[error("remove control group {path}")]
    Remove {
        /// Which.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// A group that exists.
#[derive(Debug)]
pub struct Cgroup {
    /// Joined v1 groups; several controllers can share a folder.
    v1: v1::Group,
    /// The v2 group.
    v2: Option<v2::Group>,
}

/// Announces that memory ran out: readable (`POLLIN` on v1, `POLLPRI` on v2) when something happened.
#[derive(Debug)]
pub struct OomNotice {
    fd: OwnedFd,
}

impl AsFd for OomNotice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Cgroup {
    /// Make the group and set its limits. An existing one is taken over, so that a restart can go on.
    ///
    /// # Errors
    /// When a limit needs a controller that the host lacks, or the kernel refuses; then nothing is left of it.
    pub fn create(spec: &CgroupSpec) -> Result<Cgroup, CgroupError> {
        Cgroup::create_in(&Hierarchies::detect()?, spec)
    }

    /// The same in given hierarchies.
    ///
    /// # Errors
    /// As [`Cgroup::create`].
    pub fn create_in(hierarchies: &Hierarchies, spec: &CgroupSpec) -> Result<Cgroup, CgroupError> {
        let group = Cgroup::locate(hierarchies, spec)?;
        let made = group.make(hierarchies, spec);
        if let Err(error) = made {
            // The first error is the one that counts: the group is new and empty.
            group.delete().ok();
            return Err(error);
        }
        Ok(group)
    }

    /// The group of `spec` as it is now, for a caller that did not make it. Nothing is changed or checked.
    ///
    /// # Errors
    /// When the hierarchies cannot be read or the name is not valid.
    pub fn open(spec: &CgroupSpec) -> Result<Cgroup, CgroupError> {
        Cgroup::locate(&Hierarchies::detect()?, spec)
    }

    fn locate(hierarchies: &Hierarchies, spec: &CgroupSpec) -> Result<Cgroup, CgroupError> {
        let name = checked_name(spec)?;
        let mut v1 = v1::Group::default();
        for controller in wanted(hierarchies, &spec.limits) {
            if let Some(mount) = hierarchies.v1.get(&controller) {
                v1.join(controller, mount.join(&name));
            } else if !hierarchies.v2_controllers.contains(&controller) {
                return Err(CgroupError::ControllerMissing { controller });
            }
        }
        let v2 = hierarchies.v2.as_ref().map(|mount| v2::Group::new(mount.join(&name)));
        if v2.is_none() && v1.is_empty() {
            return Err(CgroupError::NoHierarchy);
        }
        Ok(Cgroup { v1, v2 })
    }

    fn make(&self, hierarchies: &Hierarchies, spec: &CgroupSpec) -> Result<(), CgroupError> {
        self.v1.make()?;
        if let (Some(group), Some(mount)) = (&self.v2, &hierarchies.v2) {
            let needed: Vec<Controller> =
                wanted(hierarchies, &spec.limits).into_iter().filter(|controller| !self.v1.has(*controller)).collect();
            group.make(mount, &needed)?;
        }
        self.update(&spec.limits)
    }

    /// Change the limits. One that was None when the group was made has no controller and cannot be set on v1.
    ///
    /// # Errors
    /// When the kernel refuses one.
    pub fn update(&self, limits: &Limits) -> Result<(), CgroupError> {
        self.v1.apply(limits)?;
        match &self.v2 {
            Some(group) => group.apply(&self.v1.not_covered(limits)),
            None => Ok(()),
        }
    }

    /// Move a process, with its threads, into the group.
    ///
    /// # Errors
    /// When it is gone or the kernel refuses.
    pub fn attach(&self, pid: i32) -> Result<(), CgroupError> {
        self.attach_v1(pid)?;
        self.v2.as_ref().map_or(Ok(()), |group| write(&group.dir().join("cgroup.procs"), &pid.to_string()))
    }

    /// Only the part that clone cannot do.
    pub(crate) fn attach_v1(&self, pid: i32) -> Result<(), CgroupError> {
        self.v1.attach(pid)
    }

    /// The v2 folder for `CLONE_INTO_CGROUP`.
    pub(crate) fn clone_target(&self) -> Option<io::Result<OwnedFd>> {
        self.v2.as_ref().map(|group| fs::File::open(group.dir()).map(OwnedFd::from))
    }

    /// Kill every process in the group and below.
    ///
    /// # Errors
    /// When the kernel refuses. Processes may still be exiting when this returns.
    pub fn kill_all(&self) -> Result<(), CgroupError> {
        match &self.v2 {
            Some(group) if group.exists() => group.kill_all(),
            Some(_) => Ok(()),
            None => self.v1.kill_all(),
        }
    }

    /// Stop every process of the group without its knowing.
    ///
    /// # Errors
    /// When the kernel refuses or neither freezer exists.
    pub fn freeze(&self) -> Result<(), CgroupError> {
        self.v2.as_ref().map_or_else(|| self.v1.freeze("FROZEN"), |group| group.freeze("1"))
    }

    /// Let them run on.
    ///
    /// # Errors
    /// As [`Cgroup::freeze`].
    pub fn thaw(&self) -> Result<(), CgroupError> {
        self.v2.as_ref().map_or_else(|| self.v1.freeze("THAWED"), |group| group.freeze("0"))
    }

    /// Watch for memory running out. None when the group has no memory limit.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn oom_notice(&self) -> Result<Option<OomNotice>, CgroupError> {
        if let Some(fd) = self.v1.oom_notice()? {
            return Ok(Some(OomNotice { fd }));
        }
        let fd = self.v2.as_ref().map_or(Ok(None), v2::Group::oom_notice)?;
        Ok(fd.map(|fd| OomNotice { fd }))
    }

    /// What the group uses now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = self.v2.as_ref().map(v2::Group::stats).unwrap_or_default();
        self.v1.stats(&mut stats);
        stats
    }

    /// Pids of the processes in the group itself.
    #[must_use]
    pub fn pids(&self) -> Vec<i32> {
        let dir = self.v2.as_ref().map(v2::Group::dir).or_else(|| self.v1.any_dir());
        dir.map(read_pids).unwrap_or_default()
    }

    /// Remove the group and what the container made below it, waiting for the last exit to be accounted. An absent
    /// group is removed already.
    ///
    /// # Errors
    /// When a process stays in it.
    pub fn delete(&self) -> Result<(), CgroupError> {
        let v2 = self.v2.iter().map(v2::Group::dir);
        for dir in self.v1.dirs().into_iter().chain(v2) {
            remove_tree(dir, 0)?;
        }
        Ok(())
    }
}

/// Kill everything below the folder `root` in every hierarchy and remove it: the end of a host.
///
/// # Errors
/// When the hierarchies cannot be read, or a process does not die.
pub fn remove_root(root: &str) -> Result<(), CgroupError> {
    let hierarchies = Hierarchies::detect()?;
    let spec = CgroupSpec { root: root.to_owned(), path: String::from("x"), limits: Limits::default() };
    checked_name(&spec)?;
    let mounts: BTreeSet<&PathBuf> = hierarchies.v1.values().chain(hierarchies.v2.iter()).collect();
    for mount in mounts {
        let dir = mount.join(root);
        if dir.join("cgroup.kill").exists() {
            write(&dir.join("cgroup.kill"), "1")?;
        } else {
            v1::kill_tree(&dir);
        }
        remove_tree(&dir, 0)?;
    }
    Ok(())
}

/// Controllers to join, v1 or v2. Without v2 the freezer is joined for killing.
fn wanted(hierarchies: &Hierarchies, limits: &Limits) -> BTreeSet<Controller> {
    let mut wanted = BTreeSet::new();
    if limits.memory_bytes.is_some() {
        wanted.insert(Controller::Memory);
    }
    if limits.cpu_quota.is_some() || limits.cpu_weight.is_some() {
        wanted.insert(Controller::Cpu);
    }
    if limits.pids.is_some() {
        wanted.insert(Controller::Pids);
    }
    if hierarchies.v2.is_none() {
        let present = [Controller::Freezer, Controller::Cpuacct];
        wanted.extend(present.into_iter().filter(|controller| hierarchies.v1.contains_key(controller)));
    }
    wanted
}

fn checked_name(spec: &CgroupSpec) -> Result<PathBuf, CgroupError> {
    let name = format!("{}/{}", spec.root, spec.path);
    let plain = name.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && !part.contains('\0'));
    if plain { Ok(PathBuf::from(name)) } else { Err(CgroupError::BadName { name }) }
}

fn write(path: &Path, value: &str) -> Result<(), CgroupError> {
    let written = fs::OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(value.as_bytes()));
    written.map_err(|source| CgroupError::Write { path: path.to_owned(), value: value.to_owned(), source })
}

fn read_pids(dir: &Path) -> Vec<i32> {
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

fn read_number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The value of `key` in a file of `key value` lines.
fn read_field(path: &Path, key: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    line?.trim().parse().ok()
}

fn remove_tree(dir: &Path, depth: u32) -> Result<(), CgroupError> {
    let fail = |source| CgroupError::Remove { path: dir.to_owned(), source };
    if let Ok(entries) = fs::read_dir(dir)
        && depth < GROUP_DEPTH_MAX
    {
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove_tree(&entry.path(), depth + 1)?;
            }
        }
    }
    let mut last = io::Error::from_raw_os_error(libc::EBUSY);
    let removed = os::clock::wait_for(GROUP_BUSY_WAIT, || match fs::remove_dir(dir) {
        Ok(()) => Some(Ok(())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(Ok(())),
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
            last = error;
            None
        }
        Err(error) => Some(Err(error)),
    });
    removed.unwrap_or(Err(last)).map_err(fail)
}
