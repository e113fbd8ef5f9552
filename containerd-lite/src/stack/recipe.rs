//! What each layer is made of, as plain values.

use types::stack::LayerName;

/// Raised when a layer made by an older version of these recipes and scripts must be made anew.
pub(super) const RECIPE_VERSION: u32 = 1;

/// What a layer adds to the one below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// Its name.
    pub layer: LayerName,
    /// Packages of the distribution; what they depend on comes along, what they recommend does not.
    pub packages: &'static [&'static str],
    /// Packages that are only unpacked, with what they depend on: none of their scripts runs, and the layers on top do
    /// not know of them. For many small packages that takes a third of the time.
    pub unpacked: &'static [&'static str],
    /// Paths that are left out, besides documentation.
    pub exclude: &'static [&'static str],
}

/// npm comes as nearly four hundred packages of plain files, and these folders of them, more than half of all files,
/// belong to bundlers and test tools that npm itself never loads.
const NPM_NEVER_LOADS: &[&str] = &[
    "/usr/share/nodejs/@types/*",
    "/usr/share/nodejs/@babel/*",
    "/usr/share/nodejs/@webassemblyjs/*",
    "/usr/share/nodejs/ast-types/*",
    "/usr/share/nodejs/caniuse-lite/*",
    "/usr/share/nodejs/core-js*",
    "/usr/share/nodejs/es-abstract/*",
    "/usr/share/nodejs/eslint/*",
    "/usr/share/nodejs/handlebars/*",
    "/usr/share/nodejs/jest-*",
    "/usr/share/nodejs/lodash-es/*",
    "/usr/share/nodejs/regenerate-unicode-properties/*",
    "/usr/share/nodejs/terser/*",
    "/usr/share/nodejs/web-streams-polyfill/*",
    "/usr/share/nodejs/webpack/*",
];

/// The recipe of a layer.
#[must_use]
pub const fn recipe(layer: LayerName) -> Recipe {
    let (packages, exclude): (&[&str], &[&str]) = match layer {
        // `usr-is-merged` instead of `usrmerge`, which would bring perl.
        LayerName::Run => (&["usr-is-merged", "ca-certificates", "tzdata", "netbase"], &[]),
        LayerName::Build => {
            (&["build-essential", "git", "curl", "pkg-config", "xz-utils", "unzip", "bzip2", "file", "jq"], &[])
        }
        LayerName::Python => (&["python3"], &[]),
        LayerName::PythonBuild => (&["python3-pip"], &[]),
        // Debian keeps ensurepip out of python3; third-party buildpacks make virtual environments.
        LayerName::PythonDev => (&["python3-dev", "python3-venv"], &[]),
        LayerName::Nodejs => (&["nodejs"], NPM_NEVER_LOADS),
        LayerName::Go => (&["golang-go"], &["/usr/share/go-*/test/*", "/usr/share/go-*/api/*"]),
        LayerName::Static => (&["nginx-light"], &[]),
        LayerName::Git => (&["git", "openssh-server"], &[]),
    };
    let unpacked: &[&str] = if matches!(layer, LayerName::Nodejs) { &["npm"] } else { &[] };
    Recipe { layer, packages, unpacked, exclude }
}
