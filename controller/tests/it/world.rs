//! A store, a scheduler, a pretended host and as many controllers as a test wants, in a folder of their own.

use std::thread::JoinHandle;
use std::time::Duration;

use api::controller::{self as endpoints, Job, NewApp, NewArtifact, NewDeployment, NewFormation, NewRelease, NewScale};
use api::serve::Listening;
use api::store::StoreClient;
use api::{CallError, Client};
use os::signal::Shutdown;
use testkit::{TempDir, wait_until};
use types::app::{App, ArtifactKind, Deployment, Map, ProcessSpec, Release};
use types::job::{CheckKind, HealthCheck};
use types::{ApiError, Digest};

pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// Where and as which job [`World::process`] runs.
pub(crate) const KILL_DIR: &str = "CONTROLLER_TEST_DIR";
pub(crate) const KILL_JOB: &str = "CONTROLLER_TEST_JOB";

pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) store: StoreClient,
    pub(crate) client: Client,
    replica: Option<consensus::Replica>,
    shutdown: Shutdown,
    listening: Vec<Listening>,
    scheduler: Option<JoinHandle<()>>,
    controllers: Vec<(Shutdown, JoinHandle<()>)>,
}

impl World {
    /// With one controller that leads.
    pub(crate) fn new() -> World {
        let mut world = World::without_controller();
        world.controller("h1-00000000-c0");
        world
    }

    pub(crate) fn without_controller() -> World {
        let dir = TempDir::new("ctl");
        let shutdown = Shutdown::new();
        let mut options = consensus::Options::new(&dir.path().join("store"), "one");
        options.election = Duration::from_millis(50);
        options.heartbeat = Duration::from_millis(10);
        let replica = consensus::Replica::open(options).unwrap();
        let socket = api::paths::store_socket(dir.path());
        let listening = replica.serve(&socket, &shutdown).unwrap();
        let store = StoreClient::new(&socket);
        let host = crate::host::start(dir.path(), &store, &shutdown);
        let options = scheduler::Options {
            run_dir: dir.path().into(),
            job: "h1-00000000-s0".parse().unwrap(),
            name: "scheduler".to_owned(),
        };
        let stop = shutdown.clone();
        let scheduler = os::thread::spawn("scheduler", move || scheduler::run(options, stop).unwrap()).unwrap();
        World {
            client: Client::service(dir.path(), endpoints::SERVICE),
            dir,
            store,
            replica: Some(replica),
            shutdown,
            listening: vec![listening, host],
            scheduler: Some(scheduler),
            controllers: Vec::new(),
        }
    }

    /// Start a controller as a process of its own, which can be killed.
    pub(crate) fn process(&self, job: &str) -> Process {
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "restarts::serve_for_the_kill_test"])
            .env(KILL_DIR, self.dir.path())
            .env(KILL_JOB, job)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        wait_until("the controller answers", LIMIT, || self.client.call(&endpoints::STATUS, &[], &()).ok());
        Process { child }
    }

    /// Start a controller; its number is for [`World::stop`].
    pub(crate) fn controller(&mut self, job: &str) -> usize {
        let options = controller::Options {
            run_dir: self.dir.path().into(),
            job: job.parse().unwrap(),
            domain: "example.org".into(),
        };
        let shutdown = Shutdown::new();
        let stop = shutdown.clone();
        let role = os::thread::spawn("controller", move || controller::run(options, &stop).unwrap()).unwrap();
        self.controllers.push((shutdown, role));
        wait_until("the controller answers", LIMIT, || self.client.call(&endpoints::STATUS, &[], &()).ok());
        self.controllers.len() - 1
    }

    pub(crate) fn stop(&mut self, number: usize) {
        let (shutdown, role) = self.controllers.remove(number);
        shutdown.ask();
        role.join().unwrap();
    }

    pub(crate) fn app(&self, name: &str) -> App {
        self.client.call(&endpoints::APP_CREATE, &[], &NewApp { name: Some(name.into()), ..NewApp::default() }).unwrap()
    }

    /// A release of a slug with these process types.
    pub(crate) fn release(&self, app: &str, types: &[&str], env: &[(&str, &str)]) -> Release {
        let artifact = NewArtifact {
            kind: ArtifactKind::Slug,
            layers: vec![digest('a'), digest('b')],
            size: 10,
            meta: Map::new(),
        };
        let artifact = self.client.call(&endpoints::ARTIFACT_CREATE, &[], &artifact).unwrap();
        let port = types::app::Port { port: 8080, proto: "tcp".into(), check: Some(HealthCheck::new(CheckKind::Tcp)) };
        let spec = ProcessSpec { ports: vec![port], ..ProcessSpec::default() };
        let new = NewRelease {
            app_id: app.into(),
            artifacts: vec![artifact.id.to_string()],
            env: map(env),
            processes: types.iter().map(|one| (one.parse().unwrap(), spec.clone())).collect(),
            description: "deploy 1a2b3c4".into(),
            ..NewRelease::default()
        };
        self.client.call(&endpoints::RELEASE_CREATE, &[], &new).unwrap()
    }

    pub(crate) fn deploy(&self, app: &str, release: &Release) -> Result<Deployment, CallError> {
        self.client.call(&endpoints::DEPLOY, &[app], &NewDeployment { id: release.id.to_string() })
    }

    pub(crate) fn ended(&self, deployment: &Deployment) -> Deployment {
        wait_until("the deployment ends", LIMIT, || {
            let now = self.client.call(&endpoints::DEPLOYMENT, &[deployment.id.as_str()], &()).ok()?;
            now.status.is_final().then_some(now)
        })
    }

    pub(crate) fn jobs(&self, app: &str) -> Vec<Job> {
        self.client.call_query(&endpoints::JOBS, &[app], &[("ended", "no")], &()).unwrap()
    }

    /// Wait until exactly so many jobs are up, all of that release, and nothing else is there.
    pub(crate) fn wait_up(&self, app: &str, release: &Release, count: usize) -> Vec<Job> {
        wait_until(&format!("{count} jobs of v{}", release.version), LIMIT, || {
            let jobs = self.jobs(app);
            let right = |job: &Job| job.state == "up" && job.release.as_ref() == Some(&release.id);
            (jobs.len() == count && jobs.iter().all(right)).then_some(jobs)
        })
    }

    pub(crate) fn scale(&self, app: &str, release: &Release, counts: &[(&str, u32)]) -> endpoints::ScaleRequest {
        let new_processes = counts.iter().map(|(one, count)| (one.parse().unwrap(), *count)).collect();
        self.client.call(&endpoints::SCALE, &[app, release.id.as_str()], &NewScale { new_processes }).unwrap()
    }

    pub(crate) fn set_formation(&self, app: &str, release: &Release, counts: &[(&str, u32)]) -> Result<(), CallError> {
        let processes = counts.iter().map(|(one, count)| (one.parse().unwrap(), *count)).collect();
        let new = NewFormation { processes };
        self.client.call(&endpoints::FORMATION_SET, &[app, release.id.as_str()], &new).map(drop)
    }
}

/// A controller as a process; killed when dropped.
pub(crate) struct Process {
    child: std::process::Child,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for (shutdown, role) in self.controllers.drain(..) {
            shutdown.ask();
            let _ = role.join();
        }
        self.shutdown.ask();
        let _ = self.scheduler.take().unwrap().join();
        for listening in self.listening.drain(..) {
            listening.finish();
        }
        self.replica.take().unwrap().close();
    }
}

pub(crate) fn digest(byte: char) -> Digest {
    Digest::parse(&byte.to_string().repeat(64)).unwrap()
}

pub(crate) fn map(pairs: &[(&str, &str)]) -> Map {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T, CallError>) -> ApiError {
    match result {
        Err(CallError::Refused(error)) => error,
        other => panic!("expected a refusal, got {other:?}"),
    }
}
