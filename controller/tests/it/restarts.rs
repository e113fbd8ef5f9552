//! Controllers that go away in the middle.

use api::controller::{self as endpoints, NewApp};
use os::signal::Shutdown;
use stdx::Rng;
use testkit::wait_until;
use types::app::{DeploymentStatus, Strategy};

use crate::world::{KILL_DIR, KILL_JOB, LIMIT, World};

#[test]
fn deployment_is_gone_on_with_by_whoever_comes_next() {
    let mut world = World::without_controller();
    let mut number = world.controller("h1-00000000-c0");
    world.app("blog");
    let change = NewApp { strategy: Some(Strategy::OneByOne), ..NewApp::default() };
    world.client.call(&endpoints::APP_UPDATE, &["blog"], &change).unwrap();
    let mut current = world.release("blog", &["web"], &[]);
    world.ended(&world.deploy("blog", &current).unwrap());
    world.scale("blog", &current, &[("web", 6)]);
    world.wait_up("blog", &current, 6);
    for round in 0..4u32 {
        let next = world.release("blog", &["web"], &[("ROUND", &round.to_string())]);
        let deployment = world.deploy("blog", &next).unwrap();
        // After so many of its steps; the last round ends it before its first.
        wait_until("some steps", LIMIT, || {
            let up = world.jobs("blog").iter().filter(|job| job.release.as_ref() == Some(&next.id)).count();
            (up >= (round as usize * 2) % 6).then_some(())
        });
        world.stop(number);
        number = world.controller(&format!("h1-00000000-c{}", round % 2));
        let ended = world.ended(&deployment);
        assert_eq!(ended.status, DeploymentStatus::Complete, "{:?}", ended.error);
        world.wait_up("blog", &next, 6);
        current = next;
    }
    assert_eq!(world.client.call(&endpoints::APP, &["blog"], &()).unwrap().release, Some(current.id));
}

#[test]
fn two_controllers_share_the_work_and_one_leads() {
    let mut world = World::new();
    world.controller("h1-11111111-c1");
    world.app("blog");
    let release = world.release("blog", &["web"], &[]);
    world.ended(&world.deploy("blog", &release).unwrap());
    std::thread::scope(|scope| {
        for part in 0..4 {
            let world = &world;
            scope.spawn(move || {
                for n in 0..5 {
                    world.app(&format!("app-{part}-{n}"));
                }
            });
        }
    });
    let apps = world.client.call(&endpoints::APPS, &[], &()).unwrap();
    assert_eq!(apps.len(), 21);
    // Either of them may have been the first to lead.
    let leader = wait_until("one leads", LIMIT, || world.client.call(&endpoints::STATUS, &[], &()).ok()?.data.leader);
    let names = ["h1-00000000-c0", "h1-11111111-c1"];
    let number = names.iter().position(|name| *name == leader.as_str()).unwrap();
    world.stop(number);
    let other = wait_until("the other leads", LIMIT, || {
        world.client.call(&endpoints::STATUS, &[], &()).ok()?.data.leader.filter(|now| *now != leader)
    });
    assert_eq!(other.as_str(), names[1 - number]);
    let next = world.release("blog", &["web"], &[]);
    assert_eq!(world.ended(&world.deploy("blog", &next).unwrap()).status, DeploymentStatus::Complete);
}

/// Not a test of its own: what the test below starts as another process and kills.
#[test]
fn serve_for_the_kill_test() {
    let (Ok(dir), Ok(job)) = (std::env::var(KILL_DIR), std::env::var(KILL_JOB)) else { return };
    let options = controller::Options { run_dir: dir.into(), job: job.parse().unwrap(), domain: "example.org".into() };
    controller::run(options, &Shutdown::new()).unwrap();
}

#[test]
fn deployments_end_well_however_often_the_controller_is_killed() {
    let world = World::without_controller();
    let job = "h1-22222222-k0";
    let mut child = world.process(job);
    let mut rng = Rng::new(5);
    world.app("blog");
    let mut current = world.release("blog", &["web", "worker"], &[]);
    world.ended(&world.deploy("blog", &current).unwrap());
    world.scale("blog", &current, &[("web", 4), ("worker", 2)]);
    world.wait_up("blog", &current, 6);
    let strategies = [Strategy::OneByOne, Strategy::InBatches, Strategy::OneDownOneUp, Strategy::AllAtOnce];
    for (round, strategy) in strategies.iter().cycle().take(12).enumerate() {
        let change = NewApp { strategy: Some(*strategy), ..NewApp::default() };
        world.client.call(&endpoints::APP_UPDATE, &["blog"], &change).unwrap();
        // Every third release is a bad one, so that going back is killed too.
        let bad = round % 3 == 2;
        let behave = if bad { "crash" } else { "up" };
        let next = world.release("blog", &["web", "worker"], &[("BEHAVE", behave)]);
        let deployment = world.deploy("blog", &next).unwrap();
        for _ in 0..1 + rng.below(3) {
            // So many changes of the store later, or at the end: between any two of the deployer's steps.
            let enough = world.store.list("none/").unwrap().revision + rng.below(14);
            wait_until("the moment of the kill", LIMIT, || {
                let ended = world.client.call(&endpoints::DEPLOYMENT, &[deployment.id.as_str()], &()).ok()?;
                let due = world.store.list("none/").unwrap().revision >= enough;
                (due || ended.status.is_final()).then_some(())
            });
            drop(child);
            child = world.process(job);
        }
        let ended = world.ended(&deployment);
        if bad {
            assert_eq!(ended.status, DeploymentStatus::Failed, "round {round}");
            assert!(ended.error.unwrap().contains("exited with code 3"));
        } else {
            assert_eq!(ended.status, DeploymentStatus::Complete, "round {round}: {:?}", ended.error);
            current = next;
        }
        world.wait_up("blog", &current, 6);
    }
    drop(child);
}
