//! A build from its first byte to its last.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, Read, Write};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{Gid, Uid, geteuid, setgid, setgroups, setuid};
use types::ProcessType;
use types::stack::{APP_DIR, APP_UID, BuildPlan, BuildReply, BuildRequest, Built, CACHE_DIR, Origin, Sources, plan};

use crate::buildpack::{self, Buildpack, Place, Surroundings};
use crate::cache::Cache;
use crate::core::phases::size;
use crate::core::{procfile, reference};
use crate::failure::{Failure, FailureCode, at};
use crate::limits::{BUILD_TIME_MAX, BUILDPACKS_MAX, SLUG_BYTES_MAX, SOURCE_BYTES_MAX, TEXT_BYTES_MAX};
use crate::output::Output;
use crate::{files, launch, slug, source};

/// Where programs are looked for.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How a build is run. All paths are inside the build job.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder of this build; emptied first. Buildpacks remember paths in caches, so it never changes.
    pub work: PathBuf,
    /// The volume that outlives the build.
    pub cache: PathBuf,
    /// Bytes that the source may have.
    pub source_bytes_max: u64,
    /// Bytes that the slug may have.
    pub slug_bytes_max: u64,
    /// Time that it may take.
    pub time_max: Duration,
}

impl Options {
    /// As in a build job of the platform.
    #[must_use]
    pub fn of_job() -> Options {
        Options {
            work: PathBuf::from("/build"),
            cache: PathBuf::from(CACHE_DIR),
            source_bytes_max: SOURCE_BYTES_MAX,
            slug_bytes_max: SLUG_BYTES_MAX,
            time_max: BUILD_TIME_MAX,
        }
    }
}

/// Build: request and source from `input`, reply and slug to `reply`, everything for people to `people`.
///
/// # Errors
/// The kind of failure, which is the exit code to end with. It has been told on both outputs.
pub fn run(
    options: &Options,
    input: &mut dyn BufRead,
    reply: &mut dyn Write,
    people: &mut dyn Write,
) -> Result<(), FailureCode> {
    let mut output = Output::new(people, "Receiving source");
    match build(options, input, &mut output) {
        Ok(done) => {
            let written = line(reply, &BuildReply::Built(done.built))
                .and_then(|()| done.slug.write(&done.build, reply))
                .and_then(|()| reply.flush());
            // Nobody can be told but the log of the job.
            if let Err(error) = written {
                let failure = Failure::io("send", Path::new("the slug"), &error);
                output.fail(&failure);
                return Err(failure.code);
            }
            output.finish("Built");
            Ok(())
        }
        Err(failure) => {
            output.fail(&failure);
            // The exit code tells it too, if nobody reads this.
            let _ = line(reply, &BuildReply::Failed(failure.reply())).and_then(|()| reply.flush());
            Err(failure.code)
        }
    }
}

fn line(out: &mut dyn Write, reply: &BuildReply) -> std::io::Result<()> {
    let mut text = serde_json::to_vec(reply)?;
    text.push(b'\n');
    out.write_all(&text)
}

struct Done {
    built: Built,
    slug: slug::Slug,
    build: PathBuf,
}

fn build(options: &Options, input: &mut dyn BufRead, output: &mut Output<'_>) -> Result<Done, Failure> {
    let deadline = os::clock::now().after(options.time_max);
    let place = prepare(options)?;
    let request = source::request(input)?;
    let source = source::unpack(input, &place.build, options.source_bytes_max)?;
    output.arrow(&format!("Received {} in {} files", size(source.bytes), source.names.len()));
    let plan = choose(&place.build, &source.names, &request)?;
    // Before minutes of compiling are spent on it.
    declared(&place.build)?;
    let ignored = source::ignore(&place.build)?;
    if ignored > 0 {
        output.detail(&format!("{ignored} entries left out by .slugignore"));
    }
    buildpack::write_env(&place.env, &request.env)?;

    let mut around = Surroundings {
        place: &place,
        source_version: &request.source_version,
        request_id: &request.build,
        deadline,
        exports: Vec::new(),
    };
    let cache = Cache::open(&options.cache)?;
    let compiled = compile(&plan, &mut around, &cache, output);
    if compiled.is_err() {
        cache.discard();
    }
    let buildpacks = compiled?;
    for name in cache.keep()? {
        output.warn(&format!("the {name} cache had grown too large and was emptied"));
    }

    let (process_types, default_env) = discover(&place.build, &buildpacks, &around, &request, output)?;
    output.step("Building slug", "Building slug");
    write_types(&place.build, &process_types)?;
    let slug = slug::gather(&place.build, options.slug_bytes_max)?;
    if let Some(first) = slug.skipped.first() {
        let (n, first) = (slug.skipped.len(), first.display());
        output.warn(&format!("{n} entries are neither files, folders nor links and were left out, e.g. {first}"));
    }
    output.detail(&format!("{} in {} files", size(slug.bytes), slug.files));
    let (phases, total_millis) = output.phases();
    let built = Built {
        process_types,
        default_env,
        buildpacks: buildpacks.iter().map(|buildpack| buildpack.title.clone()).collect(),
        layers_run: plan.layers_run,
        phases,
        total_millis,
        source_bytes: source.bytes,
        slug_bytes: slug.bytes,
        slug_files: slug.files,
    };
    Ok(Done { built, slug, build: place.build })
}

/// Make the folders, and become the user that builds.
fn prepare(options: &Options) -> Result<Place, Failure> {
    let place =
        Place { build: options.work.join("source"), env: options.work.join("env"), packs: options.work.join("packs") };
    fs::create_dir_all(&options.work).map_err(at("create", &options.work))?;
    if geteuid().is_root() {
        let denied = |error: nix::errno::Errno| Failure::io("become", Path::new("the user app"), &error.into());
        for folder in [&options.work, &options.cache, &PathBuf::from(APP_DIR)] {
            fs::create_dir_all(folder).map_err(at("create", folder))?;
            chown(folder, Some(APP_UID), Some(APP_UID)).map_err(at("own", folder))?;
        }
        // A user namespace may forbid it, and then there are no groups to lose.
        let _ = setgroups(&[]);
        setgid(Gid::from_raw(APP_UID)).map_err(denied)?;
        setuid(Uid::from_raw(APP_UID)).map_err(denied)?;
    }
    for folder in [&place.build, &place.env, &place.packs] {
        files::remove_tree(folder).map_err(at("remove", folder))?;
        fs::create_dir_all(folder).map_err(at("create", folder))?;
    }
    Ok(place)
}

fn choose(build: &Path, names: &[String], request: &BuildRequest) -> Result<BuildPlan, Failure> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let listed = text(&build.join(".buildpacks"))?;
    let url = request.env.get("BUILDPACK_URL").map(String::as_str);
    let sources = Sources { names: &names, buildpacks: listed.as_deref(), buildpack_url: url };
    plan(&sources).map_err(|undetected| {
        Failure::new(FailureCode::NoBuildpack, undetected.to_string(), "add one of these files, commit, and push again")
    })
}

fn compile(
    plan: &BuildPlan,
    around: &mut Surroundings<'_>,
    cache: &Cache,
    output: &mut Output<'_>,
) -> Result<Vec<Buildpack>, Failure> {
    let named = match &plan.origin {
        Origin::Detected(pack) => vec![pack.as_str().to_owned()],
        Origin::Named(named) => named.clone(),
    };
    if named.len() > BUILDPACKS_MAX {
        let what = format!(".buildpacks names {} buildpacks; it may name {BUILDPACKS_MAX}", named.len());
        return Err(Failure::new(FailureCode::BuildpackUnavailable, what, "shorten it"));
    }
    let mut buildpacks = Vec::new();
    for (i, text) in named.iter().enumerate() {
        let reference = reference::parse(text).map_err(|error| {
            let todo = "name a git or .tgz URL, a folder like ./buildpack, or one of python, go, nodejs, static";
            Failure::new(FailureCode::BuildpackUnavailable, format!("the buildpack {error}"), todo)
        })?;
        let mut buildpack = buildpack::fetch(&reference, text, i, around, output)?;
        buildpack.detect(around)?;
        output.step(&buildpack.title, &format!("{} app detected", buildpack.title));
        let folder = if buildpack.first_party.is_some() { cache.first_party() } else { cache.copy()? };
        buildpack.compile(around, &folder, output)?;
        buildpacks.push(buildpack);
    }
    Ok(buildpacks)
}

/// The Procfile's process types.
fn declared(build: &Path) -> Result<Option<BTreeMap<String, String>>, Failure> {
    let Some(text) = text(&build.join("Procfile"))? else { return Ok(None) };
    let todo = "write one process type in a line, e.g.\n  web: python app.py";
    let parsed = procfile::parse(&text);
    parsed.map(Some).map_err(|error| Failure::new(FailureCode::ProcfileInvalid, error.to_string(), todo))
}

type Discovered = (BTreeMap<String, String>, BTreeMap<String, String>);

/// What the app runs: its Procfile over what the last buildpack proposes.
fn discover(
    build: &Path,
    buildpacks: &[Buildpack],
    around: &Surroundings<'_>,
    request: &BuildRequest,
    output: &mut Output<'_>,
) -> Result<Discovered, Failure> {
    output.step("Discovering process types", "Discovering process types");
    let declared = declared(build)?;
    let release = buildpacks.last().map(|last| last.release(around)).unwrap_or_default();
    let names = |types: &BTreeMap<String, String>| types.keys().cloned().collect::<Vec<_>>().join(", ");
    match &declared {
        Some(types) if !types.is_empty() => output.detail(&format!("Procfile declares types -> {}", names(types))),
        _ => output.detail("Procfile declares types -> (none)"),
    }
    let mut types: BTreeMap<String, String> =
        release.process_types.into_iter().filter(|(name, _)| ProcessType::parse(name).is_ok()).collect();
    types.retain(|name, _| !declared.as_ref().is_some_and(|declared| declared.contains_key(name)));
    if !types.is_empty() {
        output.detail(&format!("Default types for the buildpack -> {}", names(&types)));
    }
    types.extend(declared.clone().unwrap_or_default());
    let without = request.env.get("SLIPWAY_NO_WEB").is_some_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
    if !types.contains_key("web") && (types.is_empty() || !without) {
        let what = match &declared {
            None => "there is no Procfile, and the buildpack proposes no command for web".to_owned(),
            Some(types) if types.is_empty() => "the Procfile is empty".to_owned(),
            Some(types) => format!("the Procfile has no web, only {}: no request would be answered", names(types)),
        };
        let todo = "add a line to the Procfile, with the command that listens on $PORT, e.g.\n  web: python app.py\n\
                    an app that answers no requests needs: slipway env set SLIPWAY_NO_WEB=1";
        return Err(Failure::new(FailureCode::NoWeb, what, todo));
    }
    Ok((types, release.config_vars))
}

fn write_types(build: &Path, types: &BTreeMap<String, String>) -> Result<(), Failure> {
    let path = build.join(launch::TYPES_FILE);
    let text: String = types.iter().map(|(name, command)| format!("{name}: {command}\n")).collect();
    let written = fs::create_dir_all(path.parent().unwrap_or(build)).and_then(|()| fs::write(&path, text));
    written.map_err(at("write", &path))
}

/// A small text of the app, if it is there. What is not UTF-8 in it is replaced.
pub(crate) fn text(path: &Path) -> Result<Option<String>, Failure> {
    // A link could lead to what the reader may read and the app may not.
    if !fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file()) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(at("read", path))?;
    file.take(TEXT_BYTES_MAX).read_to_end(&mut bytes).map_err(at("read", path))?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}
