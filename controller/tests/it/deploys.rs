//! Deployments and scaling with the real scheduler.

use std::time::Duration;

use api::controller::{self as endpoints, AbortDeployment, NewApp, ScaleState};
use testkit::wait_until;
use types::Code;
use types::app::{DeploymentStatus, Strategy};

use crate::world::{LIMIT, World, refusal};

#[test]
fn first_deployment_brings_one_web_job_up() {
    let world = World::new();
    let app = world.app("blog");
    let release = world.release("blog", &["web", "worker"], &[("GREETING", "hello")]);
    let deployment = world.deploy("blog", &release).unwrap();
    assert_eq!(deployment.status, DeploymentStatus::Pending);
    let ended = world.ended(&deployment);
    assert_eq!((ended.status, ended.error.as_deref()), (DeploymentStatus::Complete, None));
    let jobs = world.wait_up("blog", &release, 1);
    assert_eq!(jobs[0].args, ["/usr/local/bin/slipway", "start", "web"]);
    let (claims, _) = api::cell::CLAIMS.list(&world.store, &[]).unwrap();
    let spec = &claims[0].value.spec;
    assert_eq!((spec.env["GREETING"].as_str(), spec.env["SLIPWAY_RELEASE_VERSION"].as_str()), ("hello", "v1"));
    let service = spec.service.as_ref().unwrap();
    assert_eq!((service.name.as_str(), service.port, service.check.is_some()), ("blog-web", 8080, true));
    assert_eq!((spec.uid, spec.working_dir.as_str(), spec.layers.len()), (1000, "/app", 2));
    let now = world.client.call(&endpoints::APP, &["blog"], &()).unwrap();
    assert_eq!((now.release, now.id), (Some(release.id), app.id));
}

#[test]
fn every_strategy_replaces_all_jobs() {
    let world = World::new();
    world.app("blog");
    let current = world.release("blog", &["web", "worker"], &[]);
    world.ended(&world.deploy("blog", &current).unwrap());
    world.scale("blog", &current, &[("web", 3), ("worker", 2)]);
    world.wait_up("blog", &current, 5);
    for strategy in [Strategy::OneByOne, Strategy::OneDownOneUp, Strategy::InBatches, Strategy::AllAtOnce] {
        let change = NewApp { strategy: Some(strategy), ..NewApp::default() };
        world.client.call(&endpoints::APP_UPDATE, &["blog"], &change).unwrap();
        let next = world.release("blog", &["web", "worker"], &[("STRATEGY", "x")]);
        let ended = world.ended(&world.deploy("blog", &next).unwrap());
        assert_eq!((ended.status, ended.strategy), (DeploymentStatus::Complete, strategy), "{:?}", ended.error);
        world.wait_up("blog", &next, 5);
        let formations = world.client.call(&endpoints::FORMATIONS, &["blog"], &()).unwrap();
        assert_eq!((formations.len(), &formations[0].release), (1, &next.id));
    }
}

#[test]
fn failing_release_is_rolled_back_with_its_last_words() {
    let world = World::new();
    world.app("blog");
    let good = world.release("blog", &["web"], &[]);
    world.ended(&world.deploy("blog", &good).unwrap());
    world.scale("blog", &good, &[("web", 2)]);
    let before = world.wait_up("blog", &good, 2);
    for (behave, why) in [("crash", "web ended 4 times"), ("deaf", "web did not start: nothing listens on port 8080")] {
        let bad = world.release("blog", &["web"], &[("BEHAVE", behave)]);
        let ended = world.ended(&world.deploy("blog", &bad).unwrap());
        let error = ended.error.clone().unwrap();
        assert_eq!(ended.status, DeploymentStatus::Failed);
        assert!(error.starts_with(why) && error.contains("last words 2"), "{error}");
        let mut after = world.wait_up("blog", &good, 2);
        after.sort_by(|a, b| a.id.cmp(&b.id));
        let mut same = before.clone();
        same.sort_by(|a, b| a.id.cmp(&b.id));
        assert_eq!(after, same, "the old jobs were not touched");
        assert_eq!(world.client.call(&endpoints::APP, &["blog"], &()).unwrap().release, Some(good.id.clone()));
    }
    let jobs = world.client.call(&endpoints::JOBS, &["blog"], &()).unwrap();
    assert!(jobs.iter().any(|job| job.state == "down" && job.exit_status == Some(3)));
}

#[test]
fn first_release_that_fails_leaves_nothing_running() {
    let world = World::new();
    world.app("blog");
    let bad = world.release("blog", &["web"], &[("BEHAVE", "crash")]);
    let ended = world.ended(&world.deploy("blog", &bad).unwrap());
    assert_eq!(ended.status, DeploymentStatus::Failed);
    wait_until("nothing runs", LIMIT, || world.jobs("blog").is_empty().then_some(()));
    assert_eq!(world.client.call(&endpoints::APP, &["blog"], &()).unwrap().release, None);
    let good = world.release("blog", &["web"], &[]);
    assert_eq!(world.ended(&world.deploy("blog", &good).unwrap()).status, DeploymentStatus::Complete);
    world.wait_up("blog", &good, 1);
}

#[test]
fn one_deployment_at_a_time_and_it_can_be_aborted() {
    let world = World::new();
    world.app("blog");
    let good = world.release("blog", &["web"], &[]);
    world.ended(&world.deploy("blog", &good).unwrap());
    world.wait_up("blog", &good, 1);
    let stuck = world.release("blog", &["web"], &[("BEHAVE", "never")]);
    let deployment = world.deploy("blog", &stuck).unwrap();
    let second = refusal(world.deploy("blog", &good));
    assert_eq!(second.code, Code::Conflict);
    assert!(second.message.contains("is under way") && second.hint.is_some(), "{second}");
    assert_eq!(refusal(world.set_formation("blog", &good, &[("web", 2)])).code, Code::Conflict);
    let by = AbortDeployment { by: "alice".into() };
    world.client.call(&endpoints::DEPLOYMENT_ABORT, &[deployment.id.as_str()], &by).unwrap();
    let ended = world.ended(&deployment);
    assert_eq!((ended.status, ended.error.as_deref()), (DeploymentStatus::Failed, Some("aborted by alice")));
    world.wait_up("blog", &good, 1);
    let again = refusal(world.client.call(&endpoints::DEPLOYMENT_ABORT, &[deployment.id.as_str()], &by));
    assert_eq!(again.code, Code::Conflict);
}

/// A change made from a release that is not current any more would undo what was changed since.
#[test]
fn release_that_expects_another_current_one_is_refused() {
    let world = World::new();
    world.app("blog");
    let make = |expects: &str, deploy: bool, env: &[(&str, &str)], artifacts: Vec<String>| {
        let new = endpoints::NewRelease {
            app_id: "blog".into(),
            expects: Some(expects.into()),
            env: crate::world::map(env),
            artifacts,
            processes: [("web".parse().unwrap(), types::app::ProcessSpec::default())].into(),
            deploy,
            ..endpoints::NewRelease::default()
        };
        world.client.call(&endpoints::RELEASE_CREATE, &[], &new)
    };
    let first = world.release("blog", &["web"], &[]);
    world.ended(&world.deploy("blog", &first).unwrap());
    let artifacts = || first.artifacts.iter().map(ToString::to_string).collect();
    let changed = refusal(make("", true, &[], artifacts()));
    assert_eq!(changed.code, Code::PreconditionFailed);
    assert!(changed.message.contains("is v1") && changed.hint.is_some(), "{changed}");
    let stuck = make(first.id.as_str(), true, &[("BEHAVE", "never")], artifacts()).unwrap();
    let deployment = world.client.call(&endpoints::DEPLOYMENTS, &["blog"], &()).unwrap().remove(0);
    assert_eq!(deployment.new_release, stuck.id, "made with its release");
    let busy = refusal(make(first.id.as_str(), true, &[("A", "1")], artifacts()));
    assert_eq!(busy.code, Code::Conflict);
    let releases = world.client.call(&endpoints::APP_RELEASES, &["blog"], &()).unwrap();
    assert_eq!(releases.len(), 2, "what was refused left no release behind");
    let by = AbortDeployment { by: "alice".into() };
    world.client.call(&endpoints::DEPLOYMENT_ABORT, &[deployment.id.as_str()], &by).unwrap();
    world.ended(&deployment);
    let last = make(first.id.as_str(), true, &[("A", "1")], artifacts()).unwrap();
    world.wait_up("blog", &last, 1);
}

#[test]
fn step_that_takes_too_long_is_rolled_back() {
    let world = World::new();
    world.app("blog");
    let change = NewApp { deploy_timeout: Some(1), ..NewApp::default() };
    world.client.call(&endpoints::APP_UPDATE, &["blog"], &change).unwrap();
    let stuck = world.release("blog", &["web"], &[("BEHAVE", "never")]);
    let ended = world.ended(&world.deploy("blog", &stuck).unwrap());
    let error = ended.error.unwrap();
    assert!(error.starts_with("web: 0 of 1 up after 1 s"), "{error}");
}

#[test]
fn rollback_is_a_deployment_to_an_older_release() {
    let world = World::new();
    world.app("blog");
    let first = world.release("blog", &["web"], &[]);
    world.ended(&world.deploy("blog", &first).unwrap());
    let second = world.release("blog", &["web"], &[("A", "2")]);
    world.ended(&world.deploy("blog", &second).unwrap());
    world.wait_up("blog", &second, 1);
    let back = endpoints::NewDeployment { id: "v1".into() };
    let back = world.client.call(&endpoints::DEPLOY, &["blog"], &back).unwrap();
    let start = os::clock::now();
    assert_eq!(world.ended(&back).status, DeploymentStatus::Complete);
    world.wait_up("blog", &first, 1);
    assert!(os::clock::now().since(start) < Duration::from_secs(10));
    let same = world.deploy("blog", &first).unwrap();
    assert_eq!(same.status, DeploymentStatus::Complete, "what is current needs no work");
    assert_eq!(world.client.call(&endpoints::DEPLOYMENTS, &["blog"], &()).unwrap().len(), 4);
}

#[test]
fn scale_before_the_first_push_says_what_to_do() {
    let world = World::new();
    world.app("blog");
    let new = endpoints::NewRelease {
        app_id: "blog".into(),
        env: crate::world::map(&[("A", "1")]),
        deploy: true,
        ..endpoints::NewRelease::default()
    };
    let release = world.client.call(&endpoints::RELEASE_CREATE, &[], &new).unwrap();
    let refused = refusal(world.set_formation("blog", &release, &[("web", 1)]));
    assert_eq!((refused.code, refused.message.as_str()), (Code::Conflict, "release v1 of blog has nothing to run"));
    assert!(refused.hint.unwrap().starts_with("push the app first"));
}

#[test]
fn scale_is_complete_when_the_jobs_are_there() {
    let world = World::new();
    world.app("blog");
    let release = world.release("blog", &["web", "worker"], &[]);
    world.ended(&world.deploy("blog", &release).unwrap());
    let query = [("app_id", "blog"), ("object_types", "scale_request"), ("stream", "lines")];
    let mut events = world.client.lines(&endpoints::EVENT_LINES, &[], &query, &()).unwrap();
    let request = world.scale("blog", &release, &[("web", 3)]);
    assert_eq!((request.state, request.old_processes.len()), (ScaleState::Pending, 1));
    let complete = loop {
        let event = events.next().unwrap().unwrap();
        let seen: endpoints::ScaleRequest = serde_json::from_str(&event.data).unwrap();
        if event.object_id == request.id && seen.state == ScaleState::Complete {
            break seen;
        }
    };
    assert_eq!(complete.new_processes.values().sum::<u32>(), 3);
    world.wait_up("blog", &release, 3);
    assert_eq!(world.scale("blog", &release, &[("web", 3)]).state, ScaleState::Complete);
    world.scale("blog", &release, &[("web", 0)]);
    wait_until("nothing runs", LIMIT, || world.jobs("blog").is_empty().then_some(()));
    let unknown = refusal(world.set_formation("blog", &release, &[("wbe", 1)]));
    assert_eq!(unknown.code, Code::Validation);
    assert!(unknown.message.contains("it has: web, worker"), "{unknown}");
}
