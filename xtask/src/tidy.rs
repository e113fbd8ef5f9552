//! The rules that a machine can check: layers, purity of cores, names, sizes, secrets of the house.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::layers::{FENCED, LAYERS, TESTBED_MAY, WITHIN};

/// Longer files (tests apart) fail; over 600 lines a review asks why.
const FILE_LINES_MAX: usize = 1_000;
const ARCHITECTURE_LINES_MAX: usize = 300;

/// What a core must not name: it decides, shells act.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "std::env",
    "std::time::Instant",
    "std::time::SystemTime",
    "os::clock",
    "os::entropy",
    "os::file",
    "HashMap",
    "HashSet",
];

/// Words that say nothing, as whole parts of a declared name.
const BANNED: &[&str] = &["manager", "handler", "helper", "util", "utils", "common", "misc"];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
    path: Option<PathBuf>,
}

pub(crate) fn run() -> Result<()> {
    let mut faults = Vec::new();
    check_layers(&mut faults)?;
    for file in tracked()? {
        let path = Path::new(&file);
        let Ok(text) = std::fs::read_to_string(path) else { continue };
        if path.extension().is_some_and(|extension| extension == "rs") && !file.starts_with("xtask/") {
            check_rust(&file, &text, &mut faults);
        }
        check_text(&file, &text, &mut faults);
        if path.extension().is_some_and(|extension| extension == "md") {
            check_links(&file, &text, &mut faults);
        }
    }
    check_folders(&mut faults);
    if faults.is_empty() {
        return Ok(());
    }
    bail!("{} faults:\n  {}", faults.len(), faults.join("\n  "))
}

fn check_layers(faults: &mut Vec<String>) -> Result<()> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps"])
        .output()
        .context("run cargo metadata")?;
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("read cargo metadata")?;
    let layer: BTreeMap<&str, u8> = LAYERS.iter().copied().collect();
    for package in &metadata.packages {
        let Some(own) = layer.get(package.name.as_str()) else {
            faults.push(format!("{} has no layer in xtask/src/layers.rs", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            if dependency.path.is_some() {
                let dev = dependency.kind.as_deref() == Some("dev");
                check_use(package, dependency, *own, layer.get(dependency.name.as_str()).copied(), dev, faults);
            } else if let Some((_, allowed)) = FENCED.iter().find(|(name, _)| *name == dependency.name)
                && !allowed.contains(&package.name.as_str())
            {
                faults.push(format!("{} uses {}, which only {allowed:?} may", package.name, dependency.name));
            }
        }
    }
    Ok(())
}

fn check_use(
    package: &Package,
    dependency: &Dependency,
    own: u8,
    theirs: Option<u8>,
    dev: bool,
    faults: &mut Vec<String>,
) {
    let (user, used) = (package.name.as_str(), dependency.name.as_str());
    if used == "testkit" && !dev && user != "testbed" {
        faults.push(format!("{user} uses testkit outside of its tests"));
    }
    if user == "testbed" && !dev && !TESTBED_MAY.contains(&used) {
        faults.push(format!("testbed links {used}: it runs the binary from outside"));
    }
    let Some(theirs) = theirs else {
        faults.push(format!("{user} uses {used}, which has no layer"));
        return;
    };
    // A test may stand on anything: it is nobody's dependency.
    if !dev && theirs >= own && !WITHIN.contains(&(user, used)) {
        faults.push(format!("{user} (L{own}) uses {used} (L{theirs}): dependencies go down"));
    }
}

fn tracked() -> Result<Vec<String>> {
    let output = Command::new("git").args(["ls-files"]).output().context("run git ls-files")?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

fn is_test(file: &str) -> bool {
    file.contains("/tests/") || file.ends_with("/tests.rs") || file.starts_with("testbed/")
}

fn check_rust(file: &str, text: &str, faults: &mut Vec<String>) {
    if file.ends_with("/mod.rs") {
        faults.push(format!("{file}: modules are foo.rs and foo/, not mod.rs"));
    }
    let lines = text.lines().count();
    if !is_test(file) && lines > FILE_LINES_MAX {
        faults.push(format!("{file}: {lines} lines; nobody knows its rooms (at most {FILE_LINES_MAX})"));
    }
    let in_core = file.contains("/core/") && !is_test(file);
    for (at, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or("");
        if in_core && let Some(word) = IMPURE.iter().find(|word| code.contains(**word)) {
            faults.push(format!("{file}:{}: a core names {word}", at + 1));
        }
        if let Some(word) = declared_name(code).and_then(banned_part) {
            faults.push(format!("{file}:{}: a name with {word:?} says nothing", at + 1));
        }
        if code.contains("unsafe {") && !file.ends_with("sys.rs") && !is_test(file) {
            faults.push(format!("{file}:{}: unsafe outside of a sys.rs", at + 1));
        }
    }
}

/// The name a line declares, if it declares one.
fn declared_name(code: &str) -> Option<&str> {
    let code = code.trim_start();
    let code = code.strip_prefix("pub(crate) ").or_else(|| code.strip_prefix("pub ")).unwrap_or(code);
    let rest =
        ["fn ", "struct ", "enum ", "trait ", "mod ", "type "].iter().find_map(|word| code.strip_prefix(word))?;
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    Some(&rest[..end])
}

fn banned_part(name: &str) -> Option<&'static str> {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_uppercase() {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    let parts: Vec<&str> = snake.split('_').collect();
    BANNED.iter().find(|word| parts.contains(*word)).copied()
}

fn check_text(file: &str, text: &str, faults: &mut Vec<String>) {
    if file == "ARCHITECTURE.md" && text.lines().count() > ARCHITECTURE_LINES_MAX {
        faults.push(format!("ARCHITECTURE.md is over {ARCHITECTURE_LINES_MAX} lines"));
    }
    if file.starts_with("xtask/") || file.ends_with(".lock") {
        return;
    }
    for (at, line) in text.lines().enumerate() {
        if line.contains("-----BEGIN") && line.contains("PRIVATE KEY-----") && !is_test(file) {
            faults.push(format!("{file}:{}: a private key", at + 1));
        }
        if line.ends_with(' ') && !file.ends_with(".md") && !file.contains("/scripts/") {
            faults.push(format!("{file}:{}: white space at the end of the line", at + 1));
        }
    }
}

/// Links of a document to files: each must lead somewhere.
fn check_links(file: &str, text: &str, faults: &mut Vec<String>) {
    let folder = Path::new(file).parent().unwrap_or(Path::new(""));
    for (at, line) in text.lines().enumerate() {
        for rest in line.split("](").skip(1) {
            let target = rest.split([')', '#']).next().unwrap_or("");
            if !target.is_empty() && !target.contains("://") && !folder.join(target).exists() {
                faults.push(format!("{file}:{}: a link to {target}, which does not exist", at + 1));
            }
        }
    }
}

/// Folders that the design prescribes: each holds something real.
fn check_folders(faults: &mut Vec<String>) {
    let folders = [
        "src",
        "containerd-lite",
        "consensus",
        "net",
        "gitd",
        "buildpack-runner",
        "pg-appliance",
        "testbed",
        "vagrant",
        "lib",
        "discovery",
        "scheduler",
        "controller",
        "router",
        "xtask",
        "docs",
        "examples",
        "script",
    ];
    for folder in folders {
        if !Path::new(folder).is_dir() {
            faults.push(format!("{folder}/ is missing"));
        }
    }
}
