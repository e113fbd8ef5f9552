//! The daemon's side of a shim's socket.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::names;
use super::wire::{Ready, Reply, Request};
use crate::limits::{SHIM_ANSWER, SHIM_CREATES};
use crate::process;
use crate::stored::StoredProcess;

/// What a shim says is short; more is not from a shim.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Why a shim did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ShimCallError {
    /// It is not there.
    #[error("connect to the shim in {}", dir.display())]
    Connect {
        /// The job's directory.
        dir: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It went away, or took too long.
    #[error("hear the shim in {}", dir.display())]
    Lost {
        /// The job's directory.
        dir: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It could not be started.
    #[error("start a shim in {}", dir.display())]
    Launch {
        /// The job's directory.
        dir: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It refused, and this is why.
    #[error("{0}")]
    Refused(String),
}

/// Start a shim for the job in `dir` and wait until the job is created. The child is the shim: it is to be reaped.
///
/// # Errors
/// When it cannot be started or could not create the job; then it is gone.
pub fn launch(binary: &Path, dir: &Path) -> Result<(Child, StoredProcess), ShimCallError> {
    let failed = |source| ShimCallError::Launch { dir: dir.to_path_buf(), source };
    let log = OpenOptions::new().create(true).append(true).open(dir.join(names::SHIM_LOG)).map_err(failed)?;
    let mut child = Command::new(binary)
        .arg("shim")
        .arg(dir)
        .current_dir("/")
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(failed)?;
    let said = child.stdout.take().map(|out| hear(out, SHIM_CREATES)).transpose();
    let ready = said.map_err(failed).and_then(|line| {
        let line = line.unwrap_or_default();
        serde_json::from_slice(&line)
            .map_err(|_| ShimCallError::Refused("the shim ended before it said why".to_owned()))
    });
    match ready {
        Ok(Ready::Created(job)) => Ok((child, job)),
        Ok(Ready::Failed(why)) => {
            end(&mut child);
            Err(ShimCallError::Refused(why))
        }
        Err(error) => {
            end(&mut child);
            Err(error)
        }
    }
}

/// All that is said until the other end closes, which must be within `limit`.
fn hear(mut out: impl Read + AsFd, limit: Duration) -> io::Result<Vec<u8>> {
    let until = os::clock::now().after(limit);
    let (mut said, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let left = u16::try_from(until.since(os::clock::now()).as_millis()).unwrap_or(u16::MAX);
        let ready = match poll(&mut [PollFd::new(out.as_fd(), PollFlags::POLLIN)], PollTimeout::from(left)) {
            Err(Errno::EINTR) => continue,
            polled => polled?,
        };
        if ready == 0 {
            let why = format!("it did not say within {limit:?} that the job is created");
            return Err(io::Error::new(io::ErrorKind::TimedOut, why));
        }
        match out.read(&mut buffer)? {
            0 => return Ok(said),
            got => said.extend_from_slice(&buffer[..got]),
        }
        if said.len() as u64 > ANSWER_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
}

fn end(child: &mut Child) {
    // It is ending already, or it is of no use; the job dies with it.
    let _ = child.kill();
    let _ = child.wait();
}

fn connect(dir: &Path, request: &Request) -> Result<UnixStream, ShimCallError> {
    let failed = |source| ShimCallError::Connect { dir: dir.to_path_buf(), source };
    let handle = File::open(dir).map_err(failed)?;
    let mut stream = UnixStream::connect(process::by_descriptor(&handle, names::SOCKET)).map_err(failed)?;
    stream.set_read_timeout(Some(SHIM_ANSWER)).map_err(failed)?;
    let mut line = serde_json::to_vec(request).map_err(|error| failed(error.into()))?;
    line.push(b'\n');
    stream.write_all(&line).map_err(|source| ShimCallError::Lost { dir: dir.to_path_buf(), source })?;
    Ok(stream)
}

fn ask(dir: &Path, request: &Request) -> Result<(), ShimCallError> {
    let stream = connect(dir, request)?;
    let lost = |source| ShimCallError::Lost { dir: dir.to_path_buf(), source };
    let mut line = Vec::new();
    BufReader::new(stream.take(ANSWER_BYTES_MAX)).read_until(b'\n', &mut line).map_err(lost)?;
    match serde_json::from_slice(&line).map_err(|error| lost(error.into()))? {
        Reply::Done => Ok(()),
        Reply::Failed(why) => Err(ShimCallError::Refused(why)),
    }
}

/// Let the job's program run. Asked twice it is done once.
///
/// # Errors
/// [`ShimCallError::Refused`] says why the program cannot be run.
pub fn start(dir: &Path) -> Result<(), ShimCallError> {
    ask(dir, &Request::Start)
}

/// Send a signal to the job's program.
///
/// # Errors
/// When it has not started or has ended.
pub fn signal(dir: &Path, number: i32) -> Result<(), ShimCallError> {
    ask(dir, &Request::Signal(number))
}

/// A connection on which the shim says the job's [`State`](super::wire::State) now and at each change, one JSON line each.
///
/// # Errors
/// When the shim is not there.
pub fn watch(dir: &Path) -> Result<UnixStream, ShimCallError> {
    connect(dir, &Request::Watch)
}

/// A connection that speaks frames from here on; a refusal is its first frame.
///
/// # Errors
/// When the shim is not there.
pub fn frames(dir: &Path, request: &Request) -> Result<UnixStream, ShimCallError> {
    let stream = connect(dir, request)?;
    stream.set_read_timeout(None).map_err(|source| ShimCallError::Connect { dir: dir.to_path_buf(), source })?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shim_that_says_nothing_is_given_up() {
        let (silent, _open) = UnixStream::pair().unwrap();
        let error = hear(silent, Duration::from_millis(20)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let (heard, mut says) = UnixStream::pair().unwrap();
        says.write_all(b"ready").unwrap();
        drop(says);
        assert_eq!(hear(heard, Duration::from_secs(10)).unwrap(), b"ready");
    }
}
