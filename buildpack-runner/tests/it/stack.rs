//! The making of layers.

use std::fs;
use std::process::Command;

use testkit::TempDir;
use types::stack::LayerName;

use crate::agent::stack::{StackError, StackOptions, ensure, find};
use crate::job::Bench;

#[test]
fn root_layer_is_made_once_and_a_crash_leaves_nothing_half() {
    if !testkit::root::granted("root_layer_is_made_once_and_a_crash_leaves_nothing_half") {
        return;
    }
    let base = Bench::new().layer(LayerName::Run);
    let dir = TempDir::new("stack");
    let top = base.dir.parent().unwrap();
    let status = Command::new("cp").arg("-a").arg(top).arg(dir.path()).status().unwrap();
    assert!(status.success());
    // What a maker that died has left.
    let work = dir.path().join("work-static");
    fs::create_dir_all(work.join("upper/etc")).unwrap();
    fs::write(work.join("upper/etc/half"), "").unwrap();
    fs::write(work.join("manifest.json"), "{}").unwrap();

    let options = StackOptions::of_host(dir.path().to_path_buf());
    let makers: Vec<_> = (0..2)
        .map(|i| {
            let options = options.clone();
            let make = move || {
                let mut told = Vec::new();
                let layer = ensure(&options, LayerName::Static, &mut |text| told.push(text.to_owned())).unwrap();
                (layer, told)
            };
            os::thread::spawn(&format!("maker {i}"), make).unwrap()
        })
        .collect();
    let made: Vec<_> = makers.into_iter().map(|maker| maker.join().unwrap()).collect();
    assert_eq!(made[0].0, made[1].0);
    let told: Vec<&String> = made.iter().flat_map(|(_, told)| told).collect();
    assert_eq!(told.iter().filter(|text| text.contains("made in")).count(), 1, "{told:?}");
    let layer = &made[0].0;
    assert!(layer.dir.join("usr/sbin/nginx").is_file() && !layer.dir.join("etc/half").exists() && !work.exists());
    assert!(layer.manifest.packages.iter().any(|package| package.name == "nginx-light"));
    assert!(!layer.manifest.packages.iter().any(|package| package.name == "bash"), "that is in the layer below");
    assert_eq!(layer.manifest.on, [base.digest]);
    assert_eq!(find(&options, &layer.digest).as_ref(), Some(layer));
    // Neither the addresses of packages nor what apt keeps is a part of a layer.
    for gone in ["etc/apt", "var/lib/apt", "usr/sbin/policy-rc.d", "etc/ld.so.cache", "dev", "proc"] {
        assert!(!layer.dir.join(gone).exists(), "{gone}");
    }
}

#[test]
fn host_without_sources_is_told_so() {
    let dir = TempDir::new("stack");
    let mut options = StackOptions::of_host(dir.path().join("layers"));
    options.apt_dir = dir.path().join("apt");
    let failed = |options: &StackOptions| ensure(options, LayerName::Run, &mut |_| ()).unwrap_err();
    assert!(matches!(failed(&options), StackError::NoSources { .. }), "{}", failed(&options));
    options.os_release = dir.path().join("os-release");
    fs::write(&options.os_release, "ID=other\n").unwrap();
    assert!(matches!(failed(&options), StackError::System { .. }));
}
