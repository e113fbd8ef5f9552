use super::*;

#[test]
fn record_with_fields_is_one_logfmt_line() {
    let line = log::kv::ToKey::to_key("job");
    let pairs = [(line, "a b"), (log::kv::ToKey::to_key("n"), "3")];
    let record = Record::builder()
        .args(format_args!("job started"))
        .level(log::Level::Info)
        .target("host")
        .key_values(&pairs)
        .build();
    assert_eq!(format_record("T", &record), "time=T level=info target=host msg=\"job started\" job=\"a b\" n=3\n");
}

#[test]
fn a_file_of_lines_is_bounded_and_private() {
    let dir = testkit::TempDir::new("os-log");
    let path = dir.path().join("host.log");
    let mut rotated = Rotated::open(&path, 100).unwrap();
    let begun = (0..35).filter(|number| rotated.write(&format!("line {number:04}\n")).unwrap()).count();
    assert_eq!(begun, 3);
    let old = std::fs::read_to_string(dir.path().join("host.log.1")).unwrap();
    assert!(old.starts_with("line 0020") && old.len() == 100, "{old}");
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 5);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    // A file that was there is gone on with.
    assert_eq!(Rotated::open(&path, 100).unwrap().bytes, 50);
}
