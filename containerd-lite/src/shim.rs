//! `slipway shim DIR`: holds one job, so that the daemon can die, restart and be replaced without the job noticing.
//!
//! One small process of its own session per job, one thread, one poll loop. It has the runtime create the job, keeps
//! the ends of its streams, writes its log, waits for its end and writes that down before it tells anyone. Clients
//! connect to a socket in the job's directory and ask in the words of [`wire`]. If the shim is killed the job dies
//! with it, and the host begins another run: nothing ever runs unowned.

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use api::attach::Stream;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use os::file::Durability;
use runtime::Runtime;
use stdx::Instant;
use types::job::DownReason;

use crate::core::lines::{Lines, Source};
use crate::limits;
use crate::process;
use crate::segments;
use crate::stored::{StoredProcess, StoredShim, VERSION};

mod answer;
pub mod call;
mod client;
mod output;
pub mod plan;
mod program;
mod session;
pub mod wire;

use client::{Client, Pace, Role};
use plan::ShimPlan;
use session::Session;
use wire::{AttachWish, Ready, ShimPhase, State};

/// The number of the job's own session.
const JOB: u64 = 0;

/// Names in a job's directory.
pub mod names {
    /// The claim, written by the daemon.
    pub const SPEC: &str = "spec.json";
    /// What is known of the job, written by the daemon.
    pub const STATE: &str = "state.json";
    /// Held by the shim as long as it lives; its process number is in it.
    pub const LOCK: &str = "shim.lock";
    /// The plan of the run, written by the daemon.
    pub const PLAN: &str = "run.json";
    /// The shim and the job's first process.
    pub const SHIM: &str = "shim.json";
    /// The shim's socket.
    pub const SOCKET: &str = "shim.sock";
    /// How the run ended.
    pub const EXIT: &str = "exit.json";
    /// What the shim itself says.
    pub const SHIM_LOG: &str = "shim.log";
    /// The directory of the job's log.
    pub const LOG: &str = "log";
}

/// Why a shim cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum ShimError {
    /// The plan cannot be read.
    #[error("read the plan of the run {}", path.display())]
    Plan {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The runtime cannot be used, or did not create the job.
    #[error(transparent)]
    Create(#[from] runtime::CreateError),
    /// A program could not be added to the job.
    #[error(transparent)]
    Exec(runtime::ExecError),
    /// The job's log cannot be written.
    #[error(transparent)]
    Log(#[from] segments::SegmentError),
    /// A file of the job's directory cannot be written.
    #[error(transparent)]
    File(#[from] os::file::FileError),
    /// Something the shim itself needs was refused.
    #[error("{action}")]
    Kernel {
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

fn kernel(action: &'static str) -> impl FnOnce(io::Error) -> ShimError {
    move |source| ShimError::Kernel { action, source }
}

/// The whole life of a shim for the job in `dir`. Its standard output says one line, [`Ready`]. To be called in a
/// process with one thread, after `runtime::init_stage`.
#[must_use]
pub fn main(dir: &Path) -> ExitCode {
    os::log::init(log::LevelFilter::Info);
    match prepare(dir) {
        Ok(mut shim) => {
            tell(&Ready::Created(shim.state().job));
            match shim.run() {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    log::error!(job:% = shim.plan.job, error:% = os::text::chain(&error); "shim failed");
                    ExitCode::FAILURE
                }
            }
        }
        Err(error) => {
            log::error!(dir:% = dir.display(), error:% = os::text::chain(&error); "job not created");
            tell(&Ready::Failed(os::text::chain(&error)));
            ExitCode::FAILURE
        }
    }
}

/// Say the one line and let go of standard output: the daemon reads until its end.
fn tell(ready: &Ready) {
    let mut line = serde_json::to_vec(ready).unwrap_or_default();
    line.push(b'\n');
    // A daemon that died meanwhile finds the socket instead.
    let _ = io::stdout().write_all(&line).and_then(|()| io::stdout().flush());
    if let Ok(null) = fs::OpenOptions::new().write(true).open("/dev/null") {
        let _ = nix::unistd::dup2_stdout(&null);
    }
}

fn prepare(dir: &Path) -> Result<Shim, ShimError> {
    // Its own session: neither a terminal nor the end of the daemon's session reaches it.
    let _ = nix::unistd::setsid();
    // The end of the job is asked for through the socket; a stray SIGTERM to the shim must not be that.
    os::signal::Shutdown::new().on_signals().map_err(kernel("ignore signals"))?;
    let lock = hold(dir)?;
    let path = dir.join(names::PLAN);
    let plan = fs::read(&path).and_then(|text| serde_json::from_slice::<ShimPlan>(&text).map_err(io::Error::other));
    let plan = plan.map_err(|source| ShimError::Plan { path, source })?;
    let log = segments::Writer::open(&dir.join(names::LOG))?;
    let runtime = program::runtime()?;
    let (program, streams) = program::create(&runtime, &plan)?;
    let pid = program.pid();
    let job = StoredProcess { pid, started: process::started(pid).unwrap_or(0) };
    let shim = i32::try_from(std::process::id()).unwrap_or(0);
    let shim = StoredProcess { pid: shim, started: process::started(shim).unwrap_or(0) };
    let stored = StoredShim { version: VERSION, run: plan.run, shim, job };
    let listener = listen(dir)?;
    write_json(&dir.join(names::SHIM), &stored, Durability::Atomic)?;
    let now = os::clock::now();
    Ok(Shim {
        dir: dir.to_path_buf(),
        runtime,
        oom: program.oom_notice(),
        is_started: false,
        sessions: vec![Session::new(JOB, program, streams)],
        next_session: JOB + 1,
        listener,
        clients: Vec::new(),
        log,
        lines: Lines::new(now),
        job,
        ended: None,
        linger_until: None,
        plan,
        _lock: lock,
    })
}

/// Be the one shim of this job. A daemon that cleans up takes the lock before it goes on, so that a shim which a
/// dead daemon had started, and which is only now coming to life, cannot get in its way.
fn hold(dir: &Path) -> Result<fs::File, ShimError> {
    let opened = fs::OpenOptions::new().write(true).create(true).truncate(false).open(dir.join(names::LOCK));
    let mut lock = opened.map_err(kernel("open the shim's lock"))?;
    lock.try_lock().map_err(|error| kernel("be the only shim of the job")(error.into()))?;
    lock.set_len(0).and_then(|()| write!(lock, "{}", std::process::id())).map_err(kernel("write the shim's lock"))?;
    Ok(lock)
}

/// Listen in the job's directory, by way of a descriptor: its own path may be longer than a socket's may be.
fn listen(dir: &Path) -> Result<UnixListener, ShimError> {
    let socket = dir.join(names::SOCKET);
    os::file::remove_if_exists(&socket)?;
    let handle = fs::File::open(dir).map_err(kernel("open the job's directory"))?;
    let listener = UnixListener::bind(process::by_descriptor(&handle, names::SOCKET));
    let listener = listener.map_err(kernel("listen in the job's directory"))?;
    listener.set_nonblocking(true).map_err(kernel("listen in the job's directory"))?;
    Ok(listener)
}

fn write_json<T: serde::Serialize>(path: &Path, item: &T, durability: Durability) -> Result<(), ShimError> {
    let text = serde_json::to_vec(item).map_err(|error| kernel("encode a record")(error.into()))?;
    Ok(os::file::replace(path, &text, 0o600, durability)?)
}

/// A shim at work.
struct Shim {
    dir: PathBuf,
    plan: ShimPlan,
    runtime: Runtime,
    job: StoredProcess,
    is_started: bool,
    sessions: Vec<Session>,
    next_session: u64,
    listener: UnixListener,
    clients: Vec<Client>,
    log: segments::Writer,
    lines: Lines,
    oom: Option<runtime::cgroup::OomNotice>,
    ended: Option<DownReason>,
    linger_until: Option<Instant>,
    /// Held for life.
    _lock: fs::File,
}

/// What a descriptor in the poll set is.
#[derive(Clone, Copy, Debug)]
enum Token {
    Listener,
    Oom,
    Exit,
    Output(u64, Stream),
    Input(u64),
    Client(usize),
}

impl Shim {
    fn run(&mut self) -> Result<(), ShimError> {
        let mut buffer = vec![0; 32 * 1024];
        loop {
            let now = os::clock::now();
            for (token, flags) in self.wait(now)? {
                self.happened(token, flags, &mut buffer);
            }
            self.settle();
            if self.is_over() {
                // The socket goes last: while it answers, the daemon asks it and not the files.
                os::file::remove_if_exists(&self.dir.join(names::SOCKET))?;
                return Ok(());
            }
        }
    }

    /// Everything that can happen, until one of it does or time has come for something.
    fn wait(&self, now: Instant) -> Result<Vec<(Token, PollFlags)>, ShimError> {
        let mut tokens: Vec<(Token, BorrowedFd<'_>, PollFlags)> = Vec::with_capacity(8 + self.clients.len());
        if self.clients.len() < limits::CLIENTS_MAX {
            tokens.push((Token::Listener, self.listener.as_fd(), PollFlags::POLLIN));
        }
        if let Some(oom) = &self.oom {
            tokens.push((Token::Oom, oom.as_fd(), program::oom_flags(oom)));
        }
        for session in &self.sessions {
            if session.is_running() {
                tokens.extend(session.program.exit_fd().map(|fd| (Token::Exit, fd, PollFlags::POLLIN)));
            }
            if !self.is_held_back(session.number) {
                for output in &session.outputs {
                    tokens.push((Token::Output(session.number, output.stream), output.fd(), PollFlags::POLLIN));
                }
            }
            tokens.extend(session.wanting().map(|fd| (Token::Input(session.number), fd, PollFlags::POLLOUT)));
        }
        for (at, client) in self.clients.iter().enumerate() {
            let mut flags = PollFlags::empty();
            if !self.must_wait(client) {
                flags |= PollFlags::POLLIN;
            }
            if client.backlog() > 0 {
                flags |= PollFlags::POLLOUT;
            }
            tokens.push((Token::Client(at), client.fd(), flags));
        }
        let mut set: Vec<PollFd<'_>> = tokens.iter().map(|(_, fd, flags)| PollFd::new(*fd, *flags)).collect();
        match nix::poll::poll(&mut set, self.timeout(now)) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(kernel("wait for something to happen")(error.into())),
        }
        let happened = tokens.iter().zip(&set).filter_map(|((token, _, _), polled)| {
            polled.revents().filter(|flags| !flags.is_empty()).map(|flags| (*token, flags))
        });
        Ok(happened.collect())
    }

    fn timeout(&self, now: Instant) -> PollTimeout {
        let due = self
            .sessions
            .iter()
            .filter_map(Session::deadline)
            .chain(self.lines.deadline())
            .chain(self.linger_until)
            .min();
        match due {
            None => PollTimeout::NONE,
            Some(due) => {
                // One more, so that the time has certainly come when the wait is over.
                let millis = due.since(now).as_millis() + 1;
                PollTimeout::try_from(i32::try_from(millis).unwrap_or(i32::MAX)).unwrap_or(PollTimeout::MAX)
            }
        }
    }

    /// Whether the program's output must wait for a client that it runs for.
    fn is_held_back(&self, number: u64) -> bool {
        self.clients.iter().any(|client| {
            matches!(client.role, Role::Attached { session, pace: Pace::Waits, .. } if session == number)
                && client.is_full()
        })
    }

    /// Whether a client must wait before it sends more.
    fn must_wait(&self, client: &Client) -> bool {
        match client.role {
            Role::Attached { session, .. } => {
                self.sessions.iter().any(|candidate| candidate.number == session && candidate.is_input_full())
            }
            Role::Done => true,
            Role::Asking | Role::Watching => false,
        }
    }

    fn happened(&mut self, token: Token, flags: PollFlags, buffer: &mut [u8]) {
        let now = os::clock::now();
        match token {
            Token::Listener => self.accept(),
            Token::Oom => self.out_of_memory(),
            Token::Exit => self.sessions.iter_mut().for_each(|session| session.reap(now)),
            Token::Output(number, stream) => self.read_output(now, number, stream, buffer),
            Token::Input(number) => {
                if let Some(session) = self.session(number) {
                    session.pour();
                }
            }
            Token::Client(at) => {
                if let Some(client) = self.clients.get_mut(at) {
                    client.flush();
                    if flags.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR) {
                        client.fill();
                    }
                    self.listen_to(at);
                }
            }
        }
    }

    fn session(&mut self, number: u64) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|session| session.number == number)
    }

    fn accept(&mut self) {
        // A failure is of that connection alone, or of a moment without descriptors.
        if let Ok((stream, _)) = self.listener.accept()
            && let Ok(client) = Client::new(stream)
        {
            self.clients.push(client);
        }
    }

    /// After all that happened: ends, losses, clients that left, time that passed.
    fn settle(&mut self) {
        let now = os::clock::now();
        let mut records = Vec::new();
        self.lines.tick(now, os::clock::wall().unix_millis(), &mut records);
        self.write_log(&records);
        self.drop_clients();
        let finished: Vec<(u64, DownReason)> = self
            .sessions
            .iter()
            .filter_map(|session| session.finished(now).map(|reason| (session.number, reason.clone())))
            .collect();
        for (number, reason) in finished {
            self.finish(now, number, &reason);
        }
    }

    fn drop_clients(&mut self) {
        let before = self.attached(JOB);
        let left: Vec<(u64, Pace)> = self
            .clients
            .iter()
            .filter(|client| client.is_finished())
            .filter_map(|client| match client.role {
                Role::Attached { session, pace, wish } if wish.stdin => Some((session, pace)),
                _ => None,
            })
            .collect();
        self.clients.retain(|client| !client.is_finished());
        for (number, pace) in left {
            self.abandoned(number, pace);
        }
        if self.attached(JOB) != before {
            self.tell_watchers();
        }
    }

    /// The last client that could give input to a program is gone.
    fn abandoned(&mut self, number: u64, pace: Pace) {
        let someone = |client: &Client| matches!(client.role, Role::Attached { session, wish, .. } if session == number && wish.stdin);
        if self.clients.iter().any(someone) || pace == Pace::Drops {
            return;
        }
        if let Some(session) = self.session(number) {
            session.end_input();
            if session.program.is_terminal() {
                session.program.signal(nix::sys::signal::Signal::SIGHUP as i32);
            }
        }
    }

    fn attached(&self, number: u64) -> u32 {
        let count = self
            .clients
            .iter()
            .filter(|client| matches!(client.role, Role::Attached { session, .. } if session == number))
            .count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    fn state(&self) -> State {
        let phase = match &self.ended {
            Some(reason) => ShimPhase::Ended(reason.clone()),
            None if self.is_started => ShimPhase::Running,
            None => ShimPhase::Created,
        };
        State { run: self.plan.run, job: self.job, phase, clients: self.attached(JOB) }
    }

    fn tell_watchers(&mut self) {
        let state = self.state();
        for client in self.clients.iter_mut().filter(|client| matches!(client.role, Role::Watching)) {
            client.say(&state);
        }
    }

    /// Whether the job ended and everyone who was to hear of it has, or had the time to.
    fn is_over(&self) -> bool {
        // Programs that were added to the job ended with it; their clients are to hear of that, too.
        let unheard = || !self.sessions.is_empty() || self.clients.iter().any(|client| client.backlog() > 0);
        self.linger_until.is_some_and(|until| os::clock::now() >= until || !unheard())
    }
}
