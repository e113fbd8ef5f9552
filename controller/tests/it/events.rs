//! Events: written with the change, listed, streamed, resumed; and what must never be in them.

use std::io::{BufRead, BufReader};

use api::client::Body;
use api::controller as endpoints;
use http1::Method;
use types::app::Event;

use crate::world::World;

fn list(world: &World, query: &str) -> Vec<Event> {
    let path = format!("/events?{query}");
    let reply = world.client.request(&Method::Get, &path, &[("Accept", "application/json")], Body::None).unwrap();
    serde_json::from_reader(reply).unwrap()
}

#[test]
fn events_are_numbered_without_gaps_and_hide_secrets() {
    let world = World::new();
    world.app("blog");
    let release = world.release("blog", &["web"], &[("TOKEN", "s3cr3t-value")]);
    world.ended(&world.deploy("blog", &release).unwrap());
    let events = list(&world, "");
    let ids: Vec<u64> = events.iter().map(|event| event.id).collect();
    let expected: Vec<u64> = (1..=ids.len() as u64).rev().collect();
    assert_eq!(ids, expected, "newest first, without gaps");
    for event in &events {
        assert!(!event.data.contains("s3cr3t"), "{event:?}");
    }
    let kinds: Vec<&str> = events.iter().rev().map(|event| event.object_type.as_str()).collect();
    assert_eq!(&kinds[..4], ["app", "route", "artifact", "release"]);
    assert!(kinds.contains(&"deployment") && kinds.contains(&"app_release"));
    let first = world.client.call(&endpoints::EVENT, &["1"], &()).unwrap();
    assert_eq!(first, *events.last().unwrap());
    assert_eq!(list(&world, "object_types=app&count=5").len(), 1);
    assert_eq!(list(&world, "since_id=2&before_id=5").iter().map(|e| e.id).collect::<Vec<_>>(), [4, 3]);
}

#[test]
fn stream_resumes_where_it_was_cut() {
    let world = World::new();
    world.app("one");
    let get = |headers: &[(&str, &str)], path: &str| {
        BufReader::new(world.client.request(&Method::Get, path, headers, Body::None).unwrap())
    };
    let next = |stream: &mut BufReader<api::client::Response>| loop {
        let mut line = String::new();
        assert!(stream.read_line(&mut line).unwrap() > 0, "the stream ended");
        if let Some(json) = line.strip_prefix("data: ") {
            return serde_json::from_str::<Event>(json).unwrap();
        }
    };
    let mut past = get(&[], "/events?past=true&object_types=app");
    assert_eq!(next(&mut past).id, 1);
    world.app("two");
    let two = next(&mut past);
    drop(past);
    world.app("three");
    let mut resumed = get(&[("Last-Event-Id", &two.id.to_string())], "/events?object_types=app");
    let three = next(&mut resumed);
    assert!(three.id > two.id && three.data.contains("\"three\""), "{three:?}");
    let mut fresh = get(&[], "/events?object_types=app");
    world.app("four");
    assert!(next(&mut fresh).data.contains("\"four\""));
    assert!(next(&mut resumed).data.contains("\"four\""));
}

#[test]
fn states_of_jobs_are_streamed() {
    let world = World::new();
    world.app("blog");
    let release = world.release("blog", &["web"], &[]);
    let query = [("app_id", "blog"), ("object_types", "job"), ("stream", "lines")];
    let mut events = world.client.lines(&endpoints::EVENT_LINES, &[], &query, &()).unwrap();
    world.deploy("blog", &release).unwrap();
    let mut states = Vec::new();
    while states.last().is_none_or(|state| state != "up") {
        let event = events.next().unwrap().unwrap();
        let job: endpoints::Job = serde_json::from_str(&event.data).unwrap();
        states.push(job.state);
    }
    assert_eq!(states, ["starting", "up"]);
}
