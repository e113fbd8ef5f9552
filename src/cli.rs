//! The command line: one declaration from which the parser, help and completions come.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::builder::TypedValueParser;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::term::{self, Format};
use crate::{Exit, role};

mod app;
mod context;
mod docs;
mod env;
mod host;
mod init;
mod jobs;
mod key;
mod log;
mod release;
mod route;
mod run;

pub(crate) use context::Context;

const EXAMPLES: &str = "\
Examples:
  slipway create hello            make an app, its URL and the git remote `slipway`
  slipway key add ~/.ssh/id_ed25519.pub
  git push slipway main           build and deploy
  slipway scale web=3             run three
  slipway log -f                  follow what they say
  slipway rollback                go back to the release before

The app is --app, else SLIPWAY_APP, else the one the git remote names.";

/// Run apps on your own hosts.
#[derive(Debug, Parser)]
#[command(name = "slipway", version, after_help = EXAMPLES, disable_version_flag = false, max_term_width = 100)]
struct Cli {
    /// The app, by name
    #[arg(short, long, global = true, env = "SLIPWAY_APP", value_name = "NAME")]
    app: Option<String>,
    /// The host's configuration file
    #[arg(long, global = true, env = "SLIPWAY_CONFIG", value_name = "FILE", hide_env_values = true, value_parser = clap::builder::OsStringValueParser::new().map(PathBuf::from))]
    config: Option<PathBuf>,
    /// Print listings as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make an app, its route and a git remote
    Create(app::Create),
    /// Delete an app with everything it has
    Delete(app::Delete),
    /// List apps
    Apps(app::Apps),
    /// Show an app: URL, git remote, release, jobs
    Info,
    /// List an app's jobs
    Ps(jobs::Ps),
    /// Show or set how many jobs of each process type run
    Scale(jobs::Scale),
    /// Stop jobs; those of a formation are replaced
    Kill(jobs::Kill),
    /// Run a command in the app's release and be its terminal
    Run(run::Run),
    /// Show what an app's jobs have written
    Log(log::Log),
    /// Show or change the environment; a change makes a new release
    Env(env::Env),
    /// List releases, newest first
    Releases(release::Releases),
    /// Deploy the release before the current one, or the one named
    Rollback(release::Rollback),
    /// List deployments, newest first
    Deployments,
    /// List, add or remove routes
    Routes(route::Routes),
    /// List, add or remove the SSH keys that may push
    Key(key::Key),
    /// The daemon of this host, and what it runs
    Host(host::Host),
    /// Make this machine a cluster of one host
    Init(init::Init),
    /// Print a completion script for bash, zsh, fish, elvish or powershell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the version
    Version,
    /// Print the reference of the command line as Markdown
    #[command(hide = true)]
    Docs,
    #[command(flatten)]
    Role(role::Command),
}

/// Parse and do.
pub(crate) fn run(args: Vec<OsString>) -> Result<ExitCode> {
    let command = Cli::command();
    let mut args = args;
    if args.len() == 1 {
        args.push("--help".into());
    }
    let cli = match command.try_get_matches_from(args).and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are results; mistakes are not.
            error.print()?;
            return Ok(if error.use_stderr() { Exit::Usage.into() } else { Exit::Success.into() });
        }
    };
    let format = if cli.json { Format::Json } else { Format::Table };
    // A variable that is set to nothing is not set.
    let context = Context::new(
        cli.config.filter(|path| !path.as_os_str().is_empty()),
        cli.app.filter(|name| !name.is_empty()),
        format,
    );
    dispatch(cli.command, &context)
}

fn dispatch(command: Command, context: &Context) -> Result<ExitCode> {
    match command {
        Command::Create(args) => app::create(context, &args),
        Command::Delete(args) => app::delete(context, &args),
        Command::Apps(args) => app::apps(context, &args),
        Command::Info => app::show(context),
        Command::Ps(args) => jobs::ps(context, &args),
        Command::Scale(args) => jobs::scale(context, &args),
        Command::Kill(args) => jobs::kill(context, &args),
        Command::Run(args) => return run::run(context, &args),
        Command::Log(args) => log::log(context, &args),
        Command::Env(args) => env::env(context, args),
        Command::Releases(args) => release::releases(context, &args),
        Command::Rollback(args) => release::rollback(context, &args),
        Command::Deployments => release::deployments(context),
        Command::Routes(args) => route::routes(context, args),
        Command::Key(args) => key::key(context, args),
        Command::Host(args) => return host::host(context, args),
        Command::Init(args) => init::init(context, &args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "slipway", &mut script);
            term::out_bytes(&script);
            Ok(())
        }
        Command::Version => version(context.format),
        Command::Docs => {
            term::out(docs::markdown(Cli::command()).trim_end());
            Ok(())
        }
        Command::Role(role) => return role::run(role, context),
    }?;
    Ok(Exit::Success.into())
}

fn version(format: Format) -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    match format {
        Format::Json => term::json(&serde_json::json!({ "version": version })),
        Format::Table => {
            term::out(&format!("slipway {version}"));
            Ok(())
        }
    }
}
