//! The slow effects of the job machine, as workers execute them. Each answers with an event; no policy is here.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Child;

use net::Network;
use nix::unistd::Pid;
use os::file::Durability;
use runtime::cgroup::Cgroup;
use types::host::Claim;
use types::job::{DownReason, FileSource, Isolation, JobSpec, Lifecycle, NetworkMode};
use types::{ApiError, JobId};

use crate::core::job::{EndSignal, Event, Retry};
use crate::disk;
use crate::jobdir::{JobDir, ShimLock};
use crate::layers::Layers;
use crate::limits::SHIM_LEAVES;
use crate::outline::{self, Place};
use crate::shim::{call, names};
use crate::stack::{self, StackOptions};
use crate::users::UserRanges;
use crate::volumes::Volumes;

/// Where the host's bundle of certificate authorities may be.
const CA_BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// What effects are executed with.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    pub(crate) jobs: PathBuf,
    pub(crate) trash: PathBuf,
    pub(crate) binary: PathBuf,
    pub(crate) run_dir: PathBuf,
    pub(crate) cgroup_root: String,
    pub(crate) layers: Layers,
    pub(crate) stack: StackOptions,
    pub(crate) volumes: Volumes,
    pub(crate) users: UserRanges,
    pub(crate) net: Option<Network>,
}

/// What a worker brings back.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) event: Event,
    pub(crate) made: Option<Made>,
}

/// What came to be with a created job.
#[derive(Debug)]
pub(crate) struct Made {
    /// The shim, to be reaped.
    pub(crate) shim: Child,
    pub(crate) pid: i32,
    pub(crate) address: Option<Ipv4Addr>,
}

impl From<Event> for Done {
    fn from(event: Event) -> Done {
        Done { event, made: None }
    }
}

/// Why something could not be had, and whether it may be later.
struct Failure {
    reason: String,
    retry: Retry,
}

impl Failure {
    fn never(error: &dyn std::error::Error) -> Failure {
        Failure { reason: os::text::chain(error), retry: Retry::Never }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Failure {
        let hint = error.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
        let retry = if error.retryable { Retry::Later } else { Retry::Never };
        Failure { reason: format!("{}: {}{hint}", error.code, error.message), retry }
    }
}

fn io_failure(action: &str, path: &Path) -> impl FnOnce(io::Error) -> Failure {
    let what = format!("{action} {}", path.display());
    move |error| Failure { reason: format!("{what}: {error}"), retry: Retry::Later }
}

impl Tools {
    /// The directory of a job.
    pub(crate) fn dir(&self, job: &JobId) -> JobDir {
        JobDir::of(&self.jobs, job)
    }

    /// Layers, volumes, scratch space, files: all that is needed before the job can be created.
    pub(crate) fn prepare(&self, claim: &Claim, run: u32) -> Event {
        let place = self.place(claim).and_then(|place| {
            let plan = outline::shim_plan(&claim.job, run, &claim.spec, &place);
            let saved = self.dir(&claim.job).save(names::PLAN, &plan, Durability::Atomic);
            saved.map_err(|error| Failure { reason: os::text::chain(&error), retry: Retry::Later })
        });
        match place {
            Ok(()) => Event::Prepared { run },
            Err(Failure { reason, retry }) => Event::PrepareFailed { run, reason, retry },
        }
    }

    fn place(&self, claim: &Claim) -> Result<Place, Failure> {
        let spec = &claim.spec;
        disk::check_room(&self.jobs).map_err(|error| Failure::from(ApiError::from(error)))?;
        let mut layers = Vec::with_capacity(spec.layers.len());
        for digest in &spec.layers {
            // Layers of the stack are made on this host; all others come from the blob store.
            layers.push(match stack::find(&self.stack, digest) {
                Some(layer) => layer.dir,
                None => self.layers.ensure(digest).map_err(ApiError::from)?,
            });
        }
        let user_base = match spec.isolation {
            Isolation::Tenant => self.users.base(&spec.app).map_err(|error| Failure::never(&error))?,
            Isolation::Platform => 0,
        };
        let mut volumes = Vec::with_capacity(spec.volumes.len());
        for mount in &spec.volumes {
            let path = self.volumes.ensure(&mount.volume, spec.uid, spec.gid);
            volumes.push((mount.path.clone(), path.map_err(|error| Failure::never(&error))?));
        }
        let dir = self.dir(&claim.job);
        let scratch = dir.scratch();
        // Whatever an earlier run left: a volatile overlay refuses it, and a new run must not see it.
        self.discard(&scratch).map_err(io_failure("clear", &scratch))?;
        let (upper, work) = (scratch.join("upper"), scratch.join("work"));
        for path in [&upper, &work] {
            fs::create_dir_all(path).map_err(io_failure("make", path))?;
        }
        let files = self.files(claim, &dir)?;
        Ok(Place {
            layers,
            upper,
            work,
            binary: self.binary.clone(),
            run_dir: self.run_dir.clone(),
            user_base,
            volumes,
            files,
            cgroup_root: self.cgroup_root.clone(),
        })
    }

    fn files(&self, claim: &Claim, dir: &JobDir) -> Result<Vec<(String, PathBuf)>, Failure> {
        let spec = &claim.spec;
        let files = dir.files();
        os::file::make_dir(&files, 0o755).map_err(|error| Failure::never(&error))?;
        let mut mounts = Vec::new();
        let mut put = |name: &str, target: &str, text: &[u8]| {
            let path = files.join(name);
            fs::write(&path, text).map_err(io_failure("write", &path))?;
            mounts.push((target.to_owned(), path));
            Ok::<(), Failure>(())
        };
        let hostname = outline::hostname(&claim.job, spec);
        put("resolv.conf", "/etc/resolv.conf", self.resolv_conf(spec).as_bytes())?;
        put("hosts", "/etc/hosts", hosts(&hostname, None).as_bytes())?;
        put("hostname", "/etc/hostname", format!("{hostname}\n").as_bytes())?;
        for (number, file) in spec.files.iter().enumerate() {
            let text = match &file.source {
                FileSource::Text(text) => text.clone().into_bytes(),
                FileSource::CaBundle => ca_bundle()?,
            };
            put(&format!("file-{number}"), &file.path, &text)?;
        }
        Ok(mounts)
    }

    fn resolv_conf(&self, spec: &JobSpec) -> String {
        match (spec.network, &self.net) {
            (NetworkMode::Bridge, Some(net)) => format!("nameserver {}\n", net.gateway()),
            (NetworkMode::Host, _) => fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
            (NetworkMode::Bridge | NetworkMode::Loopback, _) => String::new(),
        }
    }

    /// A shim that holds the job, and the job's network.
    pub(crate) fn create(&self, claim: &Claim, run: u32) -> Done {
        let dir = self.dir(&claim.job);
        let failed = |reason: String| Done::from(Event::CreateFailed { run, reason });
        let (mut shim, job) = match call::launch(&self.binary, dir.path()) {
            Ok(launched) => launched,
            Err(error) => return failed(os::text::chain(&error)),
        };
        match self.connect(claim, &dir, job.pid) {
            Ok(address) => {
                let made = Made { shim, pid: job.pid, address };
                Done { event: Event::Created { run }, made: Some(made) }
            }
            Err(reason) => {
                let _ = shim.kill();
                let _ = shim.wait();
                failed(reason)
            }
        }
    }

    fn connect(&self, claim: &Claim, dir: &JobDir, pid: i32) -> Result<Option<Ipv4Addr>, String> {
        if claim.spec.network != NetworkMode::Bridge {
            return Ok(None);
        }
        let net = self.net.as_ref().ok_or("this host has no network for jobs")?;
        let attached = net.attach(&claim.job, Pid::from_raw(pid)).map_err(|error| os::text::chain(&error))?;
        let hostname = outline::hostname(&claim.job, &claim.spec);
        // In place: the file is mounted into the job already.
        fs::write(dir.files().join("hosts"), hosts(&hostname, Some(attached.ip))).map_err(|error| error.to_string())?;
        Ok(Some(attached.ip))
    }

    /// Let the program run.
    pub(crate) fn start(&self, job: &JobId, run: u32) -> Event {
        match call::start(self.dir(job).path()) {
            Ok(()) => Event::Started { run },
            Err(error) => Event::StartFailed { run, reason: os::text::chain(&error) },
        }
    }

    /// Send a signal; a job that is gone needs none.
    pub(crate) fn signal(&self, job: &JobId, signal: EndSignal) {
        let number = match signal {
            EndSignal::Term => nix::sys::signal::Signal::SIGTERM,
            EndSignal::Kill => nix::sys::signal::Signal::SIGKILL,
        };
        if let Err(error) = call::signal(self.dir(job).path(), number as i32) {
            log::debug!(job:% = job, error:% = os::text::chain(&error); "signal not delivered");
        }
    }

    /// Remove all of a run but its log and its end. What does not go is logged and tried again with the next run.
    pub(crate) fn clean(&self, claim: &Claim, run: u32) -> Event {
        let job = &claim.job;
        let dir = self.dir(job);
        let warn = |what: &str, error: &dyn std::error::Error| {
            log::warn!(job:% = job, what, error:% = os::text::chain(error); "remains of a job stay");
        };
        if let Err(error) = dir.remove(names::PLAN) {
            warn("plan", &error);
        }
        let has_ended = dir.exit(run).ok().flatten().is_some();
        if let Err(error) = release_shim(&dir, has_ended, claim.spec.lifecycle) {
            warn("shim", &error);
        }
        let group = Cgroup::open(&outline::cgroup(&self.cgroup_root, job, &claim.spec));
        let removed = group.and_then(|group| {
            if !group.pids().is_empty() {
                group.kill_all()?;
            }
            group.delete()
        });
        if let Err(error) = removed {
            warn("control group", &error);
        }
        if claim.spec.network == NetworkMode::Bridge
            && let Some(net) = &self.net
            && let Err(error) = net.detach(job)
        {
            warn("network", &error);
        }
        for path in [dir.scratch(), dir.files()] {
            if let Err(error) = self.discard(&path) {
                warn("scratch space", &error);
            }
        }
        Event::Cleaned { run }
    }

    /// Have a tree out of the way at once; [`Tools::empty_trash`] removes it later.
    fn discard(&self, path: &Path) -> io::Result<()> {
        if !path.exists() {
            return Ok(());
        }
        fs::rename(path, self.trash.join(os::entropy::uuid()))
    }

    /// Remove what was discarded.
    pub(crate) fn empty_trash(&self) {
        let Ok(entries) = fs::read_dir(&self.trash) else { return };
        for entry in entries.flatten() {
            if let Err(error) = disk::remove_tree(&entry.path()) {
                log::warn!(path:% = entry.path().display(), error:% = error; "scratch space not removed");
            }
        }
    }
}

/// See that no shim stands in the way of another run, and that none is left of a run without an end.
fn release_shim(dir: &JobDir, has_ended: bool, lifecycle: Lifecycle) -> Result<(), crate::jobdir::JobDirError> {
    if has_ended && lifecycle != Lifecycle::System {
        // It stays until its clients have read the last output; nothing comes after it in this directory.
        return Ok(());
    }
    let free = |dir: &JobDir| matches!(dir.lock_shim(), Ok(ShimLock::Free(_))).then_some(());
    if has_ended && os::clock::wait_for(SHIM_LEAVES, || free(dir)).is_some() {
        return Ok(());
    }
    if let ShimLock::Held = dir.lock_shim()? {
        if let Some(pid) = dir.lock_holder() {
            // Nobody else writes that file, and its writer still holds the lock.
            let _ = nix::sys::signal::kill(Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
        if os::clock::wait_for(SHIM_LEAVES * 5, || free(dir)).is_none() {
            log::warn!(dir:% = dir.path().display(); "a shim does not end");
        }
    }
    dir.remove(names::SOCKET)?;
    dir.remove(names::SHIM)
}

fn hosts(hostname: &str, address: Option<Ipv4Addr>) -> String {
    let own = address.unwrap_or(Ipv4Addr::new(127, 0, 1, 1));
    format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n{own}\t{hostname}\n")
}

fn ca_bundle() -> Result<Vec<u8>, Failure> {
    let found = CA_BUNDLES.iter().find_map(|path| fs::read(path).ok());
    found.ok_or_else(|| Failure {
        reason: "this host has no bundle of certificate authorities: install ca-certificates".to_owned(),
        retry: Retry::Never,
    })
}

/// How a run that nobody watches any more ended: as its shim wrote down, or with its shim.
pub(crate) fn end_of(dir: &JobDir, run: u32) -> DownReason {
    match dir.exit(run) {
        Ok(Some(exit)) => exit.reason,
        Ok(None) | Err(_) => DownReason::Failed { reason: "the program that held it was killed".to_owned() },
    }
}
