use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};
use testkit::TempDir;
use types::{ApiError, Code, Digest};

use super::{Blobs, LayerError, Layers, TarLimits};

struct Shelf {
    content: Vec<u8>,
    opened: AtomicU64,
}

impl Blobs for Shelf {
    fn open(&self, _: &Digest) -> Result<Box<dyn Read + Send>, ApiError> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(io::Cursor::new(self.content.clone())))
    }
}

struct Nowhere;

impl Blobs for Nowhere {
    fn open(&self, _: &Digest) -> Result<Box<dyn Read + Send>, ApiError> {
        Err(ApiError::retryable(Code::Unavailable, "no job of blobs is running"))
    }
}

fn digest(content: &[u8]) -> Digest {
    Digest::parse(&HEXLOWER.encode(&Sha256::digest(content))).unwrap()
}

/// Entries as `(name, kind, mode, link or content)`, written with names that the tar crate's own checks would refuse.
fn tar(entries: &[(&str, EntryType, u32, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, kind, mode, text) in entries {
        let mut header = Header::new_gnu();
        let bytes = header.as_old_mut();
        bytes.name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        header.set_uid(1000);
        header.set_gid(1000);
        header.set_mtime(1_600_000_000);
        let is_link = matches!(kind, EntryType::Symlink | EntryType::Link);
        if is_link {
            header.as_old_mut().linkname[..text.len()].copy_from_slice(text.as_bytes());
        }
        let content: &[u8] = if is_link { b"" } else { text.as_bytes() };
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content).unwrap();
    }
    builder.into_inner().unwrap()
}

const FILE: EntryType = EntryType::Regular;
const DIR: EntryType = EntryType::Directory;
const LINK: EntryType = EntryType::Symlink;
const HARD: EntryType = EntryType::Link;

struct Bench {
    dir: TempDir,
}

impl Bench {
    fn new() -> Bench {
        let dir = TempDir::new("layers");
        fs::create_dir(dir.path().join("outside")).unwrap();
        Bench { dir }
    }

    fn layers(&self, content: Vec<u8>, limits: TarLimits) -> Layers {
        let blobs = Arc::new(Shelf { content, opened: AtomicU64::new(0) });
        Layers::open(&self.dir.path().join("layers"), blobs, limits).unwrap()
    }

    /// Unpack, and say why not as one line; nothing may be left behind or outside then.
    fn unpack(&self, entries: &[(&str, EntryType, u32, &str)]) -> Result<std::path::PathBuf, String> {
        let content = tar(entries);
        let outcome = self.layers(content.clone(), TarLimits::STANDARD).ensure(&digest(&content));
        assert_eq!(names(&self.dir.path().join("outside")), "", "something got out");
        if outcome.is_err() {
            assert_eq!(names(&self.dir.path().join("layers")), "", "something was left");
        }
        outcome.map_err(|error| os::text::chain(&error))
    }
}

fn names(dir: &Path) -> String {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names.join(" ")
}

#[test]
fn layer_is_unpacked_with_its_modes_owners_and_times() {
    if !testkit::root::granted("layer_is_unpacked_with_its_modes_owners_and_times") {
        return;
    }
    let bench = Bench::new();
    let path = bench
        .unpack(&[
            ("./", DIR, 0o700, ""),
            ("./app/", DIR, 0o750, ""),
            ("./app/run", FILE, 0o4755, "#!/bin/sh\n"),
            ("./tmp", DIR, 0o1777, ""),
            ("app/link", LINK, 0o777, "/etc/passwd"),
            ("app/hard", HARD, 0o755, "./app/run"),
            ("deep/er/file", FILE, 0o600, "x"),
        ])
        .unwrap();
    let mode = |name: &str| fs::symlink_metadata(path.join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("app"), mode("app/run"), mode("tmp"), mode("deep/er/file")), (0o750, 0o755, 0o1777, 0o600));
    let run = fs::metadata(path.join("app/run")).unwrap();
    assert_eq!((run.uid(), run.gid(), run.mtime(), run.nlink()), (1000, 1000, 1_600_000_000, 2));
    assert_eq!(fs::read_link(path.join("app/link")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o755);
}

#[test]
fn names_that_lead_out_are_refused() {
    let bench = Bench::new();
    for (name, rule) in [("/etc/x", "is absolute"), ("a/../../x", "has `..` in it"), ("..", "has `..` in it")] {
        let error = bench.unpack(&[(name, FILE, 0o644, "x")]).unwrap_err();
        assert!(error.ends_with(rule), "{error}");
    }
}

#[test]
fn links_cannot_be_written_through_to_the_outside() {
    let bench = Bench::new();
    let outside = bench.dir.path().join("outside");
    let outside = outside.to_str().unwrap();
    // An absolute link is resolved inside the layer, where there is no such directory.
    for target in [outside, "../../outside", "../../../../../../../../../tmp"] {
        let attempt = bench.unpack(&[("way", LINK, 0o777, target), ("way/x", FILE, 0o644, "x")]);
        assert!(attempt.is_err(), "{target}");
    }
    let error = bench.unpack(&[("way", LINK, 0o777, outside), ("x", HARD, 0o644, "way/x")]).unwrap_err();
    assert!(error.contains("make \"x\""), "{error}");
    // The file replaces the link instead of following it.
    let path = bench.unpack(&[("passwd", LINK, 0o777, "/etc/passwd"), ("passwd", FILE, 0o644, "mine")]).unwrap();
    assert_eq!(fs::read_to_string(path.join("passwd")).unwrap(), "mine");
    assert!(fs::symlink_metadata(path.join("passwd")).unwrap().is_file());
}

#[test]
fn links_within_the_layer_work() {
    let bench = Bench::new();
    let path = bench
        .unpack(&[("usr/lib/", DIR, 0o755, ""), ("lib", LINK, 0o777, "usr/lib"), ("lib/a", FILE, 0o644, "a")])
        .unwrap();
    assert_eq!(fs::read_to_string(path.join("usr/lib/a")).unwrap(), "a");
}

#[test]
fn devices_and_pipes_are_refused() {
    let bench = Bench::new();
    for (kind, rule) in
        [(EntryType::Char, "is a device"), (EntryType::Block, "is a device"), (EntryType::Fifo, "is a pipe")]
    {
        let error = bench.unpack(&[("x", kind, 0o644, "")]).unwrap_err();
        assert!(error.ends_with(rule), "{error}");
    }
}

#[test]
fn hard_links_to_links_do_not_give_the_target() {
    let bench = Bench::new();
    let path = bench.unpack(&[("a", LINK, 0o777, "/etc/shadow"), ("b", HARD, 0o644, "a")]).unwrap();
    assert!(fs::symlink_metadata(path.join("b")).unwrap().is_symlink());
}

#[test]
fn layers_beyond_their_limits_are_refused() {
    let bench = Bench::new();
    let many: Vec<String> = (0..20).map(|n| format!("f{n}")).collect();
    let entries: Vec<_> = many.iter().map(|name| (name.as_str(), FILE, 0o644, "0123456789")).collect();
    let content = tar(&entries);
    for (limits, what) in [
        (TarLimits { entries: 10, bytes: 1_000 }, "more than 10 entries"),
        (TarLimits { entries: 100, bytes: 100 }, "more than 100 bytes"),
    ] {
        let error = bench.layers(content.clone(), limits).ensure(&digest(&content)).unwrap_err();
        assert!(os::text::chain(&error).ends_with(what), "{error}");
        assert!(!error.is_retryable());
    }
}

#[test]
fn other_bytes_than_the_name_says_are_refused() {
    let bench = Bench::new();
    let content = tar(&[("a", FILE, 0o644, "a")]);
    let wanted = digest(b"something else");
    let error = bench.layers(content.clone(), TarLimits::STANDARD).ensure(&wanted).unwrap_err();
    assert!(matches!(error, LayerError::OtherBytes { .. }), "{error}");
    // Bytes behind the end of the archive are part of its name.
    let mut longer = content.clone();
    longer.extend_from_slice(b"tail");
    let error = bench.layers(longer, TarLimits::STANDARD).ensure(&digest(&content)).unwrap_err();
    assert!(matches!(error, LayerError::OtherBytes { .. }), "{error}");
    // A transfer that broke off is told as that, not as a broken tar.
    let torn = content[..600].to_vec();
    let error = bench.layers(torn, TarLimits::STANDARD).ensure(&digest(&content)).unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert_eq!(names(&bench.dir.path().join("layers")), "");
}

#[test]
fn compressed_layer_is_unpacked() {
    use std::io::Write;
    let bench = Bench::new();
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(&tar(&[("a", FILE, 0o644, "compressed")])).unwrap();
    let content = packer.finish().unwrap();
    let path = bench.layers(content.clone(), TarLimits::STANDARD).ensure(&digest(&content)).unwrap();
    assert_eq!(fs::read_to_string(path.join("a")).unwrap(), "compressed");
}

#[test]
fn layer_asked_for_by_many_is_fetched_once() {
    let dir = TempDir::new("layers");
    let content = tar(&[("a", FILE, 0o644, "a")]);
    let shelf = Arc::new(Shelf { content: content.clone(), opened: AtomicU64::new(0) });
    let layers = Layers::open(dir.path(), shelf.clone(), TarLimits::STANDARD).unwrap();
    let askers: Vec<_> = (0..16)
        .map(|_| {
            let (layers, digest) = (layers.clone(), digest(&content));
            os::thread::spawn("asker", move || layers.ensure(&digest).map(|_| ())).unwrap()
        })
        .collect();
    for asker in askers {
        asker.join().unwrap().unwrap();
    }
    assert_eq!(shelf.opened.load(Ordering::SeqCst), 1);
}

#[test]
fn blob_store_that_is_away_may_come_back() {
    let dir = TempDir::new("layers");
    let layers = Layers::open(dir.path(), Arc::new(Nowhere), TarLimits::STANDARD).unwrap();
    let error = layers.ensure(&digest(b"x")).unwrap_err();
    assert!(error.is_retryable());
    assert_eq!(ApiError::from(error).code, Code::LayerFailed);
}

#[test]
fn half_unpacked_layers_of_a_power_cut_are_removed_at_start() {
    let dir = TempDir::new("layers");
    fs::create_dir_all(dir.path().join("tmp-abc-1/half")).unwrap();
    drop(Layers::open(dir.path(), Arc::new(Nowhere), TarLimits::STANDARD).unwrap());
    assert_eq!(names(dir.path()), "");
}

#[test]
fn unnamed_layers_go_oldest_first() {
    let dir = TempDir::new("layers");
    let layers = Layers::open(dir.path(), Arc::new(Nowhere), TarLimits::STANDARD).unwrap();
    let mut named = BTreeSet::new();
    let age = |number: usize| {
        let time = nix::sys::time::TimeSpec::new(i64::try_from(number).unwrap(), 0);
        let path = layers.path(&digest(number.to_string().as_bytes()));
        let follow = nix::sys::stat::UtimensatFlags::FollowSymlink;
        nix::sys::stat::utimensat(nix::fcntl::AT_FDCWD, &path, &time, &time, follow).unwrap();
    };
    for number in 0..crate::limits::LAYERS_KEPT + 3 {
        let digest = digest(number.to_string().as_bytes());
        fs::create_dir(layers.path(&digest)).unwrap();
        age(number);
        if number == 0 {
            named.insert(digest);
        }
    }
    let collection = layers.collection();
    // It is asked for after the claims were looked at: the removal is late and must spare it.
    layers.ensure(&digest(b"1")).unwrap();
    age(1);
    assert_eq!(collection.remove_unnamed(&named).unwrap(), [digest(b"2")]);
    assert_eq!(layers.collection().remove_unnamed(&named).unwrap(), [digest(b"1")]);
}
