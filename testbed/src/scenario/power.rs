//! Power cuts at random moments: everything answers again, and nothing that was acknowledged is lost.

use std::time::Duration;

use stdx::Rng;

use super::deploys::release_app;
use crate::cluster::AfterCut;
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
const ACTIONS: [&str; 7] = ["nothing", "push", "deploy", "scale", "create", "delete", "key"];

/// How long an action takes at most, about: the power goes somewhere within.
fn span_millis(action: &str) -> u64 {
    match action {
        "push" => 2_000,
        "deploy" | "scale" => 700,
        "create" | "delete" | "key" => 60,
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
    deleted: Vec<String>,
    keys: Vec<String>,
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
        let after = if rng.chance(1, 2) { AfterCut::Remains } else { AfterCut::NothingButDisk };
        act(cluster, action, cut, wait, after, &mut known);
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
        deleted: Vec::new(),
        keys: Vec::new(),
        page: 0,
        maybe_page: None,
    }
}

/// Begin something in a thread, and cut the power `wait` later.
fn act(cluster: &mut Cluster, action: &str, cut: u32, wait: Duration, after: AfterCut, known: &mut Acknowledged) {
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
        "delete" => match known.apps.last() {
            Some(app) => slipway(cluster, &["delete", "--yes", app]),
            None => cluster.command("true".as_ref()),
        },
        "key" => {
            let file = cluster.path(&format!("home/key-{cut}"));
            let args = ["-q", "-t", "ed25519", "-N", "", "-C", &format!("key-{cut}"), "-f", file.to_str().unwrap()];
            let _ = crate::shell::sh("ssh-keygen", &args).ok();
            slipway(cluster, &["key", "add", file.with_extension("pub").to_str().unwrap()])
        }
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
    cluster.power_cut(after);
    let _ = child.wait();
    // What said that it is done before the power went must be so for ever.
    if ended.is_some_and(|status| status.success()) {
        match action {
            "push" => known.page = known.maybe_page.take().unwrap_or(known.page),
            "deploy" => known.release = known.maybe_release.take().unwrap_or_default(),
            "scale" => known.web = known.maybe_web.take().unwrap_or(known.web),
            "create" => known.apps.push(format!("made-{cut}")),
            "delete" => known.deleted.extend(known.apps.pop()),
            "key" => known.keys.push(format!("key-{cut}")),
            _ => {}
        }
    } else if action == "delete" {
        // Asked for and not acknowledged: it may be there or not.
        known.apps.pop();
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
    let has = |list: &str, word: &str| list.split_whitespace().any(|other| other == word);
    for app in &known.apps {
        assert!(has(&apps, app), "the app {app} was acknowledged and is gone ({replay})");
    }
    for app in &known.deleted {
        assert!(!has(&apps, app), "the deletion of {app} was acknowledged and it is there ({replay})");
    }
    let keys = cluster.slipway(&["key", "list"]).ok();
    for key in &known.keys {
        assert!(has(&keys, key), "the key {key} was acknowledged and is gone ({replay})");
    }
    checked += u32::try_from(known.apps.len() + known.deleted.len() + known.keys.len()).unwrap();
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
