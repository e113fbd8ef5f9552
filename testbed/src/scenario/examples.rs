//! Every example pushed, cold and with its cache, beside the bare time of the same install command.

use std::time::Duration;

use super::seconds;
use crate::{App, Cluster, say, shell};

/// The examples, and the install command that each one's buildpack runs.
pub const EXAMPLES: [(&str, &str); 5] =
    [("python", "python"), ("nodejs", "nodejs"), ("go", "go"), ("static", "static"), ("custom-buildpack", "custom")];

/// One example's figures.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Which one.
    pub example: String,
    /// The push with nothing cached.
    pub cold: Duration,
    /// The push of a change with the same dependencies.
    pub cached: Duration,
    /// The install command outside of the platform, with nothing cached.
    pub bare_cold: Duration,
    /// The same with its own cache.
    pub bare_cached: Duration,
    /// What the push printed, for its phases.
    pub output: String,
}

/// Push every example twice.
///
/// # Panics
/// If one does not answer.
#[must_use]
pub fn run(cluster: &Cluster) -> Vec<Figures> {
    EXAMPLES.iter().map(|(example, name)| one(cluster, example, name)).collect()
}

fn one(cluster: &Cluster, example: &str, name: &str) -> Figures {
    // The first push of a language makes its stack layer, which is not the app's time.
    let warm = App::from_example(cluster, &format!("{name}-warm"), example);
    let pushed = warm.push();
    assert_eq!(pushed.code, 0, "{pushed}");
    cluster.save_stack();
    let _ = warm.slipway_here(&["delete", "--yes"]).ok();
    let app = App::from_example(cluster, name, example);
    let cold = app.push();
    assert_eq!(cold.code, 0, "{cold}");
    let _ = cluster.wait_answer(name, Duration::from_secs(30));
    app.change(&[("CHANGED.txt", "a change that is no dependency\n")]);
    let cached = app.push();
    assert_eq!(cached.code, 0, "{cached}");
    let _ = cluster.wait_answer(name, Duration::from_secs(30));
    let (bare_cold, bare_cached) = bare(cluster, example);
    say(&format!("{example}: cold {} s, cached {} s", seconds(cold.took), seconds(cached.took)));
    let output = format!("{}\n{}", cold.stderr, cached.stderr);
    Figures { example: example.to_owned(), cold: cold.took, cached: cached.took, bare_cold, bare_cached, output }
}

/// The same install command with no platform around it, twice in one folder: with nothing, and with its own cache.
fn bare(cluster: &Cluster, example: &str) -> (Duration, Duration) {
    let script = match example {
        "python" => {
            "python3 -m pip install --quiet --disable-pip-version-check --cache-dir \"$CACHE\" --target \"$OUT\" -r requirements.txt"
        }
        "nodejs" => "npm ci --silent --no-audit --no-fund --cache \"$CACHE\"",
        "go" => "GOCACHE=\"$CACHE\" GOFLAGS=-buildvcs=false GOTOOLCHAIN=local go build -o \"$OUT/web\" .",
        _ => "true",
    };
    let dir = cluster.path("bare").join(example);
    let from = shell::root().join("examples").join(example);
    let time = || {
        let _ = std::fs::remove_dir_all(dir.join("src"));
        let _ = std::fs::remove_dir_all(dir.join("out"));
        std::fs::create_dir_all(&dir).unwrap();
        let _ = shell::sh("cp", &["-r", from.to_str().unwrap(), dir.join("src").to_str().unwrap()]).ok();
        let mut command = std::process::Command::new("sh");
        command
            .args(["-c", script])
            .current_dir(dir.join("src"))
            .env("CACHE", dir.join("cache"))
            .env("OUT", dir.join("out"));
        let out = shell::run(&mut command);
        if out.code != 0 {
            say(&format!("the bare command of {example} does not run on this machine: {out}"));
            return Duration::ZERO;
        }
        out.took
    };
    let cold = time();
    (cold, time())
}

/// The figures as a table.
#[must_use]
pub fn table(figures: &[Figures]) -> String {
    let mut text = String::from("example            cold s  bare s  over s   cached s  bare s  over s\n");
    for f in figures {
        let over = |ours: Duration, bare: Duration| seconds(ours.saturating_sub(bare));
        text.push_str(&format!(
            "{:<18} {:>6}  {:>6}  {:>6}   {:>8}  {:>6}  {:>6}\n",
            f.example,
            seconds(f.cold),
            seconds(f.bare_cold),
            over(f.cold, f.bare_cold),
            seconds(f.cached),
            seconds(f.bare_cached),
            over(f.cached, f.bare_cached),
        ));
    }
    text
}
