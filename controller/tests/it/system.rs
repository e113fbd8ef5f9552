//! The platform's own apps.

use api::controller as endpoints;
use controller::{SystemApp, install_system_app};
use types::Code;
use types::app::{DeploymentStatus, Map, ProcessSpec, Strategy};
use types::job::{Isolation, Lifecycle, NetworkMode, PlatformAccess};

use crate::world::{World, refusal};

fn router(args: &[&str]) -> SystemApp {
    let spec = ProcessSpec {
        args: args.iter().map(ToString::to_string).collect(),
        host_network: true,
        ..ProcessSpec::default()
    };
    SystemApp {
        name: "router".parse().unwrap(),
        critical: true,
        strategy: Strategy::OneDownOneUp,
        layers: Vec::new(),
        env: Map::new(),
        processes: [("app".parse().unwrap(), spec)].into(),
        counts: [("app".parse().unwrap(), 1)].into(),
        description: "version 1.2.3".into(),
    }
}

#[test]
fn system_apps_are_installed_once_and_brought_up_to_date() {
    let world = World::without_controller();
    let wanted = router(&["/usr/local/bin/slipway", "router"]);
    let spec = install_system_app(&world.store, &wanted).unwrap();
    let template = &spec.processes.values().next().unwrap().template.spec;
    assert_eq!((template.lifecycle, template.isolation), (Lifecycle::System, Isolation::Platform));
    assert_eq!((template.network, template.platform), (NetworkMode::Host, PlatformAccess::Sockets));
    assert_eq!((template.uid, template.priority), (0, 0));
    let before = world.store.list("objects/").unwrap().records;
    assert_eq!(install_system_app(&world.store, &wanted).unwrap(), spec);
    assert_eq!(world.store.list("objects/").unwrap().records, before, "the second time changes nothing");
    let newer = router(&["/usr/local/bin/slipway", "router", "--fast"]);
    let newer = install_system_app(&world.store, &newer).unwrap();
    assert_ne!(newer.release, spec.release);
    let (formations, _) = api::cell::FORMATIONS.list(&world.store, &[]).unwrap();
    assert_eq!(formations.len(), 1);
    assert_eq!(formations[0].value, newer);
}

#[test]
fn system_apps_deploy_and_scale_and_refuse_their_end() {
    let world = World::new();
    install_system_app(&world.store, &router(&["/usr/local/bin/slipway", "router"])).unwrap();
    let query = [("system", "only")];
    let apps = world.client.call_query(&endpoints::APPS, &[], &query, &()).unwrap();
    assert_eq!(apps[0].name.as_str(), "router");
    let release = world.client.call(&endpoints::APP_RELEASE, &["router"], &()).unwrap();
    world.wait_up("router", &release, 1);
    assert_eq!(refusal(world.client.call(&endpoints::APP_DELETE, &["router"], &())).code, Code::Forbidden);
    assert_eq!(refusal(world.set_formation("router", &release, &[("app", 0)])).code, Code::Forbidden);
    world.scale("router", &release, &[("app", 2)]);
    world.wait_up("router", &release, 2);
    let next = endpoints::NewRelease {
        app_id: "router".into(),
        artifacts: vec![release.artifacts[0].to_string()],
        env: crate::world::map(&[("LEVEL", "debug")]),
        processes: release.processes.clone(),
        ..endpoints::NewRelease::default()
    };
    let next = world.client.call(&endpoints::RELEASE_CREATE, &[], &next).unwrap();
    let ended = world.ended(&world.deploy("router", &next).unwrap());
    assert_eq!(ended.status, DeploymentStatus::Complete, "{:?}", ended.error);
    world.wait_up("router", &next, 2);
}

#[test]
fn what_owns_a_volume_is_scaled_to_one_at_most() {
    let world = World::new();
    let gitd =
        SystemApp { name: "gitd".parse().unwrap(), critical: false, ..router(&["/usr/local/bin/slipway", "gitd"]) };
    install_system_app(&world.store, &gitd).unwrap();
    let release = world.client.call(&endpoints::APP_RELEASE, &["gitd"], &()).unwrap();
    let error = refusal(world.set_formation("gitd", &release, &[("app", 2)]));
    assert!(error.code == Code::Forbidden && error.hint.is_some(), "{error}");
    world.set_formation("gitd", &release, &[("app", 0)]).unwrap();
    world.set_formation("gitd", &release, &[("app", 1)]).unwrap();
}
