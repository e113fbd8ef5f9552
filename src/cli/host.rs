//! `host`: the daemon of this machine. Without a verb it runs here, in the foreground.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use api::Client;
use api::host::{self as endpoints, HostStatus};
use clap::{Args, Subcommand};

use super::Context;
use super::context::named;
use crate::config::Config;
use crate::term::{self, Format};
use crate::{Exit, role};

mod ports;
mod start;
mod stop;
mod unit;

pub(super) use ports::check_ports;

#[derive(Debug, Args)]
pub(super) struct Host {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Start the daemon in the background
    Start {
        /// Wait until every system app is up
        #[arg(long)]
        wait: bool,
    },
    /// Stop all jobs in good order, then the daemon; only data stays
    Stop {
        /// Also remove all data and the configuration
        #[arg(long)]
        purge: bool,
        /// Do not ask before a purge
        #[arg(long, requires = "purge")]
        yes: bool,
    },
    /// Show how the host is
    Status,
    /// List the jobs of this host, of all apps
    Ps {
        /// Also jobs that ended lately
        #[arg(short = 'A', long)]
        all: bool,
    },
    /// Show the daemon's log, or a job's
    Log {
        /// A job's id or its first characters; none is the daemon
        job: Option<String>,
        /// Go on as lines are written
        #[arg(short, long)]
        follow: bool,
        /// So many of the last lines
        #[arg(short = 'n', long, default_value_t = 100)]
        lines: usize,
    },
}

pub(super) fn host(context: &Context, args: Host) -> Result<ExitCode> {
    let config = context.config()?;
    match args.verb {
        None => return role::host::run(&config),
        Some(Verb::Start { wait }) => start::start(&config, wait),
        Some(Verb::Stop { purge, yes }) => stop::stop(&config, purge, yes),
        Some(Verb::Status) => status(context, &config),
        Some(Verb::Ps { all }) => ps(context, &config, all),
        Some(Verb::Log { job, follow, lines }) => log(context, &config, job, follow, lines),
    }?;
    Ok(Exit::Success.into())
}

fn client(config: &Config) -> Client {
    Client::socket(&api::paths::host_socket(&config.run_dir))
}

fn ask_status(config: &Config) -> Option<HostStatus> {
    client(config).timeout(Some(Duration::from_secs(2))).call(&endpoints::STATUS, &[], &()).ok()
}

fn log_file(config: &Config) -> PathBuf {
    config.data_dir.join("host.log")
}

fn status(context: &Context, config: &Config) -> Result<()> {
    let status = client(config).call(&endpoints::STATUS, &[], &())?;
    if context.format == Format::Json {
        return term::json(&status);
    }
    let gigabytes = |bytes: u64| format!("{}.{} GB", bytes / 1_000_000_000, bytes / 100_000_000 % 10);
    term::out(&format!("Host      {}  {}", status.host.id, status.status));
    term::out(&format!("Version   {}", status.host.version));
    term::out(&format!("Started   {} ago, pid {}", term::age(status.host.started_ms), status.pid));
    term::out(&format!("Jobs      {} up, {} not up", status.jobs_up, status.jobs_not_up));
    term::out(&format!("Memory    {}", gigabytes(status.host.capacity.memory_bytes)));
    term::out(&format!("Disk      {} free of {}", gigabytes(status.disk_free_bytes), gigabytes(status.disk_bytes)));
    term::out(&format!("Apps      {}", config.url(&format!("NAME.{}", config.domain))));
    for warning in &status.warnings {
        term::out(&format!("Warning   {warning}"));
    }
    Ok(())
}

fn ps(context: &Context, config: &Config, all: bool) -> Result<()> {
    let query: &[(&str, &str)] = if all { &[("all", "1")] } else { &[] };
    let jobs = client(config).call_query(&endpoints::JOBS, &[], query, &())?;
    if context.format == Format::Json {
        return term::json(&jobs);
    }
    let rows: Vec<Vec<String>> = jobs
        .iter()
        .map(|job| {
            let why = match &job.status.state {
                types::job::JobState::Down(reason) => reason.to_string(),
                _ => job.status.last_exit.as_ref().map(|exit| format!("before: {exit}")).unwrap_or_default(),
            };
            vec![
                format!("{}/{}.{}", job.spec.app_name, job.spec.process_type, job.id.short()),
                job.status.state.word().to_owned(),
                term::age(job.status.started_ms),
                job.status.restarts.to_string(),
                job.memory_bytes.map_or_else(|| "-".to_owned(), |bytes| format!("{} MB", bytes / 1_000_000)),
                job.status.address.clone().unwrap_or_else(|| "-".to_owned()),
                why,
            ]
        })
        .collect();
    term::table(&["JOB", "STATE", "AGE", "RESTARTS", "MEMORY", "ADDRESS", "WHY"], &rows);
    Ok(())
}

fn log(context: &Context, config: &Config, job: Option<String>, follow: bool, lines: usize) -> Result<()> {
    let Some(job) = job else { return daemon_log(&log_file(config), follow, lines) };
    let id = job.rsplit(['.', '/']).next().unwrap_or(&job).to_owned();
    let count = lines.to_string();
    let mut query = vec![("lines", count.as_str()), ("stream_types", "stdout,stderr,init")];
    if follow {
        query.push(("follow", "true"));
    }
    let client = if follow { client(config).timeout(None) } else { client(config) };
    let messages = client.lines(&endpoints::JOB_LOG, &[&id], &query, &()).map_err(|error| named(error, "job", &job))?;
    for message in messages {
        let message = message?;
        match context.format {
            Format::Json => term::out(&serde_json::to_string(&message)?),
            Format::Table => term::out(&format!("{} {}", message.timestamp, message.msg)),
        }
    }
    Ok(())
}

fn daemon_log(path: &Path, follow: bool, lines: usize) -> Result<()> {
    term::out_bytes(last_lines(path, lines)?.as_bytes());
    if !follow {
        return Ok(());
    }
    let mut file = std::fs::File::open(path)?;
    let mut at = file.seek(SeekFrom::End(0))?;
    loop {
        os::clock::pause(Duration::from_millis(200));
        if std::fs::metadata(path)?.len() < at {
            // It was put aside.
            file = std::fs::File::open(path)?;
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        at = file.stream_position()?;
        term::out_bytes(&text);
    }
}

fn last_lines(path: &Path, lines: usize) -> Result<String> {
    let text = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    let from = all.len().saturating_sub(lines);
    Ok(all[from..].iter().map(|line| format!("{line}\n")).collect())
}
