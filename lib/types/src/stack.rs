//! The stack: the names of its layers, which of them a build and a run need, and what a build is asked and answers.
//!
//! A root file system is a list of layers, lowest first. `run` is below all others; a language adds one layer, and
//! what only a build needs comes on top. The receiver of a push chooses them by [`plan`](fn@plan) from the names of the files
//! alone, before anything of the app has run.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

mod plan;
#[cfg(test)]
mod tests;

pub use plan::{BuildPlan, Origin, Pack, Sources, Undetected, plan};

/// The user and the group that builds and apps run as, inside their user namespace; `app` in the `run` layer.
pub const APP_UID: u32 = 1000;

/// Where the cache volume of an app is mounted in its build job.
pub const CACHE_DIR: &str = "/cache";

/// Where a slug is in the root of a run job: the only folder in the slug's tar, without the slash.
pub const APP_DIR: &str = "/app";

/// What `STACK` says to buildpacks.
pub const STACK: &str = "slipway";

/// A layer of the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayerName {
    /// The base of everything: a shell, the C library, certificates, time zones.
    Run,
    /// Compilers, git and what else sources need to become programs.
    Build,
    /// The Python interpreter.
    Python,
    /// pip; on `python`.
    PythonBuild,
    /// The headers of Python and what makes virtual environments; on `python-build`.
    PythonDev,
    /// Node.js and npm.
    Nodejs,
    /// The Go toolchain; its programs need none of it.
    Go,
    /// A web server for files.
    Static,
    /// git and an SSH server, for the git receiver itself.
    Git,
}

impl LayerName {
    /// Every layer there is.
    pub const ALL: [LayerName; 9] = [
        LayerName::Run,
        LayerName::Build,
        LayerName::Python,
        LayerName::PythonBuild,
        LayerName::PythonDev,
        LayerName::Nodejs,
        LayerName::Go,
        LayerName::Static,
        LayerName::Git,
    ];

    /// Its name in folders, manifests and on terminals.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            LayerName::Run => "run",
            LayerName::Build => "build",
            LayerName::Python => "python",
            LayerName::PythonBuild => "python-build",
            LayerName::PythonDev => "python-dev",
            LayerName::Nodejs => "nodejs",
            LayerName::Go => "go",
            LayerName::Static => "static",
            LayerName::Git => "git",
        }
    }

    /// The layer of this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<LayerName> {
        LayerName::ALL.into_iter().find(|layer| layer.as_str() == text)
    }

    /// The layer that it is made on top of.
    #[must_use]
    pub const fn on(self) -> Option<LayerName> {
        match self {
            LayerName::Run => None,
            LayerName::PythonBuild => Some(LayerName::Python),
            LayerName::PythonDev => Some(LayerName::PythonBuild),
            _ => Some(LayerName::Run),
        }
    }
}

impl fmt::Display for LayerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a build job reads first: one line of JSON, before the tar of the source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildRequest {
    /// The app's name, for messages.
    #[serde(default)]
    pub app: String,
    /// The app's config variables. They reach buildpacks as files in `ENV_DIR` and nothing else.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The commit, given to buildpacks as `SOURCE_VERSION`.
    #[serde(default)]
    pub source_version: String,
    /// Names this build in messages, given to buildpacks as `REQUEST_ID`.
    #[serde(default)]
    pub build: String,
}

/// What a build job writes first: one line of JSON. After `Built` the tar of the slug follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BuildReply {
    /// It worked.
    Built(Built),
    /// It did not; why has been told on standard error too.
    Failed(BuildFailure),
}

/// A build that worked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Built {
    /// Commands by process type: the Procfile's over the buildpacks' defaults.
    pub process_types: BTreeMap<String, String>,
    /// Config variables that buildpacks propose; an app's own go before them.
    #[serde(default)]
    pub default_env: BTreeMap<String, String>,
    /// What built it, in order, as people know it, e.g. `Python`.
    pub buildpacks: Vec<String>,
    /// The layers below the slug in the root of a run job, lowest first.
    pub layers_run: Vec<LayerName>,
    /// Where the time went, in order. They add up to `total_millis`.
    pub phases: Vec<BuildPhase>,
    /// From the first byte read to this line.
    pub total_millis: u64,
    /// Bytes of the source's files.
    pub source_bytes: u64,
    /// Bytes of the slug's files.
    pub slug_bytes: u64,
    /// Files of the slug.
    pub slug_files: u64,
}

/// A part of a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildPhase {
    /// What was done, e.g. `Installing dependencies`.
    pub name: String,
    /// How long it took.
    pub millis: u64,
    /// What the cache gave, e.g. `hit: requirements unchanged`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<String>,
}

/// A build that did not work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildFailure {
    /// What kind of failure, e.g. `compile-failed`; never changes its meaning.
    pub code: String,
    /// What failed and why, for people.
    pub message: String,
    /// Layers that this build lacked: try again with them added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wants: Vec<LayerName>,
}
