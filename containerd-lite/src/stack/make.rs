//! Making a layer: the sources of packages, the scripts, and the one rename at the end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use data_encoding::HEXLOWER;
use nix::fcntl::{Flock, FlockArg};
use os::file::Durability;
use sha2::{Digest as _, Sha256};
use types::Digest;
use types::stack::LayerName;

use super::manifest::{self, FILES, MANIFEST, Manifest, Package};
use super::recipe::{RECIPE_VERSION, recipe};
use super::{StackLayer, StackOptions, sources, tree};

const BASE_SCRIPT: &str = include_str!("base.sh");
const LAYER_SCRIPT: &str = include_str!("layer.sh");

/// How old the lists of packages may be when a layer is made.
const LISTS_AGE_MAX: Duration = Duration::from_secs(3600);

/// Lines of a log that an error shows.
const LOG_LINES_SHOWN: usize = 12;

/// Why a layer is not there.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// A file or folder of ours.
    #[error("{action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The host does not say what it is.
    #[error("{} names no distribution with apt: ID and VERSION_CODENAME are needed", path.display())]
    System {
        /// Where it should.
        path: PathBuf,
    },
    /// The host has no source of packages.
    #[error("{} has no source of packages of the distribution itself for {codename}", dir.display())]
    NoSources {
        /// Where they should be.
        dir: PathBuf,
        /// For which release of the distribution.
        codename: String,
    },
    /// A program is not installed.
    #[error("{program} is missing: install the package {package}")]
    Missing {
        /// Which.
        program: &'static str,
        /// What brings it.
        package: &'static str,
    },
    /// A step failed.
    #[error("make stack layer {layer}: {step} failed ({status}); log: {}\n{tail}", log.display())]
    Step {
        /// For which layer.
        layer: LayerName,
        /// Which step.
        step: String,
        /// How it ended.
        status: String,
        /// Where its output is.
        log: PathBuf,
        /// The end of its output.
        tail: String,
    },
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StackError {
    let path = path.to_path_buf();
    move |source| StackError::File { action, path, source }
}

fn kept(source: os::file::FileError, path: &Path) -> StackError {
    StackError::File { action: "write", path: path.to_path_buf(), source: io::Error::other(source) }
}

/// What the host is.
pub(super) struct Host {
    id: String,
    codename: String,
}

impl Host {
    pub(super) fn read(options: &StackOptions) -> Result<Host, StackError> {
        let path = &options.os_release;
        let text = fs::read_to_string(path).map_err(at("read", path))?;
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            value.map(|value| value.trim_matches(['"', '\'']).to_owned()).filter(|value| !value.is_empty())
        };
        match (field("ID"), field("VERSION_CODENAME")) {
            (Some(id), Some(codename)) => Ok(Host { id, codename }),
            _ => Err(StackError::System { path: path.clone() }),
        }
    }

    fn system(&self) -> String {
        format!("{} {} {}", self.id, self.codename, std::env::consts::ARCH)
    }
}

/// Held while one maker works; the kernel frees it when the maker dies.
fn lock(path: &Path) -> Result<Flock<File>, StackError> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(at("open", path))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| at("lock", path)(error.into()))
}

pub(super) fn ensure(
    options: &StackOptions,
    host: &Host,
    name: LayerName,
    progress: &mut dyn FnMut(&str),
) -> Result<StackLayer, StackError> {
    let mut below = Vec::new();
    let mut next = name.on();
    while let Some(layer) = next {
        below.push(layer);
        next = layer.on();
    }
    let mut on = Vec::new();
    for layer in below.into_iter().rev() {
        on.push(one(options, host, layer, &on, progress)?);
    }
    one(options, host, name, &on, progress)
}

/// One layer, with what it stands on already there.
fn one(
    options: &StackOptions,
    host: &Host,
    name: LayerName,
    on: &[StackLayer],
    progress: &mut dyn FnMut(&str),
) -> Result<StackLayer, StackError> {
    let dir = options.dir.join(format!("{name}-{}", key(host, name, on)));
    if let Some(layer) = manifest::read(&dir) {
        return Ok(layer);
    }
    let locks = options.dir.join("locks");
    os::file::make_dir(&locks, 0o755).map_err(|error| kept(error, &locks))?;
    let _held = lock(&locks.join(name.as_str()))?;
    if let Some(layer) = manifest::read(&dir) {
        return Ok(layer);
    }
    let started = os::clock::now();
    let maker = Maker::new(options, host, name)?;
    let packages = maker.run(on, progress)?;
    progress(&format!("{name}: writing to disk"));
    maker.keep(&dir, on, &packages, started)?;
    let layer = manifest::read(&dir).ok_or_else(|| at("read", &dir)(io::ErrorKind::InvalidData.into()))?;
    let Manifest { bytes, files, millis, .. } = layer.manifest;
    log::info!(layer:% = name, digest:% = layer.digest, bytes, files, millis; "stack layer made");
    progress(&format!("{name}: made in {}.{} s, {} MB", millis / 1000, millis % 1000 / 100, bytes / 1_000_000));
    Ok(layer)
}

/// What a layer's folder is called after: a change of any of these makes another layer.
fn key(host: &Host, name: LayerName, on: &[StackLayer]) -> String {
    let recipe = recipe(name);
    let script = if on.is_empty() { BASE_SCRIPT } else { LAYER_SCRIPT };
    let below: Vec<&str> = on.iter().map(|layer| layer.digest.as_str()).collect();
    let text = format!("{RECIPE_VERSION}\n{}\n{recipe:?}\n{below:?}\n{script}", host.system());
    HEXLOWER.encode(&Sha256::digest(text.as_bytes())[..6])
}

struct Maker<'a> {
    host: &'a Host,
    name: LayerName,
    apt_dir: PathBuf,
    /// The lists, the archives and the settings of apt that all layers share.
    apt: PathBuf,
    work: PathBuf,
    log: PathBuf,
}

impl<'a> Maker<'a> {
    fn new(options: &StackOptions, host: &'a Host, name: LayerName) -> Result<Maker<'a>, StackError> {
        let needs = [("apt-get", "apt"), ("unshare", "util-linux"), ("setpriv", "util-linux"), ("flock", "util-linux")];
        for (program, package) in needs.into_iter().chain([("mmdebstrap", "mmdebstrap")]) {
            let path = std::env::var_os("PATH").unwrap_or_default();
            if !std::env::split_paths(&path).any(|dir| dir.join(program).is_file()) {
                return Err(StackError::Missing { program, package });
            }
        }
        let work = options.dir.join(format!("work-{name}"));
        if let Err(error) = fs::remove_dir_all(&work)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(at("remove", &work)(error));
        }
        let apt = options.dir.join("apt");
        let log = options.dir.join("log").join(format!("{name}.log"));
        for dir in [&work, &apt.join("lists/partial"), &apt.join("archives/partial"), &options.dir.join("log")] {
            os::file::make_dir(dir, 0o755).map_err(|error| kept(error, dir))?;
        }
        File::create(&log).map_err(at("create", &log))?;
        Ok(Maker { host, name, apt_dir: options.apt_dir.clone(), apt, work, log })
    }

    /// Fill the upper folder; gives the list of all packages in it and below.
    fn run(&self, on: &[StackLayer], progress: &mut dyn FnMut(&str)) -> Result<String, StackError> {
        self.refresh(progress)?;
        let recipe = recipe(self.name);
        let mut args = vec![self.work.clone().into_os_string(), self.apt.clone().into_os_string()];
        let script = if on.is_empty() {
            args.extend([self.host.codename.as_str().into(), recipe.packages.join(",").into()]);
            BASE_SCRIPT
        } else {
            let excluded = recipe.exclude.iter().map(|path| format!("path-exclude={path}\n")).collect::<String>();
            let path = self.work.join("dpkg.cfg");
            fs::write(&path, excluded).map_err(at("write", &path))?;
            let below: Vec<String> = on.iter().rev().map(|layer| layer.dir.display().to_string()).collect();
            args.extend([below.join(":").into(), recipe.unpacked.join(" ").into()]);
            args.extend(recipe.packages.iter().map(Into::into));
            LAYER_SCRIPT
        };
        let mut command = Command::new("setpriv");
        // Nothing of it outlives this thread, whatever ends the thread; the mounts go with the namespace.
        command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]);
        command.args(["--propagation", "private", "/bin/sh", "-c", script, "stack"]).args(args);
        self.execute(&mut command, "installing packages", progress)?;
        let list = self.work.join("packages");
        fs::read_to_string(&list).map_err(at("read", &list))
    }

    /// Bring the shared lists of packages up to date when they are not.
    fn refresh(&self, progress: &mut dyn FnMut(&str)) -> Result<(), StackError> {
        let _held = lock(&self.apt.join("lists.lock"))?;
        let stamp = self.apt.join("refreshed");
        let millis = fs::read_to_string(&stamp).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let age = os::clock::wall().since(os::clock::WallTime::from_unix_millis(millis));
        if millis > 0 && age < LISTS_AGE_MAX {
            return Ok(());
        }
        progress(&format!("{}: fetching the lists of packages", self.name));
        let own = self.own_sources()?;
        self.write_sources(&own)?;
        self.write_settings()?;
        let mut update = self.apt_get();
        update.arg("update");
        // A source that is not the distribution's own may be broken; what is missing shows when packages are asked for.
        let updated = self.execute(&mut update, "fetching the lists of packages", progress);
        let origins = self.origins()?;
        if origins.is_empty() {
            updated?;
        }
        let by_origin: Vec<_> = own
            .iter()
            .filter(|source| {
                origins.iter().any(|(uri, suite, origin)| {
                    origin.eq_ignore_ascii_case(&self.host.id)
                        && *suite == source.suite
                        && uri.trim_end_matches('/') == source.uri.trim_end_matches('/')
                })
            })
            .cloned()
            .collect();
        // A mirror may have put its own name there; then all that look right are taken.
        if !by_origin.is_empty() {
            self.write_sources(&by_origin)?;
        }
        let now = os::clock::wall().unix_millis();
        os::file::replace(&stamp, now.to_string().as_bytes(), 0o644, Durability::Atomic).map_err(|e| kept(e, &stamp))
    }

    fn own_sources(&self) -> Result<Vec<sources::Source>, StackError> {
        let mut files = vec![self.apt_dir.join("sources.list")];
        if let Ok(entries) = fs::read_dir(self.apt_dir.join("sources.list.d")) {
            let mut more: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
            more.sort();
            files.append(&mut more);
        }
        let mut own = Vec::new();
        for file in files {
            let Ok(text) = fs::read_to_string(&file) else { continue };
            let all = match file.extension().and_then(|extension| extension.to_str()) {
                Some("list") => sources::parse_list(&text),
                Some("sources") => sources::parse_deb822(&text),
                _ => continue,
            };
            own.extend(all.into_iter().filter(|source| sources::may_be_own(source, &self.host.codename)));
        }
        if own.is_empty() {
            return Err(StackError::NoSources { dir: self.apt_dir.clone(), codename: self.host.codename.clone() });
        }
        Ok(own)
    }

    fn write_sources(&self, own: &[sources::Source]) -> Result<(), StackError> {
        let mut text = String::new();
        for (i, source) in own.iter().enumerate() {
            let path = self.apt.join(format!("key-{i}.asc"));
            if let Some(key) = &source.key {
                fs::write(&path, key).map_err(at("write", &path))?;
            }
            text.push_str(&sources::line(source, source.key.as_ref().and(path.to_str())));
        }
        // An address may hold a password.
        let path = self.apt.join("sources.list");
        os::file::replace(&path, text.as_bytes(), 0o600, Durability::Atomic).map_err(|error| kept(error, &path))
    }

    /// How the host fetches: proxies, time limits, certificates, passwords. Not its hooks.
    fn write_settings(&self) -> Result<(), StackError> {
        let dump = Command::new("apt-config").arg("dump").output().map_err(at("run", Path::new("apt-config")))?;
        let mut text = String::new();
        for line in String::from_utf8_lossy(&dump.stdout).lines() {
            let name = line.split(' ').next().unwrap_or_default();
            let fetching = name.starts_with("Acquire::")
                && !["Acquire::Languages", "Acquire::Changelogs", "Acquire::cdrom", "Acquire::IndexTargets"]
                    .iter()
                    .any(|skipped| name.starts_with(skipped));
            if fetching {
                text.push_str(line);
                text.push('\n');
            }
        }
        let apt = self.apt_dir.display();
        text.push_str(&format!("Dir::Etc::netrc \"{apt}/auth.conf\";\nDir::Etc::netrcparts \"{apt}/auth.conf.d\";\n"));
        text.push_str(&format!(
            "Dir::Etc::trusted \"{apt}/trusted.gpg\";\nDir::Etc::trustedparts \"{apt}/trusted.gpg.d\";\n"
        ));
        let path = self.apt.join("acquire.conf");
        os::file::replace(&path, text.as_bytes(), 0o600, Durability::Atomic).map_err(|error| kept(error, &path))
    }

    /// apt on the shared lists alone.
    fn apt_get(&self) -> Command {
        let apt = self.apt.display();
        let mut command = Command::new("apt-get");
        command.env("APT_CONFIG", self.apt.join("acquire.conf")).env("LC_ALL", "C.UTF-8");
        for option in [
            "Dir::Etc::Parts=/dev/null".to_owned(),
            "Dir::Etc::Main=/dev/null".to_owned(),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            format!("Dir::Etc::SourceList={apt}/sources.list"),
            format!("Dir::State::Lists={apt}/lists"),
            "Dir::State::status=/dev/null".to_owned(),
            format!("Dir::Cache={apt}"),
            "Dir::Cache::pkgcache=".to_owned(),
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Languages=none".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        command
    }

    /// Address, suite and origin of every list that has been fetched.
    fn origins(&self) -> Result<Vec<(String, String, String)>, StackError> {
        let mut command = self.apt_get();
        command.args(["indextargets", "--format", "$(REPO_URI)|$(RELEASE)|$(ORIGIN)", "Created-By: Packages"]);
        let output = command.output().map_err(at("run", Path::new("apt-get")))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut origins = Vec::new();
        for line in text.lines() {
            let mut parts = line.split('|').map(str::to_owned);
            if let (Some(uri), Some(suite), Some(origin)) = (parts.next(), parts.next(), parts.next()) {
                origins.push((uri, suite, origin));
            }
        }
        Ok(origins)
    }

    /// Run a step: its output goes to the log, its steps to `progress`.
    fn execute(&self, command: &mut Command, what: &str, progress: &mut dyn FnMut(&str)) -> Result<(), StackError> {
        let mut log = OpenOptions::new().append(true).open(&self.log).map_err(at("open", &self.log))?;
        let _ = writeln!(log, "== {what}");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let program = PathBuf::from(command.get_program());
        let mut child = command.spawn().map_err(at("run", &program))?;
        let mut step = what.to_owned();
        let mut told = String::new();
        if let Some(stdout) = child.stdout.take() {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(now) = step_of(&line) {
                    step.clone_from(&now);
                    if now != told {
                        progress(&format!("{}: {now}", self.name));
                        told = now;
                    }
                }
            }
        }
        let status = child.wait().map_err(at("wait for", &program))?;
        if status.success() {
            return Ok(());
        }
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n");
        Err(StackError::Step { layer: self.name, step, status: status.to_string(), log: self.log.clone(), tail })
    }

    /// Write the manifest, bring everything to disk, and give the folder its name.
    fn keep(&self, dir: &Path, on: &[StackLayer], packages: &str, started: stdx::Instant) -> Result<(), StackError> {
        let upper = self.work.join("upper");
        let tree = tree::read(&upper).map_err(at("read", &upper))?;
        let below: Vec<Package> = on.iter().flat_map(|layer| layer.manifest.packages.clone()).collect();
        let made = self.work.with_extension("made");
        if made.exists() {
            fs::remove_dir_all(&made).map_err(at("remove", &made))?;
        }
        fs::create_dir(&made).map_err(at("create", &made))?;
        fs::rename(&upper, made.join(FILES)).map_err(at("rename", &upper))?;
        let digest = Digest::parse(&tree.digest).map_err(|_| at("name", &upper)(io::ErrorKind::InvalidData.into()))?;
        let manifest = Manifest {
            version: 1,
            name: self.name,
            digest,
            system: self.host.system(),
            on: on.iter().map(|layer| layer.digest.clone()).collect(),
            packages: manifest::added(packages, &below),
            bytes: tree.bytes,
            files: tree.files,
            millis: u64::try_from(os::clock::now().since(started).as_millis()).unwrap_or(u64::MAX),
            made_unix_millis: os::clock::wall().unix_millis(),
        };
        let path = made.join(MANIFEST);
        let text = serde_json::to_vec_pretty(&manifest).map_err(|error| at("write", &path)(error.into()))?;
        fs::write(&path, text).map_err(at("write", &path))?;
        // The overlay skipped every fsync, so one for all must come before the name.
        let file = File::open(&made).map_err(at("open", &made))?;
        nix::unistd::syncfs(&file).map_err(|error| at("sync", &made)(error.into()))?;
        fs::rename(&made, dir).map_err(at("rename", &made))?;
        if let Some(parent) = dir.parent() {
            os::file::sync_dir(parent).map_err(|error| kept(error, parent))?;
        }
        fs::remove_dir_all(&self.work).map_err(at("remove", &self.work))
    }
}

/// What a line of a script or of apt says about progress.
fn step_of(line: &str) -> Option<String> {
    if let Some(step) = line.strip_prefix("step ") {
        return Some(step.to_owned());
    }
    let mut parts = line.split(':');
    let kind = parts.next()?;
    let percent = parts.nth(1)?.split('.').next()?.parse::<u32>().ok()?;
    // Every tenth is enough for a person and for a log.
    let tenth = percent / 10 * 10;
    match kind {
        "dlstatus" => Some(format!("downloading, {tenth} %")),
        "pmstatus" => Some(format!("installing, {tenth} %")),
        _ => None,
    }
}
