//! The unified hierarchy: plain file operations (cgroup-v2.rst).

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::{CgroupError, Controller, Limits, Stats, read_field, read_number, read_pids, write};

#[derive(Debug)]
pub(super) struct Group {
    dir: PathBuf,
}

impl Group {
    pub(super) fn new(dir: PathBuf) -> Group {
        Group { dir }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn exists(&self) -> bool {
        self.dir.exists()
    }

    /// Make the folder, and hand `needed` down from `mount` to it, step by step: a controller reaches a group only
    /// when every ancestor enables it for its children.
    pub(super) fn make(&self, mount: &Path, needed: &[Controller]) -> Result<(), CgroupError> {
        fs::create_dir_all(&self.dir).map_err(|source| CgroupError::Make { path: self.dir.clone(), source })?;
        let ancestors: Vec<&Path> =
            self.dir.ancestors().skip(1).take_while(|ancestor| ancestor.starts_with(mount)).collect();
        for ancestor in ancestors.into_iter().rev() {
            let path = ancestor.join("cgroup.subtree_control");
            for controller in needed {
                write(&path, &format!("+{}", controller.name()))?;
            }
        }
        Ok(())
    }

    pub(super) fn apply(&self, limits: &Limits) -> Result<(), CgroupError> {
        if let Some(bytes) = limits.memory_bytes {
            write(&self.dir.join("memory.max"), &bytes.to_string())?;
            let swap = self.dir.join("memory.swap.max");
            // Absent where the kernel accounts no swap.
            if swap.exists() {
                write(&swap, "0")?;
            }
        }
        if let Some(cpu) = limits.cpu_quota {
            write(&self.dir.join("cpu.max"), &format!("{} {}", cpu.quota_us, cpu.period_us))?;
        }
        if let Some(weight) = limits.cpu_weight {
            write(&self.dir.join("cpu.weight"), &weight.to_string())?;
        }
        if let Some(pids) = limits.pids {
            write(&self.dir.join("pids.max"), &pids.to_string())?;
        }
        Ok(())
    }

    pub(super) fn kill_all(&self) -> Result<(), CgroupError> {
        let kill = self.dir.join("cgroup.kill");
        if kill.exists() {
            return write(&kill, "1");
        }
        // Before 5.14: freeze, so that nothing forks away, and signal one by one.
        self.freeze("1")?;
        super::v1::signal_all(&read_pids(&self.dir));
        self.freeze("0")
    }

    pub(super) fn freeze(&self, value: &str) -> Result<(), CgroupError> {
        write(&self.dir.join("cgroup.freeze"), value)
    }

    /// The events file itself: the kernel marks it `POLLPRI` on every change.
    pub(super) fn oom_notice(&self) -> Result<Option<OwnedFd>, CgroupError> {
        let path = self.dir.join("memory.events");
        match fs::File::open(&path) {
            Ok(file) => {
                // Only what happens after a read is announced.
                io::read_to_string(&file).map_err(|source| CgroupError::Read { path, source })?;
                Ok(Some(OwnedFd::from(file)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(CgroupError::Read { path, source }),
        }
    }

    pub(super) fn stats(&self) -> Stats {
        let at = |file: &str| self.dir.join(file);
        Stats {
            memory_bytes: read_number(&at("memory.current")),
            memory_peak_bytes: read_number(&at("memory.peak")),
            cpu_us: read_field(&at("cpu.stat"), "usage_usec"),
            throttled_periods: read_field(&at("cpu.stat"), "nr_throttled"),
            throttled_us: read_field(&at("cpu.stat"), "throttled_usec"),
            pids: read_number(&at("pids.current")).or_else(|| self.count_threads()),
            pids_refused: read_field(&at("pids.events"), "max"),
            oom_kills: read_field(&at("memory.events"), "oom_kill"),
        }
    }

    fn count_threads(&self) -> Option<u64> {
        let text = fs::read_to_string(self.dir.join("cgroup.threads")).ok()?;
        u64::try_from(text.lines().count()).ok()
    }
}
