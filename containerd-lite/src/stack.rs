//! The stack: root file systems made from the distribution's packages, one folder of plain files for each layer.
//!
//! A layer is made on first use and kept: its folder appears by one rename when it is complete and on disk, so that a
//! crash leaves a work folder that the next try removes, and never half a layer. Packages come from the sources that
//! this host itself uses, narrowed to the distribution's own; the base is made by `mmdebstrap`, the others by the
//! host's apt on an overlay of the layers below, whose upper folder is the layer. Its identity is a digest of its
//! content. Whiteouts stay as overlayfs has them.
//!
//! Entry points: [`ensure`], [`find`], [`clients`] (what of the host's package settings a build gets).
//! Needs root, and of the host: mmdebstrap, apt, util-linux. Tested by `tests/it/root_stack.rs` and unit tests.

use std::path::PathBuf;

use types::Digest;
use types::stack::LayerName;

pub mod clients;
mod make;
mod manifest;
pub mod recipe;
pub mod sources;
pub mod tree;

#[cfg(test)]
mod tests;

pub use make::StackError;
pub use manifest::{Manifest, Package};

/// Where layers are and what they are made from.
#[derive(Clone, Debug)]
pub struct StackOptions {
    /// Folder of the layers; made when missing. On a file system that can be an overlay's upper side.
    pub dir: PathBuf,
    /// The host's apt settings, usually `/etc/apt`.
    pub apt_dir: PathBuf,
    /// What says which distribution the host is, usually `/etc/os-release`.
    pub os_release: PathBuf,
}

impl StackOptions {
    /// Layers in `dir`, made from what this host is.
    #[must_use]
    pub fn of_host(dir: PathBuf) -> StackOptions {
        StackOptions { dir, apt_dir: PathBuf::from("/etc/apt"), os_release: PathBuf::from("/etc/os-release") }
    }
}

/// A layer that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackLayer {
    /// Its name.
    pub name: LayerName,
    /// Its identity.
    pub digest: Digest,
    /// Its files: a read-only lower folder for overlays.
    pub dir: PathBuf,
    /// What it is made of.
    pub manifest: Manifest,
}

/// The layer, made if it is not there yet; what it stands on too. Calls for the same layer, from any thread or
/// process, make it once. `progress` gets a line now and then while something is made, and nothing otherwise.
///
/// # Errors
/// Says which step failed, the end of its log and where the whole log is.
pub fn ensure(
    options: &StackOptions,
    name: LayerName,
    progress: &mut dyn FnMut(&str),
) -> Result<StackLayer, StackError> {
    let host = make::Host::read(options)?;
    make::ensure(options, &host, name, progress)
}

/// The folder of a layer by its digest, if it is there.
#[must_use]
pub fn find(options: &StackOptions, digest: &Digest) -> Option<StackLayer> {
    manifest::all(&options.dir).into_iter().find(|layer| layer.digest == *digest)
}
