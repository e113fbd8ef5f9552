//! Real builds on real layers. They need root, the distribution's packages and the registries of the languages.

use std::path::{Path, PathBuf};

use types::stack::BuildRequest;

use crate::job::Bench;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name)
}

pub(crate) fn request(env: &[(&str, &str)]) -> BuildRequest {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    BuildRequest { app: "blog".to_owned(), env, source_version: "abc".to_owned(), build: "b1".to_owned() }
}

/// Build an example twice, ask the second slug, and check that the second build used what the first had left.
fn example_answers(name: &str, wanted: &str, hit: Option<&str>) {
    if !testkit::root::granted(name) {
        return;
    }
    let bench = Bench::new();
    let cold = bench.build(&example(name), &request(&[]), &[]);
    let warm = bench.build(&example(name), &request(&[]), &[]);
    for outcome in [&cold, &warm] {
        let built = outcome.built();
        assert_eq!(built.phases.iter().map(|phase| phase.millis).sum::<u64>(), built.total_millis);
        assert!(outcome.told.contains("=====> Built in "), "{}", outcome.told);
    }
    if let Some(hit) = hit {
        assert!(!cold.told.contains(hit) && warm.told.contains(hit), "{}", warm.told);
    }
    println!("{name}: cold {} ms, cached {} ms", cold.built().total_millis, warm.built().total_millis);
    let answer = bench.get(&warm, "/");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains(wanted) && answer.contains("host-1234"), "{answer}");
}

#[test]
fn root_python_example_answers() {
    example_answers("python", "Hello from Python", Some("Cache hit: requirements.txt is unchanged"));
}

#[test]
fn root_nodejs_example_answers() {
    example_answers("nodejs", "Hello from Node.js", Some("Cache hit: package-lock.json is unchanged"));
}

#[test]
fn root_go_example_answers() {
    example_answers("go", "Hello from Go", Some("Cache hit: what earlier builds compiled"));
}

#[test]
fn root_static_example_answers() {
    example_answers("static", "Hello from a static site", None);
}

#[test]
fn root_custom_buildpack_example_answers() {
    example_answers("custom-buildpack", "Hello from my own buildpack", Some("This is build 2 of this app"));
}
