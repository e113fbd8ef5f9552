//! A container's life: created, running, joined by further programs, deleted.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::OnceLock;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};

use crate::cgroup::{Cgroup, CgroupSpec, Hierarchies};
use crate::channel::Channel;
use crate::error::{CreateError, DeleteError, StartError};
use crate::launch::{self, Spaces, StageBinary, Staged};
use crate::limits::KILL_WAIT;
use crate::plan::{self, Create, Facts, Order, Sent, StdioPlan};
use crate::rootfs::{self, Ids, host_id};
use crate::spec::{Network, Program, Resource, Rlimit, Seccomp, Spec, UserNamespace, WindowSize};
use crate::stage::{Fault, FaultAt, Report};
use crate::sys::{self, Ended};
use crate::{console::Console, seccomp};

/// Makes containers. One per process is enough; it holds the binary of the init stage and what was compiled once.
#[derive(Debug)]
pub struct Runtime {
    binary: OwnedFd,
    filter: OnceLock<Vec<u8>>,
    hierarchies: OnceLock<Hierarchies>,
}

/// Standard input, output and error of a program.
#[derive(Debug)]
pub enum Stdio {
    /// `/dev/null`, three times.
    Null,
    /// These. Pipes are given to the program's user, so that it can open `/dev/stdout` and its like.
    Fds {
        /// Standard input.
        stdin: OwnedFd,
        /// Standard output.
        stdout: OwnedFd,
        /// Standard error.
        stderr: OwnedFd,
    },
    /// A new terminal of the container, in a session of its own; its master is the [`Console`].
    Terminal(WindowSize),
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
}

/// A running container, as plain data: enough to join it, also for another process and after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Pid of its first process, on the host.
    pub pid: i32,
    /// When that process started, in clock ticks since boot: a pid is used again, both together are not.
    pub started_ticks: u64,
    /// Whose ids the container's ids are.
    pub user_namespace: UserNamespace,
    /// Its control group.
    pub cgroup: Option<CgroupSpec>,
}

/// A container that is set up and in which nothing of its spec has run. Dropping it kills it and leaves its empty
/// control group and an entry in the process table; [`Created::delete`] leaves nothing.
#[derive(Debug)]
pub struct Created {
    held: Held,
    console: Option<Console>,
    warnings: Vec<String>,
    program: String,
    cwd: PathBuf,
}

/// A container whose program was started. While [`crate::OwnerExit::Kill`] holds, dropping it kills it.
#[derive(Debug)]
pub struct Running {
    held: Held,
    ended: Option<Exit>,
}

#[derive(Debug)]
struct Held {
    staged: Staged,
    cgroup: Option<Cgroup>,
    target: Target,
}

impl Runtime {
    /// Open and shield the binary that becomes the first process of every container.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn new(binary: &StageBinary) -> Result<Runtime, CreateError> {
        let binary = launch::sealed_binary(binary)?;
        Ok(Runtime { binary, filter: OnceLock::new(), hierarchies: OnceLock::new() })
    }

    /// Set up a container and hold it before its program starts.
    ///
    /// # Errors
    /// As [`CreateError`] says; nothing is left then.
    pub fn create(&self, spec: &Spec, stdio: Stdio) -> Result<Created, CreateError> {
        let stdio_plan = stdio.plan();
        plan::check(spec, stdio_plan).map_err(|reason| CreateError::Invalid { reason })?;
        let cgroup = match &spec.cgroup {
            Some(group) => Some(Cgroup::create_in(self.hierarchies()?, group)?),
            None => None,
        };
        let made = self.create_in(spec, stdio, cgroup.as_ref());
        match made {
            Ok((staged, console, warnings)) => {
                let target = Target {
                    pid: staged.pid,
                    started_ticks: started_ticks(staged.pid).unwrap_or_default(),
                    user_namespace: spec.user_namespace,
                    cgroup: spec.cgroup.clone(),
                };
                let program = spec.program.args.first().cloned().unwrap_or_default();
                let cwd = spec.program.cwd.clone();
                Ok(Created { held: Held { staged, cgroup, target }, console, warnings, program, cwd })
            }
            Err(error) => {
                if let Some(Err(left)) = cgroup.map(|group| group.delete()) {
                    log::warn!(error:% = left; "control group of a failed container stays");
                }
                Err(error)
            }
        }
    }

    fn create_in(
        &self,
        spec: &Spec,
        stdio: Stdio,
        cgroup: Option<&Cgroup>,
    ) -> Result<(Staged, Option<Console>, Vec<String>), CreateError> {
        let staged = self.stage(spec, cgroup)?;
        let ready = self.order(spec, stdio, cgroup, &staged);
        match ready {
            Ok(console) => {
                let warnings = privileged_settings(staged.pid, spec);
                Ok((staged, console, warnings))
            }
            Err(error) => {
                staged.abandon();
                Err(error)
            }
        }
    }

    fn stage(&self, spec: &Spec, cgroup: Option<&Cgroup>) -> Result<Staged, CreateError> {
        let failed = |(step, source)| CreateError::Launch { step, source };
        let group = cgroup.and_then(Cgroup::clone_target).transpose().map_err(|e| failed(("open group", e)))?;
        let mut flags = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC;
        if spec.user_namespace != UserNamespace::Host {
            flags |= libc::CLONE_NEWUSER;
        }
        if spec.network == Network::Private {
            flags |= libc::CLONE_NEWNET;
        }
        let flags = u64::from(flags.cast_unsigned());
        let spaces = Spaces { flags, cgroup: group.as_ref().map(AsFd::as_fd), user: spec.user_namespace };
        let Network::Join(path) = &spec.network else {
            return Staged::start(self.binary.as_fd(), &spaces).map_err(failed);
        };
        // Joined out here, because inside a private user namespace the stage could not.
        let network = fs::File::open(path).map_err(|source| CreateError::Open { path: path.clone(), source })?;
        let mut started = Err(("start a thread", io::Error::from_raw_os_error(libc::EAGAIN)));
        launch::on_own_thread("runtime-network", || {
            nix::sched::setns(&network, nix::sched::CloneFlags::CLONE_NEWNET)?;
            started = Staged::start(self.binary.as_fd(), &spaces);
            Ok(())
        })
        .map_err(|source| CreateError::Launch { step: "join the network namespace", source })?;
        started.map_err(failed)
    }

    fn order(
        &self,
        spec: &Spec,
        stdio: Stdio,
        cgroup: Option<&Cgroup>,
        staged: &Staged,
    ) -> Result<Option<Console>, CreateError> {
        if let Some(group) = cgroup {
            group.attach_v1(staged.pid)?;
        }
        let stdio_plan = stdio.plan();
        let facts = Facts { hierarchies: self.hierarchies.get() };
        let (steps, wanted) = plan::plan(spec, stdio_plan, &facts);
        let mounts = mounts_for(spec, &wanted, staged)?;
        let launch = |step: &'static str| move |source| CreateError::Launch { step, source };
        let mut fds = stdio.into_fds(spec.user_namespace, &spec.program).map_err(launch("prepare stdio"))?;
        fds.extend(mounts);
        let create = Create { steps, stdio: stdio_plan, owner_exit: spec.owner_exit, program: spec.program.clone() };
        let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        let filter = self.filter(spec.program.seccomp);
        let sent = staged.channel.send(&Order::Create(create), filter, &borrowed);
        drop(fds);
        match (sent, staged.channel.receive::<Report>()) {
            (_, Ok(Some(received))) => match received.body {
                Report::Ready => Ok(received.fds.into_iter().next().map(Console::new)),
                Report::Failed { step, errno } => {
                    Err(CreateError::Setup { step, source: io::Error::from_raw_os_error(errno) })
                }
                _ => Err(launch("hear from it")(io::Error::from_raw_os_error(libc::EPROTO))),
            },
            (Err(error), _) | (Ok(()), Err(error)) => Err(launch("send the plan")(error)),
            (Ok(()), Ok(None)) => Err(launch("hear from it")(io::Error::from_raw_os_error(libc::ECHILD))),
        }
    }

    fn hierarchies(&self) -> Result<&Hierarchies, CreateError> {
        if let Some(known) = self.hierarchies.get() {
            return Ok(known);
        }
        let found = Hierarchies::detect()?;
        Ok(self.hierarchies.get_or_init(|| found))
    }

    pub(crate) fn binary(&self) -> BorrowedFd<'_> {
        self.binary.as_fd()
    }

    /// The compiled filter. The list is ours and does not depend on input: a failure would be a bug of this crate.
    pub(crate) fn filter(&self, which: Seccomp) -> &[u8] {
        match which {
            Seccomp::Unconfined => &[],
            Seccomp::Default => self.filter.get_or_init(|| {
                seccomp::encode(&seccomp::compile().expect("the default list compiles: a unit test says so"))
            }),
        }
    }
}

fn mounts_for(spec: &Spec, wanted: &[Sent<'_>], staged: &Staged) -> Result<Vec<OwnedFd>, CreateError> {
    let user = match spec.user_namespace {
        UserNamespace::Host => None,
        UserNamespace::Private { .. } => {
            let path = PathBuf::from(format!("/proc/{}/ns/user", staged.pid));
            Some(fs::File::open(&path).map_err(|source| CreateError::Open { path, source })?)
        }
    };
    let ids = Ids { namespace: spec.user_namespace, user: user.as_ref().map(AsFd::as_fd) };
    rootfs::detach_all(spec, wanted, &ids)
}

/// What only a privileged process of the host may set. Without the privilege the container runs with what there is.
fn privileged_settings(pid: i32, spec: &Spec) -> Vec<String> {
    let mut warnings = set_rlimits(pid, &spec.program.rlimits);
    if let Some(score) = spec.oom_score_adj
        && let Err(error) = fs::write(format!("/proc/{pid}/oom_score_adj"), score.to_string())
    {
        warnings.push(format!("oom_score_adj {score} was not set: {error}"));
    }
    for warning in &warnings {
        log::warn!(pid, reason:% = warning; "container runs without a setting");
    }
    warnings
}

pub(crate) fn set_rlimits(pid: i32, rlimits: &[Rlimit]) -> Vec<String> {
    let refused = |limit: &Rlimit| {
        let Err(error) = sys::prlimit(pid, resource(limit.resource), limit.soft, limit.hard) else { return None };
        // As near as we may get: up to the hard limit that is in force.
        let raised = nearest(pid, limit);
        Some(format!("rlimit {:?} {}:{} was not set ({error}){raised}", limit.resource, limit.soft, limit.hard))
    };
    rlimits.iter().filter_map(refused).collect()
}

fn nearest(pid: i32, limit: &Rlimit) -> String {
    let Some(hard) = sys::hard_limit(pid, resource(limit.resource)) else { return String::new() };
    let soft = limit.soft.min(hard);
    match sys::prlimit(pid, resource(limit.resource), soft, hard.min(limit.hard)) {
        Ok(()) => format!(", {soft} is in force"),
        Err(_) => String::new(),
    }
}

fn resource(resource: Resource) -> libc::__rlimit_resource_t {
    match resource {
        Resource::As => libc::RLIMIT_AS,
        Resource::Core => libc::RLIMIT_CORE,
        Resource::Cpu => libc::RLIMIT_CPU,
        Resource::Data => libc::RLIMIT_DATA,
        Resource::Fsize => libc::RLIMIT_FSIZE,
        Resource::Locks => libc::RLIMIT_LOCKS,
        Resource::Memlock => libc::RLIMIT_MEMLOCK,
        Resource::Msgqueue => libc::RLIMIT_MSGQUEUE,
        Resource::Nice => libc::RLIMIT_NICE,
        Resource::Nofile => libc::RLIMIT_NOFILE,
        Resource::Nproc => libc::RLIMIT_NPROC,
        Resource::Rss => libc::RLIMIT_RSS,
        Resource::Rtprio => libc::RLIMIT_RTPRIO,
        Resource::Rttime => libc::RLIMIT_RTTIME,
        Resource::Sigpending => libc::RLIMIT_SIGPENDING,
        Resource::Stack => libc::RLIMIT_STACK,
    }
}

impl Stdio {
    pub(crate) fn plan(&self) -> StdioPlan {
        match self {
            Stdio::Terminal(size) => StdioPlan::Terminal(*size),
            Stdio::Null | Stdio::Fds { .. } => StdioPlan::Sent,
        }
    }

    pub(crate) fn into_fds(self, namespace: UserNamespace, program: &Program) -> io::Result<Vec<OwnedFd>> {
        let fds = match self {
            Stdio::Terminal(_) => Vec::new(),
            Stdio::Null => vec![rootfs::open_null()?, rootfs::open_null()?, rootfs::open_null()?],
            Stdio::Fds { stdin, stdout, stderr } => vec![stdin, stdout, stderr],
        };
        let id = |id| host_id(namespace, id);
        let (uid, gid) = (id(program.user.uid), id(program.user.gid));
        for fd in &fds {
            if sys::device_of(fd)?.0 == libc::S_IFIFO {
                std::os::unix::fs::fchown(fd, Some(uid), Some(gid))?;
            }
        }
        Ok(fds)
    }
}

/// Field 22 of proc_pid_stat(5), counted after the name, which may contain anything.
pub(crate) fn started_ticks(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}

impl Created {
    /// Pid of the container's first process, on the host. `/proc/PID/ns/net` is its network.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.held.staged.pid
    }

    /// The same as a descriptor: it becomes readable when the container ends.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.held.staged.pidfd.as_fd()
    }

    /// What is needed to join the container.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.held.target
    }

    /// The container's control group.
    #[must_use]
    pub fn cgroup(&self) -> Option<&Cgroup> {
        self.held.cgroup.as_ref()
    }

    /// The terminal's master, once, when there is a terminal.
    pub fn take_console(&mut self) -> Option<Console> {
        self.console.take()
    }

    /// Settings that this host did not grant. They are logged too.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Start the program.
    ///
    /// # Errors
    /// When it cannot be run, with the reason; then the container and its control group are gone.
    pub fn start(self) -> Result<Running, StartError> {
        let Created { held, program, cwd, .. } = self;
        let sent = held.staged.channel.send_byte();
        let answer = sent.and_then(|()| held.staged.channel.receive::<Report>());
        let error = match answer {
            Ok(Some(received)) => match received.body {
                Report::Started => return Ok(Running { held, ended: None }),
                Report::NotStarted(fault) => start_error(fault, program, cwd),
                Report::Failed { step, errno } => {
                    StartError::Setup { step, source: io::Error::from_raw_os_error(errno) }
                }
                _ => StartError::Gone,
            },
            Ok(None) | Err(_) => StartError::Gone,
        };
        if let Err(left) = held.remove() {
            log::warn!(error:% = left; "remains of a container that did not start stay");
        }
        Err(error)
    }

    /// Remove it without having run anything.
    ///
    /// # Errors
    /// When a process does not end or the control group stays.
    pub fn delete(self) -> Result<(), DeleteError> {
        self.held.remove()
    }
}

pub(crate) fn start_error(fault: Fault, program: String, cwd: PathBuf) -> StartError {
    let source = io::Error::from_raw_os_error(fault.errno);
    let step = match (fault.at, fault.errno) {
        (FaultAt::Interpreter, _) => return StartError::InterpreterMissing { program },
        (FaultAt::Exec, libc::ENOENT | libc::ENOTDIR) => return StartError::NotFound { program },
        (FaultAt::Exec, libc::EACCES | libc::EPERM) => return StartError::Denied { program },
        (FaultAt::Exec, libc::ENOEXEC) => return StartError::BadFormat { program },
        (FaultAt::Cwd, _) => return StartError::BadCwd { cwd, source },
        (FaultAt::Exec, _) => format!("exec `{program}`"),
        (FaultAt::Fork, _) => String::from("fork"),
        (FaultAt::Session, _) => String::from("start a session"),
        (FaultAt::Terminal, _) => String::from("take the terminal"),
        (FaultAt::Stdio, _) => String::from("place stdio"),
        (FaultAt::Capabilities, _) => String::from("set capabilities"),
        (FaultAt::Ids, _) => String::from("set user and groups"),
        (FaultAt::Descriptors, _) => String::from("close descriptors"),
    };
    StartError::Setup { step, source }
}

impl Running {
    /// Pid of the container's first process, on the host; the program is its child.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.held.staged.pid
    }

    /// The same as a descriptor: it becomes readable when the container ends.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.held.staged.pidfd.as_fd()
    }

    /// What is needed to join the container.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.held.target
    }

    /// The container's control group, for limits, statistics and OOM notices.
    #[must_use]
    pub fn cgroup(&self) -> Option<&Cgroup> {
        self.held.cgroup.as_ref()
    }

    /// Send a signal to the program, by number. One that is over already is no error.
    ///
    /// # Errors
    /// When the number is not a signal's.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        // Signal 9 and 19 cannot be forwarded, because nobody can receive them; 9 means the whole container.
        signal_pidfd(self.pidfd(), signal)
    }

    /// Kill everything in the container.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn kill(&self) -> io::Result<()> {
        signal_pidfd(self.pidfd(), libc::SIGKILL)
    }

    /// How the program ended, or None while it runs.
    ///
    /// # Errors
    /// When the kernel cannot say.
    pub fn try_wait(&mut self) -> io::Result<Option<Exit>> {
        self.reap(libc::WNOHANG)
    }

    /// Wait for the end of the program, and with it of the container.
    ///
    /// # Errors
    /// When the kernel cannot say.
    pub fn wait(&mut self) -> io::Result<Exit> {
        self.reap(0)?.ok_or_else(|| io::Error::from_raw_os_error(libc::ECHILD))
    }

    fn reap(&mut self, flags: i32) -> io::Result<Option<Exit>> {
        if self.ended.is_none()
            && let Some(ended) = sys::wait_pidfd(self.pidfd(), flags)?
        {
            self.ended = Some(reported(&self.held.staged.channel).unwrap_or(exit_of(ended)));
        }
        Ok(self.ended)
    }

    /// Kill what still runs and remove all that the container had. Directories of the spec belong to the caller.
    ///
    /// # Errors
    /// When a process does not end or the control group stays.
    pub fn delete(self) -> Result<(), DeleteError> {
        if self.ended.is_some() { self.held.remove_group() } else { self.held.remove() }
    }
}

/// What the first process said before it ended. It said nothing when it was killed itself.
fn reported(channel: &Channel) -> Option<Exit> {
    match channel.receive::<Report>().ok()??.body {
        Report::Exited(code) => Some(Exit::Exited(code)),
        Report::Signaled(signal) => Some(Exit::Signaled(signal)),
        _ => None,
    }
}

pub(crate) fn exit_of(ended: Ended) -> Exit {
    match ended {
        Ended::Code(code) => Exit::Exited(code),
        Ended::Signal(signal) => Exit::Signaled(signal),
    }
}

pub(crate) fn signal_pidfd(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    match sys::pidfd_signal(pidfd, signal) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other,
    }
}

impl Held {
    fn remove(&self) -> Result<(), DeleteError> {
        let (pid, pidfd) = (self.staged.pid, self.staged.pidfd.as_fd());
        let fail = |source| DeleteError::Kill { pid, source };
        signal_pidfd(pidfd, libc::SIGKILL).map_err(fail)?;
        let wait = PollTimeout::try_from(KILL_WAIT).unwrap_or(PollTimeout::MAX);
        let ended = poll(&mut [PollFd::new(pidfd, PollFlags::POLLIN)], wait).map_err(|errno| fail(errno.into()))?;
        if ended == 0 {
            return Err(DeleteError::StillRunning { pid });
        }
        match sys::wait_pidfd(pidfd, libc::WNOHANG) {
            Err(error) if error.raw_os_error() != Some(libc::ECHILD) => return Err(fail(error)),
            _ => {}
        }
        self.remove_group()
    }

    fn remove_group(&self) -> Result<(), DeleteError> {
        if let Some(group) = &self.cgroup {
            // The pid namespace died with its first process, but joined programs may have been born outside of it.
            group.kill_all()?;
            group.delete()?;
        }
        Ok(())
    }
}
