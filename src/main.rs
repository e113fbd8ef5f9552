//! The one binary: the command line, the host's daemon, and every role of the platform.
//!
//! This file alone ends the process.
#![forbid(unsafe_code)]

use std::process::ExitCode;

mod bootstrap;
mod cli;
mod config;
mod datadir;
mod role;
mod term;

/// How a command ended. `run` ends with its job's own code instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    /// It did what was asked.
    Success = 0,
    /// It failed, and said why.
    Failure = 1,
    /// It was asked wrongly. clap uses the same code.
    Usage = 2,
    /// What it was asked about does not exist.
    NotFound = 3,
    /// The platform is not there, or not ready.
    Unavailable = 4,
}

fn main() -> ExitCode {
    let args: Vec<std::ffi::OsString> = std::env::args_os().collect();
    // Stages that the runtime starts by itself: before any thread, any flag and any log.
    if let Some(code) = role::hidden_stage(&args) {
        return code;
    }
    match cli::run(args) {
        Ok(code) => code,
        Err(error) => report(&error).into(),
    }
}

/// Print the failure once, with everything that led to it and what to do.
fn report(error: &anyhow::Error) -> Exit {
    let refusal = refusal(error);
    let call = error.chain().find_map(|cause| cause.downcast_ref::<api::CallError>());
    match (refusal, call) {
        (Some(refusal), _) => {
            term::fail(&format!("{error:#} ({})", refusal.code), refusal.hint.as_deref());
            match refusal.code {
                types::Code::NotFound => Exit::NotFound,
                types::Code::Unavailable | types::Code::StoreUnavailable => Exit::Unavailable,
                types::Code::Validation => Exit::Usage,
                _ => Exit::Failure,
            }
        }
        (None, Some(api::CallError::Connect { source, .. })) => {
            let hint = if source.kind() == std::io::ErrorKind::PermissionDenied {
                "the platform's sockets are root's: try again with sudo"
            } else {
                "is the host running? `slipway host status` tells, `slipway host start` starts it"
            };
            term::fail(&format!("{error:#}"), Some(hint));
            Exit::Unavailable
        }
        _ if error.is::<config::NoCluster>() => {
            term::fail(&format!("{error:#}"), Some("`slipway init` makes a cluster of this machine"));
            Exit::Unavailable
        }
        _ => {
            term::fail(&format!("{error:#}"), None);
            Exit::Failure
        }
    }
}

/// The refusal in a chain of causes. A call that was refused shows the refusal's words as its own, and is itself the link.
fn refusal(error: &anyhow::Error) -> Option<&types::ApiError> {
    error.chain().find_map(|cause| match cause.downcast_ref::<api::CallError>() {
        Some(api::CallError::Refused(refusal)) => Some(refusal),
        _ => cause.downcast_ref::<types::ApiError>(),
    })
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_is_found_below_a_call_and_below_context() {
        let refused = || types::ApiError::new(types::Code::Conflict, "another one is under way");
        let bare = anyhow::Error::from(refused());
        let call = anyhow::Error::from(api::CallError::Refused(refused())).context("deploy v2");
        for error in [bare, call] {
            assert_eq!(refusal(&error).map(|refusal| refusal.code), Some(types::Code::Conflict));
        }
        assert!(refusal(&anyhow::anyhow!("no code in it")).is_none());
    }
}
