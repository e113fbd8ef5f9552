//! Jobs as people see them: what is claimed and what hosts say of it, what waits, and what has ended.

use std::collections::BTreeMap;

use api::cell::{CLAIMS, ENDED, ONEOFFS, STATUS};
use api::controller::{Deleted, Job, NewJob};
use api::objects::ARTIFACTS;
use api::serve::Call;
use api::store::{Repeat, StoreClient, Txn};
use controller_core::validate;
use os::clock::WallTime;
use types::app::App;
use types::cell::{OneOff, OneOffState};
use types::host::{Claim, EndedJob, StopOrder};
use types::job::{DownReason, JobSpec, JobState, JobStatus, PlatformAccess, Stdio};
use types::{ApiError, Code, JobId, ProcessType};

use crate::limits::{COMMIT_TRIES_MAX, PLACEMENT_WAIT};
use crate::state::Controller;
use crate::template;

/// The first characters of a UUID that name a job.
const PREFIX_MIN: usize = 4;

fn time(ms: u64) -> Option<String> {
    (ms > 0).then(|| WallTime::from_unix_millis(ms).to_string())
}

fn of_spec(id: &JobId, spec: &JobSpec, state: &JobState) -> Job {
    Job {
        id: id.clone(),
        uuid: id.uuid().to_owned(),
        host_id: id.host(),
        app: spec.app.clone(),
        app_name: spec.app_name.clone(),
        release: spec.release.clone(),
        process_type: spec.process_type.clone(),
        state: state.word().to_owned(),
        args: spec.args.clone(),
        address: None,
        exit_status: None,
        reason: None,
        host_error: None,
        restarts: 0,
        created_at: None,
        started_at: None,
        ended_at: None,
    }
}

fn ended(job: &mut Job, reason: &DownReason) {
    job.reason = Some(reason.to_string());
    match reason {
        DownReason::Exited { code } => job.exit_status = Some(*code),
        DownReason::Signaled { signal, .. } => job.exit_status = Some(128 + signal),
        DownReason::Failed { reason } => job.host_error = Some(reason.clone()),
        DownReason::Lost => job.host_error = Some("the host was lost".into()),
    }
}

/// A claimed job with what its host says of it, if it has said anything.
pub(crate) fn from_claim(claim: &Claim, status: Option<&JobStatus>) -> Job {
    let said = status.map_or(JobState::Starting, |status| status.state.clone());
    // The order to stop comes before the host acts on it.
    let state = if claim.stop.is_some() && !said.is_down() { JobState::Stopping } else { said };
    let mut job = of_spec(&claim.job, &claim.spec, &state);
    job.host_id = Some(claim.host.clone());
    job.created_at = time(claim.created_ms);
    let Some(status) = status else { return job };
    job.address.clone_from(&status.address);
    job.restarts = status.restarts;
    job.started_at = time(status.started_ms);
    job.ended_at = time(status.ended_ms);
    if let JobState::Down(reason) = &status.state {
        ended(&mut job, reason);
    } else if let Some(last) = &status.last_exit {
        job.reason = Some(format!("restarted: {last}"));
    }
    job
}

fn from_oneoff(request: &OneOff) -> Job {
    let state = match &request.state {
        OneOffState::Blocked { .. } => JobState::Blocked,
        OneOffState::Pending | OneOffState::Placed { .. } => JobState::Pending,
    };
    let mut job = of_spec(&request.id, &request.spec, &state);
    job.host_id = None;
    job.created_at = time(request.created_ms);
    if let OneOffState::Blocked { reason } = &request.state {
        job.reason = Some(reason.clone());
    }
    job
}

pub(crate) fn from_ended(end: &EndedJob) -> Job {
    let mut job = Job {
        id: end.job.clone(),
        uuid: end.job.uuid().to_owned(),
        host_id: end.job.host(),
        app: end.app.clone(),
        app_name: end.app_name.clone(),
        release: end.release.clone(),
        process_type: end.process_type.clone(),
        state: "down".into(),
        args: Vec::new(),
        address: None,
        exit_status: None,
        reason: None,
        host_error: None,
        restarts: 0,
        created_at: time(end.started_ms),
        started_at: time(end.started_ms),
        ended_at: time(end.ended_ms),
    };
    ended(&mut job, &end.reason);
    job
}

/// The jobs that are there, of one app or of all, newest first.
fn live(store: &StoreClient, app: Option<&App>) -> Result<Vec<Job>, ApiError> {
    let statuses: BTreeMap<String, JobStatus> =
        STATUS.list(store, &[])?.0.into_iter().map(|row| (row.id, row.value)).collect();
    let mine = |spec: &JobSpec| app.is_none_or(|app| spec.app == app.id);
    let mut jobs: BTreeMap<String, (u64, Job)> = BTreeMap::new();
    for row in ONEOFFS.list(store, &[])?.0.into_iter().filter(|row| mine(&row.value.spec)) {
        jobs.insert(row.value.id.uuid().to_owned(), (row.created, from_oneoff(&row.value)));
    }
    for row in CLAIMS.list(store, &[])?.0.into_iter().filter(|row| mine(&row.value.spec)) {
        let job = from_claim(&row.value, statuses.get(&row.id));
        jobs.insert(job.uuid.clone(), (row.created, job));
    }
    let mut jobs: Vec<(u64, Job)> = jobs.into_values().collect();
    jobs.sort_by_key(|(created, _)| std::cmp::Reverse(*created));
    Ok(jobs.into_iter().map(|(_, job)| job).collect())
}

pub(crate) fn of_app(controller: &Controller, app: &App, with_ended: bool) -> Result<Vec<Job>, ApiError> {
    let mut jobs = live(&controller.store, Some(app))?;
    if with_ended {
        let (mut rows, _) = ENDED.list(&controller.store, &[app.id.as_str()])?;
        rows.sort_by_key(|row| std::cmp::Reverse((row.value.ended_ms, row.revision)));
        let there: Vec<String> = jobs.iter().map(|job| job.uuid.clone()).collect();
        jobs.extend(rows.iter().map(|row| from_ended(&row.value)).filter(|job| !there.contains(&job.uuid)));
    }
    Ok(jobs)
}

pub(crate) fn list(controller: &Controller, call: &Call) -> Result<Vec<Job>, ApiError> {
    let app = controller.app(call.param(0))?.value;
    of_app(controller, &app, call.query("ended") != Some("no"))
}

pub(crate) fn active(controller: &Controller) -> Result<Vec<Job>, ApiError> {
    let mut jobs = live(&controller.store, None)?;
    jobs.retain(|job| job.state != "down");
    Ok(jobs)
}

pub(crate) fn find(controller: &Controller, app: &App, text: &str) -> Result<Job, ApiError> {
    let jobs = of_app(controller, app, true)?;
    // People also type TYPE.UUID, as logs show it.
    let text = text.rsplit('.').next().unwrap_or(text);
    if let Some(job) = jobs.iter().find(|job| job.id.as_str() == text || job.uuid == text) {
        return Ok(job.clone());
    }
    let named: Vec<&Job> = jobs.iter().filter(|job| text.len() >= PREFIX_MIN && job.uuid.starts_with(text)).collect();
    match named.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(ApiError::not_found("job", text).hint(format!("slipway ps -A --app {} lists them", app.name))),
        [_, _, ..] => Err(ApiError::new(Code::Conflict, format!("{text} names {} jobs", named.len()))
            .hint("give more characters of the id")),
    }
}

pub(crate) fn one(controller: &Controller, call: &Call) -> Result<Job, ApiError> {
    find(controller, &controller.app(call.param(0))?.value, call.param(1))
}

pub(crate) fn stop(controller: &Controller, call: &Call) -> Result<Deleted, ApiError> {
    let app = controller.app(call.param(0))?.value;
    let job = find(controller, &app, call.param(1))?;
    let how = if call.flag("now") { StopOrder::Kill } else { StopOrder::Drain };
    if job.state != "down" {
        order_stop(&controller.store, &job, how)?;
        log::info!(app:% = app.name, job:% = job.id; "job told to stop");
    }
    Ok(Deleted { id: job.id.to_string(), jobs: u32::from(job.state != "down"), ..Deleted::default() })
}

/// Tell a job to stop. One that has ended in the meantime is what was wanted.
pub(crate) fn order_stop(store: &StoreClient, job: &Job, how: StopOrder) -> Result<(), ApiError> {
    for _ in 0..COMMIT_TRIES_MAX {
        let Some(txn) = stop_txn(store, job, how)? else { return Ok(()) };
        if store.txn(txn, Repeat::Harmless)?.succeeded {
            return Ok(());
        }
    }
    Err(ApiError::retryable(Code::Conflict, format!("job {} kept changing", job.id)))
}

fn stop_txn(store: &StoreClient, job: &Job, how: StopOrder) -> Result<Option<Txn>, ApiError> {
    if let Some(mut row) = ONEOFFS.get(store, &[&job.uuid])? {
        if row.value.stop.is_some() {
            return Ok(None);
        }
        row.value.stop = Some(how);
        let txn = Txn::new().if_unchanged(&ONEOFFS.key(&[&job.uuid]), row.revision);
        return Ok(Some(ONEOFFS.put_in(txn, &[&job.uuid], &row.value)));
    }
    let Some(host) = &job.host_id else { return Ok(None) };
    let id = [host.as_str(), job.id.as_str()];
    let Some(mut row) = CLAIMS.get(store, &id)? else { return Ok(None) };
    let same = row.value.stop == Some(how) || (row.value.stop == Some(StopOrder::Kill));
    if same {
        return Ok(None);
    }
    row.value.stop = Some(how);
    let txn = Txn::new().if_unchanged(&CLAIMS.key(&id), row.revision);
    Ok(Some(CLAIMS.put_in(txn, &id, &row.value)))
}

/// The request for a job that runs once.
pub(crate) fn request(controller: &Controller, call: &Call, new: &NewJob, stdio: Stdio) -> Result<OneOff, ApiError> {
    let app = controller.app(call.param(0))?.value;
    if new.args.is_empty() {
        return Err(ApiError::invalid("args", "is empty: give the program to run and its arguments"));
    }
    validate::args("args", &new.args)?;
    validate::env("env", &new.env)?;
    if let Some(resources) = &new.resources {
        validate::resources("resources", resources)?;
    }
    let mut spec = match new.artifacts.is_empty() {
        true => on_release(controller, &app, new)?,
        false => on_artifacts(controller, &app, new)?,
    };
    spec.env.extend(new.env.clone());
    spec.stdio = stdio;
    let uuid = os::entropy::uuid();
    Ok(OneOff {
        id: OneOff::request_id(&uuid),
        spec,
        tags: BTreeMap::new(),
        wait_ms: u64::try_from(PLACEMENT_WAIT.as_millis()).unwrap_or(u64::MAX),
        stop: None,
        state: OneOffState::Pending,
        created_ms: os::clock::wall().unix_millis(),
    })
}

fn on_release(controller: &Controller, app: &App, new: &NewJob) -> Result<JobSpec, ApiError> {
    let release = match (new.release.as_str(), &app.release) {
        ("", None) => {
            let error = ApiError::new(Code::Conflict, format!("app {} has no release to run", app.name));
            return Err(error.hint("push the app first"));
        }
        ("", Some(id)) => controller.release(id.as_str())?.value,
        (text, _) => controller.release_of(app, text)?.value,
    };
    if release.artifacts.is_empty() {
        let text = format!("release v{} of {} has nothing to run", release.version, app.name);
        return Err(ApiError::new(Code::Conflict, text).hint("push the app first"));
    }
    let like = match new.process_type.as_str() {
        "" => None,
        text => Some(known_type(&release, text)?),
    };
    let artifacts = controller.artifacts(&release)?;
    let mut spec = template::once(app, &release, &artifacts, like.as_ref(), &new.args);
    if let Some(resources) = &new.resources {
        spec.resources = resources.clone();
    }
    Ok(spec)
}

fn on_artifacts(controller: &Controller, app: &App, new: &NewJob) -> Result<JobSpec, ApiError> {
    if new.platform == PlatformAccess::Sockets {
        return Err(ApiError::invalid(
            "platform",
            "must be none or binary: the sockets are for the platform's own jobs",
        ));
    }
    validate::mounts(&app.id, &new.volumes, &new.files)?;
    let find = |text: &String| {
        let row = ARTIFACTS.get(&controller.store, &[text])?;
        row.map(|row| row.value).ok_or_else(|| ApiError::not_found("artifact", text))
    };
    let artifacts = new.artifacts.iter().map(find).collect::<Result<Vec<_>, ApiError>>()?;
    let label = if new.process_type.is_empty() { "run" } else { &new.process_type };
    let label = ProcessType::parse(label).map_err(|error| ApiError::invalid("process_type", &error.to_string()))?;
    Ok(template::on_artifacts(app, &artifacts, new, label))
}

fn known_type(release: &types::app::Release, text: &str) -> Result<ProcessType, ApiError> {
    let parsed = ProcessType::parse(text).map_err(|error| ApiError::invalid("process_type", &error.to_string()))?;
    match release.processes.contains_key(&parsed) {
        true => Ok(parsed),
        false => Err(ApiError::invalid("process_type", &format!("{text} is none of release v{}", release.version))),
    }
}

/// Ask for it to be run.
pub(crate) fn ask(controller: &Controller, request: &OneOff) -> Result<Job, ApiError> {
    let uuid = request.id.uuid();
    let txn = ONEOFFS.put_in(Txn::new().if_absent(&ONEOFFS.key(&[uuid])), &[uuid], request);
    // Asked twice, the second time finds the first: the UUID is new.
    controller.store.txn(txn, Repeat::Harmless)?;
    log::info!(app:% = request.spec.app_name, job:% = request.id; "one-off job asked for");
    Ok(from_oneoff(request))
}

pub(crate) fn run(controller: &Controller, call: &Call, new: &NewJob) -> Result<Job, ApiError> {
    ask(controller, &request(controller, call, new, Stdio::Log)?)
}
