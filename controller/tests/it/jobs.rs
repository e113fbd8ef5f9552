//! Jobs: listed, stopped, run once, attached to, and their logs.

use std::io::Write;

use api::attach::{Frame, PROTOCOL, Stream, read_frame, write_bytes};
use api::controller::{self as endpoints, NewJob};
use testkit::wait_until;
use types::Code;

use crate::world::{LIMIT, World, refusal};

fn deployed() -> (World, types::app::Release) {
    let world = World::new();
    world.app("blog");
    let release = world.release("blog", &["web"], &[]);
    world.ended(&world.deploy("blog", &release).unwrap());
    world.wait_up("blog", &release, 1);
    (world, release)
}

fn run(args: &[&str]) -> NewJob {
    NewJob { args: args.iter().map(ToString::to_string).collect(), ..NewJob::default() }
}

#[test]
fn killed_job_of_a_formation_is_replaced() {
    let (world, release) = deployed();
    let job = world.wait_up("blog", &release, 1).remove(0);
    let name = format!("web.{}", &job.uuid[..8]);
    assert_eq!(world.client.call(&endpoints::JOB, &["blog", &name], &()).unwrap(), job);
    world.client.call(&endpoints::JOB_STOP, &["blog", &name], &()).unwrap();
    wait_until("another job", LIMIT, || {
        let jobs = world.jobs("blog");
        (jobs.len() == 1 && jobs[0].state == "up" && jobs[0].id != job.id).then_some(())
    });
    let ended = world.client.call(&endpoints::JOB, &["blog", job.id.as_str()], &()).unwrap();
    assert_eq!((ended.state.as_str(), ended.exit_status), ("down", Some(0)));
    assert_eq!(refusal(world.client.call(&endpoints::JOB, &["blog", "nothing"], &())).code, Code::NotFound);
}

#[test]
fn detached_run_leaves_its_record() {
    let (world, _) = deployed();
    let job = world.client.call(&endpoints::JOB_RUN, &["blog"], &run(&["rake", "db:migrate"])).unwrap();
    assert_eq!((job.state.as_str(), job.process_type.as_str()), ("pending", "run"));
    assert_eq!(job.args, ["/usr/local/bin/slipway", "start", "--", "rake", "db:migrate"]);
    let ended = wait_until("it ends", LIMIT, || {
        let now = world.client.call(&endpoints::JOB, &["blog", &job.uuid], &()).ok()?;
        (now.state == "down").then_some(now)
    });
    assert_eq!((ended.exit_status, ended.reason.as_deref()), (Some(0), Some("exited with code 0")));
    assert!(refusal(world.client.call(&endpoints::JOB_RUN, &["blog"], &run(&[]))).message.starts_with("args is empty"));
    world.app("empty");
    let nothing = refusal(world.client.call(&endpoints::JOB_RUN, &["empty"], &run(&["sh"])));
    assert_eq!((nothing.code, nothing.message.as_str()), (Code::Conflict, "app empty has no release to run"));
}

#[test]
fn attached_run_carries_streams_and_the_exit_status() {
    let (world, _) = deployed();
    let (mut stream, early) =
        world.client.upgrade(&endpoints::JOB_ATTACH, &["blog"], &[], PROTOCOL, &run(&["cat"])).unwrap();
    assert!(early.is_empty());
    let big = vec![b'x'; 3 << 20];
    let mut writer = stream.try_clone().unwrap();
    let sent = big.clone();
    let sender = std::thread::scope(|scope| {
        scope.spawn(move || {
            write_bytes(&mut writer, Stream::Stdin, &sent).unwrap();
            write_bytes(&mut writer, Stream::Stdin, b"").unwrap();
            writer.flush().unwrap();
        });
        let mut heard = Vec::new();
        loop {
            match read_frame(&mut stream).unwrap().expect("an exit comes before the end") {
                Frame::Bytes(Stream::Stdout, bytes) => heard.extend(bytes),
                Frame::Exit(status) => break (heard, status),
                other => panic!("unexpected {other:?}"),
            }
        }
    });
    assert!(sender.0 == big && sender.1 == 7);
    wait_until("its record", LIMIT, || {
        let jobs = world.client.call(&endpoints::JOBS, &["blog"], &()).unwrap();
        jobs.into_iter().find(|job| job.process_type.as_str() == "run" && job.exit_status == Some(7))
    });
}

#[test]
fn client_that_goes_away_ends_the_job() {
    let (world, _) = deployed();
    let (stream, _) = world.client.upgrade(&endpoints::JOB_ATTACH, &["blog"], &[], PROTOCOL, &run(&["cat"])).unwrap();
    drop(stream);
    wait_until("the job ends", LIMIT, || {
        world.jobs("blog").iter().all(|job| job.process_type.as_str() != "run").then_some(())
    });
}

#[test]
fn build_runs_on_artifacts_of_its_own() {
    let world = World::new();
    world.app("blog");
    let release = world.release("blog", &["web"], &[("SECRET", "x")]);
    let job = NewJob {
        artifacts: vec![release.artifacts[0].to_string()],
        process_type: "build".into(),
        platform: types::job::PlatformAccess::Binary,
        ..run(&["/usr/local/bin/slipway", "build"])
    };
    let (stream, _) = world.client.upgrade(&endpoints::JOB_ATTACH, &["blog"], &[], PROTOCOL, &job).unwrap();
    let (claims, _) = api::cell::CLAIMS.list(&world.store, &[]).unwrap();
    let spec = &claims[0].value.spec;
    assert_eq!((spec.process_type.as_str(), spec.release.as_ref(), spec.uid), ("build", None, 0));
    assert!(!spec.env.contains_key("SECRET") && spec.layers.len() == 2);
    drop(stream);
    let mount = |volume: &str, path: &str| {
        let volumes = vec![types::job::VolumeMount { volume: volume.parse().unwrap(), path: path.into() }];
        let job = NewJob { volumes, ..job.clone() };
        refusal(world.client.call(&endpoints::JOB_RUN, &["blog"], &job))
    };
    let app = world.client.call(&endpoints::APP, &["blog"], &()).unwrap().id;
    for foreign in ["system-gitd-app-0", "build-cache-other", &format!("build-cache-{app}x")] {
        let error = mount(foreign, "/cache");
        assert!(error.message.starts_with("volumes[0].volume must be a volume of the app"), "{error}");
    }
    let error = mount(&format!("build-cache-{app}"), "/../etc");
    assert!(error.message.starts_with("volumes[0].path"), "{error}");
    let sockets = NewJob { platform: types::job::PlatformAccess::Sockets, ..job };
    assert!(refusal(world.client.call(&endpoints::JOB_RUN, &["blog"], &sockets)).message.starts_with("platform"));
}

#[test]
fn log_is_asked_of_the_host() {
    let (world, _) = deployed();
    let lines = |query: &[(&str, &str)]| -> Vec<String> {
        let lines = world.client.lines(&endpoints::LOG, &["blog"], query, &()).unwrap();
        lines.map(|line| line.unwrap().msg).collect()
    };
    assert_eq!(lines(&[]), ["last words 0", "last words 1", "last words 2"]);
    assert_eq!(lines(&[("lines", "1")]), ["last words 2"]);
    assert_eq!(lines(&[("follow", "true")]).len(), 3);
    assert_eq!(lines(&[("process_type", "web")]).len(), 3);
    for query in [("job_id", "nosuch"), ("process_type", "nosuch")] {
        let none = refusal(world.client.lines(&endpoints::LOG, &["blog"], &[query], &()).map(drop));
        assert!(none.code == Code::NotFound && none.hint.is_some(), "{none}");
    }
    let many = world.client.lines(&endpoints::LOG, &["blog"], &[("lines", "10001")], &());
    assert_eq!(refusal(many.map(drop)).code, Code::Validation);
    assert_eq!(refusal(world.client.lines(&endpoints::LOG, &["nope"], &[], &()).map(drop)).code, Code::NotFound);
}
