//! Golden scripts: a file of commands and the trace they must give.
//!
//! ```text
//! # A comment line at the top of a block is handed over with the commands.
//! put a 1
//! range a
//! ----
//! revision 2
//! a = 1
//!
//! delete a
//! ----
//! deleted 1
//! ```
//! A block is its commands, a line `----`, and the trace; a blank line ends it. A file is one scenario of
//! one or more blocks. A blank line inside a trace is written as a line with a single `.`.

use std::fs;
use std::path::{Path, PathBuf};

const RULE: &str = "----";

/// Hand each block's commands of each `*.txt` file in `dir` to `execute`, and compare the trace it gives.
/// `dir` is taken from the crate's folder, where cargo runs tests.
///
/// # Panics
/// If a trace differs, with both; with `UPDATE_GOLDEN=1` the files are rewritten instead. If `dir` holds no script.
pub fn run(dir: impl AsRef<Path>, mut execute: impl FnMut(&str) -> String) {
    for file in files(dir.as_ref()) {
        check(&file, &mut execute);
    }
}

/// As [`run`], with a fresh session per file that lives through its blocks. `open` gets the file's stem.
///
/// # Panics
/// As [`run`].
pub fn run_sessions<S: FnMut(&str) -> String>(dir: impl AsRef<Path>, mut open: impl FnMut(&str) -> S) {
    for file in files(dir.as_ref()) {
        let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        check(&file, &mut open(&stem));
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("read scripts of {}: {e}", dir.display()));
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    assert!(!files.is_empty(), "no script in {}", dir.display());
    files.sort();
    files
}

fn check(file: &Path, execute: &mut dyn FnMut(&str) -> String) {
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("read {}: {e}", file.display()));
    let update = std::env::var("UPDATE_GOLDEN").is_ok_and(|value| value == "1");
    let mut rewritten = Vec::new();
    for block in parse(&text) {
        let trace = escape(&execute(&block.commands));
        assert!(
            update || trace == block.trace,
            "{}:{}: the trace differs (UPDATE_GOLDEN=1 accepts it)\n{}\n--- expected\n{}\n--- got\n{trace}\n",
            file.display(),
            block.line,
            block.commands,
            block.trace,
        );
        let end = if trace.is_empty() { "" } else { "\n" };
        rewritten.push(format!("{}\n{RULE}\n{trace}{end}", block.commands));
    }
    if update {
        fs::write(file, rewritten.join("\n")).unwrap_or_else(|e| panic!("write {}: {e}", file.display()));
    }
}

struct Block {
    line: usize,
    commands: String,
    trace: String,
}

fn parse(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, first)) = lines.next() {
        if first.trim().is_empty() {
            continue;
        }
        let mut commands = vec![first];
        let mut trace = Vec::new();
        for (_, line) in lines.by_ref() {
            if line == RULE {
                break;
            }
            commands.push(line);
        }
        for (_, line) in lines.by_ref() {
            if line.is_empty() {
                break;
            }
            trace.push(line);
        }
        while commands.last().is_some_and(|line| line.trim().is_empty()) {
            commands.pop();
        }
        blocks.push(Block { line: number + 1, commands: commands.join("\n"), trace: trace.join("\n") });
    }
    blocks
}

fn escape(trace: &str) -> String {
    let lines: Vec<&str> = trace.trim_end().lines().map(|line| if line.is_empty() { "." } else { line }).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests;
