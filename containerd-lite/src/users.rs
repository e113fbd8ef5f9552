//! Which ids of the host the users of an app's jobs have: a range of 65,536 for each app, never shared by two.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use os::file::{Durability, FileError};
use serde::{Deserialize, Serialize};
use types::AppId;

use crate::limits::{USER_RANGE, USER_RANGE_FIRST, USER_RANGES};
use crate::stored::VERSION;

/// Why an app has no range.
#[derive(Debug, thiserror::Error)]
pub enum UserRangeError {
    /// All are taken.
    #[error("all {USER_RANGES} ranges of user ids of this host are taken")]
    Exhausted,
    /// Who has which cannot be kept.
    #[error(transparent)]
    File(#[from] FileError),
    /// Who has which cannot be read: it must not be guessed, since two apps could meet.
    #[error("decode {}", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Stored {
    version: u32,
    apps: BTreeMap<AppId, u32>,
}

/// The ranges of one host. Clones share them.
#[derive(Clone, Debug)]
pub struct UserRanges {
    path: PathBuf,
    taken: Arc<Mutex<BTreeMap<AppId, u32>>>,
}

impl UserRanges {
    /// Those kept in `data_dir`.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn open(data_dir: &Path) -> Result<UserRanges, UserRangeError> {
        let path = data_dir.join("users.json");
        let stored: Stored = match os::file::read_if_exists(&path)? {
            Some(text) => {
                serde_json::from_slice(&text).map_err(|source| UserRangeError::Decode { path: path.clone(), source })?
            }
            None => Stored::default(),
        };
        Ok(UserRanges { path, taken: Arc::new(Mutex::new(stored.apps)) })
    }

    /// The first id of the app's range: the same for all its jobs, for ever.
    ///
    /// # Errors
    /// When no range is free or the choice cannot be kept.
    pub fn base(&self, app: &AppId) -> Result<u32, UserRangeError> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = taken.get(app) {
            return Ok(USER_RANGE_FIRST + place * USER_RANGE);
        }
        let used: std::collections::BTreeSet<u32> = taken.values().copied().collect();
        let place = (0..USER_RANGES).find(|place| !used.contains(place)).ok_or(UserRangeError::Exhausted)?;
        taken.insert(app.clone(), place);
        let stored = Stored { version: VERSION, apps: taken.clone() };
        let text = serde_json::to_vec(&stored)
            .map_err(|source| UserRangeError::Decode { path: self.path.clone(), source })
            .and_then(|text| Ok(os::file::replace(&self.path, &text, 0o600, Durability::Synced)?));
        if let Err(error) = text {
            taken.remove(app);
            return Err(error);
        }
        Ok(USER_RANGE_FIRST + place * USER_RANGE)
    }
}

#[cfg(test)]
mod tests;
