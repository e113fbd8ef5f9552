//! An app's log: asked of every host that may have a part of it, merged by time.

use std::collections::BTreeSet;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use api::Client;
use api::client::Polled;
use api::controller::LogMessage;
use api::host::APP_LOG;
use api::serve::{Call, LineWriter};
use os::signal::Shutdown;
use types::app::App;
use types::{ApiError, AppId, Code, JobId};

use crate::limits::{LAST_WORDS_BYTES_MAX, LAST_WORDS_LINES, LAST_WORDS_WAIT, LOG_LINES_MAX};
use crate::state::Controller;

/// How often a silent stream looks whether its client is still there.
const LOOK: Duration = Duration::from_millis(250);

/// Lines between the hosts' readers and the client; a slow client holds the readers back, never the jobs.
const LINES_QUEUED_MAX: usize = 256;

enum Heard {
    Line(Box<LogMessage>),
    Failed(ApiError),
    End,
}

/// The hosts whose logs are asked. The sockets of this host's daemon are what a controller can reach.
fn hosts(controller: &Controller) -> Vec<Client> {
    vec![Client::socket(&api::paths::host_socket(&controller.run_dir))]
}

pub(crate) fn get(
    controller: &Controller,
    call: &Call,
    out: &mut LineWriter<'_, '_, LogMessage>,
) -> Result<(), ApiError> {
    let app = controller.app(call.param(0))?.value;
    let lines = call.number("lines")?;
    if lines.is_some_and(|lines| lines > LOG_LINES_MAX) {
        return Err(ApiError::invalid("lines", &format!("must be at most {LOG_LINES_MAX}")));
    }
    check_named(controller, &app, call)?;
    let follow = call.flag("follow");
    let query = passed_on(call);
    let enough = Shutdown::new();
    let (tell, told) = sync_channel(LINES_QUEUED_MAX);
    let clients = hosts(controller);
    let mut open = clients.len();
    for client in clients {
        let (tell, enough, query, app) = (tell.clone(), enough.clone(), query.clone(), app.id.clone());
        let started = os::thread::spawn("log-reader", move || read(&client, &app, &query, follow, &tell, &enough));
        started.map_err(|error| ApiError::retryable(Code::Unavailable, format!("no thread to read with: {error}")))?;
    }
    let mut kept = Vec::new();
    let result = loop {
        if open == 0 || controller.shutdown.asked() {
            break Ok(());
        }
        match told.recv_timeout(LOOK) {
            Ok(Heard::Line(line)) if follow => {
                if let Err(gone) = out.send(&line) {
                    break Err(gone);
                }
            }
            Ok(Heard::Line(line)) => kept.push(*line),
            Ok(Heard::Failed(error)) => break Err(error),
            Ok(Heard::End) => open -= 1,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        if out.client_gone() {
            break Ok(());
        }
    };
    enough.ask();
    drop(told);
    result?;
    kept.sort_by(|a, b| a.timestamp.cmp(&b.timestamp));
    let keep = lines.and_then(|lines| usize::try_from(lines).ok()).unwrap_or(kept.len());
    let skip = kept.len().saturating_sub(keep);
    kept.iter().skip(skip).try_for_each(|line| out.send(line))
}

/// A job or process type that is not there has no lines, and would look as if it were silent.
fn check_named(controller: &Controller, app: &App, call: &Call) -> Result<(), ApiError> {
    if let Some(job) = call.query("job_id").filter(|job| !job.is_empty()) {
        crate::jobs::find(controller, app, job)?;
    }
    let Some(wanted) = call.query("process_type").filter(|one| !one.is_empty()) else { return Ok(()) };
    let releases = crate::releases::of_app(controller, app)?;
    let of_releases = releases.iter().flat_map(|release| release.processes.keys());
    let jobs = crate::jobs::of_app(controller, app, true)?;
    let known: BTreeSet<&str> =
        of_releases.chain(jobs.iter().map(|job| &job.process_type)).map(types::ProcessType::as_str).collect();
    // One-off jobs of these types may have ended longer ago than their records are kept.
    if known.contains(wanted) || ["run", "build"].contains(&wanted) {
        return Ok(());
    }
    let known: Vec<&str> = known.into_iter().collect();
    let known = if known.is_empty() { "none yet".to_owned() } else { known.join(", ") };
    Err(ApiError::not_found("process type", wanted).hint(format!("app {} has: {known}", app.name)))
}

/// The queries that a host understands as the controller does.
fn passed_on(call: &Call) -> Vec<(&'static str, String)> {
    ["follow", "lines", "process_type", "job_id", "stream_types"]
        .into_iter()
        .filter_map(|name| call.query(name).map(|value| (name, value.to_owned())))
        .collect()
}

fn read(
    client: &Client,
    app: &AppId,
    query: &[(&'static str, String)],
    follow: bool,
    tell: &SyncSender<Heard>,
    enough: &Shutdown,
) {
    let pairs: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let client = if follow { client.clone().timeout(None) } else { client.clone() };
    let mut lines = match client.lines(&APP_LOG, &[app.as_str()], &pairs, &()) {
        Ok(lines) => lines,
        Err(error) => {
            // A receiver that is gone has seen enough.
            let _ = tell.send(Heard::Failed(error.into()));
            return;
        }
    };
    while !enough.asked() {
        let heard = match lines.next_within(LOOK) {
            Ok(Polled::Item(line)) => Heard::Line(Box::new(line)),
            Ok(Polled::Quiet) => continue,
            Ok(Polled::End) => Heard::End,
            Err(error) => Heard::Failed(error.into()),
        };
        let last = matches!(heard, Heard::End | Heard::Failed(_));
        if tell.send(heard).is_err() || last {
            return;
        }
    }
}

/// The last lines that a job wrote, for the record of what it broke. None when they cannot be had soon.
pub(crate) fn last_words(controller: &Controller, app: &AppId, job: &JobId) -> Vec<String> {
    let count = LAST_WORDS_LINES.to_string();
    let query = [("job_id", job.as_str()), ("lines", count.as_str())];
    let client = Client::socket(&api::paths::host_socket(&controller.run_dir)).timeout(Some(LAST_WORDS_WAIT));
    let Ok(lines) = client.lines(&APP_LOG, &[app.as_str()], &query, &()) else { return Vec::new() };
    let lines: Vec<String> = lines.map_while(Result::ok).map(|line| line.msg).collect();
    let mut left = LAST_WORDS_BYTES_MAX;
    let fits = |line: &&String| {
        left = left.saturating_sub(line.len());
        left > 0
    };
    let mut kept: Vec<String> = lines.iter().rev().take(LAST_WORDS_LINES).take_while(fits).cloned().collect();
    kept.reverse();
    kept
}
