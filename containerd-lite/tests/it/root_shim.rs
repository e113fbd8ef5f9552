//! A shim with a real job, asked as the daemon and its clients ask it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;

use api::attach::{Frame, Stream, read_frame, write_frame};
use containerd_lite::core::lines;
use containerd_lite::outline::{self, Place};
use containerd_lite::segments::Reader;
use containerd_lite::shim::call;
use containerd_lite::shim::names;
use containerd_lite::shim::wire::{AttachWish, ExecWish, Request, ShimPhase, State};
use containerd_lite::stored::StoredExit;
use os::file::Durability;
use testkit::TempDir;
use types::JobId;
use types::job::{DownReason, JobSpec, Lifecycle, Stdio};

use crate::bench::{PATIENCE, binary, rootfs, script};

struct Bench {
    dir: TempDir,
    job: JobId,
    cgroup_root: String,
    shim: Option<Child>,
    spec: JobSpec,
}

impl Bench {
    fn new(name: &str, spec: JobSpec) -> Bench {
        let dir = TempDir::new(name);
        rootfs(&dir.path().join("root"));
        let cgroup_root = format!("slipway-test-{name}-{}", std::process::id());
        let job = JobId::parse("h-0123456789abcdef").expect("an id");
        let bench = Bench { dir, job, cgroup_root, shim: None, spec };
        bench.plan(1);
        bench
    }

    fn job_dir(&self) -> PathBuf {
        self.dir.path().join("job")
    }

    fn plan(&self, run: u32) {
        let scratch = self.job_dir().join(format!("scratch-{run}"));
        for dir in ["upper", "work"] {
            fs::create_dir_all(scratch.join(dir)).expect("make scratch space");
        }
        let place = Place {
            layers: vec![self.dir.path().join("root")],
            upper: scratch.join("upper"),
            work: scratch.join("work"),
            binary: binary(),
            run_dir: self.dir.path().to_path_buf(),
            user_base: 0x5000_0000,
            volumes: Vec::new(),
            files: Vec::new(),
            cgroup_root: self.cgroup_root.clone(),
        };
        let plan = outline::shim_plan(&self.job, run, &self.spec, &place);
        let text = serde_json::to_vec(&plan).expect("encode the plan");
        os::file::replace(&self.job_dir().join(names::PLAN), &text, 0o600, Durability::Atomic).expect("write the plan");
    }

    fn launch(&mut self) {
        let (shim, _) = call::launch(&binary(), &self.job_dir()).expect("launch a shim");
        self.shim = Some(shim);
    }

    fn started(name: &str, spec: JobSpec) -> Bench {
        let mut bench = Bench::new(name, spec);
        bench.launch();
        call::start(&bench.job_dir()).expect("start the job");
        bench
    }

    fn watch(&self) -> BufReader<UnixStream> {
        BufReader::new(call::watch(&self.job_dir()).expect("watch the job"))
    }

    /// How the job ended: as its shim says, or wrote down before it went.
    fn end(&self) -> DownReason {
        let mut states = call::watch(&self.job_dir()).map(BufReader::new).ok();
        while let Some(state) = states.as_mut().and_then(next_state) {
            if let ShimPhase::Ended(reason) = state.phase {
                return reason;
            }
        }
        self.exit().reason
    }

    fn exit(&self) -> StoredExit {
        let exit = fs::read(self.job_dir().join(names::EXIT)).expect("the end is written down");
        serde_json::from_slice(&exit).expect("decode the end")
    }

    fn log(&self) -> Vec<String> {
        let mut reader = Reader::first(&self.job_dir().join(names::LOG)).expect("open the log");
        let mut found = Vec::new();
        loop {
            let records = reader.read_on().expect("read the log");
            if records.is_empty() {
                return found;
            }
            for line in records.split(|b| *b == b'\n').filter_map(lines::parse) {
                found.push(format!("{:?} {}", line.source, String::from_utf8_lossy(line.text)));
            }
        }
    }

    fn wait_for_log(&self, text: &str) {
        testkit::wait_until(text, PATIENCE, || self.log().iter().any(|line| line.contains(text)).then_some(()));
    }

    fn frames(&self, request: &Request) -> UnixStream {
        let stream = call::frames(&self.job_dir(), request).expect("ask for frames");
        stream.set_read_timeout(Some(PATIENCE)).expect("limit the wait");
        stream
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(mut shim) = self.shim.take() {
            let _ = shim.kill();
            let _ = shim.wait();
        }
        runtime::cgroup::remove_root(&self.cgroup_root).expect("remove the control groups");
        assert_eq!(mounts_below(self.dir.path()), 0, "mounts were left");
    }
}

fn mounts_below(dir: &Path) -> usize {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("read the mounts");
    mounts.lines().filter(|line| line.contains(&*dir.to_string_lossy())).count()
}

fn next_state(states: &mut BufReader<UnixStream>) -> Option<State> {
    let mut line = String::new();
    states.read_line(&mut line).ok()?;
    serde_json::from_str(&line).ok()
}

/// Read frames until the exit: output of both streams, and the status.
fn read_all(stream: &mut UnixStream) -> (String, String, u32) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    loop {
        match read_frame(stream).expect("read a frame").expect("a frame before the end") {
            Frame::Bytes(Stream::Stdout, bytes) => out.extend(bytes),
            Frame::Bytes(Stream::Stderr, bytes) => err.extend(bytes),
            Frame::Exit(status) => {
                return (
                    String::from_utf8_lossy(&out).into_owned(),
                    String::from_utf8_lossy(&err).into_owned(),
                    status,
                );
            }
            Frame::Attached => {}
            other => panic!("unexpected {other:?}"),
        }
    }
}

/// Read output until `text` is in it.
fn read_until(stream: &mut UnixStream, text: &str) -> String {
    let mut seen = String::new();
    while !seen.contains(text) {
        match read_frame(stream).expect("read a frame").expect("a frame before the text") {
            Frame::Bytes(_, bytes) => seen.push_str(&String::from_utf8_lossy(&bytes)),
            Frame::Attached => {}
            other => panic!("unexpected {other:?} after {seen:?}"),
        }
    }
    seen
}

fn type_in(stream: &mut UnixStream, text: &str) {
    write_frame(stream, &Frame::Bytes(Stream::Stdin, text.as_bytes().to_vec())).expect("type");
}

const ALL: AttachWish = AttachWish { stdin: true, stdout: true, stderr: true };

fn exec(args: &[&str], spec: &JobSpec, terminal: Option<(u16, u16)>) -> Request {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    let job = JobId::parse("h-0123456789abcdef").expect("an id");
    let program = outline::program(spec, args, outline::environment(&job, spec));
    Request::Exec(Box::new(ExecWish { program, terminal }))
}

#[test]
fn root_job_runs_logs_and_its_end_is_written_down() {
    if !testkit::root::granted("root_job_runs_logs_and_its_end_is_written_down") {
        return;
    }
    let bench = Bench::started("shim-run", script(Lifecycle::Batch, "echo $HOSTNAME; id -u; echo oops >&2; exit 3"));
    assert_eq!(bench.end(), DownReason::Exited { code: 3 });
    let mut log = bench.log();
    log.sort();
    assert_eq!(log, ["Err oops", "Out 0", "Out web-01234567", "System h-0123456789abcdef: exited with code 3"]);
    let exit = bench.exit();
    assert_eq!((exit.run, exit.reason), (1, DownReason::Exited { code: 3 }));
}

#[test]
fn root_nothing_runs_before_the_word() {
    if !testkit::root::granted("root_nothing_runs_before_the_word") {
        return;
    }
    let mut bench = Bench::new("shim-word", script(Lifecycle::Batch, "echo ran"));
    bench.launch();
    let mut states = bench.watch();
    assert_eq!(next_state(&mut states).map(|state| state.phase), Some(ShimPhase::Created));
    assert!(bench.log().is_empty());
    call::start(&bench.job_dir()).expect("start");
    assert_eq!(bench.end(), DownReason::Exited { code: 0 });
}

#[test]
fn root_program_that_is_not_there_is_named() {
    if !testkit::root::granted("root_program_that_is_not_there_is_named") {
        return;
    }
    let mut spec = script(Lifecycle::Batch, "");
    spec.args = vec!["/bin/nope".to_owned()];
    let mut bench = Bench::new("shim-nope", spec);
    bench.launch();
    let error = call::start(&bench.job_dir()).expect_err("no such program");
    assert!(error.to_string().contains("/bin/nope"), "{error}");
}

#[test]
fn root_second_shim_for_a_job_is_refused() {
    if !testkit::root::granted("root_second_shim_for_a_job_is_refused") {
        return;
    }
    let bench = Bench::started("shim-second", script(Lifecycle::Batch, "sleep 1000"));
    let error = call::launch(&binary(), &bench.job_dir()).expect_err("there is one already");
    assert!(error.to_string().contains("only shim"), "{error}");
}

#[test]
fn root_signals_end_a_job_with_their_number() {
    if !testkit::root::granted("root_signals_end_a_job_with_their_number") {
        return;
    }
    let bench = Bench::started("shim-signal", script(Lifecycle::Batch, "echo up; sleep 1000"));
    bench.wait_for_log("up");
    call::signal(&bench.job_dir(), 9).expect("signal");
    assert_eq!(bench.end(), DownReason::Signaled { signal: 9, oom: false });
}

#[test]
fn root_out_of_memory_is_the_reason_and_is_told_in_the_log() {
    if !testkit::root::granted("root_out_of_memory_is_the_reason_and_is_told_in_the_log") {
        return;
    }
    let mut spec = script(Lifecycle::Batch, "");
    spec.args = ["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"].map(str::to_owned).to_vec();
    spec.resources.memory_bytes = Some(16 << 20);
    let bench = Bench::started("shim-oom", spec);
    assert_eq!(bench.end(), DownReason::Signaled { signal: 9, oom: true });
    let log = bench.log().join("\n");
    assert!(log.contains("over its memory limit"), "{log}");
    assert!(log.contains("its 16 MB of memory"), "{log}");
}

#[test]
fn root_attached_client_gives_input_and_gets_everything() {
    if !testkit::root::granted("root_attached_client_gives_input_and_gets_everything") {
        return;
    }
    let mut spec = script(Lifecycle::Batch, "cat; echo done >&2; exit 7");
    spec.stdio = Stdio::Attached;
    let mut bench = Bench::new("shim-attach", spec);
    bench.launch();
    let mut client = bench.frames(&Request::Attach(ALL));
    call::start(&bench.job_dir()).expect("start");
    let big = "0123456789abcdef".repeat(100_000);
    let mut typist = client.try_clone().expect("a second handle");
    let typed = big.clone();
    let typing = os::thread::spawn("typist", move || {
        for part in typed.as_bytes().chunks(60_000) {
            write_frame(&mut typist, &Frame::Bytes(Stream::Stdin, part.to_vec())).expect("type");
        }
        write_frame(&mut typist, &Frame::Bytes(Stream::Stdin, Vec::new())).expect("end the input");
    })
    .expect("a thread");
    let (out, err, status) = read_all(&mut client);
    typing.join().expect("the typist ends");
    assert!(out == big, "{} of {} bytes came back", out.len(), big.len());
    assert_eq!((err.as_str(), status), ("done\n", 7));
    assert_eq!(bench.log(), ["System h-0123456789abcdef: exited with code 7"]);
}

#[test]
fn root_terminal_echoes_resizes_and_hangs_up() {
    if !testkit::root::granted("root_terminal_echoes_resizes_and_hangs_up") {
        return;
    }
    let mut spec = script(Lifecycle::Batch, "");
    spec.args = vec!["/bin/sh".to_owned()];
    spec.stdio = Stdio::Terminal { rows: 30, columns: 90 };
    let mut bench = Bench::new("shim-tty", spec);
    bench.launch();
    let mut client = bench.frames(&Request::Attach(ALL));
    call::start(&bench.job_dir()).expect("start");
    type_in(&mut client, "stty size; echo TERM=$TERM\n");
    let seen = read_until(&mut client, "TERM=xterm-256color");
    assert!(seen.contains("30 90"), "{seen}");
    write_frame(&mut client, &Frame::Resize { rows: 50, columns: 120 }).expect("resize");
    type_in(&mut client, "stty size\n");
    read_until(&mut client, "50 120");
    drop(client);
    assert_eq!(bench.end(), DownReason::Signaled { signal: 1, oom: false });
}

#[test]
fn root_exec_runs_beside_the_job_with_and_without_a_terminal() {
    if !testkit::root::granted("root_exec_runs_beside_the_job_with_and_without_a_terminal") {
        return;
    }
    let bench = Bench::started("shim-exec", script(Lifecycle::Batch, "echo up; exec sleep 1000"));
    bench.wait_for_log("up");
    let command = ["/bin/sh", "-c", "echo $SLIPWAY_APP; cat; echo err >&2; exit 5"];
    let mut client = bench.frames(&exec(&command, &bench.spec, None));
    type_in(&mut client, "typed\n");
    write_frame(&mut client, &Frame::Bytes(Stream::Stdin, Vec::new())).expect("end the input");
    let (out, err, status) = read_all(&mut client);
    assert_eq!((out.as_str(), err.as_str(), status), ("blog\ntyped\n", "err\n", 5));
    let mut client = bench.frames(&exec(&["/bin/sh", "-c", "tty; stty size; exit 6"], &bench.spec, Some((24, 80))));
    let (out, _, status) = read_all(&mut client);
    assert!(out.contains("/dev/pts/") && out.contains("24 80"), "{out}");
    assert_eq!(status, 6);
    let mut client = bench.frames(&exec(&["/bin/nope"], &bench.spec, None));
    let refused = read_frame(&mut client).expect("read").expect("a frame");
    assert!(matches!(&refused, Frame::Error(why) if why.contains("/bin/nope")), "{refused:?}");
    assert_eq!(next_state(&mut bench.watch()).map(|state| state.phase), Some(ShimPhase::Running));
}

#[test]
fn root_flood_neither_blocks_the_job_nor_fills_the_disk() {
    if !testkit::root::granted("root_flood_neither_blocks_the_job_nor_fills_the_disk") {
        return;
    }
    let bench =
        Bench::started("shim-flood", script(Lifecycle::Batch, "yes 0123456789 | head -c 40000000; echo end >&2"));
    assert_eq!(bench.end(), DownReason::Exited { code: 0 });
    let log = bench.log();
    assert!(log.iter().any(|line| line.contains("were dropped")), "losses are counted");
    let bytes: u64 = fs::read_dir(bench.job_dir().join(names::LOG))
        .expect("list the log")
        .map(|entry| entry.expect("an entry").metadata().expect("its size").len())
        .sum();
    assert!(bytes < 20 << 20, "{bytes}");
}

#[test]
fn root_job_does_not_outlive_its_shim() {
    if !testkit::root::granted("root_job_does_not_outlive_its_shim") {
        return;
    }
    let mut bench = Bench::started("shim-killed", script(Lifecycle::Batch, "echo up; sleep 1000"));
    bench.wait_for_log("up");
    let job = next_state(&mut bench.watch()).expect("a state").job;
    let mut shim = bench.shim.take().expect("a shim");
    shim.kill().expect("kill the shim");
    shim.wait().expect("reap the shim");
    testkit::wait_until("the job ends", PATIENCE, || (!containerd_lite::process::is_alive(job)).then_some(()));
}
