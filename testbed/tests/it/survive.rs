//! What dies comes back by itself.

use std::time::Duration;

use testbed::cluster::Options;
use testbed::scenario::{deploys, power};
use testbed::{Cluster, load::Load};

use crate::{ANSWER, shared};

#[test]
fn cluster_daemon_killed_jobs_answer_and_are_taken_back() {
    let mut cluster = Cluster::start(Options::default());
    let app = deploys::release_app(&cluster, "kept");
    let _ = cluster.wait_answer("kept", ANSWER);
    let name = app.name.clone();
    drop(app);
    let before = cluster.json(&["ps", "--app", &name])[0]["id"].as_str().unwrap().to_owned();
    let load = Load::start(&cluster.net, 80, "kept.slipway.localhost", 4, 100);
    for _ in 0..3 {
        cluster.kill_daemon();
        let until = load.sent() + 50;
        let went_on = os::clock::wait_for(ANSWER, || (load.sent() > until).then_some(()));
        assert!(went_on.is_some(), "requests go on without the daemon");
        cluster.boot();
        let _ = cluster.slipway(&["host", "start", "--wait"]).ok();
    }
    let seen = load.stop();
    assert_eq!(seen.failed(), 0, "{:?}", seen.failures);
    let after = cluster.json(&["ps", "--app", &name])[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(after, before, "the same job, taken back");
    let out = cluster.slipway(&["scale", "--app", &name, "web=2"]);
    assert_eq!(out.code, 0, "the platform works on: {out}");
    cluster.purge();
}

#[test]
fn cluster_power_cuts_lose_nothing() {
    let mut cluster = Cluster::start(Options::default());
    let report = power::run(&mut cluster, 4, 7);
    assert!(report.slowest <= Duration::from_secs(30), "{report:?}");
    cluster.purge();
}

#[test]
fn cluster_deploys_under_load_drop_nothing() {
    let cluster = shared();
    let report = deploys::run(&cluster, 4, 100);
    assert_eq!(report.seen.failed(), 0, "{:?}", report.seen.failures);
    let _ = cluster.slipway(&["delete", "--yes", "steady"]).ok();
}

#[test]
fn cluster_purged_leaves_nothing() {
    let before = testbed::leftovers::Snapshot::take();
    {
        let mut cluster = Cluster::start(Options::default());
        cluster.purge();
        assert!(!cluster.path("data").exists() && !cluster.path("run").exists() && !cluster.path("host.json").exists());
        let inside =
            cluster.inside("sh", &["-c", "ip -o link | wc -l; nft list tables; ls /proc | grep -c '^[0-9]'"]).ok();
        let links: u32 = inside.lines().next().unwrap().trim().parse().unwrap();
        assert_eq!(links, 2, "loopback and the way out are all that is left:\n{inside}");
        assert!(!inside.contains("table"), "{inside}");
        // Before the janitor does its part: what the stop itself has left.
        let instance = cluster.describe()["instance"].clone();
        let now = testbed::leftovers::Snapshot::take().new_since(&before);
        let ours = |line: &&String| line.contains(&instance) && line.starts_with("cgroup");
        let left: Vec<&String> = now.iter().filter(ours).collect();
        assert!(left.is_empty(), "{left:?}");
        let mounts = cluster.inside("cat", &["/proc/self/mounts"]).ok();
        let folder = cluster.describe()["folder"].clone();
        assert!(!mounts.contains(&folder), "{mounts}");
        let running = cluster.inside("sh", &["-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"]).ok();
        assert!(!running.contains("slipway"), "{running}");
    }
}
