//! What sshd and git start, as an unprivileged user: `authorized-keys`, `shell` and `hook`.
//! They speak to the receiver over its session socket and to the client over their standard streams.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "their output is sshd's and git's")]

use std::io::{BufRead, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use api::Client;
use api::attach::{Frame, Stream, read_frame, write_bytes};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use types::{ApiError, Code, KeyId};

use crate::core::command::{self, Verb};
use crate::core::refs::{self, Update};
use crate::serve::{CLOSE, CloseQuestion, KEY, KeyQuestion, OPEN, OpenQuestion, PUSH, PushQuestion, git_settings};
use crate::{BINARY, SESSION_SOCKET, limits};

/// How long one look at the client takes; a client that is gone is noticed within it.
const CLIENT_LOOK: u16 = 250;

/// How long git may take to put its locks away when the client is gone.
const END_GRACE: Duration = Duration::from_millis(300);

/// The variable that names the session to the hook.
const TOKEN_VARIABLE: &str = "SLIPWAY_PUSH_SESSION";

fn receiver() -> Client {
    Client::socket(Path::new(SESSION_SOCKET))
}

fn tell(error: &ApiError) {
    for line in error.message.lines() {
        eprintln!(" !     {line}");
    }
    if let Some(hint) = &error.hint {
        eprintln!("       {hint}");
    }
}

/// `authorized-keys TYPE BLOB`: print the line that lets a registered key in. Gives the exit code.
pub fn authorized_keys(kind: &str, blob: &str) -> u8 {
    let question = KeyQuestion { kind: kind.to_owned(), blob: blob.to_owned() };
    match receiver().call(&KEY, &[], &question) {
        Ok(key) => {
            println!("restrict,command=\"{BINARY} gitd shell {}\" {}", key.id, key.public);
            0
        }
        // No line: sshd refuses the key, and tries the client's next one.
        Err(error) if error.is_not_found() => 0,
        Err(error) => {
            eprintln!("{}", os::text::chain(&error));
            1
        }
    }
}

/// `shell KEY`: run the git program that the client asked for, if it may. Gives the exit code.
pub fn shell(key: &str) -> u8 {
    match serve_client(key) {
        Ok(code) => code,
        Err(error) => {
            tell(&error);
            1
        }
    }
}

fn serve_client(key: &str) -> Result<u8, ApiError> {
    let asked = std::env::var("SSH_ORIGINAL_COMMAND").unwrap_or_default();
    let command = command::parse(&asked).map_err(|error| ApiError::new(Code::Validation, error.to_string()))?;
    let key = KeyId::parse(key).map_err(|error| ApiError::new(Code::Validation, error.to_string()))?;
    let push = command.verb == Verb::ReceivePack;
    let opened = receiver().call(&OPEN, &[], &OpenQuestion { key, app: command.app, push })?;
    let settings = git_settings(command.verb);
    let git_failed = |error: std::io::Error| ApiError::new(Code::Internal, format!("start git: {error}"));
    make_repository(&opened.repo, &settings)?;
    let mut git = Command::new("git")
        .arg(command.verb.program())
        .arg(&opened.repo)
        .envs(settings)
        .env(TOKEN_VARIABLE, &opened.token)
        .stdin(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(git_failed)?;
    let sent = pass_input(&mut git)?;
    let group = Pid::from_raw(git.id().cast_signed());
    when_client_is_gone(move || {
        // git, its hook and their children; a group that has ended already is what is wanted.
        let _ = killpg(group, Signal::SIGTERM);
        os::clock::pause(END_GRACE);
        let _ = killpg(group, Signal::SIGKILL);
    })?;
    let status = git.wait().map_err(git_failed)?;
    // The receiver that does not hear it forgets the session when there are too many.
    let _ = receiver().call(&CLOSE, &[], &CloseQuestion { token: opened.token });
    // git tells that a pack was too large, and neither the limit nor what to do.
    if push && sent.load(Ordering::SeqCst) > limits::PACK_BYTES_MAX {
        let limit = limits::PACK_BYTES_MAX >> 20;
        let error = ApiError::new(Code::OverLimit, format!("the push is over the limit of {limit} MiB"))
            .hint("take large files out of the history (git filter-repo), or keep them in object storage");
        tell(&error);
    }
    Ok(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1))
}

/// Make a repository that is not there: aside, so that one that is there is whole.
fn make_repository(repo: &Path, settings: &[(String, String)]) -> Result<(), ApiError> {
    if repo.join("HEAD").exists() {
        return Ok(());
    }
    let failed = |error: std::io::Error| ApiError::new(Code::Internal, format!("make the repository: {error}"));
    let aside = repo.with_file_name(format!("{}.new", os::entropy::uuid()));
    let status = Command::new("git")
        .args(["init", "--quiet", "--bare", "--initial-branch=main"])
        .arg(&aside)
        .envs(settings.iter().cloned())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(failed)?;
    let made = match status.success() {
        true => std::fs::rename(&aside, repo).map_err(failed),
        false => Err(ApiError::new(Code::Internal, format!("git init: {status}"))),
    };
    if made.is_err() {
        let _ = std::fs::remove_dir_all(&aside);
    }
    // Another session may have been faster.
    if repo.join("HEAD").exists() { Ok(()) } else { made }
}

/// Do something once nobody reads our output any more: a client that is gone is noticed while nothing is written.
fn when_client_is_gone(end: impl FnOnce() + Send + 'static) -> Result<(), ApiError> {
    os::thread::spawn("client-watch", move || {
        while !is_closed(&std::io::stdout(), &std::io::stderr()) {}
        end();
    })
    .map(drop)
    .map_err(|error| ApiError::new(Code::Internal, format!("watch the client: {error}")))
}

/// Whether one of two outputs has lost its reader, looked at for a short while.
fn is_closed(out: &impl AsFd, err: &impl AsFd) -> bool {
    let mut outputs = [out.as_fd(), err.as_fd()].map(|output| PollFd::new(output, PollFlags::empty()));
    if poll(&mut outputs, CLIENT_LOOK).is_err() {
        // Interrupted, or short of memory: not a word on the client.
        os::clock::pause(Duration::from_millis(50));
        return false;
    }
    let lost = PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL;
    outputs.iter().any(|output| output.revents().is_some_and(|events| events.intersects(lost)))
}

/// Copy the client's bytes to git, and count them. The thread ends with this program.
fn pass_input(git: &mut Child) -> Result<Arc<AtomicU64>, ApiError> {
    let failed = |error: std::io::Error| ApiError::new(Code::Internal, format!("pass the client's input on: {error}"));
    let mut out = git.stdin.take().ok_or_else(|| failed(std::io::ErrorKind::BrokenPipe.into()))?;
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    os::thread::spawn("client-input", move || {
        let mut buffer = vec![0; 64 * 1024];
        let mut input = std::io::stdin().lock();
        loop {
            let got = input.read(&mut buffer).unwrap_or(0);
            count.fetch_add(got as u64, Ordering::SeqCst);
            // git that has ended reads no more, and says why itself.
            if got == 0 || out.write_all(&buffer[..got]).is_err() {
                return;
            }
        }
    })
    .map(|_| sent)
    .map_err(failed)
}

/// `hook`: what git runs before it moves a branch. Gives the exit code; only 0 lets it.
pub fn hook() -> u8 {
    match deploy() {
        Ok(code) => code,
        Err(error) => {
            tell(&error);
            1
        }
    }
}

fn deploy() -> Result<u8, ApiError> {
    let lines = std::io::stdin().lock().lines();
    let updates: Vec<Update> = lines.map_while(Result::ok).filter_map(|line| Update::parse(&line)).collect();
    let update = refs::choose(&updates).map_err(|refusal| {
        ApiError::new(Code::Validation, refusal.message).hint(format!("to deploy: {}", refusal.hint))
    })?;
    let token = std::env::var(TOKEN_VARIABLE).unwrap_or_default();
    let subject = git_output(&["log", "-1", "--format=%s", &update.new]).unwrap_or_default();
    let subject = subject.chars().take(limits::SUBJECT_CHARS_MAX).collect();
    // What is pushed may be an annotated tag's commit.
    let commit = git_output(&["rev-parse", &format!("{}^{{commit}}", update.new)])
        .ok_or_else(|| ApiError::new(Code::Validation, format!("{} is no commit", update.new)))?;
    let branch = update.name.rsplit('/').next().unwrap_or("main").to_owned();
    let question = PushQuestion { token, commit: commit.clone(), branch, subject };
    let (stream, early) = receiver().upgrade(&PUSH, &[], &[], api::attach::PROTOCOL, &question)?;
    let receiving =
        stream.try_clone().map_err(|error| ApiError::new(Code::Internal, format!("keep the connection: {error}")))?;
    when_client_is_gone(move || drop(receiving.shutdown(std::net::Shutdown::Both)))?;
    let archive = send_source(&stream, &commit)?;
    let code = show_progress(early, stream)?;
    // The receiver may have refused before it read everything.
    let _ = archive.join();
    Ok(code)
}

fn git_output(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn send_source(stream: &UnixStream, commit: &str) -> Result<std::thread::JoinHandle<()>, ApiError> {
    let failed = |error: std::io::Error| ApiError::new(Code::Internal, format!("archive the commit: {error}"));
    let mut archive = Command::new("git")
        .args(["archive", "--format=tar", commit])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut out = stream.try_clone().map_err(failed)?;
    let mut tar = archive.stdout.take().ok_or_else(|| failed(std::io::ErrorKind::BrokenPipe.into()))?;
    os::thread::spawn("archive", move || {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let got = tar.read(&mut buffer).unwrap_or(0);
            // An archive that failed is not ended, so that half a source is never built.
            let whole = got > 0 || archive.wait().is_ok_and(|status| status.success());
            if !whole {
                let _ = out.shutdown(std::net::Shutdown::Both);
                return;
            }
            if write_bytes(&mut out, Stream::Stdin, &buffer[..got]).is_err() || got == 0 {
                return;
            }
        }
    })
    .map_err(failed)
}

fn show_progress(early: Vec<u8>, stream: UnixStream) -> Result<u8, ApiError> {
    let mut input = std::io::Cursor::new(early).chain(stream);
    loop {
        match read_frame(&mut input) {
            Ok(Some(Frame::Bytes(_, text))) => {
                // A client that is gone ends this process by SIGPIPE or at the next read.
                let _ = std::io::stderr().lock().write_all(&text);
            }
            Ok(Some(Frame::Exit(status))) => return Ok(u8::try_from(status).unwrap_or(1)),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => {
                return Err(ApiError::new(Code::Unavailable, "the git receiver went away in the middle of the push")
                    .hint("nothing was deployed unless the last lines say so; push again"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_that_goes_away_is_noticed_without_a_write() {
        for pipe in [true, false] {
            let (reader, writer): (Box<dyn std::any::Any>, Box<dyn AsFdOwned>) = if pipe {
                let (reader, writer) = std::io::pipe().unwrap();
                (Box::new(reader), Box::new(writer))
            } else {
                let (reader, writer) = UnixStream::pair().unwrap();
                (Box::new(reader), Box::new(writer))
            };
            let other = std::fs::File::open("/dev/null").unwrap();
            assert!(!is_closed(&writer.fd(), &other), "it is still there");
            drop(reader);
            assert!(is_closed(&writer.fd(), &other));
        }
    }

    trait AsFdOwned {
        fn fd(&self) -> std::os::fd::BorrowedFd<'_>;
    }

    impl<T: AsFd> AsFdOwned for T {
        fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
            self.as_fd()
        }
    }

    #[test]
    fn repository_is_made_once_and_whole() {
        let dir = testkit::TempDir::new("gitd-init");
        let repo = dir.path().join("a1.git");
        for _ in 0..2 {
            make_repository(&repo, &[]).unwrap();
            assert!(repo.join("HEAD").exists() && repo.join("objects").exists());
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
