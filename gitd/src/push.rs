//! One push: source in, build, release, deployment, and what the pusher reads of it.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use api::attach::{Frame, Stream, read_frame};
use api::controller::{self as controller_api, NewArtifact, NewRelease};
use os::clock;
use types::app::{ArtifactKind, Deployment, DeploymentStatus, Port, ProcessSpec, Release};
use types::job::{CheckKind, HealthCheck};
use types::stack::Built;
use types::{ApiError, ArtifactId, Code, ProcessType, ServiceName};

use crate::build::{self, Slug};
use crate::limits;
use crate::output::{Screen, seconds};
use crate::serve::{PushQuestion, Receiver, Session};
use crate::spool::Spool;

/// The port that web processes are told to listen on.
const WEB_PORT: u16 = 8080;

/// How often a deployment that is in the way is looked at.
const DEPLOYMENT_LOOK: std::time::Duration = std::time::Duration::from_millis(250);

/// Whether the pusher has gone. Whoever waits for something looks at it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cancel(Arc<AtomicBool>);

impl Cancel {
    pub(crate) fn asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn check(&self) -> Result<(), ApiError> {
        if self.asked() { Err(ApiError::new(Code::Conflict, "the push was cancelled")) } else { Ok(()) }
    }
}

/// Serve one hook. Every failure is told to the pusher.
pub(crate) fn serve(
    receiver: &Receiver,
    session: &Session,
    question: &PushQuestion,
    stream: UnixStream,
    early: Vec<u8>,
) {
    let Ok(reading) = stream.try_clone() else { return };
    let screen = Screen::new(stream);
    let outcome = push(receiver, session, question, &screen, std::io::Cursor::new(early).chain(reading));
    match outcome {
        Ok(()) => screen.exit(0),
        Err(error) => {
            log::warn!(app:% = session.app.name, commit:% = question.commit, code:% = error.code, error:% = error; "push failed");
            screen.failure(&error.message, error.hint.as_deref());
            screen.exit(1);
        }
    }
}

fn push(
    receiver: &Receiver,
    session: &Session,
    question: &PushQuestion,
    screen: &Screen,
    input: impl Read + Send + 'static,
) -> Result<(), ApiError> {
    let start = clock::now();
    let app = &session.app;
    let Some(_claim) = receiver.claim(&app.id) else {
        return Err(ApiError::retryable(Code::Conflict, format!("another push to {} is under way", app.name))
            .hint("wait for it to end, then push again"));
    };
    log::info!(app:% = app.name, commit:% = question.commit, key:% = session.key.fingerprint; "push begins");
    let (source, cancel) = receive(receiver, input)?;
    let current = current_release(receiver, session)?;
    let built = build::build(receiver, session, question, current.as_ref(), &source, screen, &cancel)?;
    drop(source);
    cancel.check()?;
    let publish = clock::now();
    screen.step("Publishing");
    let artifact = publish_slug(receiver, session, &built)?;
    let release = make_release(receiver, session, question, &built.reply, &artifact, screen, &cancel)?;
    screen.detail(&format!(
        "{} v{}, {:.1} MB ({})",
        app.name,
        release.version,
        megabytes(built.slug.bytes()),
        seconds(clock::now().since(publish))
    ));
    let deployed = clock::now();
    screen.step(&format!("Deploying v{}", release.version));
    let deployment = deploy(receiver, session, &release, &cancel)?;
    finish(receiver, session, &release, &deployment, screen)?;
    let runs = deployment.processes.values().any(|count| *count > 0);
    if runs {
        screen.detail(&format!("live after {}", seconds(clock::now().since(deployed))));
    }
    told_urls(receiver, session, &release, &deployment, screen, start)
}

#[expect(clippy::cast_precision_loss, reason = "a size for people, with one digit")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Take the tar of the source. The thread goes on to watch whether the pusher stays.
fn receive(receiver: &Receiver, mut input: impl Read + Send + 'static) -> Result<(Spool, Cancel), ApiError> {
    let mut source = Spool::new(&receiver.options.spool(), "source", limits::SOURCE_BYTES_MAX)?;
    loop {
        match read_frame(&mut input) {
            Ok(Some(Frame::Bytes(Stream::Stdin, bytes))) if bytes.is_empty() => break,
            Ok(Some(Frame::Bytes(Stream::Stdin, bytes))) => source.write(&bytes)?,
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return Err(ApiError::new(Code::Syntax, "the source did not arrive whole")),
        }
    }
    let cancel = Cancel::default();
    let asked = cancel.clone();
    os::thread::spawn("push-watch", move || {
        while let Ok(Some(_)) = read_frame(&mut input) {}
        asked.0.store(true, Ordering::SeqCst);
    })
    .map_err(|error| ApiError::new(Code::Internal, format!("watch the pusher: {error}")))?;
    Ok((source, cancel))
}

fn current_release(receiver: &Receiver, session: &Session) -> Result<Option<Release>, ApiError> {
    match receiver.controller.call(&controller_api::APP_RELEASE, &[session.app.id.as_str()], &()) {
        Ok(release) => Ok(Some(release)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn publish_slug(receiver: &Receiver, session: &Session, slug: &Slug) -> Result<ArtifactId, ApiError> {
    let blobs = api::blobs::BlobClient::service(&receiver.options.run_dir);
    let digest = slug.slug.digest();
    blobs.put(&digest, &mut slug.slug.reader()?)?;
    let mut layers = slug.layers_run.clone();
    layers.push(digest);
    let meta = [("app".to_owned(), session.app.name.to_string())].into();
    let request = NewArtifact { kind: ArtifactKind::Slug, layers, size: slug.slug.bytes(), meta };
    Ok(receiver.controller.call(&controller_api::ARTIFACT_CREATE, &[], &request)?.id)
}

/// Make the release and its deployment, from what is current by now: the build took its time, and what was changed
/// meanwhile stays. Another deployment is waited for, so that no build is lost to it.
fn make_release(
    receiver: &Receiver,
    session: &Session,
    question: &PushQuestion,
    built: &Built,
    artifact: &ArtifactId,
    screen: &Screen,
    cancel: &Cancel,
) -> Result<Release, ApiError> {
    let deadline = clock::now().after(limits::DEPLOY_TIME_MAX);
    let mut told = false;
    loop {
        cancel.check()?;
        let current = current_release(receiver, session)?;
        let request = new_release(session, question, current.as_ref(), built, artifact)?;
        let refused = match receiver.controller.call(&controller_api::RELEASE_CREATE, &[], &request) {
            Ok(release) => return Ok(release),
            Err(error) => ApiError::from(error),
        };
        match refused.code {
            Code::PreconditionFailed if clock::now() < deadline => {}
            Code::Conflict if clock::now() < deadline => {
                if !std::mem::replace(&mut told, true) {
                    screen.detail(&format!("waiting: {refused}"));
                }
                clock::pause(DEPLOYMENT_LOOK);
            }
            _ => return Err(refused),
        }
    }
}

/// What changes with a push is the slug and its process types; environment and limits stay as they were set.
fn new_release(
    session: &Session,
    question: &PushQuestion,
    current: Option<&Release>,
    built: &Built,
    artifact: &ArtifactId,
) -> Result<NewRelease, ApiError> {
    let mut env = built.default_env.clone();
    // The platform gives the port out.
    env.remove("PORT");
    env.extend(current.map(|release| release.env.clone()).unwrap_or_default());
    let mut processes = std::collections::BTreeMap::new();
    for kind in built.process_types.keys() {
        let kind = ProcessType::parse(kind).map_err(|error| ApiError::new(Code::Procfile, error.to_string()))?;
        let before = current.and_then(|release| release.processes.get(&kind)).cloned();
        let spec = process(session, &kind, before)?;
        processes.insert(kind, spec);
    }
    let short = question.commit.get(..7).unwrap_or(&question.commit);
    Ok(NewRelease {
        app_id: session.app.id.to_string(),
        artifacts: vec![artifact.to_string()],
        env,
        meta: [
            ("git".to_owned(), "true".to_owned()),
            ("git.commit".to_owned(), question.commit.clone()),
            ("git.branch".to_owned(), question.branch.clone()),
            ("git.subject".to_owned(), question.subject.clone()),
            ("pushed.by".to_owned(), session.key.fingerprint.clone()),
        ]
        .into(),
        processes,
        description: format!("deploy {short}"),
        expects: Some(current.map(|release| release.id.to_string()).unwrap_or_default()),
        deploy: true,
    })
}

fn process(session: &Session, kind: &ProcessType, before: Option<ProcessSpec>) -> Result<ProcessSpec, ApiError> {
    let mut spec = before.unwrap_or_default();
    spec.args = vec![crate::BINARY.to_owned(), "start".to_owned(), kind.to_string()];
    let serves = kind.as_str() == "web" || kind.as_str().ends_with("-web");
    if serves && spec.service.is_none() {
        let name = format!("{}-{kind}", session.app.name);
        spec.service =
            Some(ServiceName::parse(&name).map_err(|error| ApiError::new(Code::Procfile, error.to_string()))?);
    }
    if serves && spec.ports.is_empty() {
        let check = Some(HealthCheck { interval_ms: 1_000, ..HealthCheck::new(CheckKind::Tcp) });
        spec.ports.push(Port { port: WEB_PORT, proto: "tcp".to_owned(), check });
    }
    Ok(spec)
}

fn deploy(receiver: &Receiver, session: &Session, release: &Release, cancel: &Cancel) -> Result<Deployment, ApiError> {
    let all = receiver.controller.call(&controller_api::DEPLOYMENTS, &[session.app.id.as_str()], &())?;
    let mut now = all
        .into_iter()
        .find(|deployment| deployment.new_release == release.id)
        .ok_or_else(|| ApiError::not_found("deployment of release", release.id.as_str()))?;
    let id = now.id.clone();
    let deadline = clock::now().after(limits::DEPLOY_TIME_MAX);
    let mut aborted = false;
    while !now.status.is_final() {
        if clock::now() >= deadline {
            return Err(ApiError::new(Code::Timeout, format!("deployment {id} has not ended"))
                .hint("`slipway deployments` shows how far it is"));
        }
        if cancel.asked() && !aborted {
            aborted = true;
            let by = controller_api::AbortDeployment { by: session.key.fingerprint.clone() };
            // It may have ended in this very moment: the next look tells.
            let _ = receiver.controller.call(&controller_api::DEPLOYMENT_ABORT, &[id.as_str()], &by);
        }
        clock::pause(std::time::Duration::from_millis(25));
        // A controller that is being replaced answers again shortly.
        if let Ok(next) = receiver.controller.call(&controller_api::DEPLOYMENT, &[id.as_str()], &()) {
            now = next;
        }
    }
    Ok(now)
}

fn finish(
    receiver: &Receiver,
    session: &Session,
    release: &Release,
    deployment: &Deployment,
    screen: &Screen,
) -> Result<(), ApiError> {
    if deployment.status == DeploymentStatus::Complete {
        return Ok(());
    }
    let why = deployment.error.clone().unwrap_or_else(|| "it did not come up".to_owned());
    let error = ApiError::new(Code::DeployFailed, format!("v{} was not deployed: {why}", release.version));
    screen.detail("rolled back");
    let old = deployment.old_release.as_ref().and_then(|id| {
        let releases = receiver.controller.call(&controller_api::APP_RELEASES, &[session.app.id.as_str()], &()).ok()?;
        releases.into_iter().find(|release| release.id == *id)
    });
    Err(match old {
        Some(old) => error.hint(format!("v{} still serves; `slipway log` shows more", old.version)),
        None => error.hint(format!("`slipway log --app {}` shows more; listen on $PORT", session.app.name)),
    })
}

/// A process type to start when nothing at all runs.
fn idle_type<'a>(release: &'a Release, deployment: &Deployment) -> Option<&'a ProcessType> {
    let nothing = deployment.processes.values().all(|count| *count == 0);
    release.processes.keys().next().filter(|_| nothing)
}

fn told_urls(
    receiver: &Receiver,
    session: &Session,
    release: &Release,
    deployment: &Deployment,
    screen: &Screen,
    start: stdx::Instant,
) -> Result<(), ApiError> {
    let routes = receiver.controller.call(&controller_api::ROUTES, &[session.app.id.as_str()], &())?;
    let took = seconds(clock::now().since(start));
    screen.headline(&format!("{} v{} released in {took}", session.app.name, release.version));
    let port = receiver.options.http_port;
    let port = if port == 80 { String::new() } else { format!(":{port}") };
    let running = |kind: &ProcessType| deployment.processes.get(kind).is_some_and(|count| *count > 0);
    let mut offers = release.processes.iter().filter(|(_, process)| process.service.is_some()).map(|(kind, _)| kind);
    let serves = offers.clone().any(running);
    let idle = if serves { None } else { offers.next().or_else(|| idle_type(release, deployment)) };
    if let Some(kind) = idle {
        screen.detail(&format!("not running: slipway scale {kind}=1 --app {}", session.app.name));
    }
    for route in routes.iter().filter(|_| serves) {
        let path = if route.path == "/" { "" } else { route.path.as_str() };
        screen.detail(&format!("http://{}{port}{path}", route.domain));
    }
    if release.version > 1 {
        screen.detail("undo: slipway rollback");
    }
    Ok(())
}
