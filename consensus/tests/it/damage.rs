//! Logs and snapshots that are torn, cut and flipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use consensus::snapshot::{self, SnapshotError, SnapshotWriter};
use consensus::wal::{Identity, Wal, WalError};
use consensus_core::raft::{Entry, HardState, MemberId, Membership, Payload, SnapshotMeta};
use consensus_core::store::Store;
use consensus_core::store::snapshot::SnapshotReader;
use testkit::TempDir;

const WHO: Identity = Identity { cluster_id: 1, member_id: 2 };
const SEGMENT: u64 = 2048;

fn entry(index: u64) -> Entry {
    Entry { term: 1, index, payload: Payload::Command(Arc::from(format!("value {index}").as_bytes())) }
}

/// A log of `count` synced entries, each in a frame of its own.
fn write_log(dir: &Path, count: u64) {
    let (mut wal, _) = Wal::open(dir, WHO, SEGMENT).unwrap();
    wal.save_state(HardState { term: 1, vote: Some(MemberId(2)) });
    for index in 1..=count {
        wal.append(&[entry(index)]);
        wal.sync().unwrap();
    }
}

fn read_log(dir: &Path) -> Result<Vec<Entry>, WalError> {
    Wal::open(dir, WHO, SEGMENT).map(|(_, mut recovered)| recovered.entries_after(0).unwrap())
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    found.sort();
    found
}

fn copy(from: &Path) -> TempDir {
    let to = TempDir::new("wal");
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.path().join(path.file_name().unwrap())).unwrap();
    }
    to
}

fn end_of(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1
}

#[test]
fn wal_holds_everything_across_segments_and_later_writes_replace() {
    let dir = TempDir::new("wal");
    write_log(dir.path(), 300);
    assert!(segments(dir.path()).len() > 2);
    assert_eq!(read_log(dir.path()).unwrap(), (1..=300).map(entry).collect::<Vec<_>>());
    let (mut wal, recovered) = Wal::open(dir.path(), WHO, SEGMENT).unwrap();
    assert_eq!(recovered.hard_state, HardState { term: 1, vote: Some(MemberId(2)) });
    let other = Entry { term: 2, ..entry(100) };
    wal.append(std::slice::from_ref(&other));
    wal.sync().unwrap();
    drop(wal);
    let entries = read_log(dir.path()).unwrap();
    assert_eq!((entries.len(), entries.last()), (100, Some(&other)));
}

#[test]
fn wal_torn_at_any_byte_of_the_last_frame_loses_that_frame_only() {
    let dir = TempDir::new("wal");
    write_log(dir.path(), 5);
    let path = segments(dir.path()).pop().unwrap();
    let bytes = fs::read(&path).unwrap();
    let end = end_of(&bytes);
    let last = end - (8 + 1 + 2 + 3 + 1 + 7);
    for cut in last..end {
        let torn = copy(dir.path());
        let path = torn.path().join(path.file_name().unwrap());
        let mut bytes = bytes.clone();
        bytes[cut..].fill(0);
        fs::write(&path, &bytes).unwrap();
        let entries = read_log(torn.path()).unwrap();
        assert_eq!(entries.len(), 4, "cut at {cut} of {end}");
        // What is appended after the cut is found again.
        let (mut wal, _) = Wal::open(torn.path(), WHO, SEGMENT).unwrap();
        wal.append(&[entry(5), entry(6)]);
        wal.sync().unwrap();
        drop(wal);
        assert_eq!(read_log(torn.path()).unwrap().len(), 6);
    }
}

#[test]
fn wal_with_a_flipped_byte_before_a_synced_frame_is_refused() {
    let dir = TempDir::new("wal");
    write_log(dir.path(), 5);
    let path = segments(dir.path()).pop().unwrap();
    let bytes = fs::read(&path).unwrap();
    let last = end_of(&bytes) - (8 + 1 + 2 + 3 + 1 + 7);
    for place in 0..last {
        let flipped = copy(dir.path());
        let path = flipped.path().join(path.file_name().unwrap());
        let mut bytes = bytes.clone();
        bytes[place] ^= 0x40;
        fs::write(&path, &bytes).unwrap();
        let error = read_log(flipped.path()).unwrap_err();
        assert!(matches!(error, WalError::Corrupt { .. }), "byte {place}: {error:?}");
    }
}

#[test]
fn wal_damaged_in_an_older_segment_or_without_one_is_refused() {
    let dir = TempDir::new("wal");
    write_log(dir.path(), 300);
    let paths = segments(dir.path());
    let cut = copy(dir.path());
    let first = cut.path().join(paths[0].file_name().unwrap());
    let bytes = fs::read(&first).unwrap();
    fs::write(&first, &bytes[..bytes.len() - 1]).unwrap();
    assert!(matches!(read_log(cut.path()), Err(WalError::Corrupt { .. })));
    fs::remove_file(&paths[1]).unwrap();
    assert!(matches!(read_log(dir.path()), Err(WalError::Missing { .. })));
}

#[test]
fn wal_of_another_member_is_refused() {
    let dir = TempDir::new("wal");
    write_log(dir.path(), 1);
    let other = Identity { member_id: 3, ..WHO };
    assert!(matches!(Wal::open(dir.path(), other, SEGMENT), Err(WalError::Foreign { found }) if found == WHO));
}

#[test]
fn snapshot_flipped_or_cut_anywhere_is_refused() {
    let dir = TempDir::new("snapshot");
    let store = Store::new();
    let meta = SnapshotMeta { index: 7, term: 1, membership: Arc::new(Membership::default()) };
    let mut writer = SnapshotWriter::begin(dir.path(), 1, &meta).unwrap();
    let mut reader = SnapshotReader::new(&store);
    while let Some(piece) = reader.next(&store) {
        writer.piece(&piece).unwrap();
    }
    let path = writer.finish().unwrap();
    assert_eq!(snapshot::latest(dir.path()).unwrap().as_deref(), Some(&*path));
    assert!(snapshot::load(&path, 1).is_ok_and(|(found, loaded)| found == meta && loaded.same_as(&store)));
    assert!(matches!(snapshot::load(&path, 2), Err(SnapshotError::Foreign { cluster_id: 1, .. })));
    let bytes = fs::read(&path).unwrap();
    for place in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[place] ^= 0x10;
        fs::write(&path, &flipped).unwrap();
        assert!(snapshot::load(&path, 1).is_err(), "flipped at {place}");
        fs::write(&path, &bytes[..place]).unwrap();
        assert!(snapshot::load(&path, 1).is_err(), "cut at {place}");
    }
}
