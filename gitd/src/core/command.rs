//! The command that an SSH client asks for. Parsed, never run: no byte of it reaches a shell.

use types::AppName;

/// What a client may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `git push`.
    ReceivePack,
    /// `git fetch`, `git clone`.
    UploadPack,
}

/// A request for one app's repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// What.
    pub verb: Verb,
    /// Of which app.
    pub app: AppName,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No command: somebody wants a shell.
    #[error("hello: your key works, and there is no shell here; push with `git push slipway main`")]
    NoShell,
    /// Another program.
    #[error("only git push, fetch and clone are served here")]
    NotGit,
    /// The path names no app.
    #[error("the repository path names no app: use ssh://git@HOST:PORT/APP.git")]
    NoApp,
}

impl Verb {
    /// The program of git.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Verb::ReceivePack => "receive-pack",
            Verb::UploadPack => "upload-pack",
        }
    }
}

/// Parse what sshd passes on in `SSH_ORIGINAL_COMMAND`.
///
/// # Errors
/// Says what is served.
pub fn parse(text: &str) -> Result<Command, CommandError> {
    let text = text.trim_matches(' ');
    if text.is_empty() {
        return Err(CommandError::NoShell);
    }
    // `git-receive-pack 'path'` from git itself, `git receive-pack` from others.
    let text = text.strip_prefix("git ").map_or_else(|| text.to_owned(), |rest| format!("git-{rest}"));
    let (program, path) = text.split_once(' ').ok_or(CommandError::NotGit)?;
    let verb = match program {
        "git-receive-pack" => Verb::ReceivePack,
        "git-upload-pack" => Verb::UploadPack,
        _ => return Err(CommandError::NotGit),
    };
    let path = path.trim_matches(' ');
    let path = ['\'', '"']
        .into_iter()
        .find_map(|quote| path.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)))
        .unwrap_or(path);
    let name = path.trim_start_matches('/');
    let name = name.strip_suffix(".git").unwrap_or(name);
    let app = AppName::parse(name).map_err(|_| CommandError::NoApp)?;
    Ok(Command { verb, app })
}

#[cfg(test)]
mod tests;
