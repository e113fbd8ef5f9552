//! Named volumes: directories that outlive the jobs that use them.
//!
//! Ids in them are those inside the jobs: a job sees its volume through a mount that maps ids, so the same volume can
//! be used by whichever range of ids its app has.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, chown};
use types::VolumeName;

/// Why a volume cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{action} volume {name}")]
pub struct VolumeError {
    /// What was tried.
    pub action: &'static str,
    /// With which.
    pub name: String,
    /// What the kernel said.
    pub source: io::Error,
}

/// The volumes of this host.
#[derive(Clone, Debug)]
pub struct Volumes {
    dir: PathBuf,
}

impl Volumes {
    /// Those in `dir`, which is made if need be.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(dir: &Path) -> Result<Volumes, VolumeError> {
        os::file::make_dir(dir, 0o700).map_err(|error| VolumeError {
            action: "make the directory of",
            name: "every".to_owned(),
            source: error.source,
        })?;
        Ok(Volumes { dir: dir.to_path_buf() })
    }

    /// Have the volume, owned by the job's user if it is new.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn ensure(&self, name: &VolumeName, uid: u32, gid: u32) -> Result<PathBuf, VolumeError> {
        let path = self.dir.join(name.as_str());
        let failed = |action| move |source| VolumeError { action, name: name.to_string(), source };
        if path.is_dir() {
            return Ok(path);
        }
        // Owned before it has its name, so that a power cut leaves no volume that its job cannot write.
        let new = self.dir.join(format!(".new-{name}"));
        os::file::make_dir(&new, 0o755).map_err(|error| failed("make")(error.source))?;
        chown(&new, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).map_err(|error| failed("own")(error.into()))?;
        match fs::rename(&new, &path) {
            Ok(()) => {}
            // Another job of the same claim round made it first.
            Err(_) if path.is_dir() => return Ok(path),
            Err(error) => return Err(failed("name")(error)),
        }
        os::file::sync_dir(&self.dir).map_err(|error| failed("keep")(error.source))?;
        Ok(path)
    }

    /// The names of all volumes, in order.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn list(&self) -> Result<Vec<VolumeName>, VolumeError> {
        let entries = fs::read_dir(&self.dir);
        let entries = entries.map_err(|source| VolumeError { action: "list", name: "every".to_owned(), source })?;
        let mut names: Vec<VolumeName> =
            entries.flatten().filter_map(|entry| VolumeName::parse(entry.file_name().to_str()?).ok()).collect();
        names.sort();
        Ok(names)
    }

    /// Remove a volume and all it holds. The caller knows that no job uses it. Whether there was one.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, name: &VolumeName) -> Result<bool, VolumeError> {
        let failed = |source| VolumeError { action: "remove", name: name.to_string(), source };
        let path = self.dir.join(name.as_str());
        let gone = self.dir.join(format!(".gone-{name}"));
        crate::disk::remove_tree(&gone).map_err(failed)?;
        match fs::rename(&path, &gone) {
            Ok(()) => crate::disk::remove_tree(&gone).map(|()| true).map_err(failed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }
}

#[cfg(test)]
mod tests;
