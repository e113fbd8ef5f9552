//! The roles that this binary plays: the host's daemon, and the platform's own jobs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use os::signal::Shutdown;
use types::JobId;

use crate::Exit;
use crate::cli::Context;

pub(crate) mod host;

/// Commands that the platform gives itself.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The controller: API and deployer
    #[command(hide = true)]
    Controller(Controller),
    /// The schedulers
    #[command(hide = true)]
    Scheduler(JobArgs),
    /// The router
    #[command(hide = true)]
    Router(Router),
    /// The blob store
    #[command(hide = true)]
    Blobs(JobArgs),
    /// The git receiver, and what sshd and git start of it
    #[command(hide = true)]
    Gitd(Gitd),
    /// Build the source on standard input
    #[command(hide = true)]
    Build,
    /// Start a process type, or a command, of the slug in /app
    #[command(hide = true)]
    Start {
        /// A process type of the slug
        what: Option<String>,
        /// Else a command
        #[arg(last = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
}

/// What every system job is told by its host.
#[derive(Debug, Args)]
pub(crate) struct JobArgs {
    /// The job that this is
    #[arg(long, env = "SLIPWAY_JOB", value_name = "ID")]
    job: JobId,
    /// Where the platform's sockets are
    #[arg(long, env = "SLIPWAY_RUN_DIR", default_value = api::paths::RUN_DIR, value_name = "DIR")]
    run_dir: PathBuf,
    /// Where its volume is
    #[arg(long, env = "SLIPWAY_VOLUME", default_value = "/data", value_name = "DIR")]
    volume: PathBuf,
    /// What is logged: error, warn, info or debug
    #[arg(long, env = "SLIPWAY_LOG", default_value = "info", value_name = "LEVEL")]
    log: log::LevelFilter,
}

#[derive(Debug, Args)]
pub(crate) struct Controller {
    #[command(flatten)]
    role: JobArgs,
    /// Apps answer at NAME.DOMAIN
    #[arg(long, env = "SLIPWAY_DOMAIN", value_name = "DOMAIN")]
    domain: String,
}

#[derive(Debug, Args)]
pub(crate) struct Router {
    #[command(flatten)]
    role: JobArgs,
    /// Where it listens
    #[arg(long, env = "SLIPWAY_HTTP_PORT", value_name = "PORT")]
    http_port: u16,
}

#[derive(Debug, Args)]
pub(crate) struct Gitd {
    #[command(subcommand)]
    verb: Option<GitdVerb>,
    /// The job that this is
    #[arg(long, env = "SLIPWAY_JOB", value_name = "ID")]
    job: Option<JobId>,
    /// Where the platform's sockets are
    #[arg(long, env = "SLIPWAY_RUN_DIR", default_value = api::paths::RUN_DIR, value_name = "DIR")]
    run_dir: PathBuf,
    /// Where its volume is
    #[arg(long, env = "SLIPWAY_VOLUME", default_value = "/data", value_name = "DIR")]
    volume: PathBuf,
    /// Where sshd listens
    #[arg(long, env = "SLIPWAY_SSH_PORT", default_value_t = 2222, value_name = "PORT")]
    ssh_port: u16,
    /// Where the router listens
    #[arg(long, env = "SLIPWAY_HTTP_PORT", default_value_t = 80, value_name = "PORT")]
    http_port: u16,
}

#[derive(Debug, Subcommand)]
enum GitdVerb {
    /// Print the line that lets a registered key in; sshd asks
    AuthorizedKeys { kind: String, blob: String },
    /// Run what the client of a key asked for; sshd's forced command
    Shell { key: String },
    /// Deploy what was pushed; git's pre-receive hook
    Hook,
}

/// Stages that the runtime and the supervisor start by themselves: single-threaded, before everything else.
pub(crate) fn hidden_stage(args: &[OsString]) -> Option<ExitCode> {
    runtime::init_stage();
    match args {
        [_, verb, dir] if verb == "shim" => Some(containerd_lite::shim::main(Path::new(dir))),
        _ => None,
    }
}

/// Play a role until it ends.
pub(crate) fn run(command: Command, _context: &Context) -> Result<ExitCode> {
    match command {
        Command::Controller(args) => {
            let shutdown = begin(&args.role)?;
            let options = controller::Options { run_dir: args.role.run_dir, job: args.role.job, domain: args.domain };
            controller::run(options, &shutdown).context("controller")?;
        }
        Command::Scheduler(args) => {
            let shutdown = begin(&args)?;
            let options = scheduler::Options { run_dir: args.run_dir, job: args.job, name: "scheduler".to_owned() };
            scheduler::run(options, shutdown).context("scheduler")?;
        }
        Command::Router(args) => {
            let shutdown = begin(&args.role)?;
            let any = std::net::SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, args.http_port));
            let options = router::Options {
                listen: vec![any],
                run_dir: args.role.run_dir,
                job: args.role.job,
                workers: 0,
                settings: router::Settings::STANDARD,
                access_log: router::AccessLog::Stderr,
                drain_wait: ROUTER_DRAIN,
            };
            router::run(&options, &shutdown).context("router")?;
        }
        Command::Blobs(args) => {
            let shutdown = begin(&args)?;
            let socket = api::paths::service_socket(&args.run_dir, api::blobs::SERVICE, &args.job);
            blobs::run(blobs::Options { dir: args.volume, socket }, &shutdown).context("blobs")?;
        }
        Command::Gitd(args) => return gitd(args),
        Command::Build => return Ok(build()),
        Command::Start { command, what } => return start(command, what),
    }
    Ok(Exit::Success.into())
}

/// How long requests in flight may take when a router ends: as long as a job's grace allows.
const ROUTER_DRAIN: std::time::Duration = std::time::Duration::from_secs(9);

fn build() -> ExitCode {
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let options = buildpack_runner::Options::of_job();
    match buildpack_runner::run(&options, &mut stdin.lock(), &mut stdout.lock(), &mut stderr.lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(code) => ExitCode::from(code.exit_code()),
    }
}

fn start(command: Vec<String>, what: Option<String>) -> Result<ExitCode> {
    let target = match what {
        Some(kind) => buildpack_runner::Target::Type(kind),
        None => buildpack_runner::Target::Command(command),
    };
    // It comes back only when it could not become the command.
    Err(buildpack_runner::launch(&target).into())
}

fn begin(args: &JobArgs) -> Result<Shutdown> {
    os::log::init(args.log);
    let shutdown = Shutdown::new();
    shutdown.on_signals().context("wait for signals")?;
    Ok(shutdown)
}

fn gitd(args: Gitd) -> Result<ExitCode> {
    match args.verb {
        Some(GitdVerb::AuthorizedKeys { kind, blob }) => {
            Ok(ExitCode::from(gitd::session::authorized_keys(&kind, &blob)))
        }
        Some(GitdVerb::Shell { key }) => Ok(ExitCode::from(gitd::session::shell(&key))),
        Some(GitdVerb::Hook) => Ok(ExitCode::from(gitd::session::hook())),
        None => {
            os::log::init(log::LevelFilter::Info);
            let shutdown = Shutdown::new();
            shutdown.on_signals().context("wait for signals")?;
            let options = gitd::Options {
                run_dir: args.run_dir,
                data_dir: args.volume,
                job: args.job.context("SLIPWAY_JOB is not set: the git receiver runs as a job")?,
                ssh_port: args.ssh_port,
                http_port: args.http_port,
            };
            gitd::run(options, &shutdown).context("git receiver")?;
            Ok(Exit::Success.into())
        }
    }
}
