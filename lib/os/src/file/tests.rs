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
