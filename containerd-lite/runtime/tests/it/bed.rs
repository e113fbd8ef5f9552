//! A root file system, a control group of its own, and short words for running something in them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use runtime::cgroup::{self, CgroupSpec, Limits};
use runtime::{
    Access, Capabilities, Created, Exit, Mount, MountFlags, MountKind, Network, NewPrivileges, OwnerExit, Ownership,
    Program, Root, Running, Runtime, Seccomp, Spec, StageBinary, Stdio, Upper, User, UserNamespace,
};
use testkit::TempDir;

pub(crate) const LONG: Duration = Duration::from_secs(60);
pub(crate) const BASE: u32 = 300_000;

static SERIAL: AtomicU32 = AtomicU32::new(0);

pub(crate) struct Bed {
    pub(crate) runtime: Runtime,
    pub(crate) dir: TempDir,
    pub(crate) group: String,
    upper: RefCell<PathBuf>,
}

/// A running container and what it writes.
pub(crate) struct Job {
    pub(crate) running: Running,
    output: std::io::PipeReader,
}

impl Bed {
    pub(crate) fn new(name: &str) -> Bed {
        let dir = TempDir::new(name);
        for folder in ["root/bin", "root/etc", "root/tmp", "root/proc", "root/sys", "root/dev"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        let busybox = Path::new("/bin/busybox");
        assert!(busybox.exists(), "these tests need /bin/busybox, a static one: package busybox-static");
        fs::copy(busybox, dir.path().join("root/bin/busybox")).unwrap();
        let list = Command::new(busybox).arg("--list").output().unwrap();
        for name in String::from_utf8(list.stdout).unwrap().lines().filter(|name| *name != "busybox") {
            symlink("busybox", dir.path().join("root/bin").join(name)).unwrap();
        }
        let stage = StageBinary::Path(PathBuf::from(env!("CARGO_BIN_EXE_runtime-stage")));
        let group = format!("slipway-test-{}-{}", std::process::id(), SERIAL.fetch_add(1, Ordering::Relaxed));
        Bed { runtime: Runtime::new(&stage).unwrap(), dir, group, upper: RefCell::default() }
    }

    /// Directories that no overlay has used: a volatile one marks them for good.
    fn fresh_upper(&self) -> Upper {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let [upper, work] = ["upper", "work"].map(|name| self.path(&format!("{name}-{serial}")));
        fs::create_dir(&upper).unwrap();
        fs::create_dir(&work).unwrap();
        self.upper.replace(upper.clone());
        Upper::Dirs { upper, work }
    }

    /// Where the changes of the container that was made last are.
    pub(crate) fn upper(&self) -> PathBuf {
        self.upper.borrow().clone()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `sh -c script` as uid 1000 in a private user namespace, everything as for a user's job.
    pub(crate) fn spec(&self, script: &str) -> Spec {
        Spec {
            root: Root::Overlay {
                layers: vec![self.path("root")],
                upper: self.fresh_upper(),
                ownership: Ownership::Mapped,
            },
            root_access: Access::ReadWrite,
            mounts: Spec::default_mounts(),
            devices: Vec::new(),
            masked_paths: Spec::default_masked_paths(),
            readonly_paths: Spec::default_readonly_paths(),
            hostname: String::from("inside"),
            user_namespace: UserNamespace::Private { host_base: BASE, size: 65_536 },
            network: Network::Private,
            sysctls: BTreeMap::new(),
            cgroup: Some(self.group(Limits::default())),
            oom_score_adj: None,
            owner_exit: OwnerExit::Kill,
            program: program(script),
        }
    }

    pub(crate) fn group(&self, limits: Limits) -> CgroupSpec {
        CgroupSpec { root: self.group.clone(), path: String::from("one"), limits }
    }

    pub(crate) fn create(&self, spec: &Spec) -> (Created, std::io::PipeReader) {
        let (output, stdio) = pipes();
        let mut spec = spec.clone();
        if let Root::Overlay { upper: upper @ Upper::Dirs { .. }, .. } = &mut spec.root {
            *upper = self.fresh_upper();
        }
        (self.runtime.create(&spec, stdio).unwrap_or_else(|error| panic!("{}", chain(&error))), output)
    }

    pub(crate) fn start(&self, spec: &Spec) -> Job {
        let (created, output) = self.create(spec);
        Job { running: created.start().unwrap_or_else(|error| panic!("{}", chain(&error))), output }
    }

    /// Run to the end: how it ended, and what it wrote to either output.
    pub(crate) fn run(&self, spec: &Spec) -> (Exit, String) {
        self.start(spec).finish()
    }

    pub(crate) fn sh(&self, script: &str) -> String {
        let (exit, text) = self.run(&self.spec(script));
        assert_eq!(exit, Exit::Exited(0), "{script}: {text}");
        text
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        cgroup::remove_root(&self.group).unwrap();
    }
}

impl Job {
    pub(crate) fn finish(mut self) -> (Exit, String) {
        let mut text = String::new();
        self.output.read_to_string(&mut text).unwrap();
        let exit = self.running.wait().unwrap();
        self.running.delete().unwrap();
        (exit, text)
    }

    /// One line of output, to know how far it got.
    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while self.output.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }
}

pub(crate) fn pipes() -> (std::io::PipeReader, Stdio) {
    let (_, nothing) = std::io::pipe().map(|(reader, writer)| (writer, reader)).unwrap();
    let (output, writer) = std::io::pipe().unwrap();
    let stderr = writer.try_clone().unwrap();
    (output, Stdio::Fds { stdin: nothing.into(), stdout: writer.into(), stderr: stderr.into() })
}

pub(crate) fn program(script: &str) -> Program {
    Program {
        args: ["sh", "-c", script].map(String::from).to_vec(),
        env: vec![String::from("PATH=/bin")],
        cwd: PathBuf::from("/"),
        user: User { uid: 1000, gid: 1000, groups: Vec::new() },
        capabilities: Capabilities::usual(),
        seccomp: Seccomp::Default,
        new_privileges: NewPrivileges::Denied,
        rlimits: Vec::new(),
        umask: 0o022,
    }
}

pub(crate) fn as_root(mut program: Program) -> Program {
    program.user = User { uid: 0, gid: 0, groups: Vec::new() };
    program
}

pub(crate) fn bind(source: &Path, target: &str, access: Access) -> Mount {
    let flags = MountFlags { read_only: access == Access::ReadOnly, nosuid: true, nodev: true, noexec: false };
    let kind = MountKind::Bind { source: source.to_owned(), ownership: Ownership::Mapped };
    Mount { target: PathBuf::from(target), kind, flags }
}

pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
