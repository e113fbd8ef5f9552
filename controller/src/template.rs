//! What a release's process types are as jobs.

use std::collections::BTreeMap;
use std::time::Duration;

use api::controller::NewJob;
use types::app::{App, Artifact, ArtifactKind, META_SYSTEM_APP, Map, ProcessSpec, Release};
use types::cell::{FormationSpec, JobTemplate, ProcessWant};
use types::job::{
    CheckKind, HealthCheck, Isolation, JobSpec, Lifecycle, NetworkMode, PlatformAccess, ServiceSpec, Stdio, VolumeMount,
};
use types::stack::{APP_DIR, APP_UID};
use types::{ProcessType, ServiceName, VolumeName};

/// The platform's binary inside a job.
const BINARY: &str = "/usr/local/bin/slipway";

/// The port a web process type listens on when its release does not say.
const WEB_PORT: u16 = 8080;

/// How long a job may take to end after SIGTERM, and its requests in flight before that.
const GRACE_MS: u64 = 10_000;
const DRAIN_MS: u64 = 30_000;

/// The priority of the platform's own jobs, and of everybody else's.
const PRIORITY_SYSTEM: u8 = 0;
const PRIORITY_SERVICE: u8 = 50;

/// Whether an app is a part of the platform.
#[must_use]
pub(crate) fn is_system(app: &App) -> bool {
    app.meta.get(META_SYSTEM_APP).is_some_and(|value| value == "true")
}

/// Whether a process type serves HTTP by its name, as `web` and `admin-web` do.
pub(crate) fn is_web(process_type: &ProcessType) -> bool {
    process_type.as_str() == "web" || process_type.as_str().ends_with("-web")
}

/// What one release's formation asks the scheduler for.
#[must_use]
pub fn formation(
    app: &App,
    release: &Release,
    artifacts: &[Artifact],
    counts: &BTreeMap<ProcessType, u32>,
) -> FormationSpec {
    let wants = counts.iter().filter_map(|(process_type, count)| {
        let spec = release.processes.get(process_type)?;
        let template = template(app, release, artifacts, process_type, spec);
        Some((process_type.clone(), ProcessWant { count: *count, template }))
    });
    FormationSpec {
        app: app.id.clone(),
        app_name: app.name.clone(),
        release: release.id.clone(),
        processes: wants.collect(),
    }
}

fn template(
    app: &App,
    release: &Release,
    artifacts: &[Artifact],
    process_type: &ProcessType,
    spec: &ProcessSpec,
) -> JobTemplate {
    let mut job = base(app, release, artifacts, process_type, Some(spec));
    job.lifecycle = if is_system(app) { Lifecycle::System } else { Lifecycle::Service };
    job.service = service(app, process_type, spec);
    job.args = match (&spec.args, is_slug(artifacts)) {
        (args, false) => args.clone(),
        // The launcher reads the profile scripts of the slug and finds the command by its process type.
        (args, true) if args.is_empty() => vec![BINARY.into(), "start".into(), process_type.to_string()],
        (args, true) => args.clone(),
    };
    JobTemplate { spec: job, omni: spec.omni, tags: BTreeMap::new() }
}

/// A job that runs once, with the environment of the release and, if named, of a process type.
pub(crate) fn once(
    app: &App,
    release: &Release,
    artifacts: &[Artifact],
    like: Option<&ProcessType>,
    args: &[String],
) -> JobSpec {
    let run = ProcessType::parse("run").expect("a literal that obeys the rule");
    let spec = like.and_then(|one| release.processes.get(one));
    let mut job = base(app, release, artifacts, &run, spec);
    // A volume belongs to the jobs of its process type; a shell beside them must not pin itself to a host.
    job.volumes = Vec::new();
    job.args = if is_slug(artifacts) {
        [BINARY, "start", "--"].iter().map(ToString::to_string).chain(args.iter().cloned()).collect()
    } else {
        args.to_vec()
    };
    job
}

/// A job that runs once on artifacts of its own, with nothing of a release: how builds run.
pub(crate) fn on_artifacts(app: &App, artifacts: &[Artifact], new: &NewJob, process_type: ProcessType) -> JobSpec {
    // 0 is root of the job's own user namespace: builds own their folders first, then drop it.
    let user = new.uid;
    JobSpec {
        app: app.id.clone(),
        app_name: app.name.clone(),
        release: None,
        process_type,
        lifecycle: Lifecycle::Batch,
        layers: artifacts.iter().flat_map(|artifact| artifact.layers.iter().cloned()).collect(),
        args: new.args.clone(),
        env: Map::new(),
        working_dir: String::new(),
        uid: user,
        gid: user,
        isolation: Isolation::Tenant,
        network: NetworkMode::Bridge,
        platform: new.platform,
        resources: new.resources.clone().unwrap_or_default(),
        volumes: new.volumes.clone(),
        service: None,
        capabilities: Vec::new(),
        stdio: Stdio::Log,
        grace_ms: GRACE_MS,
        drain_ms: DRAIN_MS,
        files: new.files.clone(),
        priority: PRIORITY_SERVICE,
    }
}

fn is_slug(artifacts: &[Artifact]) -> bool {
    artifacts.iter().any(|artifact| artifact.kind == ArtifactKind::Slug)
}

fn base(
    app: &App,
    release: &Release,
    artifacts: &[Artifact],
    process_type: &ProcessType,
    spec: Option<&ProcessSpec>,
) -> JobSpec {
    let (system, slug) = (is_system(app), is_slug(artifacts));
    let user = if system || !slug { 0 } else { APP_UID };
    let host_network = spec.is_some_and(|spec| spec.host_network);
    JobSpec {
        app: app.id.clone(),
        app_name: app.name.clone(),
        release: Some(release.id.clone()),
        process_type: process_type.clone(),
        lifecycle: Lifecycle::Batch,
        layers: artifacts.iter().flat_map(|artifact| artifact.layers.iter().cloned()).collect(),
        args: Vec::new(),
        env: environment(app, release, process_type, spec),
        working_dir: if slug { APP_DIR.into() } else { String::new() },
        uid: user,
        gid: user,
        isolation: if system { Isolation::Platform } else { Isolation::Tenant },
        network: match (host_network, system) {
            (true, _) => NetworkMode::Host,
            (false, true) => NetworkMode::Loopback,
            (false, false) => NetworkMode::Bridge,
        },
        platform: match (system, slug) {
            (true, _) => PlatformAccess::Sockets,
            (false, true) => PlatformAccess::Binary,
            (false, false) => PlatformAccess::None,
        },
        resources: spec.map(|spec| spec.resources.clone()).unwrap_or_default(),
        volumes: spec.map(|spec| volumes(app, process_type, spec)).unwrap_or_default(),
        service: None,
        capabilities: spec.map(|spec| spec.linux_capabilities.clone()).unwrap_or_default(),
        stdio: Stdio::Log,
        grace_ms: GRACE_MS,
        drain_ms: DRAIN_MS,
        files: Vec::new(),
        priority: if system { PRIORITY_SYSTEM } else { PRIORITY_SERVICE },
    }
}

fn environment(app: &App, release: &Release, process_type: &ProcessType, spec: Option<&ProcessSpec>) -> Map {
    let mut env = release.env.clone();
    env.extend(spec.map(|spec| spec.env.clone()).unwrap_or_default());
    let platform = [
        ("SLIPWAY_APP_ID", app.id.to_string()),
        ("SLIPWAY_APP_NAME", app.name.to_string()),
        ("SLIPWAY_RELEASE_ID", release.id.to_string()),
        ("SLIPWAY_RELEASE_VERSION", format!("v{}", release.version)),
        ("SLIPWAY_PROCESS_TYPE", process_type.to_string()),
    ];
    env.extend(platform.map(|(name, value)| (name.to_owned(), value)));
    env
}

/// Volumes stay with the app and process type, so that the next release's jobs find what the last ones wrote.
fn volumes(app: &App, process_type: &ProcessType, spec: &ProcessSpec) -> Vec<VolumeMount> {
    let owner = format!("{}-{process_type}", app.id).to_ascii_lowercase();
    let name = |at: usize| VolumeName::parse(&format!("{owner}-{at}")).ok();
    let mounts = spec.volumes.iter().enumerate();
    mounts.filter_map(|(at, volume)| Some(VolumeMount { volume: name(at)?, path: volume.path.clone() })).collect()
}

/// The name of the service that a web process type offers unless its release says otherwise.
pub(crate) fn service_name(app: &App, process_type: &str) -> Option<ServiceName> {
    ServiceName::parse(&format!("{}-{process_type}", app.name).to_ascii_lowercase()).ok()
}

pub(crate) fn service(app: &App, process_type: &ProcessType, spec: &ProcessSpec) -> Option<ServiceSpec> {
    let web = is_web(process_type) && !is_system(app);
    // A role of the platform that listens on a port is a service of its own name.
    let usual = match (web, is_system(app) && !spec.ports.is_empty()) {
        (true, _) => service_name(app, process_type.as_str()),
        (false, true) => ServiceName::parse(app.name.as_str()).ok(),
        (false, false) => None,
    };
    let name = spec.service.clone().or(usual)?;
    let port = spec.ports.first();
    let check = port.and_then(|port| port.check.clone());
    let check = if web { check.or_else(|| Some(HealthCheck::new(CheckKind::Tcp))) } else { check };
    Some(ServiceSpec { name, port: port.map_or(WEB_PORT, |port| port.port), check })
}

/// How long the slowest process type of a release may take to answer its health check for the first time.
pub(crate) fn start_timeout(release: &Release) -> Duration {
    let checks = release.processes.values().flat_map(|spec| &spec.ports).filter_map(|port| port.check.as_ref());
    let longest = checks.map(|check| check.start_timeout_ms).max();
    Duration::from_millis(longest.unwrap_or_else(|| HealthCheck::new(CheckKind::Tcp).start_timeout_ms))
}
