//! The host API.

use std::collections::BTreeMap;
use std::io;
use std::net::Shutdown as Side;
use std::os::unix::net::UnixStream;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use api::attach::{Frame, PROTOCOL, write_frame};
use api::host::{
    self as endpoints, BuildSettings, Exec, HostJob, HostStatus, Signal, StackProgress, StopProgress, Volume,
};
use api::serve::{Call, Exchange, LineWriter, Service};
use runtime::cgroup::Cgroup;
use types::job::{JobState, Lifecycle, Stdio};
use types::stack::LayerName;
use types::{ApiError, Code, JobId, VolumeName};

use crate::agent::{Agent, room_warning};
use crate::disk;
use crate::limits::{ATTACH_WAIT, STREAMS_MAX};
use crate::outline;
use crate::shim::call;
use crate::shim::wire::{AttachWish, ExecWish, Request};
use crate::stack::{self, clients};
use crate::supervisor::JobView;

mod log;

static STREAMS: AtomicUsize = AtomicUsize::new(0);

/// A place among the requests that hold a connection for long.
struct Stream;

impl Stream {
    fn open() -> Result<Stream, ApiError> {
        if STREAMS.fetch_add(1, Ordering::Relaxed) >= STREAMS_MAX {
            STREAMS.fetch_sub(1, Ordering::Relaxed);
            let why = format!("this host serves {STREAMS_MAX} terminals and followed logs at a time");
            return Err(ApiError::retryable(Code::RateLimited, why));
        }
        Ok(Stream)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        STREAMS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All endpoints.
pub(crate) fn service(agent: &Agent) -> Service<Agent> {
    Service::new(std::sync::Arc::new(agent.clone()))
        .on(&endpoints::STATUS, |agent, _, ()| status(agent))
        .on(&endpoints::JOBS, |agent, call, ()| jobs(agent, call))
        .on(&endpoints::JOB, |agent, call, ()| Ok(host_job(agent, find(agent, call.param(0))?)))
        .on(&endpoints::SIGNAL, signal)
        .raw(&endpoints::ATTACH, attach)
        .raw(&endpoints::EXEC, exec)
        .lines(&endpoints::JOB_LOG, |agent, call, (), out| log::of_job(agent, call, out))
        .lines(&endpoints::APP_LOG, |agent, call, (), out| log::of_app(agent, call, out))
        .lines(&endpoints::STACK, |agent, call, (), out| make_layer(agent, call, out))
        .on(&endpoints::BUILD_SETTINGS, |agent, _, ()| Ok(build_settings(agent)))
        .on(&endpoints::VOLUMES, |agent, _, ()| volumes(agent))
        .on(&endpoints::VOLUME_DELETE, |agent, call, ()| delete_volume(agent, call))
        .lines(&endpoints::STOP, |agent, _, (), out| stop(agent, out))
}

fn status(agent: &Agent) -> Result<HostStatus, ApiError> {
    let shared = &agent.shared;
    let jobs = agent.jobs()?;
    let up = jobs.iter().filter(|job| job.status.state == JobState::Up).count();
    let down = jobs.iter().filter(|job| job.status.state.is_down()).count();
    let (disk_free_bytes, disk_bytes) = disk::room(&shared.options.data_dir).unwrap_or_default();
    let mut warnings: Vec<String> = room_warning(&shared.options.data_dir).into_iter().collect();
    warnings.extend(jobs.iter().filter_map(crash_loop));
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Ok(HostStatus {
        host: shared.record.clone(),
        status: if warnings.is_empty() { "healthy" } else { "degraded" }.to_owned(),
        warnings,
        pid: std::process::id(),
        jobs_up: count(up),
        jobs_not_up: count(jobs.len() - up - down),
        disk_free_bytes,
        disk_bytes,
    })
}

/// Restarts after which a job of the platform that does not stay up is told of.
const CRASH_LOOP_RESTARTS: u32 = 3;

/// A run that lasted this long is no part of a crash loop.
const CRASH_LOOP_RUN_MS: u64 = 60_000;

fn crash_loop(job: &JobView) -> Option<String> {
    let (spec, status) = (&job.claim.spec, &job.status);
    let age = os::clock::wall().unix_millis().saturating_sub(status.started_ms);
    let lasts = status.state == JobState::Up && age >= CRASH_LOOP_RUN_MS;
    if spec.lifecycle != Lifecycle::System || status.restarts < CRASH_LOOP_RESTARTS || lasts {
        return None;
    }
    let why = status.last_exit.as_ref().map(|exit| format!(": {exit}")).unwrap_or_default();
    Some(format!(
        "{}/{}.{} was restarted {} times and does not stay up{why}",
        spec.app_name,
        spec.process_type,
        job.claim.job.short(),
        status.restarts
    ))
}

fn host_job(agent: &Agent, job: JobView) -> HostJob {
    let group = outline::cgroup(&agent.shared.options.cgroup_root, &job.claim.job, &job.claim.spec);
    let runs = job.status.pid.is_some();
    let memory_bytes = runs.then(|| Cgroup::open(&group).ok()?.stats().memory_bytes).flatten();
    HostJob {
        id: job.claim.job,
        host: agent.shared.options.host.clone(),
        spec: job.claim.spec,
        status: job.status,
        memory_bytes,
    }
}

fn jobs(agent: &Agent, call: &Call) -> Result<Vec<HostJob>, ApiError> {
    let all = call.flag("all");
    let jobs = agent.jobs()?.into_iter().filter(|job| all || !job.status.state.is_down());
    Ok(jobs.map(|job| host_job(agent, job)).collect())
}

/// A job by its id, its UUID, or what that begins with, if only one does.
fn find(agent: &Agent, name: &str) -> Result<JobView, ApiError> {
    let jobs = agent.jobs()?;
    if let Some(job) = jobs.iter().find(|job| job.claim.job.as_str() == name) {
        return Ok(job.clone());
    }
    let mut found = jobs.into_iter().filter(|job| !name.is_empty() && job.claim.job.uuid().starts_with(name));
    match (found.next(), found.next()) {
        (Some(job), None) => Ok(job),
        (None, _) => Err(ApiError::not_found("job", name)),
        (Some(_), Some(_)) => Err(ApiError::invalid("job", "begins the ids of several jobs: type more of it")),
    }
}

fn signal(agent: &Agent, call: &Call, body: Signal) -> Result<(), ApiError> {
    if !(1..=64).contains(&body.signal) {
        return Err(ApiError::invalid("signal", "is not the number of a signal"));
    }
    let job = find(agent, call.param(0))?;
    let sent = call::signal(agent.shared.tools.dir(&job.claim.job).path(), body.signal);
    sent.map_err(|error| not_running(&job, &error))
}

fn not_running(job: &JobView, error: &call::ShimCallError) -> ApiError {
    let id = &job.claim.job;
    match &job.status.state {
        JobState::Down(reason) => ApiError::new(Code::Conflict, format!("job {id} is down: {reason}")),
        state => ApiError::retryable(
            Code::Conflict,
            format!("job {id} is {} and cannot take this: {}", state.word(), os::text::chain(error)),
        ),
    }
}

fn attach(agent: &Agent, call: &Call, exchange: &mut Exchange<'_>) -> Result<(), ApiError> {
    let _stream = Stream::open()?;
    let job = find(agent, call.param(0))?;
    if let JobState::Down(reason) = &job.status.state {
        return Err(ApiError::new(Code::Conflict, format!("job {} is down: {reason}", job.claim.job)));
    }
    let takes_input = job.claim.spec.stdio != Stdio::Log;
    let wish = Request::Attach(AttachWish { stdin: takes_input && !call.flag("watch"), stdout: true, stderr: true });
    let (client, early) = exchange.upgrade(PROTOCOL)?;
    match reach(agent, &job.claim.job, &wish, &client) {
        Ok(shim) => splice(client, &early, shim),
        Err(why) => {
            // The connection has changed its protocol: that is how it is told now.
            let _ = write_frame(&mut &client, &Frame::Error(why));
        }
    }
    Ok(())
}

/// The shim of a job, as soon as there is one: layers may still be on their way.
fn reach(agent: &Agent, job: &JobId, wish: &Request, client: &UnixStream) -> Result<UnixStream, String> {
    let dir = agent.shared.tools.dir(job);
    if let Ok(shim) = call::frames(dir.path(), wish) {
        return Ok(shim);
    }
    let _ = write_frame(&mut &*client, &Frame::Waiting);
    let end = os::clock::now().after(ATTACH_WAIT);
    loop {
        os::clock::pause(Duration::from_millis(20));
        if let Ok(shim) = call::frames(dir.path(), wish) {
            return Ok(shim);
        }
        match find(agent, job.as_str()) {
            Ok(JobView { status, .. }) => {
                if let JobState::Down(reason) = status.state {
                    return Err(reason.to_string());
                }
            }
            Err(error) => return Err(error.message),
        }
        if os::clock::now() >= end {
            return Err(format!("the job was not ready within {} s", ATTACH_WAIT.as_secs()));
        }
    }
}

fn exec(agent: &Agent, call: &Call, exchange: &mut Exchange<'_>) -> Result<(), ApiError> {
    let _stream = Stream::open()?;
    let body: Exec = exchange.json_body()?;
    if body.args.is_empty() {
        return Err(ApiError::invalid("args", "names no program"));
    }
    let job = find(agent, call.param(0))?;
    let spec = &job.claim.spec;
    let mut env: BTreeMap<String, String> = outline::environment(&job.claim.job, spec);
    if body.tty {
        env.entry("TERM".to_owned()).or_insert_with(|| "xterm-256color".to_owned());
    }
    env.extend(body.env);
    let program = outline::program(spec, body.args, env);
    let size = |given: u16, usual: u16| if given == 0 { usual } else { given };
    let terminal = body.tty.then(|| (size(body.rows, 24), size(body.columns, 80)));
    let wish = Request::Exec(Box::new(ExecWish { program, terminal }));
    let shim = call::frames(agent.shared.tools.dir(&job.claim.job).path(), &wish);
    let shim = shim.map_err(|error| not_running(&job, &error))?;
    let (client, early) = exchange.upgrade(PROTOCOL)?;
    splice(client, &early, shim);
    Ok(())
}

/// Carry frames both ways until the shim has said everything, or the client is gone.
fn splice(client: UnixStream, early: &[u8], shim: UnixStream) {
    let carried = || -> io::Result<()> {
        let (mut from_client, mut to_shim) = (client.try_clone()?, shim.try_clone()?);
        io::Write::write_all(&mut to_shim, early)?;
        let upstream = os::thread::spawn("attach-in", move || {
            let _ = io::copy(&mut from_client, &mut to_shim);
            // The shim sees that its client is gone.
            let _ = to_shim.shutdown(Side::Both);
        })?;
        let copied = io::copy(&mut &shim, &mut &client);
        // Ends the other direction, too.
        let _ = client.shutdown(Side::Both);
        let _ = shim.shutdown(Side::Both);
        let _ = upstream.join();
        copied.map(drop)
    };
    if let Err(error) = carried() {
        ::log::debug!(error:% = error; "attached client left");
    }
}

fn make_layer(agent: &Agent, call: &Call, out: &mut LineWriter<'_, '_, StackProgress>) -> Result<(), ApiError> {
    let name = LayerName::ALL.into_iter().find(|layer| layer.as_str() == call.param(0));
    let name = name.ok_or_else(|| ApiError::not_found("stack layer", call.param(0)))?;
    let options = &agent.shared.tools.stack;
    disk::check_room(&agent.shared.options.data_dir)?;
    // A client that left must not stop what others wait for: the layer is made to its end.
    let layer = stack::ensure(options, name, &mut |line| drop(out.send(&StackProgress::Step(line.to_owned()))));
    let layer = layer.map_err(|error| ApiError::new(Code::LayerFailed, os::text::chain(&error)))?;
    out.send(&StackProgress::Ready(endpoints::StackLayer {
        name: layer.name,
        digest: layer.digest,
        bytes: layer.manifest.bytes,
    }))
}

fn build_settings(agent: &Agent) -> BuildSettings {
    let options = &agent.shared.options;
    let chosen = clients::choose(&clients::HostClients::read(options.operator_env.clone(), &options.operator_home));
    BuildSettings { env: chosen.env, files: chosen.files }
}

fn volumes(agent: &Agent) -> Result<Vec<Volume>, ApiError> {
    let internal = |error| ApiError::new(Code::Internal, os::text::chain(&error));
    let names = agent.shared.tools.volumes.list().map_err(internal)?;
    let jobs = agent.jobs()?;
    let uses = |job: &&JobView, name: &VolumeName| job.claim.spec.volumes.iter().any(|mount| mount.volume == *name);
    Ok(names
        .into_iter()
        .map(|name| {
            let users: Vec<&JobView> = jobs.iter().filter(|job| uses(job, &name)).collect();
            Volume {
                app: users.first().map(|job| job.claim.spec.app.clone()),
                jobs: users.iter().map(|job| job.claim.job.clone()).collect(),
                name,
            }
        })
        .collect())
}

fn delete_volume(agent: &Agent, call: &Call) -> Result<(), ApiError> {
    let name = VolumeName::parse(call.param(0)).map_err(|error| ApiError::invalid("volume", error.rule))?;
    let in_use = volumes(agent)?.into_iter().find(|volume| volume.name == name).map(|volume| volume.jobs);
    match in_use {
        None => return Err(ApiError::not_found("volume", name.as_str())),
        Some(jobs) if !jobs.is_empty() => {
            let jobs: Vec<&str> = jobs.iter().map(JobId::as_str).collect();
            let why = format!("volume {name} is used by {}", jobs.join(", "));
            return Err(ApiError::new(Code::Conflict, why).hint("scale these jobs to zero first"));
        }
        Some(_) => {}
    }
    let removed = agent.shared.tools.volumes.remove(&name);
    removed.map(drop).map_err(|error| ApiError::new(Code::Internal, os::text::chain(&error)))
}

fn stop(agent: &Agent, out: &mut LineWriter<'_, '_, StopProgress>) -> Result<(), ApiError> {
    // Once begun it goes on, whether or not somebody listens.
    let stopped = agent.stop_all(&mut |step| drop(out.send(&StopProgress { step: step.to_owned() })));
    stopped.map_err(|error| ApiError::new(Code::Internal, os::text::chain(&error)))?;
    drop(out.send(&StopProgress { step: "the host is stopped".to_owned() }));
    let _last = agent.shared.stopping.lock().unwrap_or_else(PoisonError::into_inner);
    agent.shared.options.shutdown.ask();
    Ok(())
}
