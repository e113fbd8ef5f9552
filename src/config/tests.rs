use super::*;

fn check(raw: Raw) -> Result<Config> {
    raw.check(Path::new("/etc/slipway/host.json"))
}

#[test]
fn config_empty_file_gets_usual_values() {
    let config = check(Raw::default()).unwrap();
    assert_eq!((config.http_port, config.ssh_port), (80, 2222));
    assert_eq!(config.subnet, Subnet { address: Ipv4Addr::new(100, 100, 0, 0), prefix: 24 });
    assert_eq!(config.url("blog.slipway.localhost"), "http://blog.slipway.localhost");
}

#[test]
fn config_bad_value_is_named() {
    let cases: [(Raw, &str); 7] = [
        (Raw { host: Some("a-b".into()), ..Raw::default() }, "host id"),
        (Raw { domain: Some("-Bad_".into()), ..Raw::default() }, "domain"),
        (Raw { data_dir: Some("x".into()), ..Raw::default() }, "data_dir"),
        (Raw { subnet: Some("10.0.0.0".into()), ..Raw::default() }, "subnet"),
        (Raw { http_port: Some(2222), ..Raw::default() }, "ssh_port"),
        (Raw { instance: Some("much-too-long".into()), ..Raw::default() }, "instance"),
        (Raw { run_dir: Some(format!("/{}", "r".repeat(80)).into()), ..Raw::default() }, "run_dir"),
    ];
    for (raw, word) in cases {
        let error = format!("{:#}", check(raw).unwrap_err());
        assert!(error.contains(word), "{error:?} does not name {word:?}");
    }
}
