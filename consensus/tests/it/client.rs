//! The platform's client against a member.

use std::time::Duration;

use api::store::{Change, Txn, WatchEvent};
use os::signal::Shutdown;

use crate::cluster::Member;

const SOON: Duration = Duration::from_secs(10);

#[test]
fn client_reads_what_it_wrote_also_after_a_restart() {
    let mut member = Member::start();
    let client = member.client();
    assert_eq!(client.put("a/1", b"one", None).unwrap(), 2);
    assert_eq!(client.put("a/2", b"two", None).unwrap(), 3);
    assert_eq!(client.put("b/1", b"other", None).unwrap(), 4);
    assert_eq!(client.delete("b/1").unwrap(), (5, true));
    member.restart();
    let listing = client.list("a/").unwrap();
    let found: Vec<(&str, &[u8])> = listing.records.iter().map(|r| (r.key.as_str(), r.value.as_slice())).collect();
    assert_eq!(found, [("a/1", &b"one"[..]), ("a/2", b"two")]);
    assert_eq!(listing.revision, 5);
    assert_eq!(client.get("b/1").unwrap(), None);
}

#[test]
fn txn_runs_one_branch_and_tells_which() {
    let member = Member::start();
    let client = member.client();
    let make = || Txn::new().if_absent("k").put("k", "1").or_read("k");
    let first = client.txn(make(), api::store::Repeat::Harmless).unwrap();
    assert!(first.succeeded);
    let second = client.txn(make(), api::store::Repeat::Harmless).unwrap();
    assert!(!second.succeeded);
    assert_eq!(second.read[0][0].revision, first.revision);
}

#[test]
fn lease_that_is_not_kept_takes_its_keys_along() {
    let member = Member::start();
    let client = member.client();
    let lease = client.lease_grant(Duration::from_secs(2)).unwrap();
    client.put("presence", b"here", Some(lease)).unwrap();
    assert!(client.lease_keepalive(lease).unwrap());
    assert!(client.get("presence").unwrap().is_some());
    testkit::wait_until("the lease to run out", SOON, || client.get("presence").unwrap().is_none().then_some(()));
    assert!(!client.lease_keepalive(lease).unwrap());
}

#[test]
fn watch_goes_on_across_a_restart_and_misses_nothing() {
    let mut member = Member::start();
    let client = member.client();
    let shutdown = Shutdown::new();
    let mut watch = client.watch("w/", &shutdown);
    assert!(matches!(watch.next(), Some(WatchEvent::Reset { records, .. }) if records.is_empty()));
    client.put("w/1", b"1", None).unwrap();
    client.put("x/1", b"not watched", None).unwrap();
    assert_eq!(keys(watch.next()), ["w/1"]);
    member.restart();
    client.put("w/2", b"2", None).unwrap();
    client.delete("w/1").unwrap();
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.extend(keys(watch.next()));
    }
    assert_eq!(seen, ["w/2", "-w/1"]);
}

fn keys(event: Option<WatchEvent>) -> Vec<String> {
    let Some(WatchEvent::Changes { changes, .. }) = event else { panic!("no changes but {event:?}") };
    changes
        .into_iter()
        .map(|change| match change {
            Change::Put(record) => record.key,
            Change::Deleted { key, .. } => format!("-{key}"),
        })
        .collect()
}
