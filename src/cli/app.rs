//! `create`, `delete`, `apps`, `info`.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use api::controller::{self as endpoints, NewApp};
use clap::Args;
use types::app::{App, META_SYSTEM_APP, Route};

use super::Context;
use super::context::{REMOTE, named};
use crate::config::Config;
use crate::term::{self, Format};

#[derive(Debug, Args)]
pub(super) struct Create {
    /// The name; none to have one made
    name: Option<String>,
    /// Make no git remote
    #[arg(long)]
    no_remote: bool,
    /// Replace a git remote of that name
    #[arg(short, long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    /// The app; else --app
    name: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(super) struct Apps {
    /// The platform's own apps
    #[arg(long)]
    system: bool,
}

pub(super) fn create(context: &Context, args: &Create) -> Result<()> {
    let config = context.config()?;
    let controller = context.controller()?;
    let in_repository = !args.no_remote && git(&["rev-parse", "--git-dir"]).is_some();
    if in_repository && !args.force && git(&["remote", "get-url", REMOTE]).is_some() {
        bail!("this repository has a remote named {REMOTE} already; --force replaces it, --no-remote leaves it");
    }
    let request = NewApp { name: args.name.clone(), ..NewApp::default() };
    let app = controller.call(&endpoints::APP_CREATE, &[], &request)?;
    let remote = git_url(&config, app.name.as_str());
    let url = config.url(&format!("{}.{}", app.name, config.domain));
    if context.format == Format::Json {
        term::json(&serde_json::json!({ "app": app, "url": url, "git": remote }))?;
    } else {
        term::out(&format!("Created {}", app.name));
        term::out(&format!("URL     {url}"));
        term::out(&format!("Git     {remote}"));
    }
    if in_repository {
        let verb: &[&str] = if git(&["remote", "get-url", REMOTE]).is_some() { &["set-url"] } else { &["add"] };
        git(&[&["remote"], verb, &[REMOTE, &remote]].concat()).context("add the git remote")?;
        super::key::trust_host_key(&config);
        term::note(&format!("next: git push {REMOTE} main"));
    } else {
        term::note(&format!("next, in the app's repository: git remote add {REMOTE} {remote}"));
    }
    Ok(())
}

/// The address to push to.
fn git_url(config: &Config, app: &str) -> String {
    format!("ssh://git@{}:{}/{app}.git", super::key::ssh_host(config), config.ssh_port)
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

pub(super) fn delete(context: &Context, args: &Delete) -> Result<()> {
    let controller = context.controller()?;
    let name = match &args.name {
        Some(name) => name.clone(),
        None => context.app_name()?,
    };
    let app = controller.call(&endpoints::APP, &[&name], &()).map_err(|error| named(error, "app", &name))?;
    if !args.yes {
        confirm(app.name.as_str())?;
    }
    let gone = controller.call(&endpoints::APP_DELETE, &[app.id.as_str()], &())?;
    if context.format == Format::Json {
        return term::json(&gone);
    }
    term::out(&format!(
        "Deleted {} with {} routes and {} releases; {} jobs are stopping",
        app.name, gone.routes, gone.releases, gone.jobs
    ));
    Ok(())
}

fn confirm(name: &str) -> Result<()> {
    use std::io::IsTerminal;
    if !std::io::stdin().is_terminal() {
        bail!("deleting {name} needs --yes when nobody can be asked");
    }
    term::note(&format!("This deletes {name}, its releases and its routes. Type its name to go on:"));
    let mut typed = String::new();
    std::io::stdin().read_line(&mut typed)?;
    if typed.trim() != name {
        bail!("not deleted");
    }
    Ok(())
}

pub(super) fn apps(context: &Context, args: &Apps) -> Result<()> {
    let controller = context.controller()?;
    let which = if args.system { "only" } else { "none" };
    let apps = controller.call_query(&endpoints::APPS, &[], &[("system", which)], &())?;
    if context.format == Format::Json {
        return term::json(&apps);
    }
    let jobs = controller.call(&endpoints::ACTIVE_JOBS, &[], &())?;
    let rows: Vec<Vec<String>> = apps
        .iter()
        .map(|app| {
            let up = jobs.iter().filter(|job| job.app == app.id && job.state == "up").count();
            vec![app.name.to_string(), up.to_string(), term::age_of(app.created_at.as_deref())]
        })
        .collect();
    if rows.is_empty() {
        term::note("no apps yet; `slipway create NAME` makes one");
    }
    term::table(&["NAME", "JOBS UP", "AGE"], &rows);
    Ok(())
}

pub(super) fn show(context: &Context) -> Result<()> {
    let config = context.config()?;
    let controller = context.controller()?;
    let app = context.app(&controller)?;
    let release = context.release(&controller, &app)?;
    let routes = controller.call(&endpoints::ROUTES, &[app.id.as_str()], &())?;
    let jobs = controller.call_query(&endpoints::JOBS, &[app.id.as_str()], &[("ended", "no")], &())?;
    let urls: Vec<String> = routes.iter().map(|route| route_url(&config, route)).collect();
    let git = git_url(&config, app.name.as_str());
    if context.format == Format::Json {
        let all = serde_json::json!({ "app": app, "release": release, "urls": urls, "git": git, "jobs": jobs });
        return term::json(&all);
    }
    term::out(&format!("App      {}", app.name));
    for url in &urls {
        term::out(&format!("URL      {url}"));
    }
    if !is_system(&app) {
        term::out(&format!("Git      {git}"));
    }
    match &release {
        Some(release) => term::out(&format!(
            "Release  v{}  {}  {} ago",
            release.version,
            release.description,
            term::age_of(release.created_at.as_deref())
        )),
        None => term::out("Release  none yet"),
    }
    let up = jobs.iter().filter(|job| job.state == "up").count();
    term::out(&format!("Jobs     {up} up of {}", jobs.len()));
    Ok(())
}

/// The URL that a route answers at.
pub(super) fn route_url(config: &Config, route: &Route) -> String {
    let path = if route.path == "/" { "" } else { route.path.as_str() };
    format!("{}{path}", config.url(&route.domain))
}

fn is_system(app: &App) -> bool {
    app.meta.get(META_SYSTEM_APP).is_some_and(|value| value == "true")
}
