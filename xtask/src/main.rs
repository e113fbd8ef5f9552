//! The project's own chores: `cargo xtask ci | tidy | docs | golden | sim | fuzz | testbed`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stderr, reason = "a tool for people at a terminal")]

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

mod ci;
mod layers;
mod tidy;

const USAGE: &str = "\
cargo xtask <task>

  ci                                  everything CI runs: fmt, tidy, clippy, tests, docs
  tidy                                the rules that a machine can check
  docs                                write docs/cli.md anew from the command line's declaration
  golden [CRATE]                      run the script tests and accept what they print
  sim CORE [--seed N] [--seeds N] [--steps N]   sweep a core's simulations, e.g. `sim raft --seed 0x2a`
  fuzz PARSER [--minutes N]           mutate a parser's inputs for longer than the tests do
  testbed VERB ...                    clusters on this machine: `testbed help` lists the verbs
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the workspace")?;
    std::env::set_current_dir(root)?;
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest = args.get(1..).unwrap_or_default();
    match args.first().map(String::as_str) {
        Some("ci") => ci::run(),
        Some("tidy") => tidy::run(),
        Some("docs") => docs(),
        Some("golden") => golden(rest),
        Some("sim") => sim(rest),
        Some("fuzz") => fuzz(rest),
        Some("testbed") => testbed(rest),
        None | Some("help" | "--help" | "-h") => {
            eprint!("{USAGE}");
            Ok(())
        }
        Some(other) => bail!("there is no task {other:?}; `cargo xtask help` lists them"),
    }
}

/// Run a command of cargo's and fail with its name.
fn cargo(args: &[&str], env: &[(&str, &str)]) -> Result<()> {
    let status = Command::new(env!("CARGO"))
        .args(args)
        .envs(env.iter().copied())
        .status()
        .with_context(|| format!("start cargo {}", args.join(" ")))?;
    if !status.success() {
        bail!("cargo {} failed", args.join(" "));
    }
    Ok(())
}

fn docs() -> Result<()> {
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--package", "slipway", "--", "docs"])
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("run slipway docs")?;
    if !output.status.success() {
        bail!("slipway docs failed");
    }
    std::fs::write("docs/cli.md", output.stdout).context("write docs/cli.md")
}

fn golden(args: &[String]) -> Result<()> {
    let mut command = vec!["test", "--quiet"];
    match args.first() {
        Some(package) => command.extend(["--package", package]),
        None => command.push("--workspace"),
    }
    command.extend(["--test", "it", "script"]);
    cargo(&command, &[("UPDATE_GOLDEN", "1")])?;
    eprintln!("accepted; read the difference with `git diff -- '*/tests/scripts/*'`");
    Ok(())
}

/// The crate whose simulations go by a name.
fn core_of(name: &str) -> &str {
    match name {
        "raft" | "store" | "consensus" => "consensus-core",
        "cell" | "scheduler" => "scheduler-core",
        "deploy" | "controller" => "controller-core",
        "router" => "router-core",
        "pg" | "postgres" => "pg-appliance-core",
        other => other,
    }
}

fn sim(args: &[String]) -> Result<()> {
    let Some(name) = args.first() else { bail!("which core? raft, cell, deploy, router or pg") };
    let mut env = Vec::new();
    for pair in args[1..].chunks(2) {
        match pair {
            [flag, value] if flag == "--seed" => env.push(("SIM_SEED", value.as_str())),
            [flag, value] if flag == "--seeds" => env.push(("SIM_SEEDS", value.as_str())),
            [flag, value] if flag == "--steps" => env.push(("SIM_STEPS", value.as_str())),
            _ => bail!("sim takes --seed N, --seeds N and --steps N, not {pair:?}"),
        }
    }
    cargo(&["test", "--package", core_of(name), "--test", "it", "sim_", "--", "--nocapture"], &env)
}

fn fuzz(args: &[String]) -> Result<()> {
    let Some(parser) = args.first() else { bail!("which parser? http1, dns, pktline, procfile, ...") };
    let minutes = match args.get(1..) {
        Some([flag, value]) if flag == "--minutes" => value.clone(),
        Some([]) | None => "1".to_owned(),
        Some(other) => bail!("fuzz takes --minutes N, not {other:?}"),
    };
    let filter = format!("fuzz_{parser}");
    let filter = if parser == "http1" { "fuzz_" } else { filter.as_str() };
    let package = match parser.as_str() {
        "http1" => "http1",
        "dns" => "discovery",
        "pktline" => "gitd",
        "procfile" => "buildpack-runner",
        "wal" => "consensus",
        other => bail!("no parser {other:?} has a fuzzer"),
    };
    cargo(&["test", "--package", package, filter, "--", "--nocapture"], &[("FUZZ_MINUTES", &minutes)])
}

fn testbed(args: &[String]) -> Result<()> {
    cargo(&["build", "--release", "--package", "slipway"], &[])?;
    let mut command = vec!["run", "--quiet", "--release", "--package", "testbed", "--"];
    command.extend(args.iter().map(String::as_str));
    cargo(&command, &[])
}
