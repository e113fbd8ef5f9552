use super::*;

/// The way of kernels before 6.15, which this kernel takes too when asked.
#[test]
fn root_attached_layers_make_the_same_overlay() {
    if !testkit::root::granted("root_attached_layers_make_the_same_overlay") {
        return;
    }
    let dir = testkit::TempDir::new("rt-attach");
    for name in ["low", "high", "upper", "work"] {
        fs::create_dir(dir.path().join(name)).unwrap();
        fs::write(dir.path().join(name).join(name), name).unwrap();
        fs::write(dir.path().join(name).join("both"), name).unwrap();
    }
    fs::remove_file(dir.path().join("upper/both")).unwrap();
    fs::remove_dir_all(dir.path().join("work")).unwrap();
    fs::create_dir(dir.path().join("work")).unwrap();
    let ids = Ids { namespace: UserNamespace::Host, user: None };
    let layers: Vec<OwnedFd> =
        ["low", "high"].iter().map(|name| bind(&dir.path().join(name), Ownership::Host, &ids).unwrap()).collect();
    let upper = Upper::Dirs { upper: dir.path().join("upper"), work: dir.path().join("work") };
    for upper in [upper, Upper::Memory { size_bytes: 1 << 20 }, Upper::None] {
        let changes = changes(&upper, &ids).unwrap();
        let again: Vec<OwnedFd> =
            layers.iter().map(|layer| sys::open_tree(layer.as_fd(), c"", Recursion::One).unwrap()).collect();
        let mount = in_private_mounts(|| overlay_of(&again, changes.as_ref(), Layers::Attached)).unwrap();
        use std::os::fd::AsRawFd;
        let path = PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd()));
        assert_eq!(fs::read_to_string(path.join("both")).unwrap(), "high");
        assert_eq!(fs::read_to_string(path.join("low")).unwrap(), "low");
        assert_eq!(fs::write(path.join("new"), "x").is_ok(), !matches!(upper, Upper::None));
    }
    assert!(dir.path().join("upper/new").exists());
    assert!(matches!(
        changes(&Upper::Dirs { upper: dir.path().join("upper"), work: dir.path().join("work") }, &ids),
        Err(CreateError::StaleWork { .. })
    ));
}
