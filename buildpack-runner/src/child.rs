//! Programs of a build: one process group each, output read as it comes, a deadline, and nothing left behind.

use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use stdx::Instant;

/// How often a child is asked whether it has ended while something else still holds its output.
const ASK_EVERY: u16 = 200;

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Exited(i32),
    Signaled(i32),
    /// It ran past the deadline and was killed.
    TooLong,
    /// It printed past its limit and was killed.
    TooMuch,
}

impl End {
    pub(crate) fn told(self) -> String {
        match self {
            End::Exited(126) => {
                "exit code 126: it is not executable, or its first line names no interpreter".to_owned()
            }
            End::Exited(127) => "exit code 127: a command was not found".to_owned(),
            End::Exited(code) => format!("exit code {code}"),
            End::Signaled(9) => "killed by SIGKILL: most likely it ran out of memory".to_owned(),
            End::Signaled(signal) => format!("killed by signal {signal}"),
            End::TooLong => "it ran longer than a build may".to_owned(),
            End::TooMuch => "it printed more than a build may".to_owned(),
        }
    }
}

impl From<ExitStatus> for End {
    fn from(status: ExitStatus) -> End {
        status.code().map_or_else(|| End::Signaled(status.signal().unwrap_or(0)), End::Exited)
    }
}

/// What bounds a child.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) deadline: Instant,
    pub(crate) output_bytes: u64,
}

/// Run it with both output streams going to `output`, in the order in which they come.
pub(crate) fn run(command: &mut Command, bounds: Bounds, output: &mut dyn FnMut(&[u8])) -> io::Result<End> {
    let (mut reader, writer) = io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
    let child = command.spawn();
    // The command keeps the writing ends, and with them the pipe would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = child?;
    let end = pump(&mut child, &mut reader, bounds, output);
    kill_group(&child);
    if matches!(end, Ok(Some(_)) | Err(_)) {
        child.wait()?;
    }
    match end? {
        Some(end) => Ok(end),
        None => Ok(child.wait()?.into()),
    }
}

/// Read until the output ends or the child has ended; says why it must be killed, if it must.
fn pump(
    child: &mut Child,
    reader: &mut PipeReader,
    bounds: Bounds,
    output: &mut dyn FnMut(&[u8]),
) -> io::Result<Option<End>> {
    let mut buffer = vec![0; 32 * 1024];
    let mut seen = 0;
    let mut ended = false;
    loop {
        if os::clock::now() >= bounds.deadline {
            return Ok(Some(End::TooLong));
        }
        if readable(reader)? {
            let n = reader.read(&mut buffer)?;
            if n == 0 {
                return wait_until(child, bounds.deadline);
            }
            output(&buffer[..n]);
            seen += n as u64;
            if seen > bounds.output_bytes {
                return Ok(Some(End::TooMuch));
            }
        } else if ended {
            // Something that left the group holds the pipe and says nothing.
            return Ok(None);
        } else if child.try_wait()?.is_some() {
            // What it left running ends here; then what was printed before is read.
            kill_group(child);
            ended = true;
        }
    }
}

fn readable(reader: &PipeReader) -> io::Result<bool> {
    let mut fds = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, PollTimeout::from(ASK_EVERY)) {
        Ok(n) => Ok(n > 0),
        Err(nix::errno::Errno::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn wait_until(child: &mut Child, deadline: Instant) -> io::Result<Option<End>> {
    let limit = deadline.since(os::clock::now()).max(Duration::from_millis(1));
    let ended = os::clock::wait_for(limit, || child.try_wait().transpose());
    Ok(if ended.transpose()?.is_some() { None } else { Some(End::TooLong) })
}

fn kill_group(child: &Child) {
    if let Ok(id) = i32::try_from(child.id()) {
        // It is an error that nobody is left, and the wanted one.
        let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
    }
}
