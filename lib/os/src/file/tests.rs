use super::*;

#[test]
fn replace_leaves_new_content_and_nothing_else() {
    let dir = std::env::temp_dir().join(format!("os-file-{}", crate::entropy::uuid()));
    make_dir(&dir, 0o700).unwrap();
    let path = dir.join("state");
    replace(&path, b"one", 0o600, Durability::Synced).unwrap();
    replace(&path, b"two", 0o600, Durability::Atomic).unwrap();
    assert_eq!(read_if_exists(&path).unwrap().as_deref(), Some(&b"two"[..]));
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
    remove_if_exists(&path).unwrap();
    remove_if_exists(&path).unwrap();
    assert_eq!(read_if_exists(&path).unwrap(), None);
    fs::remove_dir(&dir).unwrap();
}

#[test]
fn a_replace_that_fails_leaves_nothing() {
    let dir = testkit::TempDir::new("os-replace");
    let path = dir.path().join("state");
    // What is to be replaced is a folder: the last step fails.
    fs::create_dir_all(path.join("in-the-way")).unwrap();
    replace(&path, b"one", 0o600, Durability::Atomic).unwrap_err();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn threads_that_replace_one_file_leave_it_whole() {
    let dir = testkit::TempDir::new("os-race");
    let path = dir.path().join("state");
    std::thread::scope(|scope| {
        for fill in [b'a', b'b', b'c'] {
            let path = &path;
            scope.spawn(move || {
                for size in 1..50 {
                    replace(path, &vec![fill; size * 100], 0o600, Durability::Atomic).unwrap();
                }
            });
        }
    });
    let content = fs::read(&path).unwrap();
    assert!(content.len() == 4_900 && content.iter().all(|byte| *byte == content[0]));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_folder_that_is_there_keeps_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    let dir = testkit::TempDir::new("os-mode");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let (fresh, there) = (dir.path().join("fresh"), dir.path().join("there"));
    make_dir(&fresh, 0o711).unwrap();
    fs::create_dir(&there).unwrap();
    fs::set_permissions(&there, fs::Permissions::from_mode(0o750)).unwrap();
    make_dir(&there, 0o711).unwrap();
    assert_eq!((mode(&fresh), mode(&there)), (0o711, 0o750));
}
