//! One buildpack: found, asked, run.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use stdx::Instant;
use types::stack::{APP_DIR, Pack, STACK};

use crate::child::{self, Bounds, End};
use crate::core::reference::Reference;
use crate::core::release::{self, Release};
use crate::failure::{Failure, FailureCode, at};
use crate::limits::{ANSWER_BYTES_MAX, OUTPUT_BYTES_MAX};
use crate::output::Output;
use crate::packs;

/// Sources the exports of the buildpacks before it, then becomes the program.
const WITH_EXPORTS: &str = r#"
exports=$1; shift
while IFS= read -r export; do [ -r "$export" ] && . "$export"; done <<<"$exports"
unset exports export
exec "$@"
"#;

/// Where the parts of a build are; the same in every build.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) build: PathBuf,
    pub(crate) env: PathBuf,
    pub(crate) packs: PathBuf,
}

/// A buildpack that can be run.
#[derive(Clone, Debug)]
pub(crate) struct Buildpack {
    dir: PathBuf,
    pub(crate) first_party: Option<Pack>,
    /// As the app named it.
    text: String,
    /// As it calls itself.
    pub(crate) title: String,
}

/// What surrounds every program of a build.
pub(crate) struct Surroundings<'a> {
    pub(crate) place: &'a Place,
    pub(crate) source_version: &'a str,
    pub(crate) request_id: &'a str,
    pub(crate) deadline: Instant,
    /// The `export` files of the buildpacks before.
    pub(crate) exports: Vec<PathBuf>,
}

impl Surroundings<'_> {
    fn command(&self, dir: &Path, program: &str, args: &[&Path]) -> Command {
        let exports: Vec<String> = self.exports.iter().map(|path| path.display().to_string()).collect();
        let mut command = Command::new("/bin/bash");
        command.args(["-c", WITH_EXPORTS, "slipway", &exports.join("\n")]).arg(dir.join(program)).args(args);
        // The job's own environment is the platform's (certificates, mirrors, proxies), never the app's.
        command.env("HOME", APP_DIR).env("STACK", STACK).env("LANG", "C.UTF-8").env("TMPDIR", "/tmp");
        command.env("SOURCE_VERSION", self.source_version).env("REQUEST_ID", self.request_id);
        command.env("PATH", crate::run::PATH).current_dir(dir);
        command
    }

    fn bounds(&self, output_bytes: u64) -> Bounds {
        Bounds { deadline: self.deadline, output_bytes }
    }

    /// Run a program for its answer.
    fn ask(&self, command: &mut Command) -> io::Result<(End, String)> {
        let mut answer = Vec::new();
        let end = child::run(command, self.bounds(ANSWER_BYTES_MAX), &mut |bytes| answer.extend_from_slice(bytes))?;
        Ok((end, String::from_utf8_lossy(&answer).into_owned()))
    }
}

/// Bring a buildpack to the host.
pub(crate) fn fetch(
    reference: &Reference,
    text: &str,
    index: usize,
    around: &Surroundings<'_>,
    output: &mut Output<'_>,
) -> Result<Buildpack, Failure> {
    let dir = around.place.packs.join(index.to_string());
    let mut buildpack =
        Buildpack { dir: dir.clone(), first_party: None, text: text.to_owned(), title: text.to_owned() };
    match reference {
        Reference::FirstParty(pack) => {
            packs::unpack(*pack, &dir).map_err(at("write", &dir))?;
            pack.title().clone_into(&mut buildpack.title);
            buildpack.first_party = Some(*pack);
            return Ok(buildpack);
        }
        // A copy, since its files must become executable and the slug is to hold what was pushed.
        Reference::InRepo(path) => {
            let from = around.place.build.join(path);
            if !from.join("bin/compile").is_file() {
                let what = format!("the buildpack {text} has no bin/compile in this repository");
                let todo = "a buildpack is a folder with bin/detect, bin/compile and bin/release; check the path";
                return Err(Failure::new(FailureCode::BuildpackUnavailable, what, todo));
            }
            crate::files::copy_tree(&from, &dir).map_err(at("copy", &from))?;
        }
        Reference::Git { url, commit } => {
            output.arrow(&format!("Fetching buildpack {text}"));
            clone(url, commit.as_deref(), &dir, around).map_err(|why| unavailable(text, &why))?;
        }
        Reference::Tarball(url) => {
            output.arrow(&format!("Fetching buildpack {text}"));
            download(url, &dir, around).map_err(|why| unavailable(text, &why))?;
        }
    }
    buildpack.dir = root_of(&dir).ok_or_else(|| unavailable(text, "it holds no bin/compile"))?;
    make_executable(&buildpack.dir.join("bin")).map_err(at("make executable", &buildpack.dir))?;
    Ok(buildpack)
}

fn unavailable(text: &str, why: &str) -> Failure {
    let what = format!("the buildpack {text} cannot be had: {}", why.trim());
    let todo = "check BUILDPACK_URL or .buildpacks, and that this host reaches the address; a buildpack in a folder of \
                the repository (./buildpack) needs no network";
    Failure::new(FailureCode::BuildpackUnavailable, what, todo)
}

fn clone(url: &str, commit: Option<&str>, dir: &Path, around: &Surroundings<'_>) -> Result<(), String> {
    let git = |args: &[&str], path: Option<&Path>| -> Result<(), String> {
        let mut command = Command::new("git");
        command.args(args).args(path).env("GIT_TERMINAL_PROMPT", "0").env("HOME", APP_DIR);
        let (end, said) = around.ask(&mut command).map_err(|error| format!("git cannot be run: {error}"))?;
        if end == End::Exited(0) { Ok(()) } else { Err(format!("git {}: {} ({})", args[0], said.trim(), end.told())) }
    };
    if let Some(commit) = commit {
        // A branch or a tag takes one state, a commit needs the history.
        if git(&["clone", "--quiet", "--depth=1", "--branch", commit, "--", url], Some(dir)).is_ok() {
            return Ok(());
        }
        let _ = crate::files::remove_tree(dir);
        git(&["clone", "--quiet", "--", url], Some(dir))?;
        let dir = dir.display().to_string();
        return git(&["-C", &dir, "checkout", "--quiet", commit], None);
    }
    git(&["clone", "--quiet", "--depth=1", "--", url], Some(dir))
}

fn download(url: &str, dir: &Path, around: &Surroundings<'_>) -> Result<(), String> {
    fs::create_dir_all(dir).map_err(|error| error.to_string())?;
    let file = dir.with_extension("tgz");
    let mut curl = Command::new("curl");
    curl.args(["-fsSL", "--retry", "2", "--max-filesize", "500000000", "--output"]).arg(&file).arg("--").arg(url);
    let mut tar = Command::new("tar");
    tar.arg("--no-same-owner").arg("-xf").arg(&file).arg("-C").arg(dir);
    for (name, command) in [("curl", &mut curl), ("tar", &mut tar)] {
        let (end, said) = around.ask(command).map_err(|error| format!("{name} cannot be run: {error}"))?;
        if end != End::Exited(0) {
            return Err(format!("{name}: {} ({})", said.trim(), end.told()));
        }
    }
    Ok(())
}

/// The folder itself, or the only one in it, as packed folders have it.
fn root_of(dir: &Path) -> Option<PathBuf> {
    if dir.join("bin/compile").is_file() {
        return Some(dir.to_path_buf());
    }
    let mut folders = fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    let only = folders.next()?;
    (folders.next().is_none() && only.join("bin/compile").is_file()).then_some(only)
}

/// Some public buildpacks carry no executable bits.
fn make_executable(bin: &Path) -> io::Result<()> {
    for entry in fs::read_dir(bin)? {
        let path = entry?.path();
        if path.is_file() {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
    }
    Ok(())
}

impl Buildpack {
    /// Ask whether it fits.
    pub(crate) fn detect(&mut self, around: &Surroundings<'_>) -> Result<(), Failure> {
        if !self.dir.join("bin/detect").is_file() {
            return Ok(());
        }
        let mut command = around.command(&self.dir, "bin/detect", &[&around.place.build]);
        let (end, said) = around.ask(&mut command).map_err(|error| Failure::io("run", &self.dir, &error))?;
        if end != End::Exited(0) {
            let said = if said.trim().is_empty() { "it gave no reason".to_owned() } else { said.trim().to_owned() };
            let what = format!("the buildpack {} does not fit this app ({}): {said}", self.text, end.told());
            let todo = "take another one (BUILDPACK_URL or .buildpacks), or add the files that it looks for";
            return Err(Failure::new(FailureCode::DetectFailed, what, todo));
        }
        if let Some(name) = said.lines().map(str::trim).find(|line| !line.is_empty()) {
            self.title = name.chars().take(60).collect();
        }
        Ok(())
    }

    /// Run it; its `export` file goes before the next one.
    pub(crate) fn compile(
        &self,
        around: &mut Surroundings<'_>,
        cache: &Path,
        output: &mut Output<'_>,
    ) -> Result<(), Failure> {
        let place = around.place;
        let mut command = around.command(&self.dir, "bin/compile", &[&place.build, cache, &place.env]);
        let ran = child::run(&mut command, around.bounds(OUTPUT_BYTES_MAX), &mut |bytes| output.pass(bytes));
        output.end_of_child();
        let end = ran.map_err(|error| Failure::io("run", &self.dir.join("bin/compile"), &error))?;
        match (end, self.first_party) {
            (End::Exited(0), _) => {}
            (End::Exited(packs::WANTS_COMPILERS), Some(pack)) => {
                let what = format!("{}: a dependency must be compiled, and this build has no compilers", self.title);
                let todo = "the platform tries again with compilers";
                let mut failure = Failure::new(FailureCode::WantsLayers, what, todo);
                failure.wants = pack.layers_compile().to_vec();
                return Err(failure);
            }
            (End::TooLong | End::TooMuch, _) => {
                let what = format!("{} was stopped in step \"{}\": {}", self.title, output.current(), end.told());
                let todo = "what it has cached stays for the next push; the operator can raise the limit";
                return Err(Failure::new(FailureCode::LimitReached, what, todo));
            }
            _ => {
                let what = format!("{} failed in step \"{}\" ({})", self.title, output.current(), end.told());
                let todo = "the reason stands in the lines above; mend it, commit, and push again";
                return Err(Failure::new(FailureCode::CompileFailed, what, todo));
            }
        }
        let export = self.dir.join("export");
        if export.is_file() {
            around.exports.push(export);
        }
        Ok(())
    }

    /// Ask for its proposals. That it has none, or fails to say so, is no error.
    pub(crate) fn release(&self, around: &Surroundings<'_>) -> Release {
        if !self.dir.join("bin/release").is_file() {
            return Release::default();
        }
        let mut command = around.command(&self.dir, "bin/release", &[&around.place.build]);
        match around.ask(&mut command) {
            Ok((End::Exited(0), said)) => release::parse(&said),
            _ => Release::default(),
        }
    }
}

/// Write `ENV_DIR`: one file for each variable, without a newline at its end.
pub(crate) fn write_env(dir: &Path, env: &BTreeMap<String, String>) -> Result<(), Failure> {
    fs::create_dir_all(dir).map_err(at("create", dir))?;
    for (name, value) in env {
        let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if plain {
            let path = dir.join(name);
            fs::write(&path, value).map_err(at("write", &path))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(at("write", &path))?;
        }
    }
    Ok(())
}
