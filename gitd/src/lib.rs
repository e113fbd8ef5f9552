//! The git receiver: takes pushes over SSH, builds them, releases and deploys them, and tells the pusher.
//!
//! ```text
//! git push ── sshd ── authorized-keys ──┐ (which key is it?)
//!               └──── shell ────────────┤ (may it push to this app?)
//!                      └ git receive-pack                      gitd, over its session socket
//!                         └ pre-receive hook ──────────────────┤
//!                              tar of the commit ──────────────▶ build job ─▶ slug ─▶ blobs
//!                              text for the pusher ◀──────────── release, deployment
//! ```
//! OpenSSH does the cryptography and git the packs; neither runs with the platform's sockets in sight: keys, shell
//! and hook are this binary as an unprivileged user, and speak to [`run`] over one socket with four endpoints.
//! Only a build that was deployed lets git move the branch; a failed one leaves everything as it was.
//!
//! Knows no buildpack and no store. Entry points: [`run`] is the role; [`session`] is what sshd and git start.
//! Invariants: nothing a client sends reaches a shell (`core/command.rs` parses it); one push per app at a time;
//! a push whose client has gone is cancelled. Tested by tables and fuzzing of the parser, and end to end in `testbed`.
#![forbid(unsafe_code)]

mod build;
pub mod core;
mod limits;
mod output;
mod push;
mod serve;
pub mod session;
mod spool;
mod sshd;

use std::path::PathBuf;

use os::signal::Shutdown;
use types::{ApiError, JobId};

/// The name of the service, and of the folder with its sockets.
pub const SERVICE: &str = "gitd";

/// The user that sshd, git and the hook run as.
pub const GIT_USER: &str = "git";
const GIT_UID: u32 = 1001;

/// Where things are inside the receiver's job.
const SESSION_SOCKET: &str = "/run/gitd/session.sock";
const HOOKS_DIR: &str = "/run/gitd/hooks";
const BINARY: &str = "/usr/local/bin/slipway";

/// What the receiver is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The platform's sockets.
    pub run_dir: PathBuf,
    /// Its volume: repositories, host key, spool.
    pub data_dir: PathBuf,
    /// Its own job.
    pub job: JobId,
    /// Where sshd listens.
    pub ssh_port: u16,
    /// What an app's URL begins and ends with: `http://` and the port, when it is not 80.
    pub http_port: u16,
}

impl Options {
    /// Where this job keeps what is on its way. Another job of the receiver may be at work on the same volume.
    fn spool(&self) -> PathBuf {
        self.data_dir.join("spool").join(self.job.as_str())
    }
}

/// Run until the shutdown is asked for.
///
/// # Errors
/// When it cannot start; later failures belong to single pushes.
pub fn run(options: Options, shutdown: &Shutdown) -> Result<(), ApiError> {
    serve::run(options, shutdown)
}
