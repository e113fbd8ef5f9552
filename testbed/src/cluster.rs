//! A cluster of one host in namespaces of its own.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use testkit::TempDir;

use crate::http::{Answer, Connection};
use crate::net::Net;
use crate::say;
use crate::shell::{self, Output};

/// The router's port and the receiver's, inside the cluster's own network.
pub const HTTP_PORT: u16 = 80;
/// See [`HTTP_PORT`].
pub const SSH_PORT: u16 = 2222;

static SERIAL: AtomicU8 = AtomicU8::new(0);

/// What a cluster is made with.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Size of a file system of its own for its data; none shares this machine's.
    pub disk_bytes: Option<u64>,
}

/// What is left of a host when its power comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterCut {
    /// What the kernel kept: links, rules, control groups, sockets of nobody.
    Remains,
    /// Its disk alone, as after a real reboot.
    NothingButDisk,
}

/// A running cluster. Dropping it stops it and removes everything it had.
#[derive(Debug)]
pub struct Cluster {
    /// Its network.
    pub net: Arc<Net>,
    dir: TempDir,
    instance: String,
    options: Options,
    /// The first process of its pid namespace: when it dies, all die.
    first: Option<Child>,
    daemon: Option<Child>,
    janitor: Child,
    purged: bool,
}

impl Cluster {
    /// Make a cluster, start it, and wait until its system apps are up.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn start(options: Options) -> Cluster {
        let mut cluster = Cluster::make(options);
        cluster.boot();
        let _ = cluster.slipway(&["host", "start", "--wait"]).ok();
        cluster.save_stack();
        cluster.make_key();
        cluster
    }

    /// Make a cluster's namespaces and configuration, without its daemon.
    ///
    /// # Panics
    /// If the machine does not let us.
    #[must_use]
    pub fn make(options: Options) -> Cluster {
        let serial = SERIAL.fetch_add(1, Ordering::SeqCst);
        let pid = std::process::id();
        let instance = format!("swt{}{}", pid % 100_000, char::from(b'a' + serial % 26));
        let number = u8::try_from((pid * 7 + u32::from(serial)) % 250).unwrap();
        let net = Arc::new(Net::new(&instance, number));
        let dir = TempDir::new("swt");
        let janitor = janitor(&net, dir.path(), &instance);
        let mut cluster = Cluster { net, dir, instance, options, first: None, daemon: None, janitor, purged: false };
        std::fs::create_dir_all(cluster.path("home/.ssh")).unwrap();
        std::fs::create_dir_all(cluster.path("data")).unwrap();
        cluster.power_on();
        let (data, run) = (cluster.path("data"), cluster.path("run"));
        let args = [
            "init",
            "--host",
            "host1",
            "--instance",
            &cluster.instance.clone(),
            "--data-dir",
            data.to_str().unwrap(),
            "--run-dir",
            run.to_str().unwrap(),
            "--subnet",
            "100.100.0.0/24",
        ];
        let _ = cluster.slipway(&args).ok();
        cluster.load_stack();
        cluster
    }

    /// A path in the cluster's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// New pid and mount namespaces, as after switching the power on.
    fn power_on(&mut self) {
        // Not `ip netns exec`: it covers /sys, and the control groups with it.
        let net = format!("--net=/run/netns/{}", self.net.name);
        let mut command = Command::new("nsenter");
        command
            .args([&net, "unshare", "--mount", "--pid", "--fork", "--mount-proc"])
            .arg("--kill-child=SIGKILL")
            // It reaps what is left to it, as the first process of a machine does.
            .args(["bash", "-c", "printf .; while :; do sleep 100000 & wait $!; done"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // Its last word, that it has been killed, is no news.
            .stderr(Stdio::null());
        let mut first = command.spawn().unwrap();
        // It says when the namespaces are there.
        let mut ready = [0];
        first.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        self.first = Some(first);
        if let Some(bytes) = self.options.disk_bytes {
            let size = format!("size={bytes}");
            let data = self.path("data");
            let _ = self.inside("mount", &["-t", "tmpfs", "-o", &size, "none", data.to_str().unwrap()]).ok();
        }
    }

    /// The number, on this machine, of the first process in the cluster's pid namespace.
    fn first_pid(&self) -> u32 {
        let unshare = self.first.as_ref().unwrap().id();
        // `nsenter` becomes `unshare`, whose only child is the first process.
        let children = std::fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")).unwrap();
        children.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// A command that runs inside, with the cluster's home and configuration.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        let home = self.path("home");
        let known_hosts = self.path("home/.ssh/known_hosts");
        let key = self.path("home/.ssh/id_ed25519");
        command
            .args(["--target", &self.first_pid().to_string(), "--mount", "--pid", "--net", "--wd=."])
            .arg("--")
            .arg(program)
            .env("HOME", &home)
            .env("SLIPWAY_CONFIG", self.path("host.json"))
            .env("NO_COLOR", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env(
                "GIT_SSH_COMMAND",
                format!(
                    "ssh -F none -i {} -o IdentitiesOnly=yes -o UserKnownHostsFile={} -o StrictHostKeyChecking=yes",
                    key.display(),
                    known_hosts.display()
                ),
            )
            .env_remove("SLIPWAY_APP");
        command
    }

    /// Run a program inside.
    pub fn inside(&self, program: &str, args: &[&str]) -> Output {
        shell::run(self.command(Path::new(program)).args(args))
    }

    /// Run the command line inside.
    pub fn slipway(&self, args: &[&str]) -> Output {
        shell::run(self.command(&shell::binary()).args(args))
    }

    /// Run the command line and read its JSON.
    ///
    /// # Panics
    /// If it fails or prints none.
    #[must_use]
    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        let text = self.slipway(&[args, &["--json"]].concat()).ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?} printed no JSON: {error}\n{text}"))
    }

    /// Start the daemon, and nothing else: what a host does after its power came back.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn boot(&mut self) {
        let log = File::options().create(true).append(true).open(self.path("host.log")).unwrap();
        let mut command = self.command(&shell::binary());
        command.arg("host").stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.daemon = Some(command.spawn().unwrap());
    }

    /// kill -9 of the daemon alone.
    ///
    /// # Panics
    /// If it was not running.
    pub fn kill_daemon(&mut self) {
        let status = self.json(&["host", "status"]);
        let pid = status["pid"].as_u64().unwrap().to_string();
        let _ = self.inside("kill", &["-9", &pid]).ok();
        let mut daemon = self.daemon.take().unwrap();
        let _ = daemon.wait();
    }

    /// kill -9 of everything at once: daemon, shims, jobs. Then the power is on again, and nothing runs.
    ///
    /// # Panics
    /// If processes stay.
    pub fn power_cut(&mut self, after: AfterCut) {
        let first = self.first_pid();
        let pid = nix::unistd::Pid::from_raw(i32::try_from(first).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.wait();
        }
        let _ = self.first.take().unwrap().wait();
        if after == AfterCut::NothingButDisk {
            let name = &self.net.name;
            let _ = shell::sh("ip", &["-n", name, "link", "delete", &format!("{}0", self.instance)]);
            let _ = shell::sh("ip", &["netns", "exec", name, "nft", "flush", "ruleset"]);
            let _ = std::fs::remove_dir_all(self.path("run"));
            for entry in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
                let group = entry.path().join(&self.instance);
                let _ =
                    shell::sh("find", &[group.to_str().unwrap(), "-depth", "-type", "d", "-exec", "rmdir", "{}", "+"]);
            }
        }
        self.power_on();
    }

    /// What an app answers at `/`.
    ///
    /// # Errors
    /// What went wrong, for people.
    pub fn get(&self, app: &str) -> Result<Answer, String> {
        self.get_host(&format!("{app}.slipway.localhost"))
    }

    /// What a host name answers at `/`.
    ///
    /// # Errors
    /// What went wrong, for people.
    pub fn get_host(&self, host: &str) -> Result<Answer, String> {
        let limit = Duration::from_secs(10);
        let mut connection =
            Connection::open(&self.net, HTTP_PORT, limit).map_err(|error| format!("connect: {error}"))?;
        connection.get(host, "/").map_err(|error| format!("read: {error}"))
    }

    /// Wait until an app answers 200; how long that took.
    ///
    /// # Panics
    /// If it does not within `limit`.
    pub fn wait_answer(&self, app: &str, limit: Duration) -> Duration {
        let start = os::clock::now();
        let mut last = String::new();
        let done = os::clock::wait_for(limit, || match self.get(app) {
            Ok(answer) if answer.status == 200 => Some(()),
            Ok(answer) => {
                last = format!("status {}: {}", answer.status, answer.body);
                None
            }
            Err(error) => {
                last = error;
                None
            }
        });
        if done.is_none() {
            self.show_logs();
            panic!("{app} does not answer after {limit:?}; the last try: {last}");
        }
        os::clock::now().since(start)
    }

    /// An address of a listener inside.
    #[must_use]
    pub fn address(&self, port: u16) -> SocketAddr {
        SocketAddr::from((self.net.address, port))
    }

    fn make_key(&self) {
        let key = self.path("home/.ssh/id_ed25519");
        let args = ["-q", "-t", "ed25519", "-N", "", "-C", "testbed", "-f", key.to_str().unwrap()];
        let _ = shell::sh("ssh-keygen", &args).ok();
        let public = self.path("home/.ssh/id_ed25519.pub");
        let _ = self.slipway(&["key", "add", public.to_str().unwrap()]).ok();
    }

    /// Stop in good order, and prove that nothing stays.
    ///
    /// # Panics
    /// If it fails.
    pub fn purge(&mut self) {
        let _ = self.slipway(&["host", "stop", "--purge", "--yes"]).ok();
        self.purged = true;
    }

    /// The end of the daemon's log, for a test that failed.
    pub fn show_logs(&self) {
        let log = std::fs::read_to_string(self.path("host.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        for line in &lines[lines.len().saturating_sub(40)..] {
            say(line);
        }
        say(&self.slipway(&["host", "ps", "-A"]).to_string());
    }

    /// Stack layers take minutes to make and are the same for every cluster: keep them between runs.
    fn stack_cache() -> PathBuf {
        shell::root().join("target/testbed-stack")
    }

    /// Take over what other clusters have made, by hard links where that can be.
    fn load_stack(&self) {
        if self.options.disk_bytes.is_some() {
            // Only inside is its disk to be seen, and no link leads onto it.
            for entry in std::fs::read_dir(Cluster::stack_cache()).into_iter().flatten().flatten() {
                let (from, to) = (entry.path(), self.path("data"));
                let _ = self.inside("cp", &["-a", from.to_str().unwrap(), to.to_str().unwrap()]).ok();
            }
            return;
        }
        copy_links(&Cluster::stack_cache(), &self.path("data"));
    }

    /// Keep what this cluster made.
    pub fn save_stack(&self) {
        if self.options.disk_bytes.is_some() {
            return;
        }
        let cache = Cluster::stack_cache();
        std::fs::create_dir_all(&cache).unwrap();
        for name in STACK_FOLDERS {
            let from = self.path("data").join(name);
            if from.exists() {
                let _ = shell::sh("cp", &["-aln", from.to_str().unwrap(), cache.to_str().unwrap()]);
            }
        }
    }

    /// The environment of requests that are made by hand, for messages.
    #[must_use]
    pub fn describe(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([("instance", self.instance.clone()), ("folder", self.dir.path().display().to_string())])
    }
}

/// Folders of a host's data that hold stack layers and nothing else.
const STACK_FOLDERS: [&str; 1] = ["stack"];

fn copy_links(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).into_iter().flatten().flatten() {
        let _ = shell::sh("cp", &["-al", entry.path().to_str().unwrap(), to.to_str().unwrap()]);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            say(&format!("the cluster of a failed test: {:?}", self.describe()));
        }
        if !self.purged && self.first.is_some() {
            let _ = self.slipway(&["host", "stop"]);
        }
        // The end of its input is the janitor's sign.
        drop(self.janitor.stdin.take());
        let _ = self.janitor.wait();
        for child in [self.first.take(), self.daemon.take()].into_iter().flatten() {
            let mut child = child;
            let _ = child.wait();
        }
    }
}

/// A program that waits until we are gone, in whatever way, and then removes what is left of a cluster.
/// A test program that ends drops none of its statics, and one that aborts drops nothing at all.
fn janitor(net: &Net, dir: &Path, instance: &str) -> Child {
    let script = format!(
        "exec >/dev/null 2>&1\ntrap '' INT TERM HUP\nread -r _\n{}\
         for d in /sys/fs/cgroup/*/{instance} /sys/fs/cgroup/{instance}; do \
           for try in 1 2 3 4 5; do [ -d $d ] && find $d -depth -type d -exec rmdir {{}} +; done; done\n\
         umount -R -l {dir}/data\nrm -rf {dir}\n",
        net.removal(),
        dir = dir.display(),
    );
    Command::new("setsid").args(["bash", "-c", &script]).stdin(Stdio::piped()).spawn().unwrap()
}
