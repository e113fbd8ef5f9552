//! What is written down of a layer, next to its files.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use types::Digest;
use types::stack::LayerName;

use super::StackLayer;

/// Name of the file in a layer's folder.
pub(super) const MANIFEST: &str = "manifest.json";

/// Name of the folder of files in a layer's folder.
pub(super) const FILES: &str = "fs";

/// A package in a layer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// What a layer is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Form of this file.
    pub version: u32,
    /// The layer.
    pub name: LayerName,
    /// Its identity.
    pub digest: Digest,
    /// The distribution, e.g. `debian bookworm amd64`.
    pub system: String,
    /// Layers it stands on, lowest first.
    pub on: Vec<Digest>,
    /// Packages it adds.
    pub packages: Vec<Package>,
    /// Bytes of its files.
    pub bytes: u64,
    /// How many files.
    pub files: u64,
    /// How long it took to make.
    pub millis: u64,
    /// When it was made, in milliseconds since 1970.
    pub made_unix_millis: u64,
}

/// The layer in this folder, if it is whole.
pub(super) fn read(dir: &Path) -> Option<StackLayer> {
    let text = fs::read(dir.join(MANIFEST)).ok()?;
    let manifest: Manifest = serde_json::from_slice(&text).ok()?;
    let dir = dir.join(FILES);
    dir.is_dir().then(|| StackLayer { name: manifest.name, digest: manifest.digest.clone(), dir, manifest })
}

/// Every layer below `dir`.
pub(super) fn all(dir: &Path) -> Vec<StackLayer> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut dirs: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    // A work folder has its manifest before it has its name.
    dirs.retain(|dir| !dir.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"work-")));
    dirs.sort();
    dirs.iter().filter_map(|dir| read(dir)).collect()
}

/// What the list of `dpkg-query` has that the list below has not.
pub(super) fn added(list: &str, below: &[Package]) -> Vec<Package> {
    let mut packages: Vec<Package> = list
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, version)| Package { name: name.to_owned(), version: version.to_owned() })
        .filter(|package| !below.contains(package))
        .collect();
    packages.sort();
    packages
}
