//! A whole agent in a process of its own, over a store of this one: claims in, statuses and real jobs out, and what
//! happens when the agent or everything is killed.

use std::fs;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio as StdStdio};
use std::sync::Arc;

use api::attach::{Frame, Stream, read_frame, write_frame};
use api::cell::{CLAIMS, STATUS};
use api::discovery::{INSTANCES, InstanceState, OBSERVERS, Observer};
use api::{Client, Service, host as endpoints};
use containerd_lite::process;
use data_encoding::HEXLOWER;
use os::signal::Shutdown;
use sha2::{Digest as _, Sha256};
use testkit::TempDir;
use types::host::{Claim, StopOrder};
use types::job::{
    CheckKind, DownReason, HealthCheck, Isolation, JobSpec, JobState, JobStatus, Lifecycle, ServiceSpec, Stdio,
    VolumeMount,
};
use types::{Digest, HostId, JobId, ServiceName, VolumeName};

use crate::bench::{PATIENCE, binary, rootfs, script};
use crate::store::Store;

struct Bench {
    dir: TempDir,
    store: Store,
    layer: Digest,
    cgroup_root: String,
    agent: Option<Child>,
    shutdown: Shutdown,
    place: Place,
}

/// Which network the agent has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// That of the test, where it makes nothing.
    HostNetwork,
    /// One of its own, with a bridge for jobs. It goes with the agent and its jobs.
    OwnNetwork,
}

impl Bench {
    /// A store, a blob store that has one layer, and an agent.
    fn start(name: &str) -> Bench {
        Bench::start_in(name, Place::HostNetwork)
    }

    fn start_in(name: &str, place: Place) -> Bench {
        let dir = TempDir::new(name);
        let root = dir.path().join("root");
        rootfs(&root);
        let mut tar = tar::Builder::new(Vec::new());
        tar.follow_symlinks(false);
        tar.append_dir_all(".", &root).expect("pack the layer");
        let content = tar.into_inner().expect("pack the layer");
        let layer = Digest::parse(&HEXLOWER.encode(&Sha256::digest(&content))).expect("a digest");
        let shutdown = Shutdown::new();
        serve_blob(&dir.path().join("run/services/blobs/b.sock"), content, &shutdown);
        let cgroup_root = format!("slipway-test-{name}-{}", std::process::id());
        let mut bench = Bench { dir, store: Store::start(), layer, cgroup_root, agent: None, shutdown, place };
        bench.start_agent();
        bench
    }

    fn start_agent(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join("agent.log"));
        let mut command = match self.place {
            Place::HostNetwork => Command::new(binary()),
            Place::OwnNetwork => {
                let mut command = Command::new("unshare");
                command.arg("--net").arg("--").arg(binary());
                command
            }
        };
        let child = command
            .arg("agent")
            .arg(self.dir.path())
            .arg(self.store.socket())
            .arg(&self.cgroup_root)
            .args((self.place == Place::OwnNetwork).then_some("net"))
            .stdin(StdStdio::null())
            .stderr(log.expect("open the agent's log"))
            .spawn();
        self.agent = Some(child.expect("start an agent"));
        testkit::wait_until("the host API answers", PATIENCE, || self.client().call(&endpoints::STATUS, &[], &()).ok());
    }

    fn kill_agent(&mut self) {
        let mut agent = self.agent.take().expect("an agent");
        agent.kill().expect("kill the agent");
        agent.wait().expect("reap the agent");
    }

    fn client(&self) -> Client {
        Client::socket(&api::paths::host_socket(&self.dir.path().join("run")))
    }

    fn claim(&self, name: &str, mut spec: JobSpec) -> JobId {
        spec.layers = vec![self.layer.clone()];
        let job = JobId::parse(&format!("h-{name}")).expect("an id");
        let host = HostId::parse("h").expect("an id");
        self.put(&Claim { job: job.clone(), host, spec, stop: None, created_ms: 1 });
        job
    }

    fn put(&self, claim: &Claim) {
        CLAIMS.put(&self.store.client, &["h", claim.job.as_str()], claim, None).expect("write the claim");
    }

    fn order(&self, job: &JobId, order: StopOrder) {
        let row = CLAIMS.get(&self.store.client, &["h", job.as_str()]).expect("read the claim").expect("a claim");
        self.put(&Claim { stop: Some(order), ..row.value });
    }

    fn release(&self, job: &JobId) {
        CLAIMS.delete(&self.store.client, &["h", job.as_str()]).expect("delete the claim");
    }

    fn status(&self, job: &JobId) -> Option<JobStatus> {
        STATUS.get(&self.store.client, &["h", job.as_str()]).expect("read the status").map(|row| row.value)
    }

    fn wait(&self, job: &JobId, what: &str, wanted: impl Fn(&JobStatus) -> bool) -> JobStatus {
        testkit::wait_until(what, PATIENCE, || self.status(job).filter(&wanted))
    }

    fn wait_up(&self, job: &JobId) -> JobStatus {
        let status = self.wait(job, "the job is up", |status| status.state == JobState::Up || status.state.is_down());
        assert_eq!(status.state, JobState::Up);
        status
    }

    fn wait_down(&self, job: &JobId) -> DownReason {
        let status = self.wait(job, "the job is down", |status| status.state.is_down());
        match status.state {
            JobState::Down(reason) => reason,
            _ => unreachable!("waited for it"),
        }
    }

    fn log(&self, job: &JobId) -> Vec<String> {
        let lines = self.client().lines(&endpoints::JOB_LOG, &[job.as_str()], &[], &()).expect("ask for the log");
        lines.map(|line| line.expect("a line").msg).collect()
    }

    fn job_dir(&self, job: &JobId) -> PathBuf {
        self.dir.path().join("data/jobs").join(job.as_str())
    }

    /// What a power cut does to the processes: all of them at once.
    fn cut_power(&mut self, jobs: &[&JobId]) {
        let mut agent = self.agent.take().expect("an agent");
        agent.kill().expect("kill the agent");
        let shims: Vec<i32> = jobs
            .iter()
            .filter_map(|job| fs::read_to_string(self.job_dir(job).join("shim.lock")).ok()?.parse().ok())
            .collect();
        for shim in &shims {
            let pid = nix::unistd::Pid::from_raw(*shim);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        agent.wait().expect("reap the agent");
        for shim in shims {
            testkit::wait_until("the shim ends", PATIENCE, || process::started(shim).is_none().then_some(()));
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if self.agent.is_some() {
            let stopped = self.client().lines(&endpoints::STOP, &[], &[], &()).map(|lines| lines.for_each(drop));
            let mut agent = self.agent.take().expect("an agent");
            if stopped.is_err() {
                let _ = agent.kill();
            }
            let _ = agent.wait();
        }
        self.shutdown.ask();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.dir.path().join("agent.log")).unwrap_or_default();
            println!("the agent's log:\n{log}");
        }
        let _ = runtime::cgroup::remove_root(&self.cgroup_root);
    }
}

fn serve_blob(socket: &Path, content: Vec<u8>, shutdown: &Shutdown) {
    let listening = Service::new(Arc::new(content)).raw(&api::blobs::GET, |content: &Vec<u8>, _, exchange| {
        let mut bytes = content.as_slice();
        exchange
            .copy("application/octet-stream", content.len() as u64, &mut bytes)
            .map_err(|error| types::ApiError::new(types::Code::Internal, error.to_string()))
    });
    drop(listening.listen(socket, shutdown).expect("serve the blob"));
}

fn is_running(status: &JobStatus) -> bool {
    status.pid.is_some_and(|pid| process::started(i32::try_from(pid).expect("a pid")).is_some())
}

/// One line per mount, group or process that names this bench.
fn leftovers(bench: &Bench) -> Vec<String> {
    let mut found = Vec::new();
    let mounts = fs::read_to_string("/proc/mounts").expect("read the mounts");
    found.extend(mounts.lines().filter(|line| line.contains(&*bench.dir.path().to_string_lossy())).map(str::to_owned));
    for entry in fs::read_dir("/proc").expect("list the processes").flatten() {
        let Ok(mut command) = fs::File::open(entry.path().join("cmdline")) else { continue };
        let mut text = String::new();
        let _ = command.read_to_string(&mut text);
        if text.contains("shim") && text.contains(&*bench.dir.path().to_string_lossy()) {
            found.push(text.replace('\0', " "));
        }
    }
    let groups = fs::read_to_string("/proc/self/mounts").expect("read the mounts");
    for mount in groups.lines().filter(|line| line.contains("cgroup")).filter_map(|line| line.split(' ').nth(1)) {
        let group = Path::new(mount).join(&bench.cgroup_root);
        if group.exists() {
            found.push(group.display().to_string());
        }
    }
    found
}

#[test]
fn root_claim_becomes_a_job_a_status_and_a_log() {
    if !testkit::root::granted("root_claim_becomes_a_job_a_status_and_a_log") {
        return;
    }
    let bench = Bench::start("agent-claim");
    let job = bench.claim("one", script(Lifecycle::Batch, "echo hello; cat /etc/hostname; exit 4"));
    assert_eq!(bench.wait_down(&job), DownReason::Exited { code: 4 });
    assert_eq!(bench.log(&job), ["hello", "web-one", "h-one: exited with code 4"]);
    bench.release(&job);
    testkit::wait_until("the status goes with the claim", PATIENCE, || bench.status(&job).is_none().then_some(()));
    // The log stays readable for a while.
    assert_eq!(bench.log(&job).len(), 3);
    assert!(!bench.job_dir(&job).join("scratch").exists());
}

#[test]
fn root_death_of_the_daemon_is_noticed_by_no_job() {
    if !testkit::root::granted("root_death_of_the_daemon_is_noticed_by_no_job") {
        return;
    }
    let mut bench = Bench::start("agent-death");
    let mut spec = script(
        Lifecycle::Service,
        "trap 'echo bye; exit 0' TERM; n=0; while true; do n=$((n+1)); echo $n; sleep 0.05; done",
    );
    spec.service = Some(ServiceSpec { name: ServiceName::parse("blog-web").expect("a name"), port: 8080, check: None });
    let job = bench.claim("two", spec);
    let before = bench.wait_up(&job);
    for _ in 0..3 {
        bench.kill_agent();
        assert!(is_running(&before));
        bench.start_agent();
        let after = bench.wait_up(&job);
        assert_eq!((after.pid, after.restarts), (before.pid, 0));
    }
    let instances = INSTANCES.list(&bench.store.client, &["blog-web"]).expect("list the instances").0;
    assert_eq!(instances.len(), 1);
    let lines = bench.log(&job);
    let expected: Vec<String> = (1..=lines.len()).map(|n| n.to_string()).collect();
    assert_eq!(lines, expected, "no line is lost or doubled");
    bench.order(&job, StopOrder::Drain);
    assert_eq!(bench.wait_down(&job), DownReason::Exited { code: 0 });
    testkit::wait_until("the instance is gone", PATIENCE, || {
        INSTANCES.list(&bench.store.client, &["blog-web"]).expect("list").0.is_empty().then_some(())
    });
}

#[test]
fn root_end_that_nobody_saw_is_found_out() {
    if !testkit::root::granted("root_end_that_nobody_saw_is_found_out") {
        return;
    }
    let mut bench = Bench::start("agent-unseen");
    let job = bench.claim("three", script(Lifecycle::Batch, "sleep 0.5; exit 9"));
    let before = bench.wait_up(&job);
    bench.kill_agent();
    testkit::wait_until("the job ends", PATIENCE, || (!is_running(&before)).then_some(()));
    bench.start_agent();
    assert_eq!(bench.wait_down(&job), DownReason::Exited { code: 9 });
}

#[test]
fn root_power_cut_brings_back_what_must_run_and_nothing_else() {
    if !testkit::root::granted("root_power_cut_brings_back_what_must_run_and_nothing_else") {
        return;
    }
    let mut bench = Bench::start("agent-power");
    let service = bench.claim("service", script(Lifecycle::Service, "echo up; touch /mark || exit 1; exec sleep 1000"));
    let mut platform = script(Lifecycle::System, "exec sleep 1000");
    platform.isolation = Isolation::Platform;
    platform.priority = 0;
    let platform = bench.claim("platform", platform);
    let batch = bench.claim("batch", script(Lifecycle::Batch, "exec sleep 1000"));
    let before: Vec<JobStatus> = [&service, &platform, &batch].map(|job| bench.wait_up(job)).to_vec();
    bench.cut_power(&[&service, &platform, &batch]);
    for status in &before {
        testkit::wait_until("the job ends with its shim", PATIENCE, || (!is_running(status)).then_some(()));
    }
    bench.start_agent();
    let other = |old: &JobStatus| {
        let old = old.pid;
        move |status: &JobStatus| status.state == JobState::Up && status.pid != old
    };
    bench.wait(&service, "the service is back", other(&before[0]));
    bench.wait(&platform, "the platform's job is back", other(&before[1]));
    assert_eq!(bench.wait_down(&batch), DownReason::Lost);
}

#[test]
fn root_jobs_of_the_platform_are_restarted_in_place() {
    if !testkit::root::granted("root_jobs_of_the_platform_are_restarted_in_place") {
        return;
    }
    let bench = Bench::start("agent-restart");
    let mut spec = script(Lifecycle::System, "exec sleep 1000");
    spec.isolation = Isolation::Platform;
    let job = bench.claim("system", spec);
    let first = bench.wait_up(&job);
    let signal = endpoints::Signal { signal: 9 };
    bench.client().call(&endpoints::SIGNAL, &["system"], &signal).expect("kill the job");
    let second = bench.wait(&job, "it is up again", |status| status.state == JobState::Up && status.restarts == 1);
    assert_ne!(first.pid, second.pid);
    assert_eq!(second.last_exit, Some(DownReason::Signaled { signal: 9, oom: false }));
}

#[test]
fn root_failures_say_why() {
    if !testkit::root::granted("root_failures_say_why") {
        return;
    }
    let bench = Bench::start("agent-why");
    let mut spec = script(Lifecycle::Service, "");
    spec.args = vec!["/bin/nope".to_owned()];
    let missing = bench.claim("missing", spec);
    let reason = bench.wait_down(&missing).to_string();
    assert!(reason.contains("/bin/nope"), "{reason}");
    let mut hungry = script(Lifecycle::Batch, "");
    hungry.args = ["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"].map(str::to_owned).to_vec();
    hungry.resources.memory_bytes = Some(16 << 20);
    let hungry = bench.claim("hungry", hungry);
    assert_eq!(bench.wait_down(&hungry), DownReason::Signaled { signal: 9, oom: true });
    let mut spec = script(Lifecycle::Service, "true");
    spec.network = types::job::NetworkMode::Bridge;
    let unconnected = bench.claim("unconnected", spec);
    let reason = bench.wait_down(&unconnected).to_string();
    assert!(reason.contains("no network"), "{reason}");
}

#[test]
fn root_terminal_through_the_api_starts_the_job() {
    if !testkit::root::granted("root_terminal_through_the_api_starts_the_job") {
        return;
    }
    let bench = Bench::start("agent-tty");
    let mut spec = script(Lifecycle::Batch, "read line; echo got $line; exit 6");
    spec.stdio = Stdio::Terminal { rows: 24, columns: 80 };
    let job = bench.claim("tty", spec);
    bench.wait(&job, "the job waits for its client", |status| status.state == JobState::Starting);
    let client = bench.client();
    let (mut stream, early) =
        client.upgrade(&endpoints::ATTACH, &["tty"], &[], api::attach::PROTOCOL, &()).expect("attach");
    write_frame(&mut stream, &Frame::Bytes(Stream::Stdin, b"word\n".to_vec())).expect("type");
    let (output, status) = read_all(&early, &mut stream);
    assert!(output.contains("got word"), "{output}");
    assert_eq!(status, 6);
    assert_eq!(bench.wait_down(&job), DownReason::Exited { code: 6 });
}

#[test]
fn root_exec_through_the_api_runs_in_the_job() {
    if !testkit::root::granted("root_exec_through_the_api_runs_in_the_job") {
        return;
    }
    let bench = Bench::start("agent-exec");
    let job = bench.claim("exec", script(Lifecycle::Service, "exec sleep 1000"));
    bench.wait_up(&job);
    let body = endpoints::Exec { args: vec!["/bin/hostname".to_owned()], ..endpoints::Exec::default() };
    let client = bench.client();
    let (mut stream, early) =
        client.upgrade(&endpoints::EXEC, &[job.as_str()], &[], api::attach::PROTOCOL, &body).expect("exec");
    assert_eq!(read_all(&early, &mut stream), ("web-exec\n".to_owned(), 0));
}

#[test]
fn root_routers_are_waited_for_at_both_ends_of_a_service() {
    if !testkit::root::granted("root_routers_are_waited_for_at_both_ends_of_a_service") {
        return;
    }
    let bench = Bench::start("agent-barrier");
    let observe = |seen, drained| {
        OBSERVERS.put(&bench.store.client, &["router"], &Observer { seen, drained }, None).expect("observe")
    };
    let instance =
        || INSTANCES.list(&bench.store.client, &["blog-web"]).expect("list the instances").0.into_iter().next();
    observe(0, 0);
    let mut spec = script(Lifecycle::Service, "trap 'exit 0' TERM; while true; do sleep 0.05; done");
    spec.service = Some(ServiceSpec { name: ServiceName::parse("blog-web").expect("a name"), port: 8080, check: None });
    let job = bench.claim("barrier", spec);
    let registered = testkit::wait_until("the instance is registered", PATIENCE, &instance);
    assert_eq!(bench.status(&job).expect("a status").state, JobState::Starting);
    observe(registered.revision, 0);
    let up = bench.wait_up(&job);
    bench.order(&job, StopOrder::Drain);
    let draining = testkit::wait_until("the instance is draining", PATIENCE, || {
        instance().filter(|row| row.value.state == InstanceState::Draining)
    });
    assert!(is_running(&up), "it goes on until its requests are drained");
    observe(draining.revision, draining.revision);
    assert_eq!(bench.wait_down(&job), DownReason::Exited { code: 0 });
    testkit::wait_until("the instance is gone", PATIENCE, || instance().is_none().then_some(()));
}

#[test]
fn root_volume_is_kept_across_jobs_and_removed_when_nobody_uses_it() {
    if !testkit::root::granted("root_volume_is_kept_across_jobs_and_removed_when_nobody_uses_it") {
        return;
    }
    let bench = Bench::start("agent-volume");
    let with_volume = |text: &str| {
        let mut spec = script(Lifecycle::Batch, text);
        (spec.uid, spec.gid) = (1000, 1000);
        spec.volumes =
            vec![VolumeMount { volume: VolumeName::parse("cache").expect("a name"), path: "/cache".to_owned() }];
        spec
    };
    let writer = bench.claim("writer", with_volume("echo kept > /cache/file; id -u"));
    assert_eq!(bench.wait_down(&writer), DownReason::Exited { code: 0 });
    let reader = bench.claim("reader", with_volume("cat /cache/file; exec sleep 1000"));
    bench.wait_up(&reader);
    testkit::wait_until("the file is read", PATIENCE, || bench.log(&reader).contains(&"kept".to_owned()).then_some(()));
    let refused = bench.client().call(&endpoints::VOLUME_DELETE, &["cache"], &()).expect_err("it is used");
    assert_eq!(refused.code(), Some(types::Code::Conflict));
    for job in [&writer, &reader] {
        bench.order(job, StopOrder::Kill);
        bench.wait_down(job);
        bench.release(job);
    }
    testkit::wait_until("the volume can be removed", PATIENCE, || {
        bench.client().call(&endpoints::VOLUME_DELETE, &["cache"], &()).ok()
    });
    assert!(bench.client().call(&endpoints::VOLUMES, &[], &()).expect("list the volumes").is_empty());
}

fn read_all(early: &[u8], stream: &mut UnixStream) -> (String, u32) {
    stream.set_read_timeout(Some(PATIENCE)).expect("limit the wait");
    let mut input = early.chain(stream);
    let mut output = Vec::new();
    loop {
        match read_frame(&mut input).expect("read a frame").expect("a frame before the end") {
            Frame::Bytes(_, bytes) => output.extend(bytes),
            Frame::Exit(status) => return (String::from_utf8_lossy(&output).into_owned(), status),
            Frame::Attached | Frame::Waiting => {}
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[test]
fn root_stop_of_the_host_leaves_nothing_and_the_next_start_runs_it_again() {
    if !testkit::root::granted("root_stop_of_the_host_leaves_nothing_and_the_next_start_runs_it_again") {
        return;
    }
    let mut bench = Bench::start("agent-stop");
    let job = bench
        .claim("stop", script(Lifecycle::Service, "trap 'echo bye; exit 0' TERM; while true; do sleep 0.05; done"));
    let before = bench.wait_up(&job);
    let steps: Vec<String> = bench
        .client()
        .lines(&endpoints::STOP, &[], &[], &())
        .expect("stop the host")
        .map(|step| step.expect("a step").step)
        .collect();
    assert_eq!(steps.last().map(String::as_str), Some("the host is stopped"), "{steps:?}");
    let mut agent = bench.agent.take().expect("an agent");
    assert!(agent.wait().expect("the agent ends").success());
    assert!(!is_running(&before));
    assert_eq!(leftovers(&bench), Vec::<String>::new());
    bench.start_agent();
    let after = bench.wait(&job, "the job runs again", |s| s.state == JobState::Up && s.pid != before.pid);
    assert!(is_running(&after));
    assert!(bench.log(&job).iter().any(|line| line == "bye"), "it was asked to end");
}

/// A job that answers on `port`.
fn web(port: u16, text: &str) -> JobSpec {
    let mut spec = script(Lifecycle::Service, text);
    spec.network = types::job::NetworkMode::Bridge;
    let mut check = HealthCheck::new(CheckKind::Tcp);
    check.interval_ms = 50;
    check.start_timeout_ms = 3_000;
    spec.service =
        Some(ServiceSpec { name: ServiceName::parse("blog-web").expect("a name"), port, check: Some(check) });
    spec
}

#[test]
fn root_service_is_up_when_its_check_passes_at_its_address() {
    if !testkit::root::granted("root_service_is_up_when_its_check_passes_at_its_address") {
        return;
    }
    let bench = Bench::start_in("agent-web", Place::OwnNetwork);
    let listen = "cat /etc/hosts /etc/resolv.conf; exec httpd -f -p $PORT";
    let job = bench.claim("web", web(8080, listen));
    let address = bench.wait_up(&job).address.expect("an address");
    let instances = INSTANCES.list(&bench.store.client, &["blog-web"]).expect("list the instances").0;
    let addresses: Vec<String> = instances.into_iter().map(|row| row.value.address).collect();
    assert_eq!(addresses, [format!("{address}:8080")]);
    let log = bench.log(&job).join("\n");
    assert!(log.contains(&format!("{address}\tweb-web")) && log.contains("nameserver 100.100.9.1"), "{log}");
    bench.order(&job, StopOrder::Drain);
    bench.wait_down(&job);
}

#[test]
fn root_service_on_the_wrong_port_is_told_so() {
    if !testkit::root::granted("root_service_on_the_wrong_port_is_told_so") {
        return;
    }
    let bench = Bench::start_in("agent-port", Place::OwnNetwork);
    let job = bench.claim("wrong", web(8080, "exec httpd -f -p 3000"));
    let reason = bench.wait_down(&job).to_string();
    assert!(reason.contains("did not pass its health check"), "{reason}");
    assert!(reason.contains(":3000 and not on port 8080"), "{reason}");
}

#[test]
fn root_daemon_that_dies_at_any_moment_loses_and_doubles_no_job() {
    if !testkit::root::granted("root_daemon_that_dies_at_any_moment_loses_and_doubles_no_job") {
        return;
    }
    let mut bench = Bench::start("agent-moments");
    let mut rng = stdx::Rng::new(7);
    let mut jobs = Vec::new();
    for round in 0..12 {
        for number in 0..2 {
            let text = "touch /once || exit 1; echo up; exec sleep 1000";
            jobs.push(bench.claim(&format!("r{round}n{number}"), script(Lifecycle::Service, text)));
        }
        // The moment is the point: anywhere from before the claim is seen to after the jobs are up.
        os::clock::pause(std::time::Duration::from_micros(rng.below(150_000)));
        bench.kill_agent();
        bench.start_agent();
    }
    for job in &jobs {
        let status = bench.wait_up(job);
        assert!(is_running(&status), "{status:?}");
    }
    let shims = leftovers(&bench).into_iter().filter(|line| line.contains("shim")).count();
    assert_eq!(shims, jobs.len(), "one shim for each job");
}
