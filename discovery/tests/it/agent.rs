//! The agent against a store.

use std::collections::BTreeSet;
use std::time::Duration;

use api::discovery::{INSTANCES, InstanceState, OBSERVERS, Observer};
use discovery::agent::Waited;
use discovery::core::registry::Event;
use discovery::{View, watch::watch};
use testkit::wait_until;

use crate::store::Store;
use crate::world::{LIMIT, host, instance, job};

#[test]
fn instance_is_registered_drained_and_gone() {
    let store = Store::start();
    let host = host(&store, "h1");
    let view = View::follow(&store.client, &store.shutdown).unwrap();
    let service = "blog-web".parse().unwrap();

    let registered = host.agent.register(instance("blog-web", "h1-a")).unwrap();
    assert!(view.wait(registered, LIMIT));
    assert_eq!(view.with(|registry| registry.up(&service).count()), 1);

    let draining = host.agent.drain(&service, &job("h1-a")).unwrap().unwrap();
    assert!(view.wait(draining, LIMIT));
    assert_eq!(view.with(|registry| (registry.up(&service).count(), registry.knows(&service))), (0, true));

    let gone = host.agent.deregister(&service, &job("h1-a")).unwrap();
    assert!(view.wait(gone, LIMIT));
    assert!(!view.with(|registry| registry.knows(&service)));
    assert_eq!(host.agent.drain(&service, &job("h1-a")).unwrap(), None);
}

#[test]
fn watch_of_a_service_begins_with_what_is_there() {
    let store = Store::start();
    let host = host(&store, "h1");
    host.agent.register(instance("blog-web", "h1-a")).unwrap();
    host.agent.register(instance("shop-web", "h1-s")).unwrap();
    let mut events = watch(&store.client, Some(&"blog-web".parse().unwrap()), &store.shutdown);
    let Some(Event::Reset(entries)) = events.next() else { panic!("no reset") };
    assert_eq!(entries.len(), 1);
    host.agent.register(instance("shop-web", "h1-t")).unwrap();
    let revision = host.agent.register(instance("blog-web", "h1-b")).unwrap();
    let Some(Event::Put(entry)) = events.next() else { panic!("no put") };
    assert_eq!((entry.instance.job, entry.since), (job("h1-b"), revision));
    assert_eq!(events.revision(), revision);
    host.agent.deregister(&"blog-web".parse().unwrap(), &job("h1-a")).unwrap();
    assert!(matches!(events.next(), Some(Event::Gone { job: gone, .. }) if gone == job("h1-a")));
}

#[test]
fn lost_lease_takes_instances_away_and_the_agent_brings_them_back() {
    let store = Store::start();
    let host = host(&store, "h1");
    let service = "blog-web".parse().unwrap();
    host.agent.register(instance("blog-web", "h1-a")).unwrap();
    host.agent.register(instance("blog-web", "h1-b")).unwrap();
    host.agent.drain(&service, &job("h1-b")).unwrap();
    host.agent.register(instance("blog-web", "h1-c")).unwrap();
    host.agent.deregister(&service, &job("h1-c")).unwrap();
    let lost = host.lease.id();
    store.lose_lease(lost);
    assert!(INSTANCES.list(&store.client, &[]).unwrap().0.is_empty());

    let rows = wait_until("the instances are back", LIMIT, || {
        let (rows, _) = INSTANCES.list(&store.client, &[]).unwrap();
        (rows.len() >= 2).then_some(rows)
    });
    assert_ne!(host.lease.id(), lost);
    let states: Vec<(String, InstanceState)> = rows.into_iter().map(|row| (row.id, row.value.state)).collect();
    let expected =
        [("blog-web/h1-a".to_owned(), InstanceState::Up), ("blog-web/h1-b".to_owned(), InstanceState::Draining)];
    assert_eq!(states, expected);
}

#[test]
fn restart_keeps_instances_of_live_jobs_and_of_other_hosts() {
    let store = Store::start();
    let before = host(&store, "h1");
    let other = host(&store, "h2");
    for id in ["h1-a", "h1-b"] {
        before.agent.register(instance("blog-web", id)).unwrap();
    }
    other.agent.register(instance("blog-web", "h2-a")).unwrap();
    let created = INSTANCES.get(&store.client, &["blog-web", "h1-a"]).unwrap().unwrap().created;

    let after = host(&store, "h1");
    assert_eq!(after.agent.retain(&BTreeSet::from([job("h1-a")])).unwrap(), 1);
    after.agent.register(instance("blog-web", "h1-a")).unwrap();
    // The lease of the daemon that died runs out; what was registered again stays.
    store.lose_lease(before.lease.id());
    let (rows, _) = INSTANCES.list(&store.client, &[]).unwrap();
    let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids, ["blog-web/h1-a", "blog-web/h2-a"]);
    assert_eq!(rows[0].created, created, "a restart of the daemon does not make a job younger");
}

#[test]
fn instance_of_a_daemon_before_can_be_drained() {
    let store = Store::start();
    let before = host(&store, "h1");
    before.agent.register(instance("blog-web", "h1-a")).unwrap();
    let after = host(&store, "h1");
    let revision = after.agent.drain(&"blog-web".parse().unwrap(), &job("h1-a")).unwrap();
    assert_eq!(revision, Some(store.revision()));
}

#[test]
fn barrier_waits_for_every_observer_that_lives() {
    let store = Store::start();
    let host = host(&store, "h1");
    let revision = host.agent.register(instance("blog-web", "h1-a")).unwrap();
    assert_eq!(host.agent.wait_seen(revision, LIMIT), Waited::All, "nobody routes");

    let report = |id: &str, seen, drained| {
        OBSERVERS.put(&store.client, &[id], &Observer { seen, drained }, Some(host.lease.id())).unwrap();
    };
    report("h1-router", revision, 0);
    assert_eq!(host.agent.wait_seen(revision, LIMIT), Waited::All);
    report("h2-router", revision - 1, 0);
    let behind = host.agent.wait_seen(revision, Duration::from_millis(30));
    assert_eq!(behind, Waited::Behind(BTreeSet::from(["h2-router".to_owned()])));

    let (agent, done) = (host.agent.clone(), std::sync::mpsc::sync_channel(1));
    os::thread::spawn("barrier", move || done.0.send(agent.wait_drained(revision, LIMIT)).unwrap()).unwrap();
    report("h1-router", revision, revision);
    assert!(done.1.recv_timeout(Duration::from_millis(80)).is_err(), "one is behind");
    // An observer that is gone holds up nobody.
    OBSERVERS.delete(&store.client, &["h2-router"]).unwrap();
    assert_eq!(done.1.recv_timeout(LIMIT).unwrap(), Waited::All);
}
