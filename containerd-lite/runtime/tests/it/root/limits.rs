//! Limits that hold and are told.

use std::os::fd::AsFd;
use std::path::PathBuf;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use runtime::cgroup::{CpuQuota, Limits};
use runtime::{Exit, Mount, MountFlags, MountKind, Resource, Rlimit};
use testkit::root::granted;
use testkit::wait_until;

use crate::bed::{Bed, LONG};

#[test]
fn root_memory_limit_kills_and_tells() {
    if !granted("root_memory_limit_kills_and_tells") {
        return;
    }
    let bed = Bed::new("rt-mem");
    let mut spec = bed.spec("echo up; exec tail -c 200000000 /dev/zero");
    spec.cgroup = Some(bed.group(Limits { memory_bytes: Some(16 << 20), ..Limits::default() }));
    let mut job = bed.start(&spec);
    let notice = job.running.cgroup().unwrap().oom_notice().unwrap().unwrap();
    assert_eq!(job.line(), "up");
    let mut watched = [PollFd::new(notice.as_fd(), PollFlags::POLLIN | PollFlags::POLLPRI)];
    assert_eq!(poll(&mut watched, PollTimeout::try_from(LONG).unwrap()).unwrap(), 1);
    assert_eq!(job.running.wait().unwrap(), Exit::Signaled(9));
    let stats = job.running.cgroup().unwrap().stats();
    assert_eq!(stats.oom_kills, Some(1));
    assert!(stats.memory_peak_bytes.unwrap() <= 16 << 20, "{stats:?}");
    job.finish();
}

#[test]
fn root_program_can_read_its_own_limit() {
    if !granted("root_program_can_read_its_own_limit") {
        return;
    }
    let bed = Bed::new("rt-view");
    let script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; \
        (echo 1 > /sys/fs/cgroup/memory/memory.limit_in_bytes) 2>/dev/null && echo wrote; \
        (echo 1 > /sys/fs/cgroup/memory.max) 2>/dev/null && echo wrote; grep -c slipway /proc/self/cgroup";
    let mut spec = bed.spec(script);
    spec.cgroup = Some(bed.group(Limits { memory_bytes: Some(16 << 20), ..Limits::default() }));
    let flags = MountFlags { read_only: true, nosuid: true, nodev: true, noexec: true };
    spec.mounts.push(Mount { target: PathBuf::from("/sys/fs/cgroup"), kind: MountKind::Cgroup, flags });
    // The group's name on the host is not told: the namespace begins at the group itself.
    assert_eq!(bed.run(&spec).1, format!("{}\n0\n", 16 << 20));
}

#[test]
fn root_pids_limit_refuses_forks() {
    if !granted("root_pids_limit_refuses_forks") {
        return;
    }
    let bed = Bed::new("rt-pids");
    let mut spec = bed.spec("for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1000 & done; wait");
    spec.cgroup = Some(bed.group(Limits { pids: Some(8), ..Limits::default() }));
    let job = bed.start(&spec);
    let stats = wait_until("a fork is refused", LONG, || {
        let stats = job.running.cgroup().unwrap().stats();
        stats.pids_refused.is_some_and(|count| count > 0).then_some(stats)
    });
    assert!(stats.pids.unwrap() <= 8, "{stats:?}");
    job.running.kill().unwrap();
    job.finish();
}

#[test]
fn root_cpu_limit_throttles() {
    if !granted("root_cpu_limit_throttles") {
        return;
    }
    let bed = Bed::new("rt-cpu");
    let mut spec = bed.spec("while :; do :; done");
    let quota = CpuQuota { quota_us: 2_000, period_us: 20_000 };
    spec.cgroup = Some(bed.group(Limits { cpu_quota: Some(quota), cpu_weight: Some(50), ..Limits::default() }));
    let job = bed.start(&spec);
    let stats = wait_until("it is throttled", LONG, || {
        let stats = job.running.cgroup().unwrap().stats();
        stats.throttled_periods.is_some_and(|count| count > 2).then_some(stats)
    });
    assert!(stats.throttled_us.unwrap() > 0 && stats.cpu_us.unwrap() > 0, "{stats:?}");
    job.running.cgroup().unwrap().freeze().unwrap();
    job.running.cgroup().unwrap().thaw().unwrap();
    job.running.kill().unwrap();
    job.finish();
}

#[test]
fn root_rlimits_hold_and_refusals_are_warnings() {
    if !granted("root_rlimits_hold_and_refusals_are_warnings") {
        return;
    }
    let bed = Bed::new("rt-rlimit");
    let mut spec = bed.spec("ulimit -n; ulimit -c");
    spec.oom_score_adj = Some(500);
    spec.program.rlimits = vec![
        Rlimit { resource: Resource::Nofile, soft: 123, hard: 456 },
        Rlimit { resource: Resource::Core, soft: 0, hard: 0 },
    ];
    assert_eq!(bed.run(&spec), (Exit::Exited(0), String::from("123\n0\n")));
    // Where root may not raise, the rest still runs; where it may, there is nothing to warn of.
    spec.oom_score_adj = Some(-1000);
    spec.program.rlimits = vec![Rlimit { resource: Resource::Nofile, soft: 1 << 20, hard: 1 << 20 }];
    let (created, _output) = bed.create(&spec);
    for warning in created.warnings() {
        assert!(warning.contains("was not set"), "{warning}");
    }
    let mut running = created.start().unwrap();
    assert_eq!(running.wait().unwrap(), Exit::Exited(0));
    running.delete().unwrap();
}
