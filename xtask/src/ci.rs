//! What CI runs, in the order in which it fails soonest.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

pub(crate) fn run() -> Result<()> {
    crate::cargo(&["fmt", "--all", "--", "--check"], &[])?;
    crate::tidy::run()?;
    crate::cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"], &[])?;
    // The cluster tests run the binary as the other tests were built: its parts are there already.
    let binary = build_binary()?;
    let env = [("CI", "true"), ("SLIPWAY_BIN", binary.as_str())];
    crate::cargo(&["test", "--workspace", "--no-fail-fast"], &env)?;
    crate::cargo(&["doc", "--workspace", "--no-deps", "--quiet"], &[("RUSTDOCFLAGS", "-D warnings")])
}

/// Build the binary; gives where it is.
fn build_binary() -> Result<String> {
    let output = Command::new(env!("CARGO"))
        .args(["build", "--package", "slipway", "--message-format=json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .context("start cargo build")?;
    if !output.status.success() {
        bail!("cargo build failed");
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let executable = |line: &str| -> Option<String> {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().filter(|path| path.ends_with("/slipway")).map(str::to_owned)
    };
    text.lines().rev().find_map(executable).context("cargo names the binary that it built")
}
