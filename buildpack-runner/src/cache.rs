//! The cache folder of a build.
//!
//! The first-party buildpacks write only finished, content-addressed entries, so they work on their folder directly.
//! Others may leave anything half written when they fail: they get a copy, which takes the place of the good one when
//! all buildpacks have succeeded. Both paths are the same in every build, because tools keep them in their entries.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, at};
use crate::files;
use crate::limits::CACHE_BYTES_MAX;

pub(crate) struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Open it, with what a crash left behind put right.
    pub(crate) fn open(root: &Path) -> Result<Cache, Failure> {
        let cache = Cache { root: root.to_path_buf() };
        let (good, old, work) = (cache.at("other/good"), cache.at("other/old"), cache.at("other/work"));
        for folder in [cache.first_party(), cache.at("other")] {
            fs::create_dir_all(&folder).map_err(at("create", &folder))?;
        }
        if !good.exists() && old.exists() {
            fs::rename(&old, &good).map_err(at("rename", &old))?;
        }
        for folder in [&old, &work] {
            files::remove_tree(folder).map_err(at("remove", folder))?;
        }
        Ok(cache)
    }

    /// For our buildpacks.
    pub(crate) fn first_party(&self) -> PathBuf {
        self.at("first-party")
    }

    /// For others: a copy of what the last good build left.
    pub(crate) fn copy(&self) -> Result<PathBuf, Failure> {
        let (good, work) = (self.at("other/good"), self.at("other/work"));
        if work.exists() {
            return Ok(work);
        }
        if good.exists() {
            files::copy_tree(&good, &work).map_err(at("copy", &good))?;
        } else {
            fs::create_dir_all(&work).map_err(at("create", &work))?;
        }
        Ok(work)
    }

    /// All buildpacks have succeeded. Gives the caches that were dropped because they had grown too large.
    pub(crate) fn keep(&self) -> Result<Vec<&'static str>, Failure> {
        let (good, old, work) = (self.at("other/good"), self.at("other/old"), self.at("other/work"));
        if work.exists() {
            if good.exists() {
                fs::rename(&good, &old).map_err(at("rename", &good))?;
            }
            fs::rename(&work, &good).map_err(at("rename", &work))?;
            files::remove_tree(&old).map_err(at("remove", &old))?;
        }
        let mut dropped = Vec::new();
        for (name, folder) in [("first-party", self.first_party()), ("other", good)] {
            if files::measure(&folder).0 > CACHE_BYTES_MAX {
                files::remove_tree(&folder).map_err(at("remove", &folder))?;
                dropped.push(name);
            }
        }
        Ok(dropped)
    }

    /// A buildpack has failed.
    pub(crate) fn discard(&self) {
        // The next build removes what cannot be removed now.
        let _ = files::remove_tree(&self.at("other/work"));
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}
