//! `POST /apps/:app/jobs`: run something once; with an upgrade, carry its terminal between host and client.

use std::io::{self, Read, Write};
use std::net::Shutdown as Half;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use api::Client;
use api::attach::{Frame, PROTOCOL, read_frame, write_frame};
use api::cell::{ENDED, ONEOFFS};
use api::controller::{Job, NewJob};
use api::serve::{Call, Exchange};
use api::store::{Change, WatchEvent};
use os::signal::Shutdown;
use types::cell::{OneOff, OneOffState};
use types::host::StopOrder;
use types::job::Stdio;
use types::{ApiError, Code, HostId, JobId};

use crate::jobs;
use crate::limits::PLACEMENT_WAIT;
use crate::state::Controller;

/// How often a waiting client is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// How long a host may take to see the claim that it was given.
const CLAIM_WAIT: Duration = Duration::from_secs(10);

pub(crate) fn post(controller: &Controller, call: &Call, exchange: &mut Exchange<'_>) -> Result<(), ApiError> {
    let new: NewJob = exchange.json_body()?;
    match call.header("upgrade") {
        Some(protocol) if protocol.eq_ignore_ascii_case(PROTOCOL) => attached(controller, call, &new, exchange),
        Some(protocol) => Err(ApiError::new(Code::Validation, format!("cannot upgrade to {protocol}"))),
        None => exchange.json(200, &jobs::run(controller, call, &new)?),
    }
}

fn attached(controller: &Controller, call: &Call, new: &NewJob, exchange: &mut Exchange<'_>) -> Result<(), ApiError> {
    let usual = |given: u16, usual: u16| if given == 0 { usual } else { given };
    let stdio = match new.tty {
        true => Stdio::Terminal { rows: usual(new.tty_lines, 24), columns: usual(new.tty_columns, 80) },
        false => Stdio::Attached,
    };
    let request = jobs::request(controller, call, new, stdio)?;
    let job = jobs::ask(controller, &request)?;
    let connected = placed(controller, &request, exchange).and_then(|(id, host)| connect(controller, &id, &host));
    let (upstream, early) = match connected {
        Ok(connected) => connected,
        Err(error) => {
            give_up(controller, &job);
            return Err(error);
        }
    };
    let (downstream, first) = match exchange.upgrade(PROTOCOL) {
        Ok(upgraded) => upgraded,
        Err(error) => {
            give_up(controller, &job);
            return Err(error);
        }
    };
    if let Err(error) = carry(&downstream, &first, &upstream, &early) {
        log::debug!(job:% = job.id, error:% = error; "attached connection ended");
    }
    // A client that went away leaves nobody to run it for; a job that has ended does not mind.
    give_up(controller, &job);
    Ok(())
}

fn give_up(controller: &Controller, job: &Job) {
    if let Err(error) = jobs::order_stop(&controller.store, job, StopOrder::Drain) {
        log::warn!(job:% = job.id, error:% = error; "one-off job not stopped");
    }
}

/// Wait until a host was told to run it.
fn placed(controller: &Controller, request: &OneOff, exchange: &Exchange<'_>) -> Result<(JobId, HostId), ApiError> {
    let enough = Shutdown::new();
    let (tell, told) = sync_channel(16);
    let watch = controller.store.watch(&ONEOFFS.key(&[request.id.uuid()]), &enough);
    os::thread::spawn("placement", move || {
        for event in watch {
            if tell.send(event).is_err() {
                return;
            }
        }
    })
    .map_err(|error| ApiError::retryable(Code::Unavailable, format!("no thread to wait with: {error}")))?;
    let deadline = os::clock::now().after(PLACEMENT_WAIT);
    let mut blocked = None;
    let found = loop {
        match told.recv_timeout(LOOK) {
            Ok(event) => match look(controller, request, event) {
                Ok(OneOffState::Placed { job, host }) => break Ok((job, host)),
                Ok(OneOffState::Blocked { reason }) => blocked = Some(reason),
                Ok(OneOffState::Pending) => {}
                Err(error) => break Err(error),
            },
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        if exchange.client_gone() {
            break Err(ApiError::new(Code::Unavailable, "the client went away"));
        }
        if os::clock::now() >= deadline || controller.shutdown.asked() {
            let why = blocked.map(|reason| format!(": {reason}")).unwrap_or_default();
            let text = format!("no host took the job within {} s{why}", PLACEMENT_WAIT.as_secs());
            let hint = "`slipway host ps` shows what holds memory; scale something down, then try again";
            break Err(ApiError::retryable(Code::NoCapacity, text).hint(hint));
        }
    };
    enough.ask();
    found
}

fn look(controller: &Controller, request: &OneOff, event: WatchEvent) -> Result<OneOffState, ApiError> {
    let record = match event {
        WatchEvent::Reset { records, .. } => records.into_iter().next(),
        WatchEvent::Changes { changes, .. } => match changes.into_iter().next_back() {
            Some(Change::Put(record)) => Some(record),
            Some(Change::Deleted { .. }) => None,
            None => return Ok(OneOffState::Pending),
        },
    };
    let Some(record) = record else { return Err(ended(controller, request)) };
    Ok(ONEOFFS.decode(&record)?.value.state)
}

/// Why a request is gone before anybody could attach.
fn ended(controller: &Controller, request: &OneOff) -> ApiError {
    let ends = ENDED.list(&controller.store, &[request.spec.app.as_str()]).map(|(rows, _)| rows).unwrap_or_default();
    let end = ends.into_iter().find(|row| row.value.job.uuid() == request.id.uuid());
    let why = end.map_or_else(|| "its request was removed".to_owned(), |row| row.value.reason.to_string());
    ApiError::new(Code::StartFailed, format!("the job did not start: {why}"))
}

/// Attach to the job on its host, up to where the host says that it is attached.
fn connect(controller: &Controller, job: &JobId, host: &HostId) -> Result<(UnixStream, Vec<u8>), ApiError> {
    log::debug!(job:% = job, host:% = host; "attaching");
    let client = Client::socket(&api::paths::host_socket(&controller.run_dir));
    let mut last = ApiError::retryable(Code::Unavailable, format!("host {host} was not reached"));
    let connected = os::clock::wait_for(CLAIM_WAIT, || {
        match client.upgrade(&api::host::ATTACH, &[job.as_str()], &[], PROTOCOL, &()) {
            Ok(connected) => Some(Ok(connected)),
            Err(error) if error.is_not_found() || error.is_retryable() => {
                last = error.into();
                None
            }
            Err(error) => Some(Err(ApiError::from(error))),
        }
    });
    connected.unwrap_or(Err(last))
}

/// Carry frames both ways until the job or the client has ended. The host's leading state is not passed on.
fn carry(downstream: &UnixStream, first: &[u8], upstream: &UnixStream, early: &[u8]) -> io::Result<()> {
    let mut from_host = early.chain(upstream);
    loop {
        match read_frame(&mut from_host)? {
            Some(Frame::Attached) => break,
            Some(Frame::Waiting) => {}
            Some(other) => {
                write_frame(&mut &*downstream, &other)?;
                break;
            }
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
    let (mut to_host, mut from_client) = (upstream.try_clone()?, first.to_vec());
    let mut client = downstream.try_clone()?;
    let up = os::thread::spawn("attach-up", move || {
        let sent = to_host.write_all(&std::mem::take(&mut from_client));
        // Either end going away ends both directions; the streams' ends are frames of their own.
        let _ = sent.and_then(|()| io::copy(&mut client, &mut to_host));
        let _ = to_host.shutdown(Half::Both);
    })?;
    let copied = io::copy(&mut from_host, &mut &*downstream);
    let _ = downstream.shutdown(Half::Both);
    let _ = up.join();
    copied.map(drop)
}
