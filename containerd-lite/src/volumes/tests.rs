use std::os::unix::fs::MetadataExt;

use types::VolumeName;

use super::Volumes;

#[test]
fn volume_is_made_once_kept_and_removed() {
    if !testkit::root::granted("volume_is_made_once_kept_and_removed") {
        return;
    }
    let dir = testkit::TempDir::new("volumes");
    let volumes = Volumes::open(dir.path()).unwrap();
    let name = VolumeName::parse("repos").unwrap();
    let path = volumes.ensure(&name, 1000, 1001).unwrap();
    let meta = std::fs::metadata(&path).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (1000, 1001));
    std::fs::write(path.join("kept"), "x").unwrap();
    assert_eq!(volumes.ensure(&name, 0, 0).unwrap(), path);
    assert!(path.join("kept").exists());
    assert_eq!(volumes.list().unwrap(), std::slice::from_ref(&name));
    assert!(volumes.remove(&name).unwrap());
    assert!(!volumes.remove(&name).unwrap());
    assert!(volumes.list().unwrap().is_empty());
}
