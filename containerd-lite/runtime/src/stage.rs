//! The init stage: our own binary, executed again as the first process of the new namespaces. It has one thread and
//! host root's trust in nothing: it works only on what the channel brings, and reports every failure through it.

mod mounts;
mod pid1;
mod program;
mod tree;

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use serde::{Deserialize, Serialize};

use crate::channel::{Channel, Received};
use crate::plan::{Create, Join, Order, StdioPlan};
use crate::spec::{NewPrivileges, Program, UserNamespace};
use crate::{INIT_STAGE_ARG, seccomp, sys};

/// What the stage tells its runtime.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// Set up; a terminal's master comes along. Waits for one byte before anything of the spec runs.
    Ready,
    /// A step failed.
    Failed { step: String, errno: i32 },
    /// The program runs.
    Started,
    /// The program could not be run.
    NotStarted(Fault),
    /// The program ended.
    Exited(i32),
    /// The program was killed.
    Signaled(i32),
}

/// Why a program could not be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fault {
    pub(crate) at: FaultAt,
    pub(crate) errno: i32,
}

/// Where it went wrong, between fork and exec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FaultAt {
    Fork,
    Session,
    Terminal,
    Stdio,
    Capabilities,
    Ids,
    Cwd,
    Descriptors,
    Interpreter,
    Exec,
}

/// A step that failed, inside the stage.
#[derive(Debug)]
pub(crate) struct StepError {
    step: String,
    errno: i32,
}

impl StepError {
    pub(crate) fn new(step: impl Into<String>, error: impl Into<io::Error>) -> StepError {
        StepError { step: step.into(), errno: error.into().raw_os_error().unwrap_or(libc::EIO) }
    }
}

/// Names the step that a failure belongs to.
pub(crate) trait At<T> {
    fn at(self, step: impl FnOnce() -> String) -> Result<T, StepError>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, step: impl FnOnce() -> String) -> Result<T, StepError> {
        self.map_err(|error| StepError::new(step(), error))
    }
}

/// Where a program's standard input, output and error come from.
pub(crate) enum ProgramStdio {
    Fds([OwnedFd; 3]),
    Terminal(OwnedFd),
}

/// Become a container's first process, when this start of the binary was ordered by a runtime: then it never returns.
/// Call it first in `main`, before any thread is started and any option is parsed.
pub fn init_stage() {
    if std::env::args_os().nth(1).as_deref() != Some(OsStr::new(INIT_STAGE_ARG)) {
        return;
    }
    // Nothing in the container may trace us or open our files until exec replaces all of it.
    let hidden = nix::sys::prctl::set_dumpable(false);
    let channel = Channel::new(sys::adopt(sys::CHANNEL_FD).into());
    let result = hidden
        .and_then(|()| sys::block_signals())
        .map(|()| {
            umask(Mode::from_bits_truncate(0o022));
        })
        .and_then(|()| fcntl(channel.stream(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map(drop))
        .at(|| String::from("hide the stage"))
        .and_then(|()| obey(&channel));
    if let Err(StepError { step, errno }) = result {
        // If nobody listens any more, there is nobody to tell.
        channel.send(&Report::Failed { step, errno }, &[], &[]).ok();
    }
    sys::exit_now(1)
}

fn obey(channel: &Channel) -> Result<(), StepError> {
    let received = channel.receive::<Order>().at(|| String::from("receive the plan"))?;
    let Some(Received { body, blob, fds }) = received else { return Ok(()) };
    match body {
        Order::Create(plan) => create(channel, &plan, &blob, fds),
        Order::Join(plan) => join(channel, &plan, &blob, fds),
    }
}

fn create(channel: &Channel, plan: &Create, filter: &[u8], mut fds: Vec<OwnedFd>) -> Result<(), StepError> {
    let stdio = take_stdio(plan.stdio, &mut fds);
    let made = mounts::execute(&plan.steps, fds)?;
    let (stdio, master) = match (stdio, made.terminal) {
        (Some(fds), _) => (ProgramStdio::Fds(fds), None),
        (None, Some((master, peer))) => {
            own_terminal(&peer, &plan.program)?;
            (ProgramStdio::Terminal(peer), Some(master))
        }
        (None, None) => return Err(StepError::new("find stdio", io::Error::from_raw_os_error(libc::EPROTO))),
    };
    restrict(&plan.program, filter)?;
    let sent: Vec<_> = master.iter().map(AsFd::as_fd).collect();
    channel.send(&Report::Ready, &[], &sent).at(|| String::from("report"))?;
    drop(master);
    if channel.await_byte().is_err() {
        return Ok(()); // The owner went away before the start.
    }
    pid1::run(channel, plan, stdio)
}

fn join(channel: &Channel, plan: &Join, filter: &[u8], mut fds: Vec<OwnedFd>) -> Result<(), StepError> {
    let target = fds.pop().ok_or_else(|| StepError::new("join", io::Error::from_raw_os_error(libc::EPROTO)))?;
    let mut spaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWCGROUP;
    let private = matches!(plan.user_namespace, UserNamespace::Private { .. });
    if private {
        spaces |= CloneFlags::CLONE_NEWUSER;
    }
    setns(&target, spaces).at(|| String::from("join the namespaces"))?;
    drop(target);
    if private {
        let (root, group) = (Uid::from_raw(0), Gid::from_raw(0));
        setgroups(&[])
            .and_then(|()| setresgid(group, group, group))
            .and_then(|()| setresuid(root, root, root))
            .at(|| String::from("become the container's root"))?;
    }
    let stdio = take_stdio(plan.stdio, &mut fds);
    let (stdio, master) = match (stdio, plan.stdio) {
        (None, StdioPlan::Terminal(size)) => {
            let (master, peer) = mounts::joined_terminal(size)?;
            own_terminal(&peer, &plan.program)?;
            (ProgramStdio::Terminal(peer), Some(master))
        }
        (Some(fds), _) => (ProgramStdio::Fds(fds), None),
        (None, StdioPlan::Sent) => {
            return Err(StepError::new("find stdio", io::Error::from_raw_os_error(libc::EPROTO)));
        }
    };
    restrict(&plan.program, filter)?;
    let sent: Vec<_> = master.iter().map(AsFd::as_fd).collect();
    channel.send(&Report::Ready, &[], &sent).at(|| String::from("report"))?;
    drop(master);
    if channel.await_byte().is_err() {
        return Ok(());
    }
    let fault = program::become_program(&plan.program, stdio);
    channel.send(&Report::NotStarted(fault), &[], &[]).ok();
    sys::exit_now(1)
}

fn take_stdio(plan: StdioPlan, fds: &mut Vec<OwnedFd>) -> Option<[OwnedFd; 3]> {
    match plan {
        StdioPlan::Sent if fds.len() >= 3 => fds.drain(..3).collect::<Vec<_>>().try_into().ok(),
        _ => None,
    }
}

fn own_terminal(peer: &OwnedFd, program: &Program) -> Result<(), StepError> {
    let (uid, gid) = (Uid::from_raw(program.user.uid), Gid::from_raw(program.user.gid));
    // devpts gives terminals to the group of its mount option; only the user matters for opening one again.
    nix::unistd::fchown(peer, Some(uid), Some(gid)).at(|| String::from("give the terminal to the user"))
}

/// What no later step needs to be free of. The filter comes before the fork, so that the first process is bound by it
/// too; without `no_new_privs` installing it needs the capabilities that the program is about to lose.
fn restrict(program: &Program, filter: &[u8]) -> Result<(), StepError> {
    if program.new_privileges == NewPrivileges::Denied {
        nix::sys::prctl::set_no_new_privs().at(|| String::from("deny new privileges"))?;
    }
    for part in seccomp::decode(filter) {
        sys::seccomp_install(&part).at(|| String::from("install the system call filter"))?;
    }
    Ok(())
}
