//! Measures create, start, wait and delete of `/bin/true`: `lifecycle ROOTFS [ROUNDS] [host|private]`.
#![expect(clippy::print_stdout, reason = "a program for a terminal")]
#![expect(clippy::disallowed_types, reason = "it measures")]
#![expect(clippy::unwrap_used, reason = "a failure ends the measurement")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use runtime::cgroup::{CgroupSpec, Limits};
use runtime::{
    Access, Capabilities, Network, NewPrivileges, OwnerExit, Ownership, Program, Root, Runtime, Seccomp, Spec,
    StageBinary, Stdio, Upper, User, UserNamespace,
};

fn main() {
    runtime::init_stage();
    let mut args = std::env::args().skip(1);
    let rootfs = PathBuf::from(args.next().unwrap());
    let rounds: usize = args.next().map_or(200, |text| text.parse().unwrap());
    let network = if args.next().as_deref() == Some("host") { Network::Host } else { Network::Private };
    let runtime = Runtime::new(&StageBinary::Own).unwrap();
    let spec = spec(rootfs, network);
    let mut phases: [Vec<Duration>; 5] = Default::default();
    let before = cpu();
    for _ in 0..rounds {
        let begin = Instant::now();
        let created = runtime.create(&spec, Stdio::Null).unwrap();
        let at_created = Instant::now();
        let mut running = created.start().unwrap();
        let at_started = Instant::now();
        running.wait().unwrap();
        let at_ended = Instant::now();
        running.delete().unwrap();
        let end = Instant::now();
        let spans = [at_created - begin, at_started - at_created, at_ended - at_started, end - at_ended, end - begin];
        for (phase, span) in phases.iter_mut().zip(spans) {
            phase.push(span);
        }
    }
    let group = spec.cgroup.unwrap();
    let used = (cpu() - before) / f64::from(u32::try_from(rounds).unwrap());
    for (name, mut spans) in ["create", "start", "wait", "delete", "total"].into_iter().zip(phases) {
        spans.sort_unstable();
        let at = |part: usize| spans[(spans.len() - 1) * part / 100].as_secs_f64() * 1000.0;
        println!("{name:7} ms: min {:.2} median {:.2} p99 {:.2}", at(0), at(50), at(99));
    }
    runtime::cgroup::remove_root(&group.root).unwrap();
    println!("cpu     ms: {used:.2} per container, own and children");
}

/// User and system time of this process and its reaped children, in milliseconds.
fn cpu() -> f64 {
    use nix::sys::resource::{UsageWho, getrusage};
    let both = [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN].map(|who| getrusage(who).unwrap());
    let micros = both.iter().flat_map(|usage| [usage.user_time(), usage.system_time()]);
    micros
        .map(|time| {
            Duration::from_micros(time.tv_usec().unsigned_abs()) + Duration::from_secs(time.tv_sec().unsigned_abs())
        })
        .sum::<Duration>()
        .as_secs_f64()
        * 1000.0
}

fn spec(rootfs: PathBuf, network: Network) -> Spec {
    Spec {
        root: Root::Overlay {
            layers: vec![rootfs],
            upper: Upper::Memory { size_bytes: 16 << 20 },
            ownership: Ownership::Mapped,
        },
        root_access: Access::ReadWrite,
        mounts: Spec::default_mounts(),
        devices: Vec::new(),
        masked_paths: Spec::default_masked_paths(),
        readonly_paths: Spec::default_readonly_paths(),
        hostname: String::from("bench"),
        user_namespace: UserNamespace::Private { host_base: 200_000, size: 65_536 },
        network,
        sysctls: BTreeMap::new(),
        cgroup: Some(CgroupSpec {
            root: format!("slipway-bench-{}", std::process::id()),
            path: String::from("one"),
            limits: Limits { memory_bytes: Some(64 << 20), pids: Some(64), ..Limits::default() },
        }),
        oom_score_adj: None,
        owner_exit: OwnerExit::Kill,
        program: Program {
            args: vec![String::from("/bin/true")],
            env: vec![String::from("PATH=/bin")],
            cwd: PathBuf::from("/"),
            user: User { uid: 1000, gid: 1000, groups: Vec::new() },
            capabilities: Capabilities::usual(),
            seccomp: Seccomp::Default,
            new_privileges: NewPrivileges::Denied,
            rlimits: Vec::new(),
            umask: 0o022,
        },
    }
}
