//! What a program sees and may do.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use runtime::{Access, Capabilities, Exit, Network, NewPrivileges, Root, Seccomp, Spec, Upper, UserNamespace};
use testkit::root::granted;

use crate::bed::{BASE, Bed, as_root, bind};

#[test]
fn root_namespaces_are_separate() {
    if !granted("root_namespaces_are_separate") {
        return;
    }
    let bed = Bed::new("rt-ns");
    let kinds = ["user", "pid", "mnt", "net", "uts", "ipc", "cgroup"];
    let text = bed.sh("hostname; for n in user pid mnt net uts ipc cgroup; do readlink /proc/self/ns/$n; done");
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("inside"));
    for kind in kinds {
        let host = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        let inside = lines.next().unwrap();
        assert!(inside.starts_with(kind), "{inside}");
        assert_ne!(inside, host.to_str().unwrap());
    }
}

#[test]
fn root_ids_are_mapped_and_layers_seen_as_root() {
    if !granted("root_ids_are_mapped_and_layers_seen_as_root") {
        return;
    }
    let bed = Bed::new("rt-ids");
    fs::create_dir(bed.path("volume")).unwrap();
    std::os::unix::fs::chown(bed.path("volume"), Some(1000), Some(1000)).unwrap();
    let mut spec = bed.spec("id -u; id -g; stat -c %u /bin/busybox; cat /proc/self/uid_map; echo a > /data/a");
    spec.mounts.push(bind(&bed.path("volume"), "/data", Access::ReadWrite));
    let (exit, text) = bed.run(&spec);
    assert_eq!(exit, Exit::Exited(0), "{text}");
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(words, ["1000", "1000", "0", "0", &BASE.to_string(), "65536"]);
    // On a volume the same ids are on disk, so that another container with another range reads them.
    assert_eq!(fs::metadata(bed.path("volume/a")).unwrap().uid(), 1000);
    // Changes of the root are on disk in the mapped range.
    let mut spec = bed.spec("echo b > /etc/b");
    spec.program = as_root(spec.program);
    assert_eq!(bed.run(&spec).0, Exit::Exited(0));
    assert_eq!(fs::metadata(bed.upper().join("etc/b")).unwrap().uid(), BASE);
}

#[test]
fn root_nothing_of_the_host_is_visible() {
    if !granted("root_nothing_of_the_host_is_visible") {
        return;
    }
    let bed = Bed::new("rt-pivot");
    let text = bed.sh(
        "ls -a /; echo --; cat /proc/self/mountinfo; echo --; ls /proc | grep '^[0-9]'; ls /proc/1/root 2>&1; true",
    );
    let mut parts = text.split("--\n");
    let listed: Vec<&str> = parts.next().unwrap().lines().collect();
    assert_eq!(listed, [".", "..", "bin", "dev", "etc", "proc", "sys", "tmp"]);
    let mounts = parts.next().unwrap();
    for line in mounts.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let usual = ["/", "/proc", "/sys", "/dev"];
        let place = fields[4];
        assert!(usual.iter().any(|path| place == *path || place.starts_with(&format!("{path}/"))), "{line}");
        assert!(!line.contains("shared:") && !line.contains("master:"), "propagates: {line}");
    }
    let rest = parts.next().unwrap();
    assert!(rest.contains("Permission denied"), "{rest}");
    assert!(rest.lines().filter(|line| line.parse::<u32>().is_ok()).count() < 6, "{rest}");
}

#[test]
fn root_kernel_files_are_masked_or_read_only() {
    if !granted("root_kernel_files_are_masked_or_read_only") {
        return;
    }
    let bed = Bed::new("rt-mask");
    fs::write(bed.path("root/etc/secret"), "secret").unwrap();
    let script = "cat /proc/kcore /proc/keys /proc/timer_list /etc/secret; ls /sys/firmware /proc/acpi /proc/scsi; \
        for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /sys/kernel/uevent_seqnum; do \
        (echo x > $f) 2>/dev/null && echo wrote $f; done; mount -o remount,rw /proc/sys 2>/dev/null && echo remounted; true";
    let mut spec = bed.spec(script);
    spec.program = as_root(spec.program);
    spec.masked_paths.push(PathBuf::from("/etc/secret"));
    let (exit, text) = bed.run(&spec);
    assert_eq!(exit, Exit::Exited(0));
    let told: Vec<&str> = text.lines().filter(|line| !line.is_empty() && !line.ends_with(':')).collect();
    let expected: Vec<&&str> = told.iter().filter(|line| !line.contains("No such file")).collect();
    assert!(expected.is_empty(), "{text}");
}

#[test]
fn root_devices_work_for_the_user() {
    if !granted("root_devices_work_for_the_user") {
        return;
    }
    let bed = Bed::new("rt-dev");
    let text = bed.sh(
        "stat -c %a /dev; echo a > /dev/stdout; echo b > /dev/stderr; echo c > /dev/null; head -c 4 /dev/zero | wc -c; \
         head -c 4 /dev/urandom | wc -c; (echo d > /dev/full) 2>/dev/null || echo full; test -c /dev/pts/ptmx && echo pts; \
         echo e > /dev/shm/e && echo shm; (: > /dev/new) 2>/dev/null || echo closed",
    );
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(words, ["755", "a", "b", "4", "4", "full", "pts", "shm", "closed"]);
}

fn status_of(bed: &Bed, spec: &Spec) -> Vec<(String, String)> {
    let (exit, text) = bed.run(spec);
    assert_eq!(exit, Exit::Exited(0), "{text}");
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(key, value)| (key.to_owned(), value.trim().to_owned())).collect()
}

fn field<'a>(status: &'a [(String, String)], key: &str) -> &'a str {
    &status.iter().find(|(name, _)| name == key).unwrap().1
}

#[test]
fn root_capabilities_and_privileges_are_as_specified() {
    if !granted("root_capabilities_and_privileges_are_as_specified") {
        return;
    }
    let bed = Bed::new("rt-caps");
    let zero = "0000000000000000";
    let spec = bed.spec("cat /proc/self/status");
    let status = status_of(&bed, &spec);
    assert_eq!(field(&status, "NoNewPrivs"), "1");
    assert_eq!(field(&status, "Seccomp"), "2");
    // Docker's default list as a mask.
    assert_eq!(field(&status, "CapBnd"), "00000000a80425fb");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(field(&status, set), zero, "{set} of a user");
    }
    let mut spec = bed.spec("cat /proc/self/status");
    spec.program = as_root(spec.program);
    let status = status_of(&bed, &spec);
    for set in ["CapBnd", "CapPrm", "CapEff"] {
        assert_eq!(field(&status, set), "00000000a80425fb", "{set} of root");
    }
    assert_eq!(field(&status, "CapInh"), zero);
    spec.program.capabilities = Capabilities::none();
    let status = status_of(&bed, &spec);
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(&status, set), zero, "{set} of none");
    }
    let mut spec = bed.spec("cat /proc/self/status");
    spec.program.capabilities = Capabilities::ambient(&["CAP_NET_BIND_SERVICE"]);
    spec.program.new_privileges = NewPrivileges::Allowed;
    spec.program.seccomp = Seccomp::Unconfined;
    let status = status_of(&bed, &spec);
    for set in ["CapEff", "CapAmb", "CapBnd"] {
        assert_eq!(field(&status, set), "0000000000000400", "{set} of ambient");
    }
    assert_eq!((field(&status, "NoNewPrivs"), field(&status, "Seccomp")), ("0", "0"));
}

/// Runs inside the container, where a variable asks for it.
#[test]
fn probe_system_calls() {
    if std::env::var_os("SLIPWAY_PROBE").is_none() {
        return;
    }
    for (name, number, arguments) in PROBED {
        println!("probe {name} {}", crate::sys::attempt(*number, *arguments));
    }
}

const BAD_FD: i64 = -1;
/// A new user namespace, as clone and unshare take it.
const NEW_USER: i64 = 0x1000_0000;
const PROBED: &[(&str, i64, [i64; 4])] = &[
    ("mount", libc::SYS_mount, [0; 4]),
    ("umount2", libc::SYS_umount2, [0; 4]),
    ("pivot_root", libc::SYS_pivot_root, [0; 4]),
    ("fsopen", libc::SYS_fsopen, [0; 4]),
    ("open_tree", libc::SYS_open_tree, [0; 4]),
    ("move_mount", libc::SYS_move_mount, [0; 4]),
    ("mount_setattr", libc::SYS_mount_setattr, [0; 4]),
    ("setns", libc::SYS_setns, [BAD_FD, 0, 0, 0]),
    ("unshare", libc::SYS_unshare, [NEW_USER, 0, 0, 0]),
    ("clone", libc::SYS_clone, [NEW_USER, 0, 0, 0]),
    ("keyctl", libc::SYS_keyctl, [0; 4]),
    ("add_key", libc::SYS_add_key, [0; 4]),
    ("request_key", libc::SYS_request_key, [0; 4]),
    ("bpf", libc::SYS_bpf, [0; 4]),
    ("perf_event_open", libc::SYS_perf_event_open, [0; 4]),
    ("io_uring_setup", libc::SYS_io_uring_setup, [0; 4]),
    ("userfaultfd", libc::SYS_userfaultfd, [0; 4]),
    ("kexec_load", libc::SYS_kexec_load, [0; 4]),
    ("init_module", libc::SYS_init_module, [0; 4]),
    ("finit_module", libc::SYS_finit_module, [BAD_FD, 0, 0, 0]),
    ("delete_module", libc::SYS_delete_module, [0; 4]),
    ("open_by_handle_at", libc::SYS_open_by_handle_at, [BAD_FD, 0, 0, 0]),
    ("reboot", libc::SYS_reboot, [0; 4]),
    ("swapon", libc::SYS_swapon, [0; 4]),
    ("settimeofday", libc::SYS_settimeofday, [0; 4]),
    ("sethostname", libc::SYS_sethostname, [0; 4]),
    ("quotactl", libc::SYS_quotactl, [0; 4]),
    ("kcmp", libc::SYS_kcmp, [0; 4]),
    ("acct", libc::SYS_acct, [0; 4]),
    ("syslog", libc::SYS_syslog, [0; 4]),
    ("socket AF_VSOCK", libc::SYS_socket, [40, 1, 0, 0]),
    ("socket AF_ALG", libc::SYS_socket, [38, 5, 0, 0]),
    ("personality", libc::SYS_personality, [0x0400_0000, 0, 0, 0]),
    ("clone3", libc::SYS_clone3, [0; 4]),
];

fn probe(bed: &Bed, seccomp: Seccomp) -> Vec<(String, i32)> {
    let mut spec = bed.spec("SLIPWAY_PROBE=1 exec /probe --exact root::confine::probe_system_calls --nocapture");
    spec.mounts.push(bind(&std::env::current_exe().unwrap(), "/probe", Access::ReadOnly));
    spec.program.seccomp = seccomp;
    let (exit, text) = bed.run(&spec);
    assert_eq!(exit, Exit::Exited(0), "{text}");
    let found = text.lines().filter_map(|line| line.split_once("probe ")?.1.rsplit_once(' '));
    found.map(|(name, errno)| (name.to_owned(), errno.parse().unwrap())).collect()
}

#[test]
fn root_seccomp_denies_what_is_not_listed() {
    if !granted("root_seccomp_denies_what_is_not_listed") {
        return;
    }
    let bed = Bed::new("rt-seccomp");
    let denied = probe(&bed, Seccomp::Default);
    assert_eq!(denied.len(), PROBED.len());
    for (name, errno) in &denied {
        let expected = if name == "clone3" { libc::ENOSYS } else { libc::EPERM };
        assert_eq!(*errno, expected, "{name}");
    }
    // The canary: without the filter the kernel itself answers many of them differently.
    let mut spec = bed.spec("cat /proc/self/status");
    spec.program.seccomp = Seccomp::Unconfined;
    assert_eq!(field(&status_of(&bed, &spec), "Seccomp"), "0");
}

#[test]
fn root_platform_job_runs_in_an_empty_root() {
    if !granted("root_platform_job_runs_in_an_empty_root") {
        return;
    }
    let bed = Bed::new("rt-empty");
    fs::create_dir(bed.path("run")).unwrap();
    let mut spec = bed.spec("");
    spec.root = Root::Empty { size_bytes: 1 << 20 };
    spec.root_access = Access::ReadOnly;
    spec.user_namespace = UserNamespace::Host;
    spec.network = Network::Host;
    spec.mounts.push(bind(&bed.path("root/bin/busybox"), "/usr/local/bin/busybox", Access::ReadOnly));
    spec.mounts.push(bind(&bed.path("run"), "/run/slipway", Access::ReadWrite));
    spec.program = as_root(spec.program);
    spec.program.capabilities = Capabilities::only(&["CAP_NET_BIND_SERVICE"]);
    let script = "b=/usr/local/bin/busybox; $b id -u; $b ls /; $b echo x > /run/slipway/x; (echo y > /y) 2>/dev/null || $b echo closed";
    spec.program.args = ["/usr/local/bin/busybox", "sh", "-c", script].map(String::from).to_vec();
    let (exit, text) = bed.run(&spec);
    assert_eq!(exit, Exit::Exited(0), "{text}");
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(words, ["0", "dev", "proc", "run", "sys", "usr", "closed"]);
    assert_eq!(fs::read_to_string(bed.path("run/x")).unwrap(), "x\n");
    // The same shape for a user's job, and a root in memory.
    let mut spec = bed.spec("ls / > /etc/list && cat /etc/list");
    spec.program = as_root(spec.program);
    spec.root = Root::Overlay {
        layers: vec![bed.path("root")],
        upper: Upper::Memory { size_bytes: 1 << 20 },
        ownership: runtime::Ownership::Mapped,
    };
    assert_eq!(bed.run(&spec).0, Exit::Exited(0));
}

#[test]
fn root_networks_are_private_joined_or_the_hosts() {
    if !granted("root_networks_are_private_joined_or_the_hosts") {
        return;
    }
    let bed = Bed::new("rt-net");
    let mut spec = bed.spec("");
    spec.sysctls.insert(String::from("net.ipv4.ip_unprivileged_port_start"), String::from("0"));
    spec.program.args = ["sh", "-c", "readlink /proc/self/ns/net; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; ifconfig lo | grep -c UP; exec sleep 1000"].map(String::from).to_vec();
    let mut first = bed.start(&spec);
    let network = first.line();
    assert_eq!(first.line(), "0");
    assert_eq!(first.line(), "1");
    let mut joiner = bed.spec("readlink /proc/self/ns/net; ls /sys/class/net");
    joiner.cgroup = None;
    joiner.network = Network::Join(PathBuf::from(format!("/proc/{}/ns/net", first.running.pid())));
    let (exit, text) = bed.run(&joiner);
    assert_eq!((exit, text.lines().next()), (Exit::Exited(0), Some(network.as_str())), "{text}");
    joiner.network = Network::Host;
    let (_, text) = bed.run(&joiner);
    let host = fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(text.lines().next(), host.to_str(), "{text}");
    first.running.kill().unwrap();
    assert_eq!(first.finish().0, Exit::Signaled(9));
}
