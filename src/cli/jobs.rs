//! `ps`, `scale`, `kill`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use api::Client;
use api::controller::{self as endpoints, Job, NewScale};
use clap::Args;
use types::ProcessType;
use types::app::{App, Release};

use super::Context;
use super::context::named;
use crate::term::{self, Format};

/// How long `scale` waits for the jobs.
const SCALE_TIMEOUT: Duration = Duration::from_secs(120);

#[derive(Debug, Args)]
pub(super) struct Ps {
    /// Also jobs that ended lately
    #[arg(short = 'A', long)]
    all: bool,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Args)]
pub(super) struct Scale {
    /// TYPE=COUNT, e.g. web=3 worker=1; none shows the counts
    counts: Vec<String>,
    /// Do not wait until the jobs are there
    #[arg(short, long)]
    no_wait: bool,
}

#[derive(Debug, Args)]
pub(super) struct Kill {
    /// Job ids as `ps` prints them, or their first characters
    #[arg(required = true)]
    jobs: Vec<String>,
    /// SIGKILL at once, without finishing requests
    #[arg(long)]
    now: bool,
}

pub(super) fn ps(context: &Context, args: &Ps) -> Result<()> {
    let controller = context.controller()?;
    let app = context.app(&controller)?;
    let ended = if args.all { "yes" } else { "no" };
    let jobs = controller.call_query(&endpoints::JOBS, &[app.id.as_str()], &[("ended", ended)], &())?;
    if context.format == Format::Json {
        return term::json(&jobs);
    }
    if args.quiet {
        jobs.iter().for_each(|job| term::out(job.id.as_str()));
        return Ok(());
    }
    let releases = controller.call(&endpoints::APP_RELEASES, &[app.id.as_str()], &())?;
    if jobs.is_empty() {
        term::note(&format!("{} runs no jobs", app.name));
    }
    let rows: Vec<Vec<String>> = jobs.iter().map(|job| row(job, &releases)).collect();
    term::table(&["JOB", "STATE", "AGE", "RESTARTS", "HOST", "RELEASE", "WHY"], &rows);
    Ok(())
}

/// The name people use for a job: `web.1a2b3c4d`.
pub(super) fn job_name(job: &Job) -> String {
    format!("{}.{}", job.process_type, job.id.short())
}

fn row(job: &Job, releases: &[Release]) -> Vec<String> {
    let version = releases
        .iter()
        .find(|release| Some(&release.id) == job.release.as_ref())
        .map_or_else(|| "-".to_owned(), |release| format!("v{}", release.version));
    vec![
        job_name(job),
        job.state.clone(),
        term::age_of(job.ended_at.as_deref().or(job.started_at.as_deref()).or(job.created_at.as_deref())),
        job.restarts.to_string(),
        job.host_id.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
        version,
        job.reason.clone().unwrap_or_default(),
    ]
}

pub(super) fn scale(context: &Context, args: &Scale) -> Result<()> {
    let controller = context.controller()?;
    let app = context.app(&controller)?;
    let release = context.deployed(&controller, &app)?;
    if args.counts.is_empty() {
        return show_scale(context, &controller, &app, &release);
    }
    let mut wanted = BTreeMap::new();
    for pair in &args.counts {
        let (kind, count) = pair.split_once('=').with_context(|| format!("{pair:?} is not TYPE=COUNT"))?;
        let count: u32 = count.parse().with_context(|| format!("{count:?} is not a number of jobs"))?;
        let kind: ProcessType = kind.parse()?;
        if release.processes.is_empty() {
            bail!("{} has nothing to run yet; `git push slipway main` gives it process types", app.name);
        }
        if !release.processes.contains_key(&kind) {
            let known: Vec<&str> = release.processes.keys().map(ProcessType::as_str).collect();
            bail!("{} v{} has no process type {kind}; it has {}", app.name, release.version, known.join(", "));
        }
        wanted.insert(kind, count);
    }
    let start = os::clock::now();
    let request = NewScale { new_processes: wanted };
    let scale = controller.call(&endpoints::SCALE, &[app.id.as_str(), release.id.as_str()], &request)?;
    for (kind, count) in &scale.new_processes {
        let old = scale.old_processes.get(kind).copied().unwrap_or(0);
        if old != *count {
            term::note(&format!("scaling {kind}: {old} -> {count}"));
        }
    }
    if !args.no_wait {
        wait_for_counts(&controller, &app, &release, &scale.new_processes)?;
        let took = os::clock::now().since(start);
        term::note(&format!("scale completed in {}", term::duration(took)));
    }
    if context.format == Format::Json {
        return term::json(&scale);
    }
    Ok(())
}

fn show_scale(context: &Context, controller: &Client, app: &App, release: &Release) -> Result<()> {
    let counts = match controller.call(&endpoints::FORMATION, &[app.id.as_str(), release.id.as_str()], &()) {
        Ok(formation) => formation.processes,
        Err(error) if error.is_not_found() => BTreeMap::new(),
        Err(error) => return Err(error.into()),
    };
    let counts: BTreeMap<&ProcessType, u32> =
        release.processes.keys().map(|kind| (kind, counts.get(kind).copied().unwrap_or(0))).collect();
    if context.format == Format::Json {
        return term::json(&counts);
    }
    counts.iter().for_each(|(kind, count)| term::out(&format!("{kind}={count}")));
    Ok(())
}

/// Wait until exactly the wanted jobs are up, and say which came and went.
fn wait_for_counts(
    controller: &Client,
    app: &App,
    release: &Release,
    wanted: &BTreeMap<ProcessType, u32>,
) -> Result<()> {
    let mut told: BTreeMap<String, String> = BTreeMap::new();
    let mut last = None;
    let done = os::clock::wait_for(SCALE_TIMEOUT, || {
        os::clock::pause(Duration::from_millis(40));
        let jobs = match controller.call(&endpoints::JOBS, &[app.id.as_str()], &()) {
            Ok(jobs) => jobs,
            Err(error) => {
                last = Some(error);
                return None;
            }
        };
        let ours = |job: &&Job| job.release.as_ref() == Some(&release.id) && wanted.contains_key(&job.process_type);
        let first = told.is_empty();
        for job in jobs.iter().filter(ours) {
            let before = told.insert(job.id.to_string(), job.state.clone());
            // The first look shows what was there before; only changes are news.
            let news = before.as_ref() != Some(&job.state) && !(first && (job.state == "up" || job.state == "down"));
            if news && (before.is_some() || job.state != "down") {
                let why = job.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
                term::note(&format!("  {} {}{why}", job_name(job), job.state));
            }
        }
        let exact = wanted.iter().all(|(kind, count)| {
            let of_kind = |job: &&Job| ours(job) && job.process_type == *kind && job.state != "down";
            let there = jobs.iter().filter(of_kind).count();
            let up = jobs.iter().filter(of_kind).filter(|job| job.state == "up").count();
            up == *count as usize && there == up
        });
        exact.then_some(())
    });
    match (done, last) {
        (Some(()), _) => Ok(()),
        (None, Some(error)) => Err(error.into()),
        (None, None) => bail!(
            "the jobs are not there after {}; `slipway ps -A` and `slipway log` tell why",
            term::duration(SCALE_TIMEOUT)
        ),
    }
}

pub(super) fn kill(context: &Context, args: &Kill) -> Result<()> {
    let controller = context.controller()?;
    let app = context.app(&controller)?;
    let query: &[(&str, &str)] = if args.now { &[("now", "1")] } else { &[] };
    for typed in &args.jobs {
        // `ps` prints TYPE.ID.
        let id = typed.rsplit('.').next().unwrap_or(typed);
        controller
            .call_query(&endpoints::JOB_STOP, &[app.id.as_str(), id], query, &())
            .map_err(|error| named(error, "job", typed))?;
        term::out(&format!("Stopping {typed}"));
    }
    Ok(())
}
