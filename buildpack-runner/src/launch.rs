//! The start of a process type in a run job: the slug's profile scripts, then its command, as one program.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use types::stack::APP_DIR;

use crate::core::procfile;

/// The file in a slug that holds its process types, in the form of a Procfile: those of the Procfile and of buildpacks.
pub(crate) const TYPES_FILE: &str = ".slipway/types";

/// Sources what buildpacks and the app left to be sourced; then becomes the command. `$1` is how to take the rest.
const SCRIPT: &str = r#"
cd "$HOME" || exit 126
how=$1; shift
for script in .profile.d/*.sh; do [ -r "$script" ] && . "./$script"; done
[ -r .profile ] && . ./.profile
unset script
case $how in
    line) unset how; exec bash -c "$1" ;;
    *) unset how; exec "$@" ;;
esac
"#;

/// What to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A process type of the slug.
    Type(String),
    /// A command: one word is a line for the shell, several are a program and its arguments.
    Command(Vec<String>),
}

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The slug has no such type.
    #[error("there is no process type {wanted:?}; the app has: {known}")]
    NoType {
        /// Which.
        wanted: String,
        /// Those that there are.
        known: String,
    },
    /// No command was given.
    #[error("there is no command to start")]
    NoCommand,
    /// bash cannot be started.
    #[error("start bash")]
    Bash(#[source] io::Error),
}

/// Become the command. Returns only when that failed.
#[must_use]
pub fn launch(target: &Target) -> LaunchError {
    let words = match target {
        Target::Type(wanted) => match line_of(Path::new(APP_DIR), wanted) {
            Ok(line) => vec![line],
            Err(error) => return error,
        },
        Target::Command(words) if words.is_empty() => return LaunchError::NoCommand,
        Target::Command(words) => words.clone(),
    };
    let how = if words.len() == 1 { "line" } else { "words" };
    let mut command = Command::new("/bin/bash");
    command.args(["-c", SCRIPT, "slipway", how]).args(words).env("HOME", APP_DIR).current_dir(APP_DIR);
    if std::env::var_os("PATH").is_none() {
        command.env("PATH", crate::run::PATH);
    }
    LaunchError::Bash(command.exec())
}

fn line_of(app: &Path, wanted: &str) -> Result<String, LaunchError> {
    let text = std::fs::read_to_string(app.join(TYPES_FILE)).unwrap_or_default();
    // What a build wrote is a Procfile without errors.
    let types = procfile::parse(&text).unwrap_or_default();
    types.get(wanted).cloned().ok_or_else(|| {
        let known = types.keys().cloned().collect::<Vec<_>>().join(", ");
        LaunchError::NoType {
            wanted: wanted.to_owned(),
            known: if known.is_empty() { "none".to_owned() } else { known },
        }
    })
}
