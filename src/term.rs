//! Words on a terminal: results to stdout, everything else to stderr, the same meaning without colour.
#![expect(clippy::print_stderr, reason = "this file is where the command line prints")]

use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

/// How listings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Columns for people.
    Table,
    /// One JSON document for programs.
    Json,
}

/// A line of result.
pub(crate) fn out(line: &str) {
    // A reader that closed the pipe has what it wanted.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Bytes of result as they are.
pub(crate) fn out_bytes(bytes: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
}

/// A line for the person, not for the pipe.
pub(crate) fn note(line: &str) {
    eprintln!("{line}");
}

/// A headline as Heroku's and git's tools print it.
pub(crate) fn step(line: &str) {
    eprintln!("{} {line}", paint("1;34", "----->"));
}

/// A failure: what failed, and what to do.
pub(crate) fn fail(message: &str, hint: Option<&str>) {
    eprintln!("{} {message}", paint("1;31", " !"));
    if let Some(hint) = hint {
        eprintln!("    {hint}");
    }
}

/// `text` in a colour if standard error is a terminal that wants one.
pub(crate) fn paint(code: &str, text: &str) -> String {
    if wants_colour() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

fn wants_colour() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && (set("FORCE_COLOR") || std::io::stderr().is_terminal())
}

/// One JSON document to stdout.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<()> {
    out(&serde_json::to_string_pretty(value).context("write the result as JSON")?);
    Ok(())
}

/// Columns as wide as they need, the last one free. No heading when there is nothing under it.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) {
    if rows.is_empty() {
        return;
    }
    let width = |at: usize| {
        rows.iter().map(|row| row.get(at).map_or(0, |cell| cell.chars().count())).max().unwrap_or(0).max(head[at].len())
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (cell, width) in cells.zip(&widths) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count()) + 2));
        }
        text.trim_end().to_owned()
    };
    out(&line(&mut head.iter().copied()));
    for row in rows {
        out(&line(&mut row.iter().map(String::as_str)));
    }
}

/// A duration as people say it: `350ms`, `4.2s`, `3m 5s`, `2h 10m`, `3d 4h`.
pub(crate) fn duration(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 => format!("{}ms", span.as_millis()),
        1..60 => format!("{:.1}s", span.as_secs_f64()),
        60..3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// How long ago a moment in milliseconds since 1970 was; `-` for never.
pub(crate) fn age(millis: u64) -> String {
    if millis == 0 {
        return "-".to_owned();
    }
    let then = os::clock::WallTime::from_unix_millis(millis);
    let span = os::clock::wall().since(then);
    // Tenths of a second say nothing about an age.
    duration(Duration::from_secs(span.as_secs().max(1))).replace(".0s", "s")
}

/// How long ago an RFC 3339 text was; `-` when there is none.
pub(crate) fn age_of(text: Option<&str>) -> String {
    text.and_then(os::clock::WallTime::parse).map_or_else(|| "-".to_owned(), |then| age(then.unix_millis()))
}

#[cfg(test)]
mod tests;
