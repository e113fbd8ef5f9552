//! The two commands on this very machine: up, up again, down, and nothing left.

use std::process::Command;
use std::time::Duration;

use crate::leftovers::Snapshot;
use crate::{say, shell};

/// What came of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// `script/up` the first time.
    pub first: Duration,
    /// `script/up` again.
    pub second: Duration,
    /// `script/down --purge`.
    pub down: Duration,
    /// What was not there before.
    pub left: Vec<String>,
}

/// Run the scripts as a user does.
///
/// # Panics
/// If one fails.
#[must_use]
pub fn run() -> Report {
    let before = Snapshot::take();
    let script = |name: &str, args: &[&str]| {
        let out = shell::run(Command::new(shell::root().join("script").join(name)).args(args));
        say(&out.to_string());
        assert_eq!(out.code, 0, "script/{name} failed");
        out.took
    };
    let first = script("up", &[]);
    let second = script("up", &[]);
    let down = script("down", &["--purge"]);
    Report { first, second, down, left: Snapshot::take().new_since(&before) }
}
