//! Running commands and looking at how they ended.

use std::fmt;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How a command ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// The command, for messages.
    pub command: String,
    /// Its exit code; -1 for a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "$ {}\n{}{}(exit code {})", self.command, self.stdout, self.stderr, self.code)
    }
}

impl Output {
    /// Standard output of a success.
    ///
    /// # Panics
    /// If it failed; shows everything it said.
    #[must_use]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self}");
        self.stdout
    }

    /// What a failure said, both streams.
    ///
    /// # Panics
    /// If it succeeded.
    #[must_use]
    pub fn failed(self) -> String {
        assert_ne!(self.code, 0, "this was to fail: {self}");
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Run a command to its end.
///
/// # Panics
/// If it cannot be started.
pub fn run(command: &mut Command) -> Output {
    run_with_input(command, b"")
}

/// Run a command with this as its standard input.
///
/// # Panics
/// If it cannot be started.
pub fn run_with_input(command: &mut Command, input: &[u8]) -> Output {
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let start = os::clock::now();
    let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
    let mut child = command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("start {}: {error}", words.join(" ")));
    if let Some(mut stdin) = child.stdin.take() {
        // A command that ends without reading everything is judged by its exit code.
        let _ = stdin.write_all(input);
    }
    let mut err = child.stderr.take().unwrap();
    let stderr = os::thread::spawn("stderr", move || {
        let mut text = Vec::new();
        let _ = err.read_to_end(&mut text);
        text
    })
    .unwrap();
    let mut stdout = Vec::new();
    let _ = child.stdout.take().unwrap().read_to_end(&mut stdout);
    let status = child.wait().unwrap();
    Output {
        command: words.join(" "),
        code: status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr.join().unwrap()).into_owned(),
        took: os::clock::now().since(start),
    }
}

/// Run a program with words as its arguments.
pub fn sh(program: &str, args: &[&str]) -> Output {
    run(Command::new(program).args(args))
}

/// The top of the source tree.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// The binary under test: `SLIPWAY_BIN`, else built from this tree.
#[must_use]
pub fn binary() -> PathBuf {
    static BUILT: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    BUILT
        .get_or_init(|| {
            if let Some(path) = std::env::var_os("SLIPWAY_BIN") {
                return PathBuf::from(path);
            }
            let args = ["build", "--release", "--package", "slipway", "--message-format=json"];
            let out = run(Command::new("cargo").args(args).current_dir(root())).ok();
            let path = out.lines().rev().find_map(|line| {
                let message: serde_json::Value = serde_json::from_str(line).ok()?;
                message["executable"].as_str().filter(|path| path.ends_with("/slipway")).map(PathBuf::from)
            });
            path.expect("cargo names the binary it built")
        })
        .clone()
}
