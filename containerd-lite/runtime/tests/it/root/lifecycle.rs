//! Starting, ending, joining, cleaning up.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use runtime::{ExecError, Exit, OwnerExit, Root, StartError, Stdio, Upper};
use testkit::root::granted;
use testkit::wait_until;

use crate::bed::{Bed, LONG, as_root, pipes, program};

#[test]
fn root_exit_codes_and_signals_are_told_apart() {
    if !granted("root_exit_codes_and_signals_are_told_apart") {
        return;
    }
    let bed = Bed::new("rt-exit");
    assert_eq!(bed.run(&bed.spec("exit 0")).0, Exit::Exited(0));
    assert_eq!(bed.run(&bed.spec("exit 143")).0, Exit::Exited(143));
    assert_eq!(bed.run(&bed.spec("kill -TERM $$")).0, Exit::Signaled(15));
    assert_eq!(bed.run(&bed.spec("kill -KILL $$")).0, Exit::Signaled(9));
    assert_eq!(bed.run(&bed.spec("test $$ != 1 && kill -KILL 1; echo $$; exit 5")).0, Exit::Exited(5));
}

#[test]
fn root_sigterm_reaches_a_shell() {
    if !granted("root_sigterm_reaches_a_shell") {
        return;
    }
    let bed = Bed::new("rt-term");
    let mut job = bed.start(&bed.spec("echo up; sleep 1000"));
    assert_eq!(job.line(), "up");
    job.running.signal(libc::SIGTERM).unwrap();
    assert_eq!(job.finish().0, Exit::Signaled(15));
    let mut job = bed.start(&bed.spec("trap 'echo caught; exit 3' TERM; echo up; while :; do sleep 0.01; done"));
    assert_eq!(job.line(), "up");
    job.running.signal(libc::SIGTERM).unwrap();
    let (exit, text) = job.finish();
    assert_eq!((exit, text.trim()), (Exit::Exited(3), "caught"));
}

#[test]
fn root_orphans_are_reaped() {
    if !granted("root_orphans_are_reaped") {
        return;
    }
    let bed = Bed::new("rt-zombie");
    let mut job =
        bed.start(&bed.spec("for i in 1 2 3 4 5 6 7 8; do (sh -c 'true & exit' &) ; done; echo done; exec sleep 1000"));
    assert_eq!(job.line(), "done");
    wait_until("only init and sleep are left", LONG, || {
        let pids = job.running.cgroup().unwrap().pids();
        (pids.len() == 2).then_some(())
    });
    job.running.kill().unwrap();
    job.finish();
}

#[test]
fn root_start_failures_say_what_and_why() {
    if !granted("root_start_failures_say_what_and_why") {
        return;
    }
    let bed = Bed::new("rt-fail");
    let put = |name: &str, text: &str, mode: u32| {
        fs::write(bed.path("root/bin").join(name), text).unwrap();
        fs::set_permissions(bed.path("root/bin").join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    put("locked", "x", 0o644);
    put("orphan", "#!/no/such/interpreter\n", 0o755);
    put("noise", "\u{1}\u{2}\u{3}", 0o755);
    let fail = |args: &[&str], cwd: &str| -> StartError {
        let mut spec = bed.spec("");
        spec.program.args = args.iter().map(|word| (*word).to_owned()).collect();
        spec.program.cwd = PathBuf::from(cwd);
        bed.create(&spec).0.start().unwrap_err()
    };
    assert_eq!(fail(&["foo"], "/").to_string(), "exec `foo`: no such file");
    assert!(matches!(fail(&["/bin/foo"], "/"), StartError::NotFound { .. }));
    assert!(matches!(fail(&["locked"], "/"), StartError::Denied { .. }));
    assert!(matches!(fail(&["orphan"], "/"), StartError::InterpreterMissing { .. }));
    assert!(matches!(fail(&["noise"], "/"), StartError::BadFormat { .. }));
    assert!(matches!(fail(&["true"], "/nowhere"), StartError::BadCwd { .. }));
    assert!(matches!(fail(&["true"], "/bin/true"), StartError::BadCwd { .. }));
    let long = "x".repeat(300);
    assert!(matches!(fail(&[&long], "/"), StartError::Setup { .. }));
}

#[test]
fn root_exec_joins_everything() {
    if !granted("root_exec_joins_everything") {
        return;
    }
    let bed = Bed::new("rt-exec");
    let spaces = "for n in user pid mnt net uts ipc cgroup; do readlink /proc/self/ns/$n; done";
    let mut job = bed.start(&bed.spec(&format!("{spaces}; echo ready; exec sleep 1000")));
    let target = job.running.target().clone();
    let expected: Vec<String> = (0..7).map(|_| job.line()).collect();
    assert_eq!(job.line(), "ready");
    let exec = |script: &str| -> (Exit, String) {
        let (mut output, stdio) = pipes();
        let mut joined = bed.runtime.exec(&target, &program(script), stdio).unwrap();
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        (joined.wait().unwrap(), text)
    };
    let (exit, text) = exec(spaces);
    assert_eq!((exit, text.lines().map(String::from).collect::<Vec<_>>()), (Exit::Exited(0), expected));
    assert_eq!(
        exec("id -u; grep -c . /proc/self/cgroup >/dev/null; echo x > /dev/stdout; exit 9"),
        (Exit::Exited(9), String::from("1000\nx\n"))
    );
    assert_eq!(exec("kill -USR1 $$").0, Exit::Signaled(libc::SIGUSR1));
    let status = exec("grep -E 'NoNewPrivs|Seccomp:|CapBnd' /proc/self/status").1;
    assert!(status.contains("00000000a80425fb") && status.contains("NoNewPrivs:\t1"), "{status}");
    let (_, stdio) = pipes();
    let mut missing = program("");
    missing.args = vec![String::from("foo")];
    let error = bed.runtime.exec(&target, &missing, stdio).unwrap_err();
    assert_eq!(error.to_string(), "exec `foo`: no such file");
    // A joined program is in the group and dies with the container.
    let mut joined = bed.runtime.exec(&target, &program("exec sleep 1000"), Stdio::Null).unwrap();
    assert!(job.running.cgroup().unwrap().pids().contains(&joined.pid()));
    job.running.signal(libc::SIGTERM).unwrap();
    assert_eq!(joined.wait().unwrap(), Exit::Signaled(9));
    assert_eq!(job.finish().0, Exit::Signaled(15));
    let error = bed.runtime.exec(&target, &program("true"), Stdio::Null).unwrap_err();
    assert!(matches!(error, ExecError::NotRunning { .. }), "{error}");
}

fn descriptors(pid: i32) -> Vec<(String, String)> {
    let list = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let mut found: Vec<(String, String)> = list
        .map(|entry| (entry.file_name(), fs::read_link(entry.path()).unwrap_or_default()))
        .map(|(name, to)| (name.into_string().unwrap(), to.to_str().unwrap().to_owned()))
        .collect();
    found.sort();
    found
}

#[test]
fn root_no_descriptor_leaks() {
    if !granted("root_no_descriptor_leaks") {
        return;
    }
    let bed = Bed::new("rt-fd");
    // Inheritable on purpose: a careless caller must not matter.
    let leak = fs::File::open("/").unwrap();
    nix::fcntl::fcntl(&leak, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let (created, output) = bed.create(&bed.spec("exec sleep 1000"));
    let init = created.pid();
    let mut running = created.start().unwrap();
    for (fd, to) in descriptors(init) {
        let known = to == "/dev/null" || to.starts_with("socket:") || to == "anon_inode:[signalfd]";
        assert!(known, "init holds {fd} -> {to}");
    }
    assert!(descriptors(init).len() <= 5, "{:?}", descriptors(init));
    let mut joined = bed.runtime.exec(running.target(), &program("exec sleep 1000"), Stdio::Null).unwrap();
    let pids = running.cgroup().unwrap().pids();
    assert_eq!(pids.len(), 3);
    for pid in pids.into_iter().filter(|pid| *pid != init) {
        let names: Vec<String> = descriptors(pid).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["0", "1", "2"], "{:?}", descriptors(pid));
    }
    running.kill().unwrap();
    running.wait().unwrap();
    joined.wait().unwrap();
    running.delete().unwrap();
    drop((output, leak));
}

#[test]
fn root_delete_leaves_nothing() {
    if !granted("root_delete_leaves_nothing") {
        return;
    }
    let bed = Bed::new("rt-clean");
    let dir = bed.dir.path().to_str().unwrap().to_owned();
    let mut job = bed.start(&bed.spec("(trap '' TERM; sleep 1000) & echo up; sleep 1000"));
    assert_eq!(job.line(), "up");
    let pids = job.running.cgroup().unwrap().pids();
    assert!(pids.len() >= 3);
    job.running.delete().unwrap();
    for pid in pids {
        let stat = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        assert!(!stat.contains("sleep"), "{pid} runs: {stat}");
    }
    for line in fs::read_to_string("/proc/self/mountinfo").unwrap().lines() {
        assert!(!line.contains(&dir), "{line}");
    }
    for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        assert!(!hierarchy.path().join(&bed.group).join("one").exists(), "{}", hierarchy.path().display());
    }
    // Held and never started, failed and never made: also nothing.
    let (created, _output) = bed.create(&bed.spec("true"));
    created.delete().unwrap();
    let mut broken = bed.spec("true");
    broken.root =
        Root::Overlay { layers: vec![bed.path("missing")], upper: Upper::None, ownership: runtime::Ownership::Mapped };
    bed.runtime.create(&broken, Stdio::Null).unwrap_err();
    for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        assert!(!hierarchy.path().join(&bed.group).join("one").exists(), "{}", hierarchy.path().display());
    }
}

#[test]
fn root_container_ends_with_its_owner_or_not() {
    if !granted("root_container_ends_with_its_owner_or_not") {
        return;
    }
    let bed = Bed::new("rt-owner");
    let alive = |pid: i32| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    let job = bed.start(&bed.spec("sleep 1000"));
    let pid = job.running.pid();
    drop(job);
    wait_until("the container ends", LONG, || (!alive(pid)).then_some(()));
    let mut spec = bed.spec("while :; do sleep 0.01; done");
    spec.program = as_root(spec.program);
    spec.owner_exit = OwnerExit::Survive;
    let job = bed.start(&spec);
    let target = job.running.target().clone();
    drop(job);
    let mut joined = bed.runtime.exec(&target, &program("exit 4"), Stdio::Null).unwrap();
    assert_eq!(joined.wait().unwrap(), Exit::Exited(4));
    runtime::cgroup::Cgroup::open(target.cgroup.as_ref().unwrap()).unwrap().kill_all().unwrap();
    wait_until("the group is killed", LONG, || (!alive(target.pid)).then_some(()));
}
