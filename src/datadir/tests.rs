use std::path::PathBuf;

use super::*;
use crate::config::Raw;

fn config(dir: &Path, cluster: &str) -> Config {
    let raw = Raw {
        cluster: Some(cluster.to_owned()),
        data_dir: Some(dir.join("data")),
        // Sockets have short paths; nothing is made there.
        run_dir: Some(PathBuf::from("/run/slipway-none")),
        ..Raw::default()
    };
    raw.check(&dir.join("host.json")).unwrap()
}

#[test]
fn a_purge_takes_what_is_ours_and_leaves_the_rest() {
    let dir = testkit::TempDir::new("datadir");
    let config = config(dir.path(), "one");
    claim(&config).unwrap();
    claim(&config).unwrap();
    fs::create_dir_all(config.data_dir.join("store/wal")).unwrap();
    fs::write(&config.file, "{}").unwrap();
    check_ours(&config).unwrap();
    let held = lock(&config).unwrap();
    assert!(lock(&config).unwrap_err().to_string().contains("another daemon"));
    remove(&config).unwrap();
    drop(held);
    assert!(!config.data_dir.exists() && !config.file.exists());
    assert!(dir.path().exists(), "the folder of the configuration is not ours");
}

#[test]
fn data_of_others_is_neither_used_nor_removed() {
    let dir = testkit::TempDir::new("datadir");
    let one = config(dir.path(), "one");
    fs::create_dir(&one.data_dir).unwrap();
    fs::write(one.data_dir.join("letter"), "dear").unwrap();
    let refused = claim(&one).unwrap_err().to_string();
    assert!(refused.contains("letter"), "{refused}");
    assert!(check_ours(&one).unwrap_err().to_string().contains("nothing is removed"));
    fs::remove_file(one.data_dir.join("letter")).unwrap();
    claim(&one).unwrap();
    let two = config(dir.path(), "two");
    assert!(claim(&two).unwrap_err().to_string().contains("another cluster"));
    assert!(check_ours(&two).is_err());
}
