//! Schedulers as they run: several, dying, over a store that others write too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use api::cell::{CLAIMS, ENDED, FORMATIONS, HOSTS, LEADERS, LEDGERS, ONEOFFS, PRESENCE, Presence, STATUS, TROUBLE};
use api::serve::Listening;
use api::store::StoreClient;
use os::signal::Shutdown;
use scheduler::Options;
use testkit::{TempDir, wait_until};
use types::cell::{FormationSpec, JobTemplate, OneOff, OneOffState, ProcessWant};
use types::host::{Capacity, Claim, Host, HostState};
use types::job::{
    DownReason, Isolation, JobSpec, JobState, JobStatus, Lifecycle, NetworkMode, PlatformAccess, Resources, Stdio,
};
use types::{AppId, HostId, JobId};

use crate::store::MemoryStore;

const LIMIT: Duration = Duration::from_secs(20);

pub(crate) struct Cell {
    pub(crate) dir: TempDir,
    pub(crate) client: StoreClient,
    memory: Arc<MemoryStore>,
    shutdown: Shutdown,
    listening: Option<Listening>,
    roles: Vec<(Shutdown, JoinHandle<()>)>,
}

impl Cell {
    pub(crate) fn new() -> Cell {
        let dir = TempDir::new("sched");
        let shutdown = Shutdown::new();
        let socket = api::paths::store_socket(dir.path());
        let (memory, listening) = MemoryStore::serve(&socket, &shutdown);
        let client = StoreClient::new(&socket);
        Cell { dir, client, memory, shutdown, listening: Some(listening), roles: Vec::new() }
    }

    /// Start a scheduler; its number is for [`Cell::stop`].
    pub(crate) fn scheduler(&mut self, job: &str) -> usize {
        let shutdown = Shutdown::new();
        let options =
            Options { run_dir: self.dir.path().into(), job: job.parse().unwrap(), name: "scheduler".to_owned() };
        let stop = shutdown.clone();
        let role = os::thread::spawn("role", move || scheduler::run(options, stop).unwrap()).unwrap();
        self.roles.push((shutdown, role));
        self.roles.len() - 1
    }

    fn stop(&mut self, number: usize) {
        let (shutdown, role) = self.roles.remove(number);
        shutdown.ask();
        role.join().unwrap();
    }

    pub(crate) fn host(&self, id: &str, jobs: u64) {
        let host: HostId = id.parse().unwrap();
        let record = Host {
            id: host.clone(),
            state: HostState::Up,
            capacity: Capacity { memory_bytes: 1 << 34, cpu_milli: 8_000, jobs },
            zone: String::new(),
            tags: BTreeMap::new(),
            address: String::new(),
            version: String::new(),
            started_ms: 0,
        };
        PRESENCE.put(&self.client, &[id], &Presence { host, run: 1 }, None).unwrap();
        HOSTS.put(&self.client, &[id], &record, None).unwrap();
    }

    fn formation(&self, app: &str, count: u32) {
        let spec = spec(app, Some("r1"), "web", Lifecycle::Service);
        let template = JobTemplate { spec, omni: false, tags: BTreeMap::new() };
        let formation = FormationSpec {
            app: app.parse().unwrap(),
            app_name: app.parse().unwrap(),
            release: "r1".parse().unwrap(),
            processes: [("web".parse().unwrap(), ProcessWant { count, template })].into(),
        };
        FORMATIONS.put(&self.client, &[app, "r1"], &formation, None).unwrap();
    }

    /// Ask for a job that runs once; gives the request's uuid.
    fn one_off(&self, wait_ms: u64) -> String {
        let uuid = os::entropy::uuid();
        let one_off = OneOff {
            id: OneOff::request_id(&uuid),
            spec: spec("blog", None, "run", Lifecycle::Batch),
            tags: BTreeMap::new(),
            wait_ms,
            stop: None,
            state: OneOffState::Pending,
            created_ms: 0,
        };
        ONEOFFS.put(&self.client, &[&uuid], &one_off, None).unwrap();
        uuid
    }

    pub(crate) fn claims(&self) -> Vec<Claim> {
        CLAIMS.list(&self.client, &[]).unwrap().0.into_iter().map(|row| row.value).collect()
    }

    fn wait_claims(&self, count: usize) -> Vec<Claim> {
        wait_until(&format!("{count} claims"), LIMIT, || Some(self.claims()).filter(|claims| claims.len() == count))
    }

    fn report(&self, job: &JobId, state: JobState) {
        let host = job.host().unwrap();
        let status = JobStatus {
            job: job.clone(),
            state,
            address: None,
            pid: None,
            restarts: 0,
            last_exit: None,
            started_ms: 1,
            ended_ms: 2,
        };
        STATUS.put(&self.client, &[host.as_str(), job.as_str()], &status, None).unwrap();
    }

    fn leader(&self) -> Option<JobId> {
        LEADERS.get(&self.client, &["scheduler"]).unwrap().map(|row| row.value.job)
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        self.roles.iter().for_each(|(shutdown, _)| shutdown.ask());
        for (_, role) in self.roles.drain(..) {
            role.join().unwrap();
        }
        self.shutdown.ask();
        self.listening.take().unwrap().finish();
    }
}

pub(crate) fn spec(app: &str, release: Option<&str>, process_type: &str, lifecycle: Lifecycle) -> JobSpec {
    JobSpec {
        app: app.parse().unwrap(),
        app_name: app.parse().unwrap(),
        release: release.map(|release| release.parse().unwrap()),
        process_type: process_type.parse().unwrap(),
        lifecycle,
        layers: Vec::new(),
        args: vec!["true".into()],
        env: BTreeMap::new(),
        working_dir: String::new(),
        uid: 0,
        gid: 0,
        isolation: Isolation::Tenant,
        network: NetworkMode::Bridge,
        platform: PlatformAccess::None,
        resources: Resources::default(),
        volumes: Vec::new(),
        service: None,
        capabilities: Vec::new(),
        stdio: Stdio::Log,
        grace_ms: 0,
        drain_ms: 0,
        files: Vec::new(),
        priority: 50,
    }
}

#[test]
fn formation_scaled_up_and_down_has_its_claims() {
    let mut cell = Cell::new();
    cell.host("h1", 10);
    cell.scheduler("h1-00000001");
    cell.formation("blog", 2);
    let claims = cell.wait_claims(2);
    for claim in &claims {
        cell.report(&claim.job, JobState::Up);
    }
    cell.formation("blog", 1);
    let stopped = wait_until("one is told to stop", LIMIT, || {
        cell.claims().into_iter().find(|claim| claim.stop.is_some()).map(|claim| claim.job)
    });
    cell.report(&stopped, JobState::Down(DownReason::Exited { code: 0 }));
    cell.wait_claims(1);
    let record = ENDED.get(&cell.client, &["blog", stopped.as_str()]).unwrap().unwrap();
    assert_eq!(record.value.reason, DownReason::Exited { code: 0 });
    let ledger = LEDGERS.get(&cell.client, &["h1"]).unwrap().unwrap();
    assert_eq!(ledger.value.held.jobs, 1);
    assert!(STATUS.get(&cell.client, &["h1", stopped.as_str()]).unwrap().is_none());
}

#[test]
fn blocked_formation_says_why_and_starts_when_there_is_room() {
    let mut cell = Cell::new();
    cell.host("h1", 1);
    cell.scheduler("h1-00000001");
    cell.formation("blog", 2);
    let trouble = wait_until("trouble", LIMIT, || TROUBLE.get(&cell.client, &["blog", "r1"]).unwrap());
    let process = &trouble.value.processes[&"web".parse().unwrap()];
    assert_eq!(process.reason, "none of 1 hosts can take it: 1 with as many jobs as they take");
    cell.host("h2", 1);
    cell.wait_claims(2);
    wait_until("trouble is over", LIMIT, || {
        TROUBLE.get(&cell.client, &["blog", "r1"]).unwrap().is_none().then_some(())
    });
}

#[test]
fn one_off_runs_once_and_leaves_a_record() {
    let mut cell = Cell::new();
    cell.host("h1", 10);
    cell.scheduler("h1-00000001");
    let uuid = cell.one_off(1_000);
    let claims = cell.wait_claims(1);
    assert_eq!(claims[0].job.uuid(), uuid);
    let request = ONEOFFS.get(&cell.client, &[&uuid]).unwrap().unwrap();
    let host: HostId = "h1".parse().unwrap();
    assert_eq!(request.value.state, OneOffState::Placed { job: claims[0].job.clone(), host });
    cell.report(&claims[0].job, JobState::Down(DownReason::Exited { code: 3 }));
    cell.wait_claims(0);
    assert!(ONEOFFS.get(&cell.client, &[&uuid]).unwrap().is_none());
    let app: AppId = "blog".parse().unwrap();
    let record = ENDED.get(&cell.client, &[app.as_str(), claims[0].job.as_str()]).unwrap().unwrap();
    assert_eq!(record.value.reason, DownReason::Exited { code: 3 });
}

#[test]
fn one_off_that_no_host_takes_is_given_up_when_its_time_is_over() {
    let mut cell = Cell::new();
    cell.scheduler("h1-00000001");
    let uuid = cell.one_off(100);
    // Nothing else happens: no event but the clock ends the wait.
    let id = OneOff::request_id(&uuid);
    let record = wait_until("a record", LIMIT, || ENDED.get(&cell.client, &["blog", id.as_str()]).unwrap());
    assert!(matches!(record.value.reason, DownReason::Failed { .. }), "{:?}", record.value.reason);
}

#[test]
fn of_two_schedulers_one_acts_and_the_other_takes_over() {
    let mut cell = Cell::new();
    cell.host("h1", 100);
    cell.scheduler("h1-0000000a");
    cell.scheduler("h1-0000000b");
    cell.formation("blog", 5);
    cell.wait_claims(5);
    // The leader's lease runs out under it, as if it hung: whoever acts next, nothing is done twice.
    for round in 0..5 {
        let lease = cell.memory.lease_of("cell/leaders/scheduler");
        cell.formation("blog", 6 + round);
        lease.into_iter().for_each(|lease| cell.memory.end_lease(lease));
        cell.wait_claims(6 + round as usize);
    }
    let first = wait_until("a leader", LIMIT, || cell.leader());
    cell.stop(usize::from(first.as_str() != "h1-0000000a"));
    cell.formation("shop", 3);
    cell.wait_claims(13);
    // Who was stopped does not act any more, so the other placed them.
    assert_ne!(wait_until("a leader", LIMIT, || cell.leader()), first);
    assert!(cell.claims().iter().all(|claim| claim.stop.is_none()), "nothing was started too often");
}

#[test]
fn scheduler_started_again_takes_its_seat_back_and_adopts_what_bootstrap_placed() {
    let mut cell = Cell::new();
    cell.host("h1", 10);
    let host: HostId = "h1".parse().unwrap();
    let system = vec![
        spec("controller", Some("r1"), "web", Lifecycle::System),
        spec("scheduler", Some("r1"), "web", Lifecycle::System),
    ];
    let jobs = scheduler::place(&cell.client, &host, system.clone()).unwrap();
    assert_eq!(scheduler::place(&cell.client, &host, system).unwrap(), jobs, "done again, it does nothing");
    let me = jobs[1].to_string();
    let number = cell.scheduler(&me);
    wait_until("it leads", LIMIT, || cell.leader());
    cell.formation("controller", 1);
    cell.formation("blog", 1);
    let claims = cell.wait_claims(3);
    assert!(jobs.iter().all(|job| claims.iter().any(|claim| claim.job == *job)), "both are still there");
    // Killed without giving its lease back: the key stays, and the same job needs no lease to run out.
    cell.stop(number);
    let lease = cell.client.lease_grant(LIMIT).unwrap();
    LEADERS.put(&cell.client, &["scheduler"], &api::cell::Leader { job: me.parse().unwrap() }, Some(lease)).unwrap();
    cell.scheduler(&me);
    cell.formation("shop", 2);
    let claims = cell.wait_claims(5);
    assert!(claims.iter().all(|claim| claim.stop.is_none()));
}

#[test]
fn claim_follows_a_formation_within_milliseconds() {
    let mut cell = Cell::new();
    cell.host("h1", 1_000);
    cell.scheduler("h1-00000001");
    cell.formation("warm", 1);
    cell.wait_claims(1);
    let mut watch = CLAIMS.watch(&cell.client, &[], &cell.shutdown);
    watch.next();
    let mut took: Vec<Duration> = Vec::new();
    for n in 0..50 {
        let start = os::clock::now();
        cell.formation(&format!("app{n}"), 1);
        watch.next();
        took.push(os::clock::now().since(start));
    }
    took.sort();
    println!("formation written to claim seen: p50 {:?}, p95 {:?}", took[25], took[47]);
    // Far above what it takes, far below what any polling would.
    assert!(took[25] < Duration::from_millis(100), "median {:?}", took[25]);
}
