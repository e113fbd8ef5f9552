use alloc::string::ToString;
use alloc::vec;

use types::app::ProcessVolume;
use types::{AppId, ReleaseId};

use super::*;

fn map(pairs: &[(&str, &str)]) -> Map {
    pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

fn sample(types: &[&str]) -> Release {
    Release {
        id: ReleaseId::parse("r1").unwrap(),
        app_id: AppId::parse("a1").unwrap(),
        artifacts: vec![],
        env: Map::new(),
        meta: Map::new(),
        processes: types.iter().map(|one| (ProcessType::parse(one).unwrap(), ProcessSpec::default())).collect(),
        version: 3,
        description: String::new(),
        created_at: None,
    }
}

#[test]
fn env_bad_name_is_named() {
    for name in ["", "1A", "A-B", "A B", "A=B", "Ä"] {
        let error = env("env", &map(&[(name, "secret")])).unwrap_err().to_string();
        assert!(error.starts_with("env name") && !error.contains("secret"), "{error}");
    }
    assert!(env("env", &map(&[("_A1", "x=y\nz"), ("a", "")])).is_ok());
}

#[test]
fn env_bad_value_names_the_variable_and_hides_the_value() {
    let error = env("env", &map(&[("TOKEN", "sec\0ret")])).unwrap_err().to_string();
    assert_eq!(error, "env.TOKEN contains a NUL byte");
    let long = "x".repeat(ENV_VALUE_BYTES_MAX + 1);
    assert!(env("env", &map(&[("A", &long)])).unwrap_err().to_string().starts_with("env.A is longer"));
}

#[test]
fn env_total_is_limited() {
    let value = "x".repeat(ENV_VALUE_BYTES_MAX);
    let many: Map = (0..5).map(|n| (format!("A{n}"), value.clone())).collect();
    assert!(env("env", &many).unwrap_err().to_string().contains("in all"));
}

#[test]
fn counts_unknown_type_lists_the_known_ones() {
    let release = sample(&["web", "worker"]);
    let wanted = [(ProcessType::parse("wbe").unwrap(), 1)].into();
    let error = counts(&release, &wanted).unwrap_err().to_string();
    assert_eq!(error, "processes.wbe is not a process type of release v3; it has: web, worker");
    let wanted = [(ProcessType::parse("web").unwrap(), 1_001)].into();
    assert!(counts(&release, &wanted).is_err());
}

#[test]
fn release_names_the_process_type_that_is_wrong() {
    let mut wrong = sample(&["web"]);
    let spec = wrong.processes.values_mut().next().unwrap();
    spec.volumes.push(ProcessVolume { path: "/data/../etc".into() });
    assert!(release(&wrong).unwrap_err().field.starts_with("processes.web.volumes[0]"));
}

#[test]
fn domain_is_normalised_or_refused() {
    assert_eq!(domain("Blog.Example.COM.").unwrap(), "blog.example.com");
    assert_eq!(domain("*.example.com").unwrap(), "*.example.com");
    for bad in ["", "a..b", "-a.com", "a.com/x", "a b", "*", "a.*.com", "http://a", "a:80"] {
        assert!(domain(bad).is_err(), "{bad}");
    }
}

#[test]
fn path_is_normalised_or_refused() {
    assert_eq!(path("").unwrap(), "/");
    assert_eq!(path("/api").unwrap(), "/api/");
    for bad in ["api", "//", "/a//b", "/a/../b", "/a?b", "/a b", "/%2e"] {
        assert!(path(bad).is_err(), "{bad}");
    }
}
