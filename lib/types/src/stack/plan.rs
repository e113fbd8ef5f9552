//! Which buildpack an app gets, and which layers that needs, from the names of its files.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use super::LayerName;

/// What is known of an app before its build.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sources<'a> {
    /// Paths of its files, relative to its top, `/` between folders; a leading `./` is ignored.
    pub names: &'a [&'a str],
    /// The content of its `.buildpacks`, if it has one.
    pub buildpacks: Option<&'a str>,
    /// The config variable `BUILDPACK_URL`, if set. Goes before `.buildpacks`.
    pub buildpack_url: Option<&'a str>,
}

/// A first-party buildpack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pack {
    /// Python with pip.
    Python,
    /// Go modules.
    Go,
    /// Node.js with npm.
    Nodejs,
    /// Files served as they are.
    Static,
}

impl Pack {
    /// All of them, in the order in which they are asked. Python and Go come before Node.js, because an app of theirs
    /// often has a `package.json` for its pages, and a Node.js app has none of their files.
    pub const ALL: [Pack; 4] = [Pack::Python, Pack::Go, Pack::Nodejs, Pack::Static];

    /// Its name in `.buildpacks`, `BUILDPACK_URL` and folders.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Pack::Python => "python",
            Pack::Go => "go",
            Pack::Nodejs => "nodejs",
            Pack::Static => "static",
        }
    }

    /// Its name for people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Pack::Python => "Python",
            Pack::Go => "Go",
            Pack::Nodejs => "Node.js",
            Pack::Static => "Static site",
        }
    }

    /// The pack of this name. Heroku's short names (`heroku/python`) mean ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Pack> {
        let short = text.strip_prefix("heroku/").or_else(|| text.strip_prefix("slipway/")).unwrap_or(text);
        Pack::ALL.into_iter().find(|pack| pack.as_str() == short)
    }

    /// The files at the top of an app that call for it; one is enough.
    #[must_use]
    pub const fn marks(self) -> &'static [&'static str] {
        match self {
            Pack::Python => &["requirements.txt", "pyproject.toml", "setup.py"],
            Pack::Go => &["go.mod"],
            Pack::Nodejs => &["package.json"],
            Pack::Static => &["Staticfile", "index.html", "public/index.html"],
        }
    }

    fn matches(self, names: &[&str]) -> bool {
        self.marks().iter().any(|mark| has(names, mark))
    }

    const fn layers_build(self) -> &'static [LayerName] {
        match self {
            Pack::Python => &[LayerName::Python, LayerName::PythonBuild],
            Pack::Go => &[LayerName::Go],
            Pack::Nodejs => &[LayerName::Nodejs],
            Pack::Static => &[LayerName::Static],
        }
    }

    /// What sources in its language need to become machine code, beyond `layers_build`.
    #[must_use]
    pub const fn layers_compile(self) -> &'static [LayerName] {
        match self {
            Pack::Python => &[LayerName::PythonDev, LayerName::Build],
            Pack::Go | Pack::Nodejs | Pack::Static => &[LayerName::Build],
        }
    }

    const fn layers_run(self) -> &'static [LayerName] {
        match self {
            Pack::Python => &[LayerName::Python],
            Pack::Go => &[],
            Pack::Nodejs => &[LayerName::Nodejs],
            Pack::Static => &[LayerName::Static],
        }
    }
}

/// How the buildpack was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// By the app's files.
    Detected(Pack),
    /// By the app: `BUILDPACK_URL` or the lines of `.buildpacks`, in order.
    Named(Vec<String>),
}

/// What a build and the app after it need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildPlan {
    /// What builds it.
    pub origin: Origin,
    /// Layers of the build job's root, lowest first.
    pub layers_build: Vec<LayerName>,
    /// Layers of the run jobs' roots below the slug, lowest first.
    pub layers_run: Vec<LayerName>,
}

impl BuildPlan {
    /// The same with more layers for the build, as a failed one asked for them.
    #[must_use]
    pub fn with(mut self, wants: &[LayerName]) -> BuildPlan {
        add(&mut self.layers_build, wants);
        self
    }
}

/// Choose the buildpack and the layers.
///
/// # Errors
/// When nothing matches: says what was looked for, what was found and what to do.
pub fn plan(sources: &Sources<'_>) -> Result<BuildPlan, Undetected> {
    let named = named(sources);
    if named.is_empty() {
        let Some(pack) = Pack::ALL.into_iter().find(|pack| pack.matches(sources.names)) else {
            return Err(Undetected::of(sources.names));
        };
        let mut layers_build = alloc::vec![LayerName::Run];
        let mut layers_run = layers_build.clone();
        add(&mut layers_build, pack.layers_build());
        add(&mut layers_run, pack.layers_run());
        return Ok(BuildPlan { origin: Origin::Detected(pack), layers_build, layers_run });
    }
    let mut layers_build = alloc::vec![LayerName::Run];
    let mut layers_run = layers_build.clone();
    // A buildpack that is not ours may need any language that the app is written in, and a compiler.
    let foreign = named.iter().any(|name| Pack::parse(name).is_none());
    for pack in Pack::ALL {
        let asked = named.iter().any(|name| Pack::parse(name) == Some(pack));
        if asked || (foreign && pack != Pack::Static && pack.matches(sources.names)) {
            add(&mut layers_build, pack.layers_build());
            add(&mut layers_run, pack.layers_run());
            if foreign {
                add(&mut layers_build, pack.layers_compile());
            }
        }
    }
    if foreign {
        add(&mut layers_build, &[LayerName::Build]);
    }
    Ok(BuildPlan { origin: Origin::Named(named), layers_build, layers_run })
}

fn named(sources: &Sources<'_>) -> Vec<String> {
    if let Some(url) = sources.buildpack_url.map(str::trim).filter(|url| !url.is_empty()) {
        return alloc::vec![url.to_string()];
    }
    let lines = sources.buildpacks.unwrap_or_default().lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(ToString::to_string).collect()
}

fn add(layers: &mut Vec<LayerName>, more: &[LayerName]) {
    for layer in more {
        if !layers.contains(layer) {
            layers.push(*layer);
        }
    }
}

fn clean(name: &str) -> &str {
    name.strip_prefix("./").unwrap_or(name)
}

fn has(names: &[&str], wanted: &str) -> bool {
    names.iter().any(|name| clean(name) == wanted)
}

/// No buildpack fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undetected {
    /// Names at the top of the app, a few of them.
    pub found: Vec<String>,
    /// How many more there are.
    pub more: usize,
    /// What probably is the matter.
    pub hint: Option<String>,
}

/// How many names a message lists.
const FOUND_MAX: usize = 12;

/// Files that tell a language without a first-party buildpack.
const FOREIGN: [(&str, &str); 8] = [
    ("Gemfile", "Ruby"),
    ("pom.xml", "Java"),
    ("build.gradle", "Java"),
    ("composer.json", "PHP"),
    ("Cargo.toml", "Rust"),
    ("mix.exs", "Elixir"),
    ("deno.json", "Deno"),
    ("build.sbt", "Scala"),
];

impl Undetected {
    fn of(names: &[&str]) -> Undetected {
        let mut top: Vec<String> = Vec::new();
        for name in names.iter().map(|name| clean(name)).filter(|name| !name.is_empty()) {
            let entry = name.split_once('/').map_or_else(|| name.to_string(), |(folder, _)| format!("{folder}/"));
            if !top.contains(&entry) && entry != "./" {
                top.push(entry);
            }
            if top.len() > 10 * FOUND_MAX {
                break;
            }
        }
        top.sort();
        let more = top.len().saturating_sub(FOUND_MAX);
        top.truncate(FOUND_MAX);
        Undetected { hint: hint(names), found: top, more }
    }
}

fn hint(names: &[&str]) -> Option<String> {
    if names.iter().all(|name| clean(name).is_empty()) {
        return Some("the commit holds no files: did you `git add` them?".to_string());
    }
    if has(names, "Pipfile") {
        return Some("Pipfile is not read: run `pipenv requirements > requirements.txt` and commit it".to_string());
    }
    if let Some((mark, language)) = FOREIGN.iter().find(|(mark, _)| has(names, mark)) {
        return Some(format!(
            "{mark} looks like {language}, which has no buildpack of ours: name one with \
             `slipway env set BUILDPACK_URL=<git or .tgz URL, or a folder like ./buildpack>`"
        ));
    }
    for pack in [Pack::Python, Pack::Go, Pack::Nodejs] {
        for name in names.iter().map(|name| clean(name)) {
            if let Some((folder, file)) = name.rsplit_once('/')
                && pack.marks().contains(&file)
                && !folder.contains("node_modules")
            {
                return Some(format!(
                    "{name} is not at the top of the repository: push only that folder with \
                     `git push slipway $(git subtree split --prefix {folder}):refs/heads/main`"
                ));
            }
        }
    }
    if has(names, "Dockerfile") {
        return Some("a Dockerfile is not used: add the file of your language named above".to_string());
    }
    if names.iter().any(|name| clean(name).ends_with(".py")) {
        return Some("Python files were found: add a requirements.txt (it may be empty)".to_string());
    }
    if names.iter().any(|name| clean(name).ends_with(".go")) {
        return Some("Go files were found: run `go mod init` and commit go.mod".to_string());
    }
    if names.iter().any(|name| clean(name).ends_with(".js")) {
        return Some("JavaScript files were found: run `npm init -y` and commit package.json".to_string());
    }
    None
}

impl fmt::Display for Undetected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "no buildpack fits this app")?;
        writeln!(f, "looked at the top of the repository for:")?;
        for pack in Pack::ALL {
            writeln!(f, "  {:<12} {}", pack.title(), pack.marks().join(" or "))?;
        }
        writeln!(f, "  {:<12} .buildpacks, or the config variable BUILDPACK_URL", "your own")?;
        if self.found.is_empty() {
            write!(f, "found: nothing")?;
        } else {
            write!(f, "found: {}", self.found.join(" "))?;
        }
        if self.more > 0 {
            write!(f, " and {} more", self.more)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl core::error::Error for Undetected {}
