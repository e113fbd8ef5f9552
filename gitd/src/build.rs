//! The build of one push: layers chosen and made, a job that builds, its slug taken.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use api::attach::{Frame, PROTOCOL, Stream, read_frame, write_bytes};
use api::controller::{self as controller_api, NewArtifact, NewJob};
use api::host::{self as host_api, StackProgress};
use os::clock;
use types::app::{ArtifactKind, Release};
use types::job::{PlatformAccess, Resources, VolumeMount};
use types::stack::{self, BuildReply, BuildRequest, Built, LayerName, Sources};
use types::{ApiError, Code, Digest, VolumeName};

use crate::limits;
use crate::output::{Screen, seconds};
use crate::push::Cancel;
use crate::serve::{PushQuestion, Receiver, Session};
use crate::spool::{Spool, disk_full};

/// What a build made.
pub(crate) struct Slug {
    /// What the build says of it.
    pub(crate) reply: Built,
    /// The tar.
    pub(crate) slug: Spool,
    /// The stack layers below it, lowest first.
    pub(crate) layers_run: Vec<Digest>,
}

/// A build may find out that it lacks a layer, and is then tried again with it, so often.
const ATTEMPTS_MAX: usize = 3;

/// A build's memory: linkers and bundlers need more than most apps. The scheduler keeps that much free for it, so on
/// a small host it is a part of what there is, but no less than what the smallest builds need.
const BUILD_MEMORY_MAX: u64 = 4 << 30;
const BUILD_MEMORY_MIN: u64 = 512 << 20;

fn build_memory(of_host: u64) -> u64 {
    (of_host / 3).clamp(BUILD_MEMORY_MIN, BUILD_MEMORY_MAX)
}

pub(crate) fn build(
    receiver: &Receiver,
    session: &Session,
    question: &PushQuestion,
    current: Option<&Release>,
    source: &Spool,
    screen: &Screen,
    cancel: &Cancel,
) -> Result<Slug, ApiError> {
    let env = current.map(|release| release.env.clone()).unwrap_or_default();
    let (names, buildpacks) = read_names(source)?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let sources = Sources {
        names: &names,
        buildpacks: buildpacks.as_deref(),
        buildpack_url: env.get("BUILDPACK_URL").map(String::as_str),
    };
    let mut plan = stack::plan(&sources).map_err(|undetected| {
        let error = ApiError::new(Code::NoBuildpack, undetected.to_string());
        match undetected.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    })?;
    let request = BuildRequest {
        app: session.app.name.to_string(),
        env,
        source_version: question.commit.clone(),
        build: os::entropy::uuid(),
    };
    for _ in 0..ATTEMPTS_MAX {
        let layers = ensure_layers(receiver, &plan.layers_build, screen, cancel)?;
        let mut slug = Spool::new(&receiver.options.spool(), "slug", limits::SLUG_BYTES_MAX)?;
        match run_job(receiver, session, &request, layers, source, &mut slug, screen, cancel)? {
            BuildReply::Built(reply) => {
                let layers_run = ensure_layers(receiver, &reply.layers_run, screen, cancel)?;
                return Ok(Slug { reply, slug, layers_run });
            }
            BuildReply::Failed(failure) if !failure.wants.is_empty() => {
                let wants: Vec<&str> = failure.wants.iter().map(|layer| layer.as_str()).collect();
                screen.step(&format!("The build needs {}; trying again with it", wants.join(", ")));
                plan = plan.with(&failure.wants);
            }
            BuildReply::Failed(failure) => {
                let code = if failure.code.contains("procfile") { Code::Procfile } else { Code::BuildFailed };
                return Err(ApiError::new(code, failure.message).hint(nothing_changed(current)));
            }
        }
    }
    Err(ApiError::new(Code::BuildFailed, "the build asked for more layers again and again"))
}

fn nothing_changed(current: Option<&Release>) -> String {
    match current {
        Some(release) => format!("nothing was deployed; v{} still serves", release.version),
        None => "nothing was deployed".to_owned(),
    }
}

/// The names of the source's files, and the content of its `.buildpacks`.
fn read_names(source: &Spool) -> Result<(Vec<String>, Option<String>), ApiError> {
    let failed = |error: std::io::Error| ApiError::new(Code::Syntax, format!("read the source: {error}"));
    let mut archive = tar::Archive::new(source.reader()?);
    let mut names = Vec::new();
    let mut buildpacks = None;
    for entry in archive.entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if name == ".buildpacks" {
            let mut text = String::new();
            entry.by_ref().take(64 * 1024).read_to_string(&mut text).map_err(failed)?;
            buildpacks = Some(text);
        }
        names.push(name);
    }
    Ok((names, buildpacks))
}

/// Have the host make the layers that are not there, and show what it does when it takes a while.
fn ensure_layers(
    receiver: &Receiver,
    layers: &[LayerName],
    screen: &Screen,
    cancel: &Cancel,
) -> Result<Vec<Digest>, ApiError> {
    let host = receiver.host.clone().timeout(Some(Duration::from_secs(1_200)));
    let mut digests = Vec::new();
    for layer in layers {
        let start = clock::now();
        let mut told = false;
        let mut ready = None;
        for progress in host.lines(&host_api::STACK, &[layer.as_str()], &[], &())? {
            cancel.check()?;
            match progress? {
                StackProgress::Step(step) => {
                    if !std::mem::replace(&mut told, true) {
                        screen.step(&format!("Making the stack layer {layer} (only the first time)"));
                    }
                    screen.detail(&step);
                }
                StackProgress::Ready(layer) => ready = Some(layer.digest),
            }
        }
        if told {
            screen.detail(&format!("{layer} is ready ({})", seconds(clock::now().since(start))));
        }
        let missing = || ApiError::new(Code::LayerFailed, format!("the host did not make the layer {layer}"));
        digests.push(ready.ok_or_else(missing)?);
    }
    Ok(digests)
}

#[expect(clippy::too_many_arguments, reason = "one build's parts, named once and passed once")]
fn run_job(
    receiver: &Receiver,
    session: &Session,
    request: &BuildRequest,
    layers: Vec<Digest>,
    source: &Spool,
    slug: &mut Spool,
    screen: &Screen,
    cancel: &Cancel,
) -> Result<BuildReply, ApiError> {
    let stream = start_job(receiver, session, layers)?;
    let done = Arc::new(AtomicBool::new(false));
    watch(&stream, cancel, &done)?;
    send(&stream, request, source)?;
    let mut reply = ReplyReader { line: Vec::new(), reply: None };
    let outcome = follow(stream, &mut reply, slug, screen);
    done.store(true, Ordering::SeqCst);
    cancel.check()?;
    let status = outcome?;
    match reply.reply {
        Some(BuildReply::Built(_)) if status != 0 => Err(build_died(status)),
        Some(reply) => Ok(reply),
        None => Err(build_died(status)),
    }
}

fn build_died(status: u32) -> ApiError {
    let why = match status {
        137 => "it was killed: it needed more than its memory or its time".to_owned(),
        other => format!("it ended with status {other}"),
    };
    ApiError::new(Code::BuildFailed, format!("the build did not finish: {why}"))
        .hint("push again; `slipway log` shows more")
}

fn start_job(receiver: &Receiver, session: &Session, layers: Vec<Digest>) -> Result<UnixStream, ApiError> {
    let artifact = NewArtifact { kind: ArtifactKind::Stack, layers, size: 0, meta: Default::default() };
    let artifact = receiver.controller.call(&controller_api::ARTIFACT_CREATE, &[], &artifact)?;
    let settings = receiver.host.call(&host_api::BUILD_SETTINGS, &[], &())?;
    let memory = build_memory(receiver.host.call(&host_api::STATUS, &[], &())?.host.capacity.memory_bytes);
    let cache = VolumeName::parse(&format!("build-cache-{}", session.app.id))
        .map_err(|error| ApiError::new(Code::Internal, error.to_string()))?;
    let job = NewJob {
        args: vec![crate::BINARY.to_owned(), "build".to_owned()],
        env: settings.env,
        process_type: "build".to_owned(),
        artifacts: vec![artifact.id.to_string()],
        volumes: vec![VolumeMount { volume: cache, path: stack::CACHE_DIR.to_owned() }],
        files: settings.files,
        platform: PlatformAccess::Binary,
        resources: Some(Resources { memory_bytes: Some(memory), ..Resources::default() }),
        ..NewJob::default()
    };
    let controller = receiver.controller.clone().timeout(Some(Duration::from_secs(120)));
    let (stream, early) =
        controller.upgrade(&controller_api::JOB_ATTACH, &[session.app.id.as_str()], &[], PROTOCOL, &job)?;
    if !early.is_empty() {
        // Nothing is sent before the source: the build has not said a word yet.
        log::debug!(bytes = early.len(); "the build spoke before its source");
    }
    Ok(stream)
}

/// Cut the build's connection when the pusher has gone or the time is over; the host then ends the job.
fn watch(stream: &UnixStream, cancel: &Cancel, done: &Arc<AtomicBool>) -> Result<(), ApiError> {
    let failed = |error: std::io::Error| ApiError::new(Code::Internal, format!("watch the build: {error}"));
    let stream = stream.try_clone().map_err(failed)?;
    let (cancel, done) = (cancel.clone(), Arc::clone(done));
    let deadline = clock::now().after(limits::BUILD_TIME_MAX);
    os::thread::spawn("build-watch", move || {
        while !done.load(Ordering::SeqCst) {
            if cancel.asked() || clock::now() >= deadline {
                let _ = stream.shutdown(std::net::Shutdown::Both);
                return;
            }
            clock::pause(Duration::from_millis(50));
        }
    })
    .map(drop)
    .map_err(failed)
}

/// Send the request and the source as the job's standard input, without waiting for it to be read.
fn send(stream: &UnixStream, request: &BuildRequest, source: &Spool) -> Result<(), ApiError> {
    let failed = |error: std::io::Error| ApiError::new(Code::Internal, format!("send the source: {error}"));
    let mut out = stream.try_clone().map_err(failed)?;
    let mut line = serde_json::to_vec(request).map_err(|error| ApiError::new(Code::Internal, error.to_string()))?;
    line.push(b'\n');
    let mut source = std::io::Cursor::new(line).chain(source.reader()?);
    os::thread::spawn("build-source", move || {
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let got = source.read(&mut buffer).unwrap_or(0);
            // A build that ended early reads no more; its reply says why.
            if write_bytes(&mut out, Stream::Stdin, &buffer[..got]).is_err() || got == 0 {
                let _ = out.flush();
                return;
            }
        }
    })
    .map(drop)
    .map_err(failed)
}

/// Take the build's output apart until it has ended; gives its exit status.
fn follow(mut stream: UnixStream, reply: &mut ReplyReader, slug: &mut Spool, screen: &Screen) -> Result<u32, ApiError> {
    loop {
        match read_frame(&mut stream) {
            // A pusher who is gone is noticed elsewhere.
            Ok(Some(Frame::Bytes(Stream::Stderr, text))) => drop(screen.text(&text)),
            Ok(Some(Frame::Bytes(Stream::Stdout, bytes))) => {
                let rest = reply.take(&bytes)?;
                slug.write(&bytes[rest..])?;
            }
            Ok(Some(Frame::Exit(status))) => return Ok(status),
            Ok(Some(Frame::Error(why))) if why.contains("disk_full") => return Err(disk_full("build")),
            Ok(Some(Frame::Error(why))) => {
                return Err(ApiError::new(Code::StartFailed, format!("the build could not be started: {why}")));
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => {
                return Err(ApiError::new(Code::BuildFailed, "the build was cut off").hint("push again"));
            }
        }
    }
}

/// Finds the reply's line at the beginning of the build's standard output.
struct ReplyReader {
    line: Vec<u8>,
    reply: Option<BuildReply>,
}

impl ReplyReader {
    /// Gives where in `bytes` the slug goes on.
    fn take(&mut self, bytes: &[u8]) -> Result<usize, ApiError> {
        if self.reply.is_some() {
            return Ok(0);
        }
        let Some(end) = bytes.iter().position(|b| *b == b'\n') else {
            self.line.extend(bytes);
            if self.line.len() > limits::REPLY_LINE_BYTES_MAX {
                return Err(ApiError::new(Code::BuildFailed, "the build's reply is too long"));
            }
            return Ok(bytes.len());
        };
        self.line.extend(&bytes[..end]);
        let parsed = serde_json::from_slice(&self.line)
            .map_err(|error| ApiError::new(Code::BuildFailed, format!("the build's reply cannot be read: {error}")))?;
        self.reply = Some(parsed);
        Ok(end + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_leaves_a_small_host_room_for_its_apps() {
        for (host, build) in [(1 << 30, 512 << 20), (6 << 30, 2 << 30), (64 << 30, 4 << 30)] {
            assert_eq!(build_memory(host), build);
        }
    }

    #[test]
    fn reply_is_found_however_the_output_is_cut() {
        let reply = BuildReply::Built(Built::default());
        let mut output = serde_json::to_vec(&reply).unwrap();
        output.extend(b"\nslug\nbytes");
        for cut in 0..output.len() {
            let mut reader = ReplyReader { line: Vec::new(), reply: None };
            let mut slug = Vec::new();
            for part in [&output[..cut], &output[cut..]] {
                let rest = reader.take(part).unwrap();
                slug.extend(&part[rest..]);
            }
            assert_eq!((slug.as_slice(), reader.reply), (&b"slug\nbytes"[..], Some(reply.clone())), "cut at {cut}");
        }
    }
}
