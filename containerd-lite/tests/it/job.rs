//! `tests/scripts`: the life of a job as commands, the effects and the phase as the trace.
//!
//! `job WORD...` makes one (`system`, `service` or `batch`; `web`: a service with a check; `offers`: a service without;
//! `attached`), `again` makes a new machine from what the last one persisted, `wait MS` lets time pass, and the rest
//! are the events. Answers carry the current run unless `run=N` says otherwise.

use std::time::Duration;

use containerd_lite::core::job::{Effect, Event, Found, Job, Retry};
use containerd_lite::stored::Record;
use stdx::{Instant, Machine, Rng};
use types::ServiceName;
use types::host::StopOrder;
use types::job::{CheckKind, DownReason, HealthCheck, JobSpec, Lifecycle, ServiceSpec, Stdio};

struct Session {
    now: Instant,
    spec: JobSpec,
    kept: Record,
    job: Job,
}

#[test]
fn job_scripts_give_their_traces() {
    testkit::script::run_sessions("tests/scripts", |_| {
        let mut session: Option<Session> = None;
        move |commands: &str| {
            let mut trace = String::new();
            for command in commands.lines().filter(|line| !line.starts_with('#')) {
                step(&mut session, command, &mut trace);
            }
            trace
        }
    });
}

fn step(session: &mut Option<Session>, command: &str, trace: &mut String) {
    let words: Vec<&str> = command.split(' ').collect();
    if words[0] == "job" {
        let spec = spec(&words[1..]);
        let job = Job::new(&spec, Record::default(), Rng::new(1));
        *session = Some(Session { now: Instant::START, spec, kept: Record::default(), job });
        return;
    }
    let session = session.as_mut().expect("a script begins with `job`");
    match words[0] {
        "again" => session.job = Job::new(&session.spec, session.kept.clone(), Rng::new(2)),
        "wait" => pass(session, Duration::from_millis(words[1].parse().expect("milliseconds")), trace),
        _ => {
            let event = event(&words, session.job.run());
            feed(session, event, trace);
        }
    }
    trace.push_str(&format!("= {}\n", session.job.phase()));
}

/// Let time pass as the shell does: a tick at each deadline on the way.
fn pass(session: &mut Session, wait: Duration, trace: &mut String) {
    let end = session.now.after(wait);
    while let Some(due) = session.job.deadline().filter(|due| *due <= end) {
        session.now = session.now.max(due);
        trace.push_str(&format!("at {}\n", session.now));
        feed(session, Event::Tick, trace);
    }
    session.now = end;
    feed(session, Event::Tick, trace);
}

fn feed(session: &mut Session, event: Event, trace: &mut String) {
    let mut effects = Vec::new();
    session.job.handle(session.now, event, &mut effects);
    for effect in effects {
        if let Effect::Persist(record) = &effect {
            session.kept = record.clone();
            trace.push_str(&format!(
                "persist run={} restarts={} begun={} announced={}{}{}\n",
                record.run,
                record.restarts,
                record.begun,
                record.announced,
                record.last_exit.as_ref().map(|exit| format!(" last={exit}")).unwrap_or_default(),
                record.ended.as_ref().map(|exit| format!(" ended={exit}")).unwrap_or_default(),
            ));
        } else {
            trace.push_str(&format!("{effect:?}\n"));
        }
    }
}

fn spec(words: &[&str]) -> JobSpec {
    let mut spec: JobSpec = serde_json::from_str(
        r#"{"app":"a","app_name":"blog","process_type":"web","lifecycle":"service","args":["/bin/web"]}"#,
    )
    .expect("a minimal specification");
    let service = |check| ServiceSpec { name: ServiceName::parse("blog-web").expect("a name"), port: 8080, check };
    for word in words {
        match *word {
            "system" => spec.lifecycle = Lifecycle::System,
            "service" => spec.lifecycle = Lifecycle::Service,
            "batch" => spec.lifecycle = Lifecycle::Batch,
            "web" => spec.service = Some(service(Some(HealthCheck::new(CheckKind::Tcp)))),
            "offers" => spec.service = Some(service(None)),
            "attached" => spec.stdio = Stdio::Attached,
            other => panic!("unknown kind of job {other}"),
        }
    }
    spec
}

fn event(words: &[&str], run: u32) -> Event {
    let run =
        words.iter().find_map(|word| word.strip_prefix("run=")).map_or(run, |number| number.parse().expect("a run"));
    let rest = || words[1..].iter().filter(|word| !word.starts_with("run=")).copied().collect::<Vec<_>>().join(" ");
    match words[0] {
        "found" => Event::Found(match words[1] {
            "nothing" => Found::Nothing,
            "created" => Found::Created,
            "running" => Found::Running,
            "exited" => Found::Ended(DownReason::Exited { code: words[2].parse().expect("a code") }),
            other => panic!("unknown finding {other}"),
        }),
        "prepared" => Event::Prepared { run },
        "cannot-prepare" => Event::PrepareFailed { run, reason: rest(), retry: Retry::Never },
        "cannot-prepare-yet" => Event::PrepareFailed { run, reason: rest(), retry: Retry::Later },
        "created" => Event::Created { run },
        "cannot-create" => Event::CreateFailed { run, reason: rest() },
        "attach" => Event::ClientAttached { run },
        "started" => Event::Started { run },
        "cannot-start" => Event::StartFailed { run, reason: rest() },
        "healthy" => Event::Healthy { run },
        "unhealthy" => Event::Unhealthy { run, why: rest() },
        "never-healthy" => Event::NeverHealthy { run, why: rest() },
        "registered" => Event::Registered { run },
        "seen" => Event::Seen { run },
        "drained" => Event::Drained { run },
        "exited" => Event::Ended { run, reason: DownReason::Exited { code: words[1].parse().expect("a code") } },
        "killed" => Event::Ended { run, reason: DownReason::Signaled { signal: 9, oom: words.contains(&"oom") } },
        "cleaned" => Event::Cleaned { run },
        "stop" => Event::Stop(StopOrder::Drain),
        "kill" => Event::Stop(StopOrder::Kill),
        "forget" => Event::Forget,
        "tick" => Event::Tick,
        other => panic!("unknown event {other}"),
    }
}
