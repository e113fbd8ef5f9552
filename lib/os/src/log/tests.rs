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
