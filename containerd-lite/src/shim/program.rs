//! The runtime's programs as a session needs them.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::PollFlags;
use runtime::cgroup::OomNotice;
use runtime::{Created, Exit, Joined, Running, Runtime, StageBinary, StartError, Stdio, Target, WindowSize};
use types::job::DownReason;

use super::plan::{ShimPlan, Wiring};
use super::wire::ExecWish;
use super::{ShimError, kernel};

/// A program in one of its states.
#[derive(Debug)]
pub(super) struct Program {
    kind: Kind,
    pid: i32,
    console: Option<OwnedFd>,
    is_attachable: bool,
}

#[derive(Debug)]
enum Kind {
    Created(Box<Created>),
    Running(Box<Running>),
    Joined(Joined),
    Gone,
}

/// The shim's ends of a program's streams. Of a terminal input and output are the same.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) input: Option<File>,
    pub(super) output: Option<File>,
    pub(super) error: Option<File>,
    pub(super) is_terminal: bool,
}

/// The runtime, with this very binary as the first process of jobs.
pub(super) fn runtime() -> Result<Runtime, ShimError> {
    Ok(Runtime::new(&StageBinary::Own)?)
}

/// Make the job; nothing of it runs.
pub(super) fn create(runtime: &Runtime, plan: &ShimPlan) -> Result<(Program, Streams), ShimError> {
    let prepared = match plan.wiring {
        Wiring::Output => pipes(Input::Null),
        Wiring::Pipes => pipes(Input::Pipe),
        Wiring::Terminal { rows, columns } => Ok((Stdio::Terminal(WindowSize { rows, columns }), Streams::none())),
    };
    let (stdio, streams) = prepared.map_err(kernel("make the job's streams"))?;
    let mut created = runtime.create(&plan.spec, stdio)?;
    let pid = created.pid();
    let console = created.take_console().map(runtime::Console::into_fd);
    let (console, streams) = with_console(console, streams).map_err(kernel("use the job's terminal"))?;
    let is_attachable = plan.wiring != Wiring::Output;
    Ok((Program { kind: Kind::Created(Box::new(created)), pid, console, is_attachable }, streams))
}

/// Run one more program in the job.
pub(super) fn exec(runtime: &Runtime, target: &Target, wish: &ExecWish) -> Result<(Program, Streams), ShimError> {
    let prepared = match wish.terminal {
        None => pipes(Input::Pipe),
        Some((rows, columns)) => Ok((Stdio::Terminal(WindowSize { rows, columns }), Streams::none())),
    };
    let (stdio, streams) = prepared.map_err(kernel("make the program's streams"))?;
    let mut joined = runtime.exec(target, &wish.program, stdio).map_err(ShimError::Exec)?;
    let pid = joined.pid();
    let console = joined.take_console().map(runtime::Console::into_fd);
    let (console, streams) = with_console(console, streams).map_err(kernel("use the program's terminal"))?;
    Ok((Program { kind: Kind::Joined(joined), pid, console, is_attachable: true }, streams))
}

/// What to poll a notice for: a file of the v2 tree is always readable and says that it changed by another flag.
pub(super) fn oom_flags(notice: &OomNotice) -> PollFlags {
    let is_file = nix::sys::stat::fstat(notice).is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFREG);
    if is_file { PollFlags::POLLPRI } else { PollFlags::POLLIN }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Input {
    Null,
    Pipe,
}

fn pipes(input: Input) -> io::Result<(Stdio, Streams)> {
    let (stdin, feed) = match input {
        Input::Null => (OwnedFd::from(File::open("/dev/null")?), None),
        Input::Pipe => {
            let (read, write) = io::pipe()?;
            (OwnedFd::from(read), Some(unblocked(write.into())?))
        }
    };
    let (output, stdout) = io::pipe()?;
    let (error, stderr) = io::pipe()?;
    let streams = Streams {
        input: feed,
        output: Some(unblocked(output.into())?),
        error: Some(unblocked(error.into())?),
        is_terminal: false,
    };
    Ok((Stdio::Fds { stdin, stdout: stdout.into(), stderr: stderr.into() }, streams))
}

fn with_console(console: Option<OwnedFd>, streams: Streams) -> io::Result<(Option<OwnedFd>, Streams)> {
    let Some(console) = console else { return Ok((None, streams)) };
    let streams = Streams {
        input: Some(unblocked(console.try_clone()?)?),
        output: Some(unblocked(console.try_clone()?)?),
        error: None,
        is_terminal: true,
    };
    Ok((Some(console), streams))
}

/// Reading and writing never wait: one slow program must not hold up the others.
fn unblocked(fd: OwnedFd) -> io::Result<File> {
    let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
    fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(File::from(fd))
}

impl Streams {
    fn none() -> Streams {
        Streams { input: None, output: None, error: None, is_terminal: true }
    }
}

impl Program {
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// Becomes readable when the program ends.
    pub(super) fn exit_fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.kind {
            Kind::Created(created) => Some(created.pidfd()),
            Kind::Running(running) => Some(running.pidfd()),
            Kind::Joined(joined) => Some(joined.pidfd()),
            Kind::Gone => None,
        }
    }

    /// Watches for memory running out, where there is a limit and the kernel can tell.
    pub(super) fn oom_notice(&self) -> Option<OomNotice> {
        let group = match &self.kind {
            Kind::Created(created) => created.cgroup(),
            Kind::Running(running) => running.cgroup(),
            Kind::Joined(_) | Kind::Gone => None,
        };
        match group?.oom_notice() {
            Ok(notice) => notice,
            Err(error) => {
                log::warn!(pid = self.pid, error:% = os::text::chain(&error); "out of memory will not be told at once");
                None
            }
        }
    }

    /// How often the kernel has killed something in the job for want of memory.
    pub(super) fn oom_kills(&self) -> u64 {
        let group = match &self.kind {
            Kind::Running(running) => running.cgroup(),
            Kind::Created(_) | Kind::Joined(_) | Kind::Gone => None,
        };
        group.and_then(|group| group.stats().oom_kills).unwrap_or(0)
    }

    pub(super) fn is_attachable(&self) -> bool {
        self.is_attachable
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.console.is_some()
    }

    /// What is needed to join the job.
    pub(super) fn target(&self) -> Option<Target> {
        match &self.kind {
            Kind::Running(running) => Some(running.target().clone()),
            Kind::Created(_) | Kind::Joined(_) | Kind::Gone => None,
        }
    }

    pub(super) fn start(&mut self) -> Result<(), StartError> {
        match std::mem::replace(&mut self.kind, Kind::Gone) {
            Kind::Created(created) => {
                self.kind = Kind::Running(Box::new(created.start()?));
                Ok(())
            }
            other => {
                self.kind = other;
                Ok(())
            }
        }
    }

    /// Whether the signal was taken.
    pub(super) fn signal(&self, number: i32) -> bool {
        match &self.kind {
            Kind::Running(running) => running.signal(number).is_ok(),
            Kind::Joined(joined) => joined.signal(number).is_ok(),
            Kind::Created(_) | Kind::Gone => false,
        }
    }

    pub(super) fn resize(&self, rows: u16, columns: u16) {
        if let Some(console) = &self.console {
            // A terminal whose last user left has no size to change.
            let _ = runtime::console::resize(console.as_fd(), WindowSize { rows, columns });
        }
    }

    /// How it ended, once it has.
    pub(super) fn try_wait(&mut self) -> Option<DownReason> {
        let oom_kills = self.oom_kills();
        let exit = match &mut self.kind {
            Kind::Running(running) => running.try_wait(),
            Kind::Joined(joined) => joined.try_wait(),
            // Killed before it was started, by whoever is clearing up.
            Kind::Created(_) => return Some(DownReason::Signaled { signal: 9, oom: false }),
            Kind::Gone => return None,
        };
        match exit {
            Ok(None) => None,
            Ok(Some(Exit::Exited(code))) => Some(DownReason::Exited { code }),
            Ok(Some(Exit::Signaled(signal))) => {
                Some(DownReason::Signaled { signal, oom: signal == 9 && oom_kills > 0 })
            }
            Err(error) => Some(DownReason::Failed { reason: format!("how it ended is not known: {error}") }),
        }
    }

    /// Remove what is left of it.
    pub(super) fn delete(&mut self) {
        self.console = None;
        let deleted = match std::mem::replace(&mut self.kind, Kind::Gone) {
            Kind::Created(created) => created.delete(),
            Kind::Running(running) => running.delete(),
            Kind::Joined(_) | Kind::Gone => Ok(()),
        };
        if let Err(error) = deleted {
            // The daemon cleans up after every run and tries again.
            log::warn!(pid = self.pid, error:% = os::text::chain(&error); "remains of the job stay");
        }
    }
}
