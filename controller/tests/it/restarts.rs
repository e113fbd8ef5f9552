//! Controllers that go away in the middle.

use api::controller::{self as endpoints, NewApp};
use testkit::wait_until;
use types::app::{DeploymentStatus, Strategy};

use crate::world::{LIMIT, World};

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
