//! The directory of a job: everything that a new daemon needs to go on with it.
//!
//! ```text
//! DATA_DIR/jobs/<job>/spec.json   the claim       (daemon, synced)
//!                     state.json  what is known   (daemon)
//!                     run.json    the run's plan  (daemon)
//!                     shim.json, shim.sock, shim.lock, exit.json (shim)
//!                     log/        the log         (shim)
//!                     files/      resolv.conf, hosts, ... of the run
//!                     scratch/    what the run changed in its root
//! ```

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use os::file::{Durability, FileError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use types::JobId;
use types::host::Claim;

use crate::process;
use crate::shim::names;
use crate::stored::{StoredClaim, StoredExit, StoredShim, StoredState, VERSION};

/// Why a job's directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JobDirError {
    /// A file or directory in it.
    #[error(transparent)]
    File(#[from] FileError),
    /// A record has no JSON form.
    #[error("encode {}", path.display())]
    Encode {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// Something that was to go does not.
    #[error("{action} {}", path.display())]
    Entry {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// What a shim is doing.
#[derive(Debug)]
pub enum ShimLock {
    /// There is none, and none can begin while this is held.
    Free(File),
    /// There is one.
    Held,
}

/// A job's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobDir {
    path: PathBuf,
}

impl JobDir {
    /// The directory of `job` below `jobs`.
    #[must_use]
    pub fn of(jobs: &Path, job: &JobId) -> JobDir {
        JobDir { path: jobs.join(job.as_str()) }
    }

    /// Make it for a claim.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(jobs: &Path, claim: &Claim) -> Result<JobDir, JobDirError> {
        let dir = JobDir::of(jobs, &claim.job);
        os::file::make_dir(&dir.path, 0o700)?;
        dir.save(names::SPEC, &StoredClaim { version: VERSION, claim: claim.clone() }, Durability::Synced)?;
        os::file::sync_dir(jobs)?;
        Ok(dir)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the job's log is.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.path.join(names::LOG)
    }

    /// Where the files put into the job's root are.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.path.join("files")
    }

    /// Where what the job changes in its root is.
    #[must_use]
    pub fn scratch(&self) -> PathBuf {
        self.path.join("scratch")
    }

    /// What cannot be decoded counts as absent: a power cut leaves a file empty that was not synced, and what must
    /// survive one was.
    fn load<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, JobDirError> {
        let path = self.path.join(name);
        let Some(text) = os::file::read_if_exists(&path)? else { return Ok(None) };
        let decoded = serde_json::from_slice(&text);
        if let Err(error) = &decoded {
            log::warn!(path:% = path.display(), bytes = text.len(), error:% = error; "record not readable; going on without");
        }
        Ok(decoded.ok())
    }

    /// Replace a file of it.
    ///
    /// # Errors
    /// The old content stays.
    pub fn save<T: Serialize>(&self, name: &str, item: &T, durability: Durability) -> Result<(), JobDirError> {
        let path = self.path.join(name);
        let text = serde_json::to_vec(item).map_err(|source| JobDirError::Encode { path: path.clone(), source })?;
        Ok(os::file::replace(&path, &text, 0o600, durability)?)
    }

    /// The claim.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn claim(&self) -> Result<Option<Claim>, JobDirError> {
        Ok(self.load::<StoredClaim>(names::SPEC)?.map(|stored| stored.claim))
    }

    /// What the last daemon knew.
    ///
    /// # Errors
    /// As [`JobDir::claim`].
    pub fn state(&self) -> Result<Option<StoredState>, JobDirError> {
        self.load(names::STATE)
    }

    /// How the run ended, if its shim has said so.
    ///
    /// # Errors
    /// As [`JobDir::claim`].
    pub fn exit(&self, run: u32) -> Result<Option<StoredExit>, JobDirError> {
        Ok(self.load::<StoredExit>(names::EXIT)?.filter(|exit| exit.run == run))
    }

    /// The shim of the run, if it lives.
    ///
    /// # Errors
    /// As [`JobDir::claim`].
    pub fn living_shim(&self, run: u32) -> Result<Option<StoredShim>, JobDirError> {
        let shim = self.load::<StoredShim>(names::SHIM)?;
        Ok(shim.filter(|stored| stored.run == run && process::is_alive(stored.shim)))
    }

    /// What the last shim wrote of itself, whether it lives or not.
    ///
    /// # Errors
    /// As [`JobDir::claim`].
    pub fn last_shim(&self) -> Result<Option<StoredShim>, JobDirError> {
        self.load(names::SHIM)
    }

    /// Whether a shim is there, even one that has not come as far as to say so. A shim holds this lock as long as it
    /// lives.
    ///
    /// # Errors
    /// When the lock cannot be opened.
    pub fn lock_shim(&self) -> Result<ShimLock, JobDirError> {
        let path = self.path.join(names::LOCK);
        let entry = |source| JobDirError::Entry { action: "lock", path: path.clone(), source };
        let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = opened.map_err(entry)?;
        match file.try_lock() {
            Ok(()) => Ok(ShimLock::Free(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(ShimLock::Held),
            Err(fs::TryLockError::Error(source)) => Err(entry(source)),
        }
    }

    /// The process number that the holder of the lock wrote into it.
    #[must_use]
    pub fn lock_holder(&self) -> Option<i32> {
        fs::read_to_string(self.path.join(names::LOCK)).ok()?.trim().parse().ok()
    }

    /// Remove one of its files.
    ///
    /// # Errors
    /// Any failure but absence.
    pub fn remove(&self, name: &str) -> Result<(), JobDirError> {
        Ok(os::file::remove_if_exists(&self.path.join(name))?)
    }

    /// Keep nothing but the state, the log, and of the claim what names the job: neither its environment nor its files,
    /// which hold secrets.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn retire(&self) -> Result<(), JobDirError> {
        if let Some(mut claim) = self.claim()? {
            claim.spec.env.clear();
            claim.spec.files.clear();
            self.save(names::SPEC, &StoredClaim { version: VERSION, claim }, Durability::Synced)?;
        }
        let entry = |path: &Path| {
            let path = path.to_path_buf();
            move |source| JobDirError::Entry { action: "remove", path, source }
        };
        for found in fs::read_dir(&self.path).map_err(entry(&self.path))?.flatten() {
            let name = found.file_name();
            if [names::SPEC, names::STATE, names::LOG].iter().any(|kept| name == *kept) {
                continue;
            }
            let path = found.path();
            let is_dir = found.file_type().is_ok_and(|kind| kind.is_dir());
            let removed = if is_dir { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(entry(&path)(error)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The jobs that have a directory below `jobs`.
///
/// # Errors
/// When it cannot be listed.
pub fn all(jobs: &Path) -> Result<Vec<JobId>, JobDirError> {
    let entries =
        fs::read_dir(jobs).map_err(|source| JobDirError::Entry { action: "list", path: jobs.to_path_buf(), source })?;
    let mut ids: Vec<JobId> =
        entries.flatten().filter_map(|entry| JobId::parse(entry.file_name().to_str()?).ok()).collect();
    ids.sort();
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use types::job::DownReason;

    use super::*;
    use crate::stored::Record;

    fn made(jobs: &Path) -> JobDir {
        let job = JobId::parse(&os::entropy::uuid()).unwrap();
        let mut spec = crate::test_spec();
        spec.env.insert("PASSWORD".to_owned(), "sesame".to_owned());
        let host = types::HostId::parse("host1").unwrap();
        JobDir::create(jobs, &Claim { job, host, spec, stop: None, created_ms: 0 }).unwrap()
    }

    #[test]
    fn what_a_power_cut_emptied_counts_as_absent() {
        let jobs = testkit::TempDir::new("jobdir");
        let dir = made(jobs.path());
        let state = StoredState {
            version: VERSION,
            record: Record { run: 3, ..Record::default() },
            started_ms: 0,
            ended_ms: 0,
            address: None,
            forgotten: false,
        };
        dir.save(names::STATE, &state, Durability::Atomic).unwrap();
        let exit = StoredExit { version: VERSION, run: 3, reason: DownReason::Lost, ended_ms: 0 };
        dir.save(names::EXIT, &exit, Durability::Atomic).unwrap();
        assert_eq!((dir.state().unwrap(), dir.exit(3).unwrap()), (Some(state), Some(exit)));
        for name in [names::STATE, names::EXIT, names::SHIM, names::SPEC] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!((dir.state().unwrap(), dir.exit(3).unwrap()), (None, None));
        assert!(dir.living_shim(3).unwrap().is_none() && dir.claim().unwrap().is_none());
    }

    #[test]
    fn a_retired_job_keeps_no_secret() {
        let jobs = testkit::TempDir::new("jobdir");
        let dir = made(jobs.path());
        dir.retire().unwrap();
        let text = fs::read_to_string(dir.path().join(names::SPEC)).unwrap();
        assert!(!text.contains("sesame") && dir.claim().unwrap().is_some(), "{text}");
    }
}
