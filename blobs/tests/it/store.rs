//! What it keeps and refuses.

use std::io::Read;

use types::Code;

use crate::{Running, digest_of};

#[test]
fn put_get_stat_list_delete_round_trip() {
    let running = Running::start(|_, _| {});
    let contents: Vec<Vec<u8>> = (0..5u32).map(|n| vec![u8::try_from(n).unwrap(); 100_000 * n as usize]).collect();
    for content in &contents {
        let digest = digest_of(content);
        let blob = running.client.put(&digest, &mut content.as_slice()).unwrap();
        assert_eq!((blob.size, &blob.digest), (content.len() as u64, &digest));
        let mut read = Vec::new();
        running.client.copy(&digest, &mut read).unwrap();
        assert!(read == *content);
        assert_eq!(running.client.stat(&digest).unwrap().unwrap().size, blob.size);
    }
    let listing = running.client.list(None).unwrap();
    assert_eq!((listing.blobs.len(), listing.next), (5, None));
    let first = &listing.blobs[0].digest;
    assert!(!running.client.delete(first, Some(1)).unwrap(), "a young blob is spared");
    assert!(running.client.delete(first, None).unwrap());
    assert!(!running.client.delete(first, None).unwrap());
    assert!(running.client.stat(first).unwrap().is_none());
    assert!(running.client.get(first).unwrap_err().is_not_found());
    assert_eq!(running.client.list(Some(first)).unwrap().blobs.len(), 4);
    assert_eq!(running.unfinished(), 0);
}

#[test]
fn put_twice_is_one_blob_and_makes_it_young() {
    let running = Running::start(|_, _| {});
    let digest = digest_of(b"twice");
    let first = running.client.put(&digest, &mut b"twice".as_slice()).unwrap();
    let again = running.client.put(&digest, &mut b"other content, not read".as_slice()).unwrap();
    assert_eq!((again.size, again.digest), (5, first.digest));
    assert!(again.stored_ms >= first.stored_ms);
    assert_eq!(running.client.list(None).unwrap().blobs.len(), 1);
}

#[test]
fn put_other_content_is_refused_and_leaves_nothing() {
    let running = Running::start(|_, _| {});
    let digest = digest_of(b"right");
    let error = running.client.put(&digest, &mut b"wrong".as_slice()).unwrap_err();
    assert_eq!(error.code(), Some(Code::Validation), "{error}");
    assert!(running.client.stat(&digest).unwrap().is_none());
    assert_eq!(running.unfinished(), 0);
}

#[test]
fn put_over_the_limit_is_refused_before_the_disk_fills() {
    let running = Running::start(|_, limits| limits.blob_bytes_max = 8 << 20);
    let digest = digest_of(b"endless");
    let error = running.client.put(&digest, &mut std::io::repeat(7).take(1 << 30)).unwrap_err();
    assert_eq!(error.code(), Some(Code::OverLimit), "{error}");
    assert_eq!(running.unfinished(), 0);
}

#[test]
fn put_without_room_has_its_own_code_and_reads_go_on() {
    let running = Running::start(|_, _| {});
    let digest = digest_of(b"kept");
    running.client.put(&digest, &mut b"kept".as_slice()).unwrap();
    let full = Running::start(|_, limits| limits.reserve_bytes = u64::MAX);
    let error = full.client.put(&digest, &mut b"kept".as_slice()).unwrap_err();
    assert_eq!(error.code(), Some(Code::DiskFull), "{error}");
    let message = error.to_string();
    assert!(message.contains("no room"), "{message}");
    assert!(full.client.list(None).unwrap().blobs.is_empty());
}

#[test]
fn root_disk_full_in_the_middle_of_an_upload_is_told_and_cleaned() {
    if !testkit::root::granted("root_disk_full_in_the_middle_of_an_upload_is_told_and_cleaned") {
        return;
    }
    let small = Tmpfs::mount();
    let dir = small.dir.path().join("blobs");
    let running = Running::start(|options, limits| {
        options.dir = dir.clone();
        limits.blob_bytes_max = 1 << 30;
    });
    let kept = digest_of(b"kept");
    running.client.put(&kept, &mut b"kept".as_slice()).unwrap();
    let error = running.client.put(&digest_of(b"big"), &mut std::io::repeat(1).take(64 << 20)).unwrap_err();
    assert_eq!(error.code(), Some(Code::DiskFull), "{error}");
    assert_eq!(std::fs::read_dir(dir.join("uploads")).unwrap().count(), 0);
    let mut read = Vec::new();
    running.client.copy(&kept, &mut read).unwrap();
    assert_eq!(read, b"kept");
    assert!(running.client.delete(&kept, None).unwrap());
}

/// A disk of 16 MiB.
struct Tmpfs {
    dir: testkit::TempDir,
}

impl Tmpfs {
    fn mount() -> Tmpfs {
        let dir = testkit::TempDir::new("blobs-small");
        let done = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"])
            .arg(dir.path())
            .status()
            .unwrap();
        assert!(done.success());
        Tmpfs { dir }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let done = std::process::Command::new("umount").arg("-l").arg(self.dir.path()).status().unwrap();
        assert!(done.success());
    }
}
