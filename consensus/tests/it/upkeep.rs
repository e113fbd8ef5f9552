//! Snapshots, compaction, a second process, a full disk.

use std::fs;
use std::time::Duration;

use api::store::StoreError;
use consensus::{Answer, Ask, OpenError, Replica};

use crate::cluster::Member;

fn small() -> Member {
    Member::tuned(|options| {
        options.segment_bytes = 16 << 10;
        options.snapshot_bytes = 16 << 10;
        options.history_changes_max = 100;
    })
}

fn names(member: &Member, extension: &str) -> usize {
    let entries = fs::read_dir(member.data_dir()).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|found| found == extension)).count()
}

#[test]
fn upkeep_bounds_log_and_history_and_keeps_the_keys() {
    let mut member = small();
    let client = member.client();
    for round in 0..1000 {
        client.put(&format!("k/{}", round % 40), &[b'x'; 100], None).unwrap();
    }
    testkit::wait_until("the log to be short", Duration::from_secs(10), || (names(&member, "log") <= 4).then_some(()));
    assert_eq!(names(&member, "snap"), 1);
    let (_, answer) = member.replica().inbox().ask(Ask::Status).unwrap();
    let Answer::Status(status) = answer else { panic!("no status") };
    assert!(status.store.history < 300, "{:?}", status.store);
    let before = client.list("k/").unwrap();
    member.restart();
    assert_eq!(client.list("k/").unwrap(), before);
    assert_eq!((before.records.len(), before.revision), (40, 1001));
}

#[test]
fn upkeep_second_process_is_refused() {
    let member = Member::start();
    assert!(matches!(Replica::open(member.options()), Err(OpenError::InUse { .. })));
}

/// A disk of 256 KiB that others fill up.
#[test]
fn root_full_disk_refuses_writes_and_takes_deletes() {
    if !testkit::root::granted("root_full_disk_refuses_writes_and_takes_deletes") {
        return;
    }
    let member = Member::on_small_disk("256k", |options| {
        options.segment_bytes = 16 << 10;
        options.snapshot_bytes = 16 << 10;
    });
    let client = member.client();
    client.put("before", b"1", None).unwrap();
    fs::write(member.data_dir().join("ballast"), vec![1; 1 << 20]).unwrap_err();
    let refused = (0..2000).find_map(|n| client.put(&format!("k/{n}"), &[b'x'; 200], None).err());
    let Some(StoreError::Refused { code, message }) = refused else { panic!("never refused: {refused:?}") };
    assert_eq!(code, 8, "{message}");
    assert!(message.contains("disk of the store is full"), "{message}");
    assert!(client.get("before").unwrap().is_some());
    assert!(client.delete("k/0").unwrap().1);
    fs::remove_file(member.data_dir().join("ballast")).unwrap();
    client.put("after", b"2", None).unwrap();
}
