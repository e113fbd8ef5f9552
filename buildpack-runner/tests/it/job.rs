//! Jobs without the platform: a root of layers, entered by `unshare` and `chroot`, with the network of the host.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use testkit::{TempDir, wait_until};
use types::job::FileSource;
use types::stack::{BuildFailure, BuildReply, BuildRequest, Built, LayerName, Sources, plan};

use crate::agent::stack::{StackLayer, StackOptions, clients, ensure};

/// Arguments: work folder, layers as overlay wants them, cache folder, binary, then its arguments.
const ENTER: &str = r#"
set -eu
work=$1 lower=$2 cache=$3 binary=$4 uid=$5; shift 5
root=$work/root
mkdir -p "$root" "$work/upper" "$work/scratch"
mount -t overlay -o "lowerdir=$lower,upperdir=$work/upper,workdir=$work/scratch" job "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom; do : >"$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"; done
ln -s /proc/self/fd "$root/dev/fd"; ln -s /proc/self/fd/1 "$root/dev/stdout"; ln -s /proc/self/fd/2 "$root/dev/stderr"
mount --bind "$cache" "$root/cache"
: >"$root/usr/local/bin/slipway"
mount --bind "$binary" "$root/usr/local/bin/slipway"
[ ! -d "$work/files" ] || cp -rT "$work/files" "$root"
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
exec chroot --userspec="$uid:$uid" --groups= "$root" /usr/local/bin/slipway "$@"
"#;

/// A place to build and run in. The layers are in `SLIPWAY_STACK_DIR`, or with what cargo builds: making them takes
/// minutes, and the next run needs the same.
pub(crate) struct Bench {
    stack: StackOptions,
    cache: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        let dir = std::env::var_os("SLIPWAY_STACK_DIR").map(PathBuf::from);
        let dir = dir.unwrap_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("stack"));
        Bench { stack: StackOptions::of_host(dir), cache: TempDir::new("cache") }
    }

    /// The folder of a layer.
    pub(crate) fn layer(&self, name: LayerName) -> StackLayer {
        ensure(&self.stack, name, &mut |text| println!("{text}")).unwrap_or_else(|error| panic!("{error}"))
    }

    fn lower(&self, layers: &[LayerName], top: Option<&Path>) -> String {
        let made = layers.iter().rev().map(|&name| self.layer(name).dir.display().to_string());
        let mut lower: Vec<String> = top.map(|path| path.display().to_string()).into_iter().collect();
        lower.extend(made);
        lower.join(":")
    }

    fn enter(&self, work: &Path, lower: &str, uid: u32, args: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]);
        command.args(["--propagation", "private", "/bin/sh", "-c", ENTER, "job"]).arg(work).arg(lower);
        command.arg(self.cache.path()).arg(env!("CARGO_BIN_EXE_build-job")).arg(uid.to_string()).args(args);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// Build `app` with what `plan` says of it; once more with more layers, if it asks for them.
    pub(crate) fn build(&self, app: &Path, request: &BuildRequest, env: &[(&str, &str)]) -> Outcome {
        let names = names(app);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let listed = fs::read_to_string(app.join(".buildpacks")).ok();
        let url = request.env.get("BUILDPACK_URL").map(String::as_str);
        let sources = Sources { names: &names, buildpacks: listed.as_deref(), buildpack_url: url };
        // An app that nothing fits must be refused by the build too.
        let plan = plan(&sources).unwrap_or_else(|_| {
            plan(&Sources { names: &["index.html"], ..Sources::default() }).expect("a static site is known")
        });
        let mut input = serde_json::to_vec(request).unwrap();
        input.push(b'\n');
        let tar = Command::new("tar").arg("-C").arg(app).args(["-cf", "-", "."]).output().unwrap();
        input.extend(tar.stdout);
        let outcome = self.once(&input, env, &plan.layers_build);
        match &outcome.reply {
            BuildReply::Failed(failure) if !failure.wants.is_empty() => {
                self.once(&input, env, &plan.with(&failure.wants).layers_build)
            }
            _ => outcome,
        }
    }

    /// Give a build these bytes.
    pub(crate) fn build_bytes(&self, input: &[u8]) -> Outcome {
        self.once(input, &[], &[LayerName::Run])
    }

    fn once(&self, input: &[u8], env: &[(&str, &str)], layers: &[LayerName]) -> Outcome {
        let work = TempDir::new("build");
        let settings = clients::choose(&clients::HostClients::read(std::env::vars().collect(), Path::new("/root")));
        for file in &settings.files {
            let path = work.path().join("files").join(file.path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match &file.source {
                FileSource::Text(text) => fs::write(&path, text).unwrap(),
                FileSource::CaBundle => drop(fs::copy(clients::CA_BUNDLE, &path).unwrap()),
            }
        }
        let lower = self.lower(layers, None);
        let (out, log) = (work.path().join("out"), work.path().join("log"));
        let mut command = self.enter(work.path(), &lower, 0, &["build"]);
        command.envs(&settings.env).envs(env.iter().copied());
        command.stdin(Stdio::piped()).stdout(File::create(&out).unwrap()).stderr(File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        // A build that refuses early reads no further.
        let _ = child.stdin.take().unwrap().write_all(input);
        let status = child.wait().unwrap();
        let told = String::from_utf8_lossy(&fs::read(&log).unwrap()).into_owned();
        println!("{told}");
        let mut bytes = Vec::new();
        File::open(&out).unwrap().read_to_end(&mut bytes).unwrap();
        let end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or_else(|| panic!("no reply: {told}"));
        let reply = serde_json::from_slice(&bytes[..end]).unwrap();
        let slug = TempDir::new("slug");
        if bytes.len() > end + 1 {
            let mut tar = tar::Archive::new(&bytes[end + 1..]);
            tar.set_preserve_ownerships(true);
            tar.unpack(slug.path()).unwrap();
        }
        Outcome { reply, told, slug, code: status.code() }
    }

    /// Start a process type of a built app and hand over its answer to `GET path`.
    pub(crate) fn get(&self, outcome: &Outcome, path: &str) -> String {
        let built = outcome.built();
        let work = TempDir::new("run");
        let lower = self.lower(&built.layers_run, Some(outcome.slug.path()));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = self.enter(work.path(), &lower, 1000, &["start", "web"]);
        command.env("PORT", port.to_string()).env("SLIPWAY_JOB", "host-1234");
        let log = File::create(work.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut job = Job(command.spawn().unwrap());
        wait_until("an answer of the app", Duration::from_secs(60), || {
            if let Some(status) = job.0.try_wait().unwrap() {
                panic!("it ended with {status}: {}", fs::read_to_string(work.path().join("log")).unwrap());
            }
            let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).ok()?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).ok()?;
            (!answer.is_empty()).then(|| String::from_utf8_lossy(&answer).into_owned())
        })
    }

    /// Run a one-off command in a built app; its output and exit code.
    pub(crate) fn command(&self, outcome: &Outcome, words: &[&str]) -> (String, Option<i32>) {
        let work = TempDir::new("run");
        let lower = self.lower(&outcome.built().layers_run, Some(outcome.slug.path()));
        let mut args = vec!["start", "--"];
        args.extend(words);
        let output = self.enter(work.path(), &lower, 1000, &args).stdin(Stdio::null()).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (String::from_utf8_lossy(&text).into_owned(), output.status.code())
    }

    pub(crate) fn cache(&self) -> &Path {
        self.cache.path()
    }
}

/// Killed with everything in its namespaces when it goes out of sight.
struct Job(Child);

impl Drop for Job {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) struct Outcome {
    pub(crate) reply: BuildReply,
    pub(crate) told: String,
    pub(crate) slug: TempDir,
    pub(crate) code: Option<i32>,
}

impl Outcome {
    pub(crate) fn built(&self) -> &Built {
        match &self.reply {
            BuildReply::Built(built) => built,
            BuildReply::Failed(failure) => panic!("{}: {}\n{}", failure.code, failure.message, self.told),
        }
    }

    pub(crate) fn failure(&self) -> &BuildFailure {
        match &self.reply {
            BuildReply::Failed(failure) => failure,
            BuildReply::Built(built) => panic!("it was built: {built:?}"),
        }
    }
}

fn names(app: &Path) -> Vec<String> {
    let output = Command::new("find").arg(".").args(["-type", "f"]).current_dir(app).output().unwrap();
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}
