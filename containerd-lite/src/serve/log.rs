//! Logs over the host API.

use std::time::Duration;

use api::controller::LogMessage;
use api::serve::{Call, LineWriter};
use types::{ApiError, AppId, Code, JobId};

use super::Stream;
use crate::agent::Agent;
use crate::jobdir;
use crate::limits::LOG_LINES_MAX;
use crate::logs::{Origin, Tail, Wanted, merge};
use crate::segments::SegmentError;

type Out<'o, 'e, 'a> = &'o mut LineWriter<'e, 'a, LogMessage>;

/// How often a followed log is looked at: people do not see less, and an idle follower costs next to nothing.
const LOOK: Duration = Duration::from_millis(100);

/// How often a new job of a followed app is looked for, in looks.
const LOOKS_PER_LISTING: u32 = 10;

struct Query {
    follow: bool,
    lines: usize,
    wanted: Wanted,
}

fn query(call: &Call) -> Result<Query, ApiError> {
    let lines = call.number("lines")?.map_or(LOG_LINES_MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
    let wanted = match call.query("stream_types") {
        None | Some("") => Wanted::ALL,
        Some(list) => Wanted::parse(list)
            .ok_or_else(|| ApiError::invalid("stream_types", "is a list of stdout, stderr and init"))?,
    };
    Ok(Query { follow: call.flag("follow"), lines: lines.min(LOG_LINES_MAX), wanted })
}

/// Which jobs' logs are wanted.
struct Choice {
    app: Option<AppId>,
    process_type: Option<String>,
    job: Option<String>,
}

impl Choice {
    /// Jobs with a log that are not among `known`.
    fn find(&self, agent: &Agent, known: &[JobId]) -> Vec<Origin> {
        let jobs = &agent.shared.tools.jobs;
        let ids = jobdir::all(jobs).unwrap_or_default();
        ids.into_iter().filter(|id| !known.contains(id)).filter_map(|id| self.origin(agent, id)).collect()
    }

    fn origin(&self, agent: &Agent, id: JobId) -> Option<Origin> {
        let named = |name: &String| id.as_str() == name || (!name.is_empty() && id.uuid().starts_with(name.as_str()));
        if !self.job.as_ref().is_none_or(named) {
            return None;
        }
        let spec = agent.shared.tools.dir(&id).claim().ok()??.spec;
        let of_app = |app: &AppId| spec.app == *app || spec.app_name.as_str() == app.as_str();
        let of_type = |kind: &String| spec.process_type.as_str() == kind;
        let chosen = self.app.as_ref().is_none_or(of_app) && self.process_type.as_ref().is_none_or(of_type);
        let host = agent.shared.options.host.clone();
        chosen.then(|| Origin { host, job: id, process_type: spec.process_type.to_string() })
    }
}

pub(super) fn of_job(agent: &Agent, call: &Call, out: Out<'_, '_, '_>) -> Result<(), ApiError> {
    let choice = Choice { app: None, process_type: None, job: Some(call.param(0).to_owned()) };
    if choice.find(agent, &[]).is_empty() {
        return Err(ApiError::not_found("job", call.param(0)));
    }
    stream(agent, &choice, &query(call)?, out)
}

pub(super) fn of_app(agent: &Agent, call: &Call, out: Out<'_, '_, '_>) -> Result<(), ApiError> {
    let app = AppId::parse(call.param(0)).map_err(|error| ApiError::invalid("app", error.rule))?;
    let text = |name: &str| call.query(name).filter(|value| !value.is_empty()).map(str::to_owned);
    let choice = Choice { app: Some(app), process_type: text("process_type"), job: text("job_id") };
    stream(agent, &choice, &query(call)?, out)
}

fn stream(agent: &Agent, choice: &Choice, query: &Query, out: Out<'_, '_, '_>) -> Result<(), ApiError> {
    let failed = |error: SegmentError| ApiError::new(Code::Internal, os::text::chain(&error));
    let mut known = Vec::new();
    let mut tails = Vec::new();
    let open = |known: &mut Vec<JobId>, tails: &mut Vec<Tail>| -> Result<(), ApiError> {
        for origin in choice.find(agent, known) {
            known.push(origin.job.clone());
            let dir = agent.shared.tools.dir(&origin.job);
            tails.push(Tail::open(origin, &dir, query.wanted.clone()).map_err(failed)?);
        }
        Ok(())
    };
    open(&mut known, &mut tails)?;
    let mut last = Vec::new();
    for tail in &mut tails {
        last.extend(tail.last(query.lines).map_err(failed)?);
    }
    let messages = merge(last);
    for message in messages.iter().skip(messages.len().saturating_sub(query.lines)) {
        out.send(message)?;
    }
    if !query.follow {
        return Ok(());
    }
    let _stream = Stream::open()?;
    let mut looks = 0;
    while !agent.shared.options.shutdown.asked() && !out.client_gone() {
        let mut fresh = Vec::new();
        for tail in &mut tails {
            fresh.extend(tail.read_on().map_err(failed)?);
        }
        if fresh.is_empty() {
            os::clock::pause(LOOK);
        }
        for message in merge(fresh) {
            out.send(&message)?;
        }
        looks += 1;
        if looks % LOOKS_PER_LISTING == 0 {
            open(&mut known, &mut tails)?;
        }
    }
    Ok(())
}
