//! A host that runs nothing: it says of each claim what the claim's environment tells it to say.
//!
//! `BEHAVE` = `up` (the default), `crash` (ends at once with code 3), `deaf` (never healthy, found out after a
//! minute), `never` (starts for ever).

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use api::Service;
use api::attach::{Frame, PROTOCOL, Stream, read_frame, write_frame};
use api::cell::{CLAIMS, HOSTS, PRESENCE, Presence, STATUS};
use api::controller::{LogMessage, LogStream};
use api::host::{APP_LOG, ATTACH};
use api::serve::Listening;
use api::store::StoreClient;
use api::table::{RowChange, TableEvent};
use os::signal::Shutdown;
use types::HostId;
use types::host::{Capacity, Claim, Host, HostState};
use types::job::{DownReason, JobState, JobStatus, Lifecycle, Stdio};

pub(crate) const HOST: &str = "h1";

struct Pretender {
    store: StoreClient,
}

pub(crate) fn start(run_dir: &Path, store: &StoreClient, shutdown: &Shutdown) -> Listening {
    let host = HostId::parse(HOST).unwrap();
    let record = Host {
        id: host.clone(),
        state: HostState::Up,
        capacity: Capacity { memory_bytes: 1 << 40, cpu_milli: 1_000_000, jobs: 1_000 },
        zone: String::new(),
        tags: [].into(),
        address: String::new(),
        version: String::new(),
        started_ms: 0,
    };
    PRESENCE.put(store, &[HOST], &Presence { host, run: 1 }, None).unwrap();
    HOSTS.put(store, &[HOST], &record, None).unwrap();
    let (store_of_loop, stop) = (store.clone(), shutdown.clone());
    os::thread::spawn("pretend", move || pretend(&store_of_loop, &stop)).unwrap();
    let service = Service::new(Arc::new(Pretender { store: store.clone() }))
        .raw(&ATTACH, |host, call, exchange| {
            let job = call.param(0).to_owned();
            let (stream, early) = exchange.upgrade(PROTOCOL)?;
            echo(early.as_slice().chain(&stream), &stream);
            say(&host.store, &job, JobState::Down(DownReason::Exited { code: 7 }));
            Ok(())
        })
        .lines(&APP_LOG, |_, call, (), out| {
            for n in 0..3u32 {
                out.send(&line(call.query("job_id").unwrap_or("h1-all"), n))?;
            }
            Ok(())
        });
    service.listen(&api::paths::host_socket(run_dir), shutdown).unwrap()
}

fn line(job: &str, number: u32) -> LogMessage {
    LogMessage {
        host_id: HOST.into(),
        job_id: job.into(),
        msg: format!("last words {number}"),
        process_type: "web".into(),
        source: "app".into(),
        stream: LogStream::Stdout,
        timestamp: format!("2026-01-01T00:00:0{number}.000Z"),
    }
}

/// Says what it hears, up to the end of its input; then the exit status.
fn echo(mut input: impl Read, mut output: impl Write) {
    write_frame(&mut output, &Frame::Waiting).unwrap();
    write_frame(&mut output, &Frame::Attached).unwrap();
    loop {
        match read_frame(&mut input) {
            Ok(Some(Frame::Bytes(Stream::Stdin, bytes))) if bytes.is_empty() => break,
            Ok(Some(Frame::Bytes(Stream::Stdin, bytes))) => {
                write_frame(&mut output, &Frame::Bytes(Stream::Stdout, bytes)).unwrap();
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return,
        }
    }
    let _ = write_frame(&mut output, &Frame::Exit(7));
}

fn say(store: &StoreClient, job: &str, state: JobState) {
    let wall = os::clock::wall().unix_millis();
    // One that is found deaf had its whole start time.
    let lived = if matches!(&state, JobState::Down(DownReason::Failed { .. })) { 60_000 } else { 0 };
    let status = JobStatus {
        job: job.parse().unwrap(),
        address: None,
        pid: None,
        restarts: 0,
        last_exit: None,
        started_ms: wall - lived,
        ended_ms: if state.is_down() { wall } else { 0 },
        state,
    };
    STATUS.put(store, &[HOST, job], &status, None).unwrap();
}

fn pretend(store: &StoreClient, shutdown: &Shutdown) {
    let mut begun = std::collections::BTreeSet::new();
    let mut ended = std::collections::BTreeSet::new();
    for event in CLAIMS.watch(store, &[HOST], shutdown) {
        let claims: Vec<Claim> = match event {
            TableEvent::Reset { rows, .. } => rows.into_values().map(|row| row.value).collect(),
            TableEvent::Changes { changes, .. } => changes
                .into_iter()
                .filter_map(|change| match change {
                    RowChange::Put(row) => Some(row.value),
                    RowChange::Deleted { .. } => None,
                })
                .collect(),
        };
        for claim in claims {
            let job = claim.job.to_string();
            if claim.stop.is_some() && ended.insert(job.clone()) {
                say(store, &job, JobState::Down(DownReason::Exited { code: 0 }));
            } else if claim.stop.is_none() && begun.insert(job.clone()) {
                begin(store, &claim, &mut ended);
            }
        }
    }
}

fn begin(store: &StoreClient, claim: &Claim, ended: &mut std::collections::BTreeSet<String>) {
    let job = claim.job.to_string();
    say(store, &job, JobState::Starting);
    let down = match claim.spec.env.get("BEHAVE").map_or("up", String::as_str) {
        "crash" => Some(DownReason::Exited { code: 3 }),
        "deaf" => Some(DownReason::Failed { reason: "nothing listens on port 8080".into() }),
        "never" => return,
        _ if claim.spec.lifecycle == Lifecycle::Batch && claim.spec.stdio == Stdio::Log => {
            Some(DownReason::Exited { code: 0 })
        }
        _ => None,
    };
    match down {
        Some(reason) => {
            ended.insert(job.clone());
            say(store, &job, JobState::Down(reason));
        }
        None => say(store, &job, JobState::Up),
    }
}
