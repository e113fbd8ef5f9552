//! The Procfile: `type: command`, one in a line.

use std::collections::BTreeMap;
use std::fmt;

use types::ProcessType;

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No colon.
    NoColon,
    /// What stands before the colon is not a process type.
    Type,
    /// Nothing stands after the colon.
    NoCommand,
    /// The type was named before.
    Twice,
    /// A control character.
    Control,
}

/// A line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcfileError {
    /// Which, from 1.
    pub line: usize,
    /// The line.
    pub text: String,
    /// Why.
    pub reason: Reason,
}

impl fmt::Display for ProcfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.reason {
            Reason::NoColon => "there is no colon",
            Reason::Type => "a process type is at most 40 letters, digits, - and _",
            Reason::NoCommand => "there is no command after the colon",
            Reason::Twice => "this process type stands in an earlier line",
            Reason::Control => "it holds a control character",
        };
        write!(f, "line {} of the Procfile, {:?}: {reason}", self.line, self.text)
    }
}

/// Read it. Empty lines and lines that start with `#` are skipped.
///
/// # Errors
/// The first line that is neither.
pub fn parse(text: &str) -> Result<BTreeMap<String, String>, ProcfileError> {
    let mut commands = BTreeMap::new();
    for (i, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let error = |reason| ProcfileError { line: i + 1, text: line.chars().take(80).collect(), reason };
        let (name, command) = line.split_once(':').ok_or_else(|| error(Reason::NoColon))?;
        let (name, command) = (name.trim_end(), command.trim_start());
        ProcessType::parse(name).map_err(|_| error(Reason::Type))?;
        if command.is_empty() {
            return Err(error(Reason::NoCommand));
        }
        if command.chars().any(|c| c.is_control() && c != '\t') {
            return Err(error(Reason::Control));
        }
        if commands.insert(name.to_owned(), command.to_owned()).is_some() {
            return Err(error(Reason::Twice));
        }
    }
    Ok(commands)
}
