//! `host`: the daemon of this machine. Without a verb it runs here, in the foreground.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use api::Client;
use api::controller as controller_api;
use api::host::{self as endpoints, HostStatus};
use clap::{Args, Subcommand};
use types::app::META_SYSTEM_APP;

use super::Context;
use super::context::named;
use crate::config::Config;
use crate::term::{self, Format};
use crate::{Exit, role};

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

/// How long the daemon may take to answer after its start.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the system apps may take: the first start makes stack layers from packages.
const SYSTEM_TIMEOUT: Duration = Duration::from_secs(900);

/// How long an orderly stop may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(180);

/// The daemon's log is put aside at the next start when it is larger.
const LOG_BYTES_MAX: u64 = 32 << 20;

pub(super) fn host(context: &Context, args: Host) -> Result<ExitCode> {
    let config = context.config()?;
    match args.verb {
        None => return role::host::run(&config),
        Some(Verb::Start { wait }) => start(&config, wait),
        Some(Verb::Stop { purge }) => stop(&config, purge),
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

fn start(config: &Config, wait: bool) -> Result<()> {
    let began = os::clock::now();
    if let Some(status) = ask_status(config) {
        term::note(&format!("host {} is running already (pid {})", status.host.id, status.pid));
    } else {
        spawn(config)?;
        let up = os::clock::wait_for(START_TIMEOUT, || ask_status(config));
        let Some(status) = up else {
            let tail = last_lines(&log_file(config), 15).unwrap_or_default();
            bail!(
                "the host does not answer after {}\n{tail}the whole log: {}",
                term::duration(START_TIMEOUT),
                log_file(config).display()
            );
        };
        let took = term::duration(os::clock::now().since(began));
        term::note(&format!("host {} started in {took} (pid {})", status.host.id, status.pid));
    }
    if wait { wait_for_system(config) } else { Ok(()) }
}

fn spawn(config: &Config) -> Result<()> {
    let path = log_file(config);
    if std::fs::metadata(&path).is_ok_and(|meta| meta.len() > LOG_BYTES_MAX) {
        std::fs::rename(&path, path.with_extension("log.1"))?;
    }
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("open the log {}", path.display()))?;
    let binary = std::env::current_exe().context("find this binary")?;
    let mut command = Command::new(binary);
    command
        .arg("--config")
        .arg(&config.file)
        .arg("host")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Its own group: a Ctrl-C in this terminal is not for the daemon.
        .process_group(0);
    command.spawn().context("start the daemon")?;
    Ok(())
}

/// Wait until every system app has its jobs up, and show what is still missing.
fn wait_for_system(config: &Config) -> Result<()> {
    let controller = Client::service(&config.run_dir, controller_api::SERVICE).timeout(Some(Duration::from_secs(5)));
    let mut told = String::new();
    let done = os::clock::wait_for(SYSTEM_TIMEOUT, || {
        let missing = match missing_apps(&controller) {
            Ok(missing) => missing,
            Err(_) => vec!["controller".to_owned()],
        };
        if missing.is_empty() {
            return Some(());
        }
        let line = format!("waiting for {}", missing.join(", "));
        if line != told {
            term::note(&line);
            told = line;
        }
        os::clock::pause(Duration::from_millis(100));
        None
    });
    match done {
        Some(()) => Ok(()),
        None => {
            bail!("{told} for {}; `slipway host ps` and `slipway host log` tell why", term::duration(SYSTEM_TIMEOUT))
        }
    }
}

/// System apps that the host must have and whose jobs are not up.
fn missing_apps(controller: &Client) -> Result<Vec<String>, api::CallError> {
    let apps = controller.call_query(&controller_api::APPS, &[], &[("system", "only")], &())?;
    let jobs = controller.call(&controller_api::ACTIVE_JOBS, &[], &())?;
    let up = |name: &str| {
        let app = apps.iter().find(|app| app.name.as_str() == name && app.meta.contains_key(META_SYSTEM_APP));
        app.is_some_and(|app| jobs.iter().any(|job| job.app == app.id && job.state == "up"))
    };
    Ok(crate::bootstrap::SYSTEM_APPS.iter().filter(|name| !up(name)).map(|name| (*name).to_owned()).collect())
}

fn stop(config: &Config, purge: bool) -> Result<()> {
    match ask_status(config) {
        Some(status) => stop_daemon(config, status.pid)?,
        None if crate::bootstrap::leftovers(config) => {
            term::note("the daemon is not running and jobs of it are; starting it to take them back");
            spawn(config)?;
            let status = os::clock::wait_for(START_TIMEOUT, || ask_status(config))
                .with_context(|| format!("the host does not answer; its log: {}", log_file(config).display()))?;
            stop_daemon(config, status.pid)?;
        }
        None => term::note("the host is not running"),
    }
    if purge {
        for dir in [&config.data_dir, &config.run_dir] {
            if dir.exists() {
                std::fs::remove_dir_all(dir).with_context(|| format!("remove {}", dir.display()))?;
            }
        }
        os::file::remove_if_exists(&config.file)?;
        if let Some(dir) = config.file.parent() {
            // Others may keep files there.
            let _ = std::fs::remove_dir(dir);
        }
        term::note("removed its data and its configuration");
    }
    Ok(())
}

fn stop_daemon(config: &Config, pid: u32) -> Result<()> {
    let client = client(config).timeout(Some(STOP_TIMEOUT));
    for progress in client.lines(&endpoints::STOP, &[], &[], &())? {
        match progress {
            Ok(progress) => term::note(&format!("  {}", progress.step)),
            // The daemon's end is also the stream's.
            Err(_) => break,
        }
    }
    let proc = PathBuf::from(format!("/proc/{pid}"));
    // A daemon that this machine's first process has not reaped yet has no files open any more.
    let gone = || (!proc.exists() || std::fs::read_link(proc.join("exe")).is_err()).then_some(());
    match os::clock::wait_for(STOP_TIMEOUT, gone) {
        Some(()) => {
            term::note("host stopped");
            Ok(())
        }
        None => bail!("the daemon (pid {pid}) has not ended; its log: {}", log_file(config).display()),
    }
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
            // It was put aside at a start.
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
