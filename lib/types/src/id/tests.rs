use super::*;

#[test]
fn app_name_rule_accepts_and_refuses() {
    for good in ["a", "blog", "my-app-2"] {
        assert!(AppName::parse(good).is_ok(), "{good}");
    }
    let long = "a".repeat(41);
    for bad in ["", "-a", "a-", "a--b", "A", "1a", "a_b", "a.b", "../x", "a b", long.as_str()] {
        assert!(AppName::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn job_id_splits_into_host_and_uuid() {
    let host = HostId::parse("h1").unwrap();
    let job = JobId::on(&host, "0a1b2c3d-aaaa-4bbb-8ccc-000000000000");
    assert_eq!(job.host(), Some(host));
    assert_eq!(job.short(), "0a1b2c3d");
}

#[test]
fn ids_refuse_path_tricks() {
    for bad in ["..", ".", "a/b", "a\0b", "-rf", "é"] {
        assert!(JobId::parse(bad).is_err(), "{bad}");
        assert!(VolumeName::parse(bad).is_err(), "{bad}");
    }
}
