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

/// The same install command with no platform around it: the same layers as a plain chroot, no job, no buildpack.
/// Twice in one folder: with nothing, and with its own cache.
fn bare(cluster: &Cluster, example: &str) -> (Duration, Duration) {
    let (layers, command): (&[&str], &str) = match example {
        "python" => (
            &["run", "python", "python-build"],
            "PYTHONUSERBASE=/out PIP_BREAK_SYSTEM_PACKAGES=1 PIP_CACHE_DIR=/c python3 -m pip install --quiet --user \
             --ignore-installed --no-warn-script-location -r requirements.txt",
        ),
        "nodejs" => (&["run", "nodejs"], "npm_config_cache=/c npm ci --silent --no-audit --no-fund"),
        "go" => (&["run", "go"], "GOCACHE=/c GOFLAGS=-buildvcs=false GOTOOLCHAIN=local go build -o /out/ ."),
        _ => return (Duration::ZERO, Duration::ZERO),
    };
    let stack = cluster.path("data/stack");
    let lower: Vec<String> = layers.iter().rev().map(|layer| layer_dir(&stack, layer)).collect();
    let script = format!(
        "set -e; cd {bare}; rm -rf src up wk; mkdir -p src root up wk c
         cp -r {example}/. src
         mount -t overlay bare -o lowerdir={lower},upperdir=up,workdir=wk root
         mkdir -p root/c root/src root/out root/etc/ssl/certs root/proc root/dev
         mount --bind c root/c; mount --bind src root/src; mount --bind /proc root/proc; mount --bind /dev root/dev
         cp /etc/resolv.conf root/etc/; cp /etc/ssl/certs/ca-certificates.crt root/etc/ssl/certs/
         s=$(date +%s%N); chroot root /bin/sh -c 'cd /src && HOME=/root {command}' >&2; echo $((($(date +%s%N) - s) / 1000000))",
        bare = cluster.path("bare").join(example).display(),
        example = shell::root().join("examples").join(example).display(),
        lower = lower.join(":"),
    );
    std::fs::create_dir_all(cluster.path("bare").join(example)).unwrap();
    let time = || {
        let millis = cluster.inside("unshare", &["--mount", "bash", "-c", &script]).ok();
        Duration::from_millis(millis.trim().parse().unwrap())
    };
    (time(), time())
}

/// The folder of the newest layer of that name.
fn layer_dir(stack: &std::path::Path, layer: &str) -> String {
    let mut found: Vec<_> = std::fs::read_dir(stack)
        .unwrap()
        .flatten()
        .filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.strip_prefix(layer).and_then(|rest| rest.strip_prefix('-')).is_some_and(|rest| !rest.contains('-'))
        })
        .map(|entry| (entry.metadata().unwrap().modified().unwrap(), entry.path().join("fs")))
        .collect();
    found.sort();
    found.pop().unwrap_or_else(|| panic!("no stack layer {layer}")).1.display().to_string()
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
