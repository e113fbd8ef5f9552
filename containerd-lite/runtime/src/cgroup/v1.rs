//! The hierarchies of v1: limits through cgroups-rs, which knows their files; events, killing and removal here,
//! because it does not do them (no EBUSY retry, a thread per OOM event, no freezer loop).

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use cgroups_rs::MaxValue;
use cgroups_rs::cpu::CpuController;
use cgroups_rs::memory::MemController;
use cgroups_rs::pid::PidController;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{CgroupError, Controller, Limits, Stats, read_field, read_number, read_pids, write};
use crate::limits::KILL_ROUNDS_MAX;

/// The usual weight of v2 and the usual shares of v1.
const WEIGHT_USUAL: u64 = 100;
const SHARES_USUAL: u64 = 1024;
const NANOS_PER_MICRO: u64 = 1_000;

#[derive(Debug, Default)]
pub(super) struct Group {
    joined: BTreeMap<Controller, PathBuf>,
}

impl Group {
    pub(super) fn join(&mut self, controller: Controller, dir: PathBuf) {
        self.joined.insert(controller, dir);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.joined.is_empty()
    }

    pub(super) fn has(&self, controller: Controller) -> bool {
        self.joined.contains_key(&controller)
    }

    /// Each folder once: controllers mounted together share one.
    pub(super) fn dirs(&self) -> Vec<&Path> {
        let mut dirs: Vec<&Path> = self.joined.values().map(PathBuf::as_path).collect();
        dirs.sort_unstable();
        dirs.dedup();
        dirs
    }

    pub(super) fn any_dir(&self) -> Option<&Path> {
        self.joined.values().next().map(PathBuf::as_path)
    }

    pub(super) fn make(&self) -> Result<(), CgroupError> {
        for dir in self.dirs() {
            fs::create_dir_all(dir).map_err(|source| CgroupError::Make { path: dir.to_owned(), source })?;
        }
        Ok(())
    }

    pub(super) fn attach(&self, pid: i32) -> Result<(), CgroupError> {
        self.dirs().into_iter().try_for_each(|dir| write(&dir.join("cgroup.procs"), &pid.to_string()))
    }

    /// What remains for v2 to limit.
    pub(super) fn not_covered(&self, limits: &Limits) -> Limits {
        let cpu = self.has(Controller::Cpu);
        Limits {
            memory_bytes: limits.memory_bytes.filter(|_| !self.has(Controller::Memory)),
            cpu_quota: limits.cpu_quota.filter(|_| !cpu),
            cpu_weight: limits.cpu_weight.filter(|_| !cpu),
            pids: limits.pids.filter(|_| !self.has(Controller::Pids)),
        }
    }

    pub(super) fn apply(&self, limits: &Limits) -> Result<(), CgroupError> {
        if let (Some(dir), Some(bytes)) = (self.joined.get(&Controller::Memory), limits.memory_bytes) {
            limit_memory(dir, bytes)?;
        }
        if let Some(dir) = self.joined.get(&Controller::Cpu) {
            let cpu = CpuController::new(dir.clone(), false);
            if let Some(quota) = limits.cpu_quota {
                let us = i64::try_from(quota.quota_us).unwrap_or(i64::MAX);
                refused(dir, cpu.set_cfs_period(quota.period_us))?;
                refused(dir, cpu.set_cfs_quota(us))?;
            }
            if let Some(weight) = limits.cpu_weight {
                // Kernel range of cpu.shares is 2 to 262144.
                refused(dir, cpu.set_shares((weight * SHARES_USUAL / WEIGHT_USUAL).clamp(2, 262_144)))?;
            }
        }
        if let (Some(dir), Some(pids)) = (self.joined.get(&Controller::Pids), limits.pids) {
            let max = MaxValue::Value(i64::try_from(pids).unwrap_or(i64::MAX));
            refused(dir, PidController::new(dir.clone(), false).set_pid_max(max))?;
        }
        Ok(())
    }

    /// An eventfd that the kernel counts up (cgroup-v1/memory.rst section 10).
    pub(super) fn oom_notice(&self) -> Result<Option<OwnedFd>, CgroupError> {
        let Some(dir) = self.joined.get(&Controller::Memory) else { return Ok(None) };
        let path = dir.join("memory.oom_control");
        let control = fs::File::open(&path).map_err(|source| CgroupError::Read { path: path.clone(), source })?;
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let event = EventFd::from_value_and_flags(0, flags)
            .map_err(|errno| CgroupError::Read { path, source: errno.into() })?;
        let event = OwnedFd::from(event);
        write(&dir.join("cgroup.event_control"), &format!("{} {}", event.as_raw_fd(), control.as_raw_fd()))?;
        Ok(Some(event))
    }

    pub(super) fn stats(&self, stats: &mut Stats) {
        if let Some(dir) = self.joined.get(&Controller::Memory) {
            stats.memory_bytes = read_number(&dir.join("memory.usage_in_bytes"));
            stats.memory_peak_bytes = read_number(&dir.join("memory.max_usage_in_bytes"));
            stats.oom_kills = read_field(&dir.join("memory.oom_control"), "oom_kill");
        }
        if let Some(dir) = self.joined.get(&Controller::Cpu) {
            stats.throttled_periods = read_field(&dir.join("cpu.stat"), "nr_throttled");
            stats.throttled_us = read_field(&dir.join("cpu.stat"), "throttled_time").map(|ns| ns / NANOS_PER_MICRO);
        }
        if let Some(dir) = self.joined.get(&Controller::Cpuacct) {
            stats.cpu_us = read_number(&dir.join("cpuacct.usage")).map(|ns| ns / NANOS_PER_MICRO);
        }
        if let Some(dir) = self.joined.get(&Controller::Pids) {
            stats.pids = read_number(&dir.join("pids.current"));
            stats.pids_refused = read_field(&dir.join("pids.events"), "max");
        }
    }

    pub(super) fn freeze(&self, state: &str) -> Result<(), CgroupError> {
        let controller = Controller::Freezer;
        let dir = self.joined.get(&controller).ok_or(CgroupError::ControllerMissing { controller })?;
        write(&dir.join("freezer.state"), state)
    }

    /// Freeze, so that nothing forks away, signal one by one, thaw: SIGKILL acts on the way out of the freezer.
    pub(super) fn kill_all(&self) -> Result<(), CgroupError> {
        let Some(dir) = self.joined.get(&Controller::Freezer).map(PathBuf::as_path).or_else(|| self.any_dir()) else {
            return Ok(());
        };
        for _ in 0..KILL_ROUNDS_MAX {
            let pids = read_pids(dir);
            if pids.is_empty() {
                return Ok(());
            }
            let frozen = self.has(Controller::Freezer);
            if frozen {
                self.freeze("FROZEN")?;
            }
            signal_all(&read_pids(dir));
            if frozen {
                self.freeze("THAWED")?;
            }
            os::clock::pause(std::time::Duration::from_millis(1));
        }
        Ok(())
    }
}

fn limit_memory(dir: &Path, bytes: u64) -> Result<(), CgroupError> {
    let memory = MemController::new(dir.to_owned(), false);
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    let swap = dir.join("memory.memsw.limit_in_bytes");
    let raising = read_number(&swap).is_some_and(|now| i64::try_from(now).is_ok_and(|now| bytes > now));
    // memsw may never be below the memory limit, so the order depends on the direction.
    if raising {
        refused(dir, memory.set_memswap_limit(bytes))?;
    }
    refused(dir, memory.set_limit(bytes))?;
    if !raising && swap.exists() {
        refused(dir, memory.set_memswap_limit(bytes))?;
    }
    Ok(())
}

fn refused(dir: &Path, result: Result<(), cgroups_rs::error::Error>) -> Result<(), CgroupError> {
    result.map_err(|source| CgroupError::Limit { path: dir.to_owned(), source })
}

/// A pid that is gone is what we want.
pub(super) fn signal_all(pids: &[i32]) {
    for pid in pids.iter().filter(|pid| **pid > 0) {
        kill(Pid::from_raw(*pid), Signal::SIGKILL).ok();
    }
}

/// Kill what is in the folder and below it, round after round until nothing is left.
pub(super) fn kill_tree(dir: &Path) {
    for _ in 0..KILL_ROUNDS_MAX {
        let mut found = Vec::new();
        collect(dir, &mut found, 0);
        if found.is_empty() {
            return;
        }
        signal_all(&found);
        os::clock::pause(std::time::Duration::from_millis(1));
    }
}

fn collect(dir: &Path, found: &mut Vec<i32>, depth: u32) {
    found.extend(read_pids(dir));
    if depth >= crate::limits::GROUP_DEPTH_MAX {
        return;
    }
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), found, depth + 1);
        }
    }
}
