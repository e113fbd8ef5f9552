use types::AppId;

use super::UserRanges;
use crate::limits::USER_RANGE;

#[test]
fn apps_keep_their_ranges_and_never_share_them() {
    let dir = testkit::TempDir::new("users");
    let app = |name: &str| AppId::parse(name).unwrap();
    let ranges = UserRanges::open(dir.path()).unwrap();
    let (blog, shop) = (ranges.base(&app("blog")).unwrap(), ranges.base(&app("shop")).unwrap());
    assert!(blog.abs_diff(shop) >= USER_RANGE);
    let again = UserRanges::open(dir.path()).unwrap();
    assert_eq!(again.base(&app("shop")).unwrap(), shop);
    assert_eq!(again.base(&app("blog")).unwrap(), blog);
}

#[test]
fn unreadable_record_is_an_error_and_no_fresh_start() {
    let dir = testkit::TempDir::new("users");
    std::fs::write(dir.path().join("users.json"), "{").unwrap();
    assert!(UserRanges::open(dir.path()).is_err());
}
