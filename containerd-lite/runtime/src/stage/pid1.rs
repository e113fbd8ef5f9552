//! The first process of a container. The kernel gives it duties (reaping orphans) and a shield (no default action for
//! signals), which ordinary programs do not expect; so it is ours and the program is its child. It forwards signals,
//! reaps, reports how the program ended, and ends, which kills whatever else runs in the container.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use caps::{CapSet, Capability};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::{At, Fault, FaultAt, ProgramStdio, Report, StepError, program};
use crate::channel::Channel;
use crate::plan::Create;
use crate::spec::OwnerExit;
use crate::sys::{self, Ended};

/// A shell's code for a program killed by signal n is 128 + n; ours too, for who looks only at the exit code.
const SIGNALED_BASE: i32 = 128;

/// Start the program and stay with it. Returns only when a step before it failed.
pub(super) fn run(channel: &Channel, plan: &Create, stdio: ProgramStdio) -> Result<(), StepError> {
    let (mut faults, fault_writer) = io::pipe().at(|| String::from("make a pipe"))?;
    let signals = SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .at(|| String::from("watch signals"))?;
    let child = match sys::fork() {
        Ok(0) => {
            let fault = program::become_program(&plan.program, stdio);
            // The pipe closes itself on success; a fault is all that ever goes through it.
            serde_json::to_writer(&fault_writer, &fault).ok();
            (&fault_writer).flush().ok();
            sys::exit_now(1);
        }
        Ok(child) => child,
        Err(error) => {
            let fault = Fault { at: FaultAt::Fork, errno: error.raw_os_error().unwrap_or(libc::EAGAIN) };
            channel.send(&Report::NotStarted(fault), &[], &[]).at(|| String::from("report"))?;
            sys::exit_now(1);
        }
    };
    drop(fault_writer);
    program::drop_stdio(stdio);
    keep_only_kill()?;
    let mut text = Vec::new();
    faults.read_to_end(&mut text).at(|| String::from("hear from the program"))?;
    drop(faults);
    let report = match serde_json::from_slice::<Fault>(&text) {
        Ok(fault) => Report::NotStarted(fault),
        Err(_) => Report::Started,
    };
    channel.send(&report, &[], &[]).ok();
    if matches!(report, Report::NotStarted(_)) {
        sys::exit_now(1);
    }
    attend(channel, &signals, child, plan.owner_exit)
}

/// All that forwarding signals needs, also to a program that changed its user.
fn keep_only_kill() -> Result<(), StepError> {
    let kill = [Capability::CAP_KILL].into_iter().collect::<caps::CapsHashSet>();
    let none = caps::CapsHashSet::default();
    let sets = [(CapSet::Inheritable, &none), (CapSet::Effective, &kill), (CapSet::Permitted, &kill)];
    for (set, content) in sets {
        caps::set(None, set, content).map_err(|_| StepError::new("drop capabilities", io::Error::last_os_error()))?;
    }
    Ok(())
}

fn attend(channel: &Channel, signals: &SignalFd, child: i32, owner_exit: OwnerExit) -> ! {
    let mut owned = true;
    loop {
        let owner = if owned { PollFlags::POLLIN } else { PollFlags::empty() };
        let mut watched =
            [PollFd::new(signals.as_fd(), PollFlags::POLLIN), PollFd::new(channel.stream().as_fd(), owner)];
        let watched = if owned { &mut watched[..] } else { &mut watched[..1] };
        // EINTR cannot be: every signal is blocked.
        poll(watched, PollTimeout::NONE).ok();
        let owner_gone = watched.get(1).and_then(PollFd::any).unwrap_or(false);
        while let Ok(Some(signal)) = signals.read_signal() {
            let number = signal.ssi_signo.cast_signed();
            if number == Signal::SIGCHLD as i32 {
                reap(channel, child);
            } else {
                // A program that has just ended is reaped in the next round.
                sys::kill(child, number).ok();
            }
        }
        if owner_gone {
            match owner_exit {
                OwnerExit::Kill => sys::exit_now(SIGNALED_BASE + libc::SIGKILL),
                OwnerExit::Survive => owned = false,
            }
        }
    }
}

fn reap(channel: &Channel, child: i32) {
    while let Some((pid, ended)) = sys::reap_any() {
        if pid != child {
            continue;
        }
        let (report, code) = match ended {
            Ended::Code(code) => (Report::Exited(code), code),
            Ended::Signal(signal) => (Report::Signaled(signal), SIGNALED_BASE + signal),
        };
        channel.send(&report, &[], &[]).ok();
        sys::exit_now(code);
    }
}
