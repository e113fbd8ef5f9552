//! One more program in a running container.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::thread::JoinHandle;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};

use crate::cgroup::Cgroup;
use crate::console::Console;
use crate::container::{Exit, Runtime, Stdio, Target, exit_of, set_rlimits, signal_pidfd, start_error, started_ticks};
use crate::error::{ExecError, StartError};
use crate::launch::{Spaces, Staged, on_own_thread};
use crate::plan::{self, Join, Order};
use crate::spec::{Program, UserNamespace};
use crate::stage::Report;
use crate::sys;

/// A program that joined a container. It ends with the container at the latest; dropping this does not end it.
///
/// A thread reaps it at once, whatever the caller does: the kernel lets a container end only when every process in it
/// was reaped, and this one is the caller's child, not the container's.
#[derive(Debug)]
pub struct Joined {
    pid: i32,
    pidfd: OwnedFd,
    console: Option<Console>,
    reaper: Option<JoinHandle<io::Result<Exit>>>,
    ended: Option<Exit>,
}

impl Runtime {
    /// Run a program in a running container, in all its namespaces and its control group, as a child of this process.
    ///
    /// # Errors
    /// When the container is gone or the program cannot be run.
    pub fn exec(&self, target: &Target, program: &Program, stdio: Stdio) -> Result<Joined, ExecError> {
        plan::check_program(program, target.user_namespace).map_err(|reason| ExecError::Invalid { reason })?;
        let pid = target.pid;
        let gone = || ExecError::NotRunning { pid };
        let first = sys::pidfd_open(pid).map_err(|_| gone())?;
        // Only now, with the pidfd held, does the pid's start time prove that it is the same process.
        if started_ticks(pid) != Some(target.started_ticks) {
            return Err(gone());
        }
        let cgroup = target.cgroup.as_ref().map(Cgroup::open).transpose()?;
        let staged = self.stage_in(&first, cgroup.as_ref()).map_err(|(step, source)| {
            let gone_now = matches!(source.raw_os_error(), Some(libc::ESRCH | libc::ENODEV | libc::ENOENT));
            if gone_now { gone() } else { ExecError::Launch { step, source } }
        })?;
        let joined = self.order_join(&staged, target, program, stdio, &first, cgroup.as_ref());
        let joined = joined.and_then(|console| {
            let reaper = reap_on_thread(&staged).map_err(|source| ExecError::Launch { step: "watch it", source })?;
            Ok((console, Some(reaper)))
        });
        match joined {
            Ok((console, reaper)) => Ok(Joined { pid: staged.pid, pidfd: staged.pidfd, console, reaper, ended: None }),
            Err(error) => {
                staged.abandon();
                Err(error)
            }
        }
    }

    /// A child that is born in the pid namespace, because a process cannot move there itself.
    fn stage_in(&self, first: &OwnedFd, cgroup: Option<&Cgroup>) -> Result<Staged, (&'static str, io::Error)> {
        let group = cgroup.and_then(Cgroup::clone_target).transpose().map_err(|error| ("open group", error))?;
        // The stage joins the user namespace by itself, so no ids are mapped for it here.
        let spaces = Spaces { flags: 0, cgroup: group.as_ref().map(AsFd::as_fd), user: UserNamespace::Host };
        let mut started = Err(("start a thread", io::Error::from_raw_os_error(libc::EAGAIN)));
        on_own_thread("runtime-join", || {
            setns(first, CloneFlags::CLONE_NEWPID)?;
            started = Staged::start(self.binary(), &spaces);
            Ok(())
        })
        .map_err(|error| ("join the pid namespace", error))?;
        started
    }

    fn order_join(
        &self,
        staged: &Staged,
        target: &Target,
        program: &Program,
        stdio: Stdio,
        first: &OwnedFd,
        cgroup: Option<&Cgroup>,
    ) -> Result<Option<Console>, ExecError> {
        if let Some(group) = cgroup {
            group.attach_v1(staged.pid)?;
        }
        let launch = |step: &'static str| move |source| ExecError::Launch { step, source };
        let stdio_plan = stdio.plan();
        let fds = stdio.into_fds(target.user_namespace, program).map_err(launch("prepare stdio"))?;
        let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).chain([first.as_fd()]).collect();
        let join = Join { user_namespace: target.user_namespace, stdio: stdio_plan, program: program.clone() };
        let sent = staged.channel.send(&Order::Join(join), self.filter(program.seccomp), &borrowed);
        drop(fds);
        let console = match (sent, staged.channel.receive::<Report>()) {
            (_, Ok(Some(received))) => match received.body {
                Report::Ready => received.fds.into_iter().next().map(Console::new),
                Report::Failed { step, errno } => {
                    let source = io::Error::from_raw_os_error(errno);
                    return Err(StartError::Setup { step, source }.into());
                }
                _ => return Err(StartError::Gone.into()),
            },
            (Err(error), _) | (_, Err(error)) => return Err(launch("send the plan")(error)),
            (Ok(()), Ok(None)) => return Err(StartError::Gone.into()),
        };
        for warning in set_rlimits(staged.pid, &program.rlimits) {
            log::warn!(pid = staged.pid, reason:% = warning; "program runs without a setting");
        }
        start(staged, program)?;
        Ok(console)
    }
}

/// The channel closes itself at exec: silence is success.
fn start(staged: &Staged, program: &Program) -> Result<(), StartError> {
    staged.channel.send_byte().map_err(|_| StartError::Gone)?;
    match staged.channel.receive::<Report>() {
        Ok(None) => Ok(()),
        Ok(Some(received)) => match received.body {
            Report::NotStarted(fault) => {
                let name = program.args.first().cloned().unwrap_or_default();
                Err(start_error(fault, name, PathBuf::from(&program.cwd)))
            }
            Report::Failed { step, errno } => {
                Err(StartError::Setup { step, source: io::Error::from_raw_os_error(errno) })
            }
            _ => Err(StartError::Gone),
        },
        Err(_) => Err(StartError::Gone),
    }
}

impl Joined {
    /// Its pid on the host.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The same as a descriptor: it becomes readable when the program ends.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// The terminal's master, once, when there is a terminal.
    pub fn take_console(&mut self) -> Option<Console> {
        self.console.take()
    }

    /// Send it a signal, by number. One that is over already is no error.
    ///
    /// # Errors
    /// When the number is not a signal's.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        signal_pidfd(self.pidfd(), signal)
    }

    /// How it ended, or None while it runs.
    ///
    /// # Errors
    /// When the kernel cannot say.
    pub fn try_wait(&mut self) -> io::Result<Option<Exit>> {
        if self.ended.is_none() && poll(&mut [PollFd::new(self.pidfd(), PollFlags::POLLIN)], PollTimeout::ZERO)? > 0 {
            return self.wait().map(Some);
        }
        Ok(self.ended)
    }

    /// Wait for its end.
    ///
    /// # Errors
    /// When the kernel cannot say.
    pub fn wait(&mut self) -> io::Result<Exit> {
        if let Some(reaper) = self.reaper.take() {
            self.ended = Some(reaper.join().unwrap_or_else(|_| Err(io::Error::other("reaper ended early")))?);
        }
        self.ended.ok_or_else(|| io::Error::from_raw_os_error(libc::ECHILD))
    }
}

fn reap_on_thread(staged: &Staged) -> io::Result<JoinHandle<io::Result<Exit>>> {
    let pidfd = staged.pidfd.try_clone()?;
    os::thread::spawn("runtime-reap", move || {
        let ended = sys::wait_pidfd(pidfd.as_fd(), 0)?;
        ended.map(exit_of).ok_or_else(|| io::Error::from_raw_os_error(libc::ECHILD))
    })
}
