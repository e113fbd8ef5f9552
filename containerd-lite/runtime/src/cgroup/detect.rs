//! Which hierarchies this host has.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::PathBuf;

use super::CgroupError;

/// A controller that this crate uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Controller {
    /// Memory limits and OOM events.
    Memory,
    /// CPU weight and quota.
    Cpu,
    /// CPU time used (v1; v2 always counts it).
    Cpuacct,
    /// Process count.
    Pids,
    /// Freezing (v1; v2 always can).
    Freezer,
}

const ALL: [Controller; 5] =
    [Controller::Memory, Controller::Cpu, Controller::Cpuacct, Controller::Pids, Controller::Freezer];

impl fmt::Display for Controller {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl Controller {
    /// The kernel's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Controller::Memory => "memory",
            Controller::Cpu => "cpu",
            Controller::Cpuacct => "cpuacct",
            Controller::Pids => "pids",
            Controller::Freezer => "freezer",
        }
    }
}

/// Mounted hierarchies.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hierarchies {
    /// Mount point per v1 controller.
    pub v1: BTreeMap<Controller, PathBuf>,
    /// Mount point of the v2 tree.
    pub v2: Option<PathBuf>,
    /// Controllers that the v2 tree has.
    pub v2_controllers: BTreeSet<Controller>,
}

impl Hierarchies {
    /// Those of this process's mount namespace.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn detect() -> Result<Hierarchies, CgroupError> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|source| CgroupError::Detect { source })?;
        let mut found = Hierarchies::parse(&mounts);
        if let Some(v2) = &found.v2 {
            let path = v2.join("cgroup.controllers");
            let names = fs::read_to_string(&path).map_err(|source| CgroupError::Read { path, source })?;
            let has = |controller: &Controller| names.split_whitespace().any(|name| name == controller.name());
            found.v2_controllers = ALL.into_iter().filter(has).collect();
        }
        Ok(found)
    }

    /// From the text of `mountinfo` (proc_pid_mountinfo(5)); v2 controllers are not in there.
    #[must_use]
    pub fn parse(mountinfo: &str) -> Hierarchies {
        let mut found = Hierarchies::default();
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let mut left = left.split(' ').skip(3);
            let (Some(root), Some(mount)) = (left.next(), left.next()) else { continue };
            // A part of a tree, bound somewhere by a container engine, is not the hierarchy.
            if root != "/" {
                continue;
            }
            let mut right = right.split(' ');
            let (kind, options) = (right.next(), right.nth(1).unwrap_or_default());
            match kind {
                Some("cgroup2") => {
                    found.v2.get_or_insert_with(|| PathBuf::from(mount));
                }
                Some("cgroup") => {
                    let named = |controller: &Controller| options.split(',').any(|word| word == controller.name());
                    for controller in ALL.into_iter().filter(named) {
                        found.v1.entry(controller).or_insert_with(|| PathBuf::from(mount));
                    }
                }
                _ => {}
            }
        }
        found
    }
}
