//! What a user does with an app, from its first push to its deletion.

use std::collections::BTreeSet;

use testbed::scenario::examples::EXAMPLES;
use testbed::{App, Cluster, shell};

use crate::{ANSWER, shared};

#[test]
fn cluster_every_example_is_pushed_and_answers() {
    let cluster = shared();
    for (example, name) in EXAMPLES {
        let app = App::from_example(&cluster, name, example);
        let out = app.push();
        assert_eq!(out.code, 0, "{out}");
        assert!(out.stderr.contains(&format!("http://{name}.slipway.localhost")), "the URL is printed: {out}");
        let _ = cluster.wait_answer(name, ANSWER);
        cluster.save_stack();
        let log = app.slipway_here(&["log", "-n", "50"]).ok();
        assert!(log.contains("[build."), "{example} has a log of its jobs:\n{log}");
        everyday(&cluster, &app);
        let _ = app.slipway_here(&["delete", "--yes"]).ok();
        let gone = cluster.get(name).unwrap();
        assert_eq!(gone.status, 404, "{}", gone.body);
    }
}

/// Scale, environment, rollback, one-off jobs.
fn everyday(cluster: &Cluster, app: &App<'_>) {
    let out = app.slipway_here(&["scale", "web=3"]);
    assert_eq!(out.code, 0, "{out}");
    let jobs = up_jobs(cluster, app);
    assert_eq!(jobs.len(), 3, "{jobs:?}");
    let answering: BTreeSet<&String> = (0..90).map(|_| answering_job(cluster, app, &jobs)).collect();
    assert_eq!(answering.len(), 3, "answers come from 3 jobs: {answering:?}");

    let before = current_version(cluster, app);
    let out = app.slipway_here(&["env", "set", "COLOUR=green"]);
    assert_eq!(out.code, 0, "{out}");
    assert_eq!(current_version(cluster, app), before + 1, "a changed environment is a new release");
    assert_eq!(app.slipway_here(&["env", "get", "COLOUR"]).ok(), "green\n");
    assert_eq!(up_jobs(cluster, app).len(), 3, "the new release has the counts of the old");
    assert_eq!(
        app.slipway_here(&["run", "sh", "-c", "echo $COLOUR; exit 42"]).code,
        42,
        "run ends with the job's code"
    );
    assert_eq!(app.slipway_here(&["run", "sh", "-c", "echo $COLOUR"]).ok(), "green\n");

    let out = app.slipway_here(&["rollback"]);
    assert_eq!(out.code, 0, "{out}");
    assert_eq!(current_version(cluster, app), before);
    assert_eq!(app.slipway_here(&["env", "get", "COLOUR"]).code, 3, "the older release has no such variable");
    let _ = cluster.wait_answer(&app.name, ANSWER);
    let out = app.slipway_here(&["scale", "web=1"]);
    assert_eq!(out.code, 0, "{out}");
    assert_eq!(up_jobs(cluster, app).len(), 1);
}

fn up_jobs(cluster: &Cluster, app: &App<'_>) -> Vec<String> {
    let jobs = cluster.json(&["ps", "--app", &app.name]);
    let up = jobs.as_array().unwrap().iter().filter(|job| job["state"] == "up" && job["type"] == "web");
    up.map(|job| job["id"].as_str().unwrap().to_owned()).collect()
}

fn current_version(cluster: &Cluster, app: &App<'_>) -> u64 {
    cluster.json(&["info", "--app", &app.name])["release"]["version"].as_u64().unwrap()
}

/// Examples say which job answers, in a header or in the page.
fn answering_job<'a>(cluster: &Cluster, app: &App<'_>, jobs: &'a [String]) -> &'a String {
    let answer = cluster.get(&app.name).unwrap();
    assert_eq!(answer.status, 200);
    let says = |job: &&String| answer.headers.contains(job.as_str()) || answer.body.contains(job.as_str());
    jobs.iter().find(says).unwrap_or_else(|| panic!("{} does not say which job answers: {answer:?}", app.name))
}

#[test]
fn cluster_run_with_a_terminal_behaves_like_one() {
    let cluster = shared();
    let app = App::from_files(&cluster, "terminal", &[("index.html", "hello\n")]);
    let out = app.push();
    assert_eq!(out.code, 0, "{out}");
    // `script` gives the command line a terminal of its own, as a person has.
    let run = format!(
        "{} run --app terminal -- bash -c 'test -t 0 && test -t 1 && stty size; exit 7'",
        shell::binary().display()
    );
    let mut command = cluster.command("script".as_ref());
    command.args(["--quiet", "--return", "--command", &format!("stty rows 33 cols 99; {run}"), "/dev/null"]);
    let out = shell::run(&mut command);
    assert!(out.stdout.contains("33 99"), "the job sees a terminal of the same size: {out}");
    assert_eq!(out.code, 7, "{out}");
    let piped = shell::run_with_input(
        cluster.command(&shell::binary()).args(["run", "--app", "terminal", "--", "cat"]),
        b"through the pipe\n",
    );
    assert_eq!(piped.ok(), "through the pipe\n");
    let _ = app.slipway_here(&["delete", "--yes"]).ok();
}

#[test]
fn cluster_system_apps_are_apps_like_others() {
    let cluster = shared();
    let apps = cluster.slipway(&["apps", "--system"]).ok();
    for name in ["controller", "scheduler", "router", "gitd", "blobs"] {
        assert!(apps.contains(name), "{apps}");
        let log = cluster.slipway(&["log", "--app", name, "-n", "5"]);
        assert_eq!(log.code, 0, "{log}");
    }
    let _ = cluster.slipway(&["scale", "--app", "controller", "web=2"]).ok();
    let _ = cluster.slipway(&["scale", "--app", "scheduler", "app=2"]).ok();
    let jobs = cluster.json(&["ps", "--app", "scheduler"]);
    let first = jobs[0]["id"].as_str().unwrap().to_owned();
    let _ = cluster.slipway(&["kill", "--app", "scheduler", &first]).ok();
    let back = os::clock::wait_for(ANSWER, || {
        let jobs = cluster.json(&["ps", "--app", "scheduler"]);
        let up: Vec<&str> =
            jobs.as_array()?.iter().filter(|j| j["state"] == "up").filter_map(|j| j["id"].as_str()).collect();
        (up.len() == 2 && !up.contains(&first.as_str())).then_some(())
    });
    assert!(back.is_some(), "a killed scheduler is replaced");
    let _ = cluster.slipway(&["scale", "--app", "scheduler", "app=1"]).ok();
    let _ = cluster.slipway(&["scale", "--app", "controller", "web=1"]).ok();
    let refused = cluster.slipway(&["scale", "--app", "scheduler", "app=0"]).failed();
    assert!(refused.contains("scheduler"), "{refused}");
    let refused = cluster.slipway(&["delete", "--yes", "controller"]).failed();
    assert!(refused.contains("controller"), "{refused}");
}

#[test]
fn cluster_listings_are_json_on_request() {
    let cluster = shared();
    for args in
        [&["apps"][..], &["apps", "--system"], &["key", "list"], &["host", "status"], &["host", "ps"], &["version"]]
    {
        let value = cluster.json(args);
        assert!(value.is_array() || value.is_object(), "{args:?}: {value}");
    }
    let app = App::from_files(&cluster, "listed", &[("index.html", "x")]);
    assert_eq!(app.push().code, 0);
    for verb in ["ps", "releases", "deployments", "routes", "env", "scale", "info"] {
        let out = app.slipway_here(&[verb, "--json"]).ok();
        assert!(serde_json::from_str::<serde_json::Value>(&out).is_ok(), "{verb}: {out}");
    }
    for shell_name in ["bash", "zsh", "fish"] {
        assert!(cluster.slipway(&["completions", shell_name]).ok().contains("slipway"));
    }
    let _ = app.slipway_here(&["delete", "--yes"]).ok();
}
