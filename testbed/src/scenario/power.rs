//! Power cuts at random moments: everything answers again, and nothing that was acknowledged is lost.

use std::time::Duration;

use stdx::Rng;

use super::deploys::release_app;
use crate::{App, Cluster, say};

/// How long an app may take to answer after the power came back.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Power cuts.
    pub cuts: u32,
    /// What was going on at each, counted.
    pub during: std::collections::BTreeMap<&'static str, u32>,
    /// From the daemon's start to the last app's answer: the slowest.
    pub slowest: Duration,
    /// The median of the same.
    pub median: Duration,
    /// Acknowledged changes that were looked for again.
    pub checked: u32,
}

/// What is under way when the power goes.
const ACTIONS: [&str; 5] = ["nothing", "push", "deploy", "scale", "create"];

/// How long an action takes at most, about: the power goes somewhere within.
fn span_millis(action: &str) -> u64 {
    match action {
        "push" => 2_000,
        "deploy" | "scale" => 700,
        "create" => 60,
        _ => 300,
    }
}

/// What users were told is so.
struct Acknowledged {
    /// The value of `RELEASE`, last acknowledged; and the one that was asked for and may or may not be.
    release: String,
    maybe_release: Option<String>,
    web: u32,
    maybe_web: Option<u32>,
    apps: Vec<String>,
    page: u32,
    maybe_page: Option<u32>,
}

/// Cut the power `cuts` times.
///
/// # Panics
/// If an app does not come back or something acknowledged is gone.
#[must_use]
pub fn run(cluster: &mut Cluster, cuts: u32, seed: u64) -> Report {
    let mut rng = Rng::new(seed);
    let mut report = Report { cuts, ..Report::default() };
    let mut known = prepare(cluster);
    let mut times = Vec::new();
    for cut in 1..=cuts {
        let action = ACTIONS[rng.index(ACTIONS.len())];
        let wait = Duration::from_millis(rng.below(span_millis(action)));
        act(cluster, action, cut, wait, &mut known);
        let (took, checked) = come_back(cluster, &mut known, cut, seed);
        *report.during.entry(action).or_default() += 1;
        report.checked += checked;
        times.push(took);
        say(&format!(
            "cut {cut} of {cuts} during {action} after {} ms: answers after {:.1} s",
            wait.as_millis(),
            took.as_secs_f64()
        ));
    }
    times.sort();
    report.slowest = times.last().copied().unwrap_or_default();
    report.median = times.get(times.len() / 2).copied().unwrap_or_default();
    report
}

fn prepare(cluster: &Cluster) -> Acknowledged {
    let _ = release_app(cluster, "state");
    let pages = App::from_files(cluster, "pages", &[("index.html", "page 0\n")]);
    let pushed = pages.push();
    assert_eq!(pushed.code, 0, "{pushed}");
    let _ = cluster.wait_answer("state", Duration::from_secs(30));
    let _ = cluster.wait_answer("pages", Duration::from_secs(30));
    Acknowledged {
        release: "first".to_owned(),
        maybe_release: None,
        web: 1,
        maybe_web: None,
        apps: Vec::new(),
        page: 0,
        maybe_page: None,
    }
}

/// Begin something in a thread, and cut the power `wait` later.
fn act(cluster: &mut Cluster, action: &str, cut: u32, wait: Duration, known: &mut Acknowledged) {
    let mut command = match action {
        "push" => {
            let dir = cluster.path("repos/pages");
            known.maybe_page = Some(cut);
            std::fs::write(dir.join("index.html"), format!("page {cut}\n")).unwrap();
            let who = "-c user.name=testbed -c user.email=testbed@localhost";
            let script = format!("git add -A && git {who} commit -q -m {cut} && git push slipway main");
            let mut command = cluster.command("sh".as_ref());
            command.args(["-c", &script]).current_dir(dir);
            command
        }
        "deploy" => {
            known.maybe_release = Some(cut.to_string());
            slipway(cluster, &["env", "set", "--app", "state", &format!("RELEASE={cut}")])
        }
        "scale" => {
            let web = 1 + cut % 3;
            known.maybe_web = Some(web);
            slipway(cluster, &["scale", "--app", "state", &format!("web={web}")])
        }
        "create" => slipway(cluster, &["create", "--no-remote", &format!("made-{cut}")]),
        _ => cluster.command("true".as_ref()),
    };
    let mut child = command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut ended = None;
    let _ = os::clock::wait_for(wait, || {
        if ended.is_none() {
            ended = child.try_wait().unwrap();
        }
        None::<()>
    });
    cluster.power_cut();
    let _ = child.wait();
    // What said that it is done before the power went must be so for ever.
    if ended.is_some_and(|status| status.success()) {
        match action {
            "push" => known.page = known.maybe_page.take().unwrap_or(known.page),
            "deploy" => known.release = known.maybe_release.take().unwrap_or_default(),
            "scale" => known.web = known.maybe_web.take().unwrap_or(known.web),
            "create" => known.apps.push(format!("made-{cut}")),
            _ => {}
        }
    }
}

fn slipway(cluster: &Cluster, args: &[&str]) -> std::process::Command {
    let mut command = cluster.command(&crate::shell::binary());
    command.args(args);
    command
}

/// Start the daemon and nothing else; every app answers with what was acknowledged.
fn come_back(cluster: &mut Cluster, known: &mut Acknowledged, cut: u32, seed: u64) -> (Duration, u32) {
    let start = os::clock::now();
    cluster.boot();
    let _ = cluster.wait_answer("state", ANSWER_MAX);
    let _ = cluster.wait_answer("pages", ANSWER_MAX);
    let took = os::clock::now().since(start);
    settle(cluster);
    let replay = format!("cut {cut}; replay with --seed {seed}");
    let mut checked = 0;
    let answer = cluster.get("state").unwrap().body.trim().trim_start_matches("release ").to_owned();
    agree("release", &answer, &mut known.release, known.maybe_release.take(), &replay);
    let page: u32 = cluster.get("pages").unwrap().body.trim().trim_start_matches("page ").parse().unwrap();
    agree("page", &page, &mut known.page, known.maybe_page.take(), &replay);
    let web: u32 = serde_json::from_value(cluster.json(&["scale", "--app", "state"])["web"].clone()).unwrap();
    agree("scale", &web, &mut known.web, known.maybe_web.take(), &replay);
    checked += 3;
    let apps = cluster.slipway(&["apps"]).ok();
    for app in &known.apps {
        assert!(apps.contains(app), "the app {app} was acknowledged and is gone ({replay})");
        checked += 1;
    }
    (took, checked)
}

/// Wait until no deployment is under way: what was begun is finished or undone by itself.
fn settle(cluster: &Cluster) {
    let quiet = os::clock::wait_for(ANSWER_MAX, || {
        ["state", "pages"]
            .iter()
            .all(|app| {
                let out = cluster.slipway(&["deployments", "--app", app, "--json"]);
                let Ok(list) = serde_json::from_str::<serde_json::Value>(&out.stdout) else { return false };
                let open = |d: &serde_json::Value| !matches!(d["status"].as_str(), Some("complete" | "failed"));
                !list.as_array().is_some_and(|all| all.iter().any(open))
            })
            .then_some(())
    });
    assert!(quiet.is_some(), "a deployment is still under way");
}

/// What is there is what was acknowledged, or what was asked for when the power went.
fn agree<T: PartialEq + std::fmt::Debug + Clone>(what: &str, there: &T, known: &mut T, maybe: Option<T>, replay: &str) {
    let fits = *there == *known || maybe.as_ref() == Some(there);
    assert!(fits, "{what} is {there:?}; acknowledged was {known:?}, under way {maybe:?} ({replay})");
    *known = there.clone();
}
