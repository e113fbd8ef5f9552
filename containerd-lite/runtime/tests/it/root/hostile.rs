//! Images and programs that attack, one test per class of escape that has worked elsewhere.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use runtime::{
    Access, Capabilities, CreateError, Exit, NewPrivileges, Seccomp, StartError, Stdio, UserNamespace, WindowSize,
};
use testkit::root::granted;

use crate::bed::{Bed, as_root, bind, chain, program};

/// CVE-2019-5736: the init stage's binary, reached through /proc, by root of the host's user namespace with far more
/// capabilities than any job gets.
#[test]
fn root_own_binary_cannot_be_written() {
    if !granted("root_own_binary_cannot_be_written") {
        return;
    }
    let bed = Bed::new("rt-exe");
    let binary = Path::new(env!("CARGO_BIN_EXE_runtime-stage"));
    let before = (fs::read(binary).unwrap(), fs::metadata(binary).unwrap().mtime_nsec());
    let script = "ls -l /proc/1/exe >/dev/null && echo seen; for i in 1 2 3; do \
        (echo x > /proc/1/exe) 2>/dev/null && echo wrote; (echo x >> /proc/1/exe) 2>/dev/null && echo wrote; \
        mount -o remount,rw,bind /proc/1/exe 2>/dev/null && echo remounted; done; true";
    let mut spec = bed.spec(script);
    spec.user_namespace = UserNamespace::Host;
    spec.program = as_root(spec.program);
    spec.program.capabilities =
        Capabilities::only(&["CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_KILL"]);
    spec.program.seccomp = Seccomp::Unconfined;
    spec.program.new_privileges = NewPrivileges::Allowed;
    let (exit, text) = bed.run(&spec);
    assert_eq!((exit, text.as_str()), (Exit::Exited(0), "seen\n"));
    assert_eq!(before, (fs::read(binary).unwrap(), fs::metadata(binary).unwrap().mtime_nsec()));
    // A job of a user does not even see it.
    let mut spec = bed.spec("readlink /proc/1/exe || echo hidden; readlink /proc/1/fd/3 || echo hidden");
    spec.program = as_root(spec.program);
    let (_, text) = bed.run(&spec);
    assert_eq!(text.matches("hidden").count(), 2, "{text}");
}

/// CVE-2024-21626: a working directory that leads out through a descriptor.
#[test]
fn root_cwd_through_a_descriptor_fails() {
    if !granted("root_cwd_through_a_descriptor_fails") {
        return;
    }
    let bed = Bed::new("rt-cwd");
    let job = bed.start(&bed.spec("exec sleep 1000"));
    for number in 3..64 {
        let mut attack = program("true");
        attack.cwd = PathBuf::from(format!("/proc/self/fd/{number}"));
        let error = bed.runtime.exec(job.running.target(), &attack, Stdio::Null).unwrap_err();
        assert!(chain(&error).contains("enter working directory"), "{number}: {}", chain(&error));
    }
    job.running.kill().unwrap();
    job.finish();
    for number in [3, 4, 5, 6, 7, 8, 9, 10, 63] {
        let mut spec = bed.spec("true");
        spec.program.cwd = PathBuf::from(format!("/proc/self/fd/{number}"));
        let error = bed.create(&spec).0.start().unwrap_err();
        assert!(matches!(error, StartError::BadCwd { .. }), "{number}: {}", chain(&error));
    }
}

/// CVE-2025-31133, CVE-2025-52565, CVE-2026-41579: images whose /dev, /proc, /sys or terminals are symlinks.
#[test]
fn root_images_cannot_redirect_system_mounts() {
    if !granted("root_images_cannot_redirect_system_mounts") {
        return;
    }
    for name in ["proc", "sys", "dev"] {
        let bed = Bed::new("rt-link");
        fs::remove_dir(bed.path("root").join(name)).unwrap();
        symlink("/tmp", bed.path("root").join(name)).unwrap();
        let error = bed.runtime.create(&bed.spec("true"), Stdio::Null).unwrap_err();
        assert!(matches!(error, CreateError::Setup { .. }), "{name}: {}", chain(&error));
        fs::remove_file(bed.path("root").join(name)).unwrap();
        fs::write(bed.path("root").join(name), "a file").unwrap();
        let error = bed.runtime.create(&bed.spec("true"), Stdio::Null).unwrap_err();
        assert!(matches!(error, CreateError::Setup { .. }), "{name}: {}", chain(&error));
    }
    let bed = Bed::new("rt-devlink");
    let pattern = fs::read("/proc/sys/kernel/core_pattern").unwrap();
    fs::create_dir(bed.path("root/dev/pts")).unwrap();
    for name in ["null", "console", "pts/0", "ptmx", "stdin"] {
        symlink("/proc/sys/kernel/core_pattern", bed.path("root/dev").join(name)).unwrap();
    }
    let size = WindowSize { rows: 24, columns: 80 };
    let created = bed.runtime.create(&bed.spec("echo x > /dev/null; echo y > /dev/console"), Stdio::Terminal(size));
    let mut running = created.unwrap().start().unwrap();
    running.wait().unwrap();
    running.delete().unwrap();
    assert_eq!(pattern, fs::read("/proc/sys/kernel/core_pattern").unwrap());
}

/// CVE-2021-30465, CVE-2017-1002101: mount targets and masks that are symlinks out of the root.
#[test]
fn root_mount_targets_stay_inside() {
    if !granted("root_mount_targets_stay_inside") {
        return;
    }
    let bed = Bed::new("rt-target");
    let outside = bed.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "host").unwrap();
    let up = "../".repeat(20);
    symlink(format!("{up}{}", &outside.to_str().unwrap()[1..]), bed.path("root/data")).unwrap();
    symlink(&outside, bed.path("root/absolute")).unwrap();
    fs::create_dir(bed.path("volume")).unwrap();
    fs::write(bed.path("volume/inside"), "volume").unwrap();
    let mut spec = bed.spec("true");
    spec.mounts.push(bind(&bed.path("volume"), "/data/deeper", Access::ReadWrite));
    spec.mounts.push(bind(&bed.path("volume"), "/absolute/deeper", Access::ReadWrite));
    spec.masked_paths.push(PathBuf::from("/absolute/file"));
    // Either refused, because the link leads nowhere inside, or done inside; never outside.
    if let Ok(created) = bed.runtime.create(&spec, Stdio::Null) {
        created.delete().unwrap();
    }
    let names: Vec<_> = fs::read_dir(&outside).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["file"]);
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "host");
}

/// CVE-2022-0492 and device nodes: what root of a container tries first.
#[test]
fn root_of_the_container_cannot_make_devices_or_mount() {
    if !granted("root_of_the_container_cannot_make_devices_or_mount") {
        return;
    }
    let bed = Bed::new("rt-node");
    nix::sys::stat::mknod(
        &bed.path("root/etc/mem"),
        nix::sys::stat::SFlag::S_IFCHR,
        nix::sys::stat::Mode::from_bits_truncate(0o666),
        libc::makedev(1, 1),
    )
    .unwrap();
    let script = "mknod /tmp/null c 1 3 2>/dev/null && echo made; head -c 1 /etc/mem >/dev/null 2>&1 && echo read; \
        mkdir /tmp/m; mount -t cgroup -o memory c /tmp/m 2>/dev/null && echo cgroup; \
        mount -t proc p /tmp/m 2>/dev/null && echo proc; umount /proc 2>/dev/null && echo umounted; \
        unshare -r true 2>/dev/null && echo unshared; chroot / true && echo chroot";
    let mut spec = bed.spec(script);
    spec.program = as_root(spec.program);
    let (_, text) = bed.run(&spec);
    assert_eq!(text, "chroot\n");
    // The same without the filter and with every capability of its namespace: devices stay out of reach.
    let mut spec = bed.spec(
        "mknod /tmp/null c 1 3 2>/dev/null && echo made; head -c 1 /etc/mem >/dev/null 2>&1 && echo read; echo end",
    );
    spec.program = as_root(spec.program);
    spec.program.seccomp = Seccomp::Unconfined;
    spec.program.capabilities = Capabilities::only(&["CAP_SYS_ADMIN", "CAP_MKNOD", "CAP_DAC_OVERRIDE"]);
    let (_, text) = bed.run(&spec);
    assert_eq!(text, "end\n");
}

/// A set-uid program must not help: neither on the root, nor to the host's root.
#[test]
fn root_set_uid_does_not_raise() {
    if !granted("root_set_uid_does_not_raise") {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let bed = Bed::new("rt-suid");
    fs::copy("/bin/busybox", bed.path("root/etc/busybox")).unwrap();
    fs::set_permissions(bed.path("root/etc/busybox"), fs::Permissions::from_mode(0o4755)).unwrap();
    let mut spec = bed.spec("/etc/busybox id -u");
    assert_eq!(bed.run(&spec), (Exit::Exited(0), String::from("1000\n")));
    spec.program.args = ["sh", "-c", "/etc/busybox id -u; cp -p /etc/busybox /tmp/again"].map(String::from).to_vec();
    spec.program = as_root(spec.program);
    bed.run(&spec);
    // Whatever lands on the host's disk belongs to the mapped range, not to root.
    assert_ne!(fs::metadata(bed.upper().join("tmp/again")).unwrap().uid(), 0);
}
