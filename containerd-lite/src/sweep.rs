//! The end of a host's jobs without a daemon: for one that cannot start. Claims and data stay.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::agent::StopError;
use crate::jobdir::{self, JobDir, ShimLock};
use crate::process;

/// How long killed programs may take to be gone.
const GONE_WAIT: Duration = Duration::from_secs(10);

/// Kill every shim and job that has a record below `data_dir`, and whatever else is in the control groups below
/// `cgroup_root`; remove these, and the mounts below `data_dir`. To be called by the holder of the daemon's lock. How
/// many programs were killed by their records.
///
/// # Errors
/// When something does not go; the call can be made again.
pub fn sweep(data_dir: &Path, cgroup_root: &str) -> Result<usize, StopError> {
    let killed = kill_recorded(&data_dir.join("jobs"));
    runtime::cgroup::remove_root(cgroup_root)?;
    let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for mount in mounts_below(&mountinfo, data_dir) {
        if let Err(errno) = umount2(&mount, MntFlags::MNT_DETACH) {
            log::warn!(mount:% = mount.display(), error:% = errno; "mount stays");
        }
    }
    Ok(killed)
}

fn kill_recorded(jobs: &Path) -> usize {
    let mut killed = 0;
    for job in jobdir::all(jobs).unwrap_or_default() {
        let dir = JobDir::of(jobs, &job);
        let stored = dir.last_shim().ok().flatten();
        // The shim first: it must not write down an end that the job did not come to by itself.
        let mut found = Vec::new();
        if matches!(dir.lock_shim(), Ok(ShimLock::Held)) {
            // Nobody else writes that file, and its writer still holds the lock.
            found.extend(dir.lock_holder());
        }
        let recorded = stored.into_iter().flat_map(|stored| [stored.shim, stored.job]);
        found.extend(recorded.filter(|process| process::is_alive(*process)).map(|process| process.pid));
        found.dedup();
        for pid in &found {
            killed += usize::from(kill(Pid::from_raw(*pid), Signal::SIGKILL).is_ok());
        }
        let gone = || found.iter().all(|pid| process::started(*pid).is_none()).then_some(());
        if os::clock::wait_for(GONE_WAIT, gone).is_none() {
            log::warn!(job:% = job; "a program of a job does not end");
        }
    }
    killed
}

/// Mount points strictly below `dir`, the innermost first.
fn mounts_below(mountinfo: &str, dir: &Path) -> Vec<PathBuf> {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(|point| PathBuf::from(plain(point)));
    let mut below: Vec<PathBuf> = points.filter(|point| point.starts_with(dir) && point != dir).collect();
    below.reverse();
    below
}

/// The kernel writes blanks as octal numbers.
fn plain(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use os::file::Durability;
    use types::JobId;

    use super::*;
    use crate::shim::names;
    use crate::stored::{StoredProcess, StoredShim, VERSION};

    #[test]
    fn only_the_recorded_process_is_killed() {
        let dir = testkit::TempDir::new("sweep");
        let mut programs: Vec<_> = (0..3).map(|_| Command::new("sleep").arg("1000").spawn().unwrap()).collect();
        let record = |at: usize, off: u64| {
            let pid = i32::try_from(programs[at].id()).unwrap();
            StoredProcess { pid, started: process::started(pid).unwrap() + off }
        };
        let (shim, job, other) = (record(0, 0), record(1, 0), record(2, 1));
        for (number, shim, job) in [(1, shim, job), (2, other, other)] {
            let id = JobId::parse(&format!("{number:0>26}")).or_else(|_| JobId::parse(&os::entropy::uuid())).unwrap();
            let dir = JobDir::of(dir.path(), &id);
            std::fs::create_dir(dir.path()).unwrap();
            let stored = StoredShim { version: VERSION, run: 1, shim, job };
            dir.save(names::SHIM, &stored, Durability::Atomic).unwrap();
        }
        assert_eq!(kill_recorded(dir.path()), 2);
        assert!(programs[2].try_wait().unwrap().is_none(), "its number was used again by a program of somebody else");
        for program in &mut programs {
            let _ = program.kill();
            let _ = program.wait();
        }
    }

    #[test]
    fn mounts_of_others_stay() {
        let text = "1 0 0:1 / / rw - ext4 x rw\n2 1 0:2 / /data rw - tmpfs x rw\n3 2 0:3 / /data/a\\040b rw - o x rw\n\
                    4 3 0:4 / /data/a\\040b/c rw - o x rw\n5 1 0:5 / /database rw - o x rw\n";
        let found = mounts_below(text, Path::new("/data"));
        assert_eq!(found, [PathBuf::from("/data/a b/c"), PathBuf::from("/data/a b")]);
    }
}
