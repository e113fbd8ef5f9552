//! The test bed's command line: `cargo xtask testbed VERB`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool for people at a terminal")]
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use testbed::cluster::Options;
use testbed::scenario::{deploys, examples, idle, machine, power};
use testbed::{Cluster, say};

const USAGE: &str = "\
cargo xtask testbed VERB

  push-examples               push every example, cold and cached, beside the bare install command
  deploys [N] [RATE]          N deploys in a row (20) under RATE requests a second (200), then a rollback
  powercuts [N] [--seed S]    N power cuts (50) at random moments
  idle                        memory and CPU of an idle host, and the size of the binary
  machine                     script/up twice and script/down --purge on this machine; nothing may stay
  shell                       a cluster to look around in, until the input ends
";

/// How long apps may take to answer after a power cut.
const ANSWER_MAX: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("testbed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, usual: u32| args.get(at).and_then(|text| text.parse().ok()).unwrap_or(usual);
    match args.first().map(String::as_str) {
        Some("push-examples") => {
            let mut cluster = Cluster::start(Options::default());
            let figures = examples::run(&cluster);
            for one in &figures {
                println!("--- {}\n{}", one.example, one.output);
            }
            println!("{}", examples::table(&figures));
            cluster.purge();
        }
        Some("deploys") => {
            let mut cluster = Cluster::start(Options::default());
            let report = deploys::run(&cluster, number(1, 20), number(2, 200));
            println!(
                "{} deploys, {} requests, {} failed {:?}; slowest deploy {:.1} s; rollback moved traffic in {:.2} s",
                report.deploys,
                report.seen.requests,
                report.seen.failed(),
                report.seen.failures,
                report.slowest.as_secs_f64(),
                report.rollback.as_secs_f64()
            );
            cluster.purge();
            if report.seen.failed() > 0 {
                bail!("{} requests failed", report.seen.failed());
            }
        }
        Some("powercuts") => powercuts(&args)?,
        Some("idle") => {
            let mut cluster = Cluster::start(Options::default());
            let report = idle::run(&cluster, Duration::from_secs(20));
            for (program, kib) in &report.pss_kib {
                println!("{program:<24} {:>6.1} MB", f64::from(u32::try_from(*kib).unwrap_or(0)) * 1.024 / 1_000.0);
            }
            println!(
                "control plane: {} MB proportional, {:.1} % of a core; binary {:.1} MB",
                report.total_mb(),
                f64::from(u32::try_from(report.cpu_milli).unwrap_or(0)) / 10.0,
                f64::from(u32::try_from(report.binary_bytes / 1_000).unwrap_or(0)) / 1_000.0
            );
            cluster.purge();
        }
        Some("machine") => {
            let report = machine::run();
            println!(
                "up {:.0} s, up again {:.0} s, down {:.0} s; left behind: {:?}",
                report.first.as_secs_f64(),
                report.second.as_secs_f64(),
                report.down.as_secs_f64(),
                report.left
            );
            if !report.left.is_empty() {
                bail!("{} things stayed", report.left.len());
            }
        }
        Some("shell") => look_around(),
        None | Some("help" | "--help" | "-h") => print!("{USAGE}"),
        Some(other) => bail!("there is no verb {other:?}\n{USAGE}"),
    }
    Ok(())
}

fn powercuts(args: &[String]) -> Result<()> {
    let cuts = args.get(1).and_then(|text| text.parse().ok()).unwrap_or(50);
    let seed = match args.iter().position(|word| word == "--seed") {
        Some(at) => match args.get(at + 1).and_then(|text| text.parse().ok()) {
            Some(seed) => seed,
            None => bail!("--seed takes a number"),
        },
        None => os::entropy::seed() % 1_000_000,
    };
    say(&format!("seed {seed}"));
    let mut cluster = Cluster::start(Options::default());
    let report = power::run(&mut cluster, cuts, seed);
    println!(
        "{} power cuts {:?}: all apps answered each time, median {:.1} s, slowest {:.1} s; {} acknowledged changes checked, 0 lost; seed {seed}",
        report.cuts,
        report.during,
        report.median.as_secs_f64(),
        report.slowest.as_secs_f64(),
        report.checked
    );
    cluster.purge();
    if report.slowest > ANSWER_MAX {
        bail!("the slowest answer took {:.1} s", report.slowest.as_secs_f64());
    }
    Ok(())
}

fn look_around() {
    let cluster = Cluster::start(Options::default());
    println!("{:?}", cluster.describe());
    let mut command = cluster.command("bash".as_ref());
    // Whatever the shell says, the cluster ends with it.
    let _ = command.status();
}
