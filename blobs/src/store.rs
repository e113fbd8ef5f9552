//! The folder: receiving, reading, listing and removing blobs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use api::blobs::{Blob, Listing};
use sha2::{Digest as _, Sha256};
use types::{ApiError, Code, Digest};

use crate::limits::{BUFFER_BYTES, PAGE_MAX, ROOM_CHECK_BYTES, UPLOADS_MAX};

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("open the blob folder {}", dir.display())]
pub struct OpenStoreError {
    /// Which one.
    pub dir: PathBuf,
    /// What is wrong with it.
    pub source: io::Error,
}

/// Why a blob was not stored, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum StoreBlobError {
    /// The content is not what its name says.
    #[error("the content has digest {actual}, not {expected}")]
    Mismatch {
        /// What was announced.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// It is larger than a blob may be.
    #[error("the blob is over {max} bytes")]
    TooLarge {
        /// The limit.
        max: u64,
    },
    /// The disk has too little room.
    #[error("no room for the blob: {free} bytes are free and {reserve} are kept for the rest of the platform")]
    NoRoom {
        /// What is left on the disk.
        free: u64,
        /// What must stay.
        reserve: u64,
    },
    /// Too many uploads at once.
    #[error("{UPLOADS_MAX} uploads are under way already")]
    Busy,
    /// The sender broke off.
    #[error("receive the blob")]
    Receive(#[source] io::Error),
    /// The disk failed.
    #[error("{action} {}", path.display())]
    Disk {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl From<StoreBlobError> for ApiError {
    fn from(error: StoreBlobError) -> ApiError {
        let text = os::text::chain(&error);
        match error {
            StoreBlobError::Mismatch { .. } => ApiError::new(Code::Validation, text),
            StoreBlobError::TooLarge { .. } => ApiError::new(Code::OverLimit, text),
            StoreBlobError::NoRoom { .. } => {
                ApiError::new(Code::DiskFull, text).hint("free space on the disk under the data directory, or add some")
            }
            StoreBlobError::Busy => ApiError::retryable(Code::RateLimited, text),
            StoreBlobError::Receive(_) => ApiError::retryable(Code::Syntax, text),
            StoreBlobError::Disk { .. } => ApiError::new(Code::Internal, text),
        }
    }
}

/// Blobs in a folder. One process at a time: another that opens it is refused.
#[derive(Debug)]
pub struct Store {
    blobs: PathBuf,
    uploads: PathBuf,
    reserve_bytes: u64,
    blob_bytes_max: u64,
    /// Its lock goes with this.
    _lock: File,
    /// Held while a blob gets its name, is touched or is removed, so that a removal never takes what a PUT
    /// has just acknowledged.
    names: Mutex<()>,
    receiving: AtomicUsize,
}

fn disk(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreBlobError {
    let path = path.to_path_buf();
    move |source| StoreBlobError::Disk { action, path, source }
}

/// What an upload of another store has under way must not be cleared, nor a blob collected that it acknowledged.
fn lock(dir: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(dir.join("lock"))?;
    file.try_lock().map_err(|error| match error {
        fs::TryLockError::WouldBlock => {
            io::Error::new(io::ErrorKind::ResourceBusy, "another blob store uses this folder")
        }
        fs::TryLockError::Error(error) => error,
    })?;
    Ok(file)
}

impl Store {
    /// Open the folder, making it if needed, and drop what earlier uploads left behind.
    ///
    /// # Errors
    /// When it cannot be made or read, or another store has it.
    pub fn open(dir: &Path, reserve_bytes: u64, blob_bytes_max: u64) -> Result<Store, OpenStoreError> {
        let failed = |source| OpenStoreError { dir: dir.to_path_buf(), source };
        let (blobs, uploads) = (dir.join("sha256"), dir.join("uploads"));
        fs::create_dir_all(&blobs).map_err(failed)?;
        let lock = lock(dir).map_err(failed)?;
        fs::create_dir_all(&uploads).map_err(failed)?;
        for entry in fs::read_dir(&uploads).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            log::info!(path:% = path.display(); "unfinished upload removed");
            fs::remove_file(&path).map_err(failed)?;
        }
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
        Ok(Store {
            blobs,
            uploads,
            reserve_bytes,
            blob_bytes_max,
            _lock: lock,
            names: Mutex::new(()),
            receiving: AtomicUsize::new(0),
        })
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let text = digest.as_str();
        self.blobs.join(text.get(..2).unwrap_or("00")).join(text)
    }

    fn names(&self) -> MutexGuard<'_, ()> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that may still be stored.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn free_bytes(&self) -> Result<u64, StoreBlobError> {
        let stat = nix::sys::statvfs::statvfs(&self.blobs)
            .map_err(|errno| disk("ask for the room of", &self.blobs)(io::Error::from(errno)))?;
        Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
    }

    fn room_for(&self, more: u64) -> Result<(), StoreBlobError> {
        let free = self.free_bytes()?;
        if free.saturating_sub(more) < self.reserve_bytes {
            return Err(StoreBlobError::NoRoom { free, reserve: self.reserve_bytes });
        }
        Ok(())
    }

    /// Store what `content` gives. `announced` is its length, when the sender told it. A blob that is there is
    /// not read again: its age begins anew.
    ///
    /// # Errors
    /// See [`StoreBlobError`]; nothing is left behind then.
    pub fn put(&self, digest: &Digest, announced: Option<u64>, content: &mut dyn Read) -> Result<Blob, StoreBlobError> {
        if let Some(blob) = self.touch(digest)? {
            return Ok(blob);
        }
        if announced.is_some_and(|length| length > self.blob_bytes_max) {
            return Err(StoreBlobError::TooLarge { max: self.blob_bytes_max });
        }
        self.room_for(announced.unwrap_or(0))?;
        if self.receiving.fetch_add(1, Ordering::SeqCst) >= UPLOADS_MAX {
            self.receiving.fetch_sub(1, Ordering::SeqCst);
            return Err(StoreBlobError::Busy);
        }
        let upload = self.uploads.join(os::entropy::uuid());
        let stored = self.receive(digest, &upload, content);
        self.receiving.fetch_sub(1, Ordering::SeqCst);
        if stored.is_err() {
            // What cannot be removed now is removed at the next start.
            let _ = fs::remove_file(&upload);
        }
        stored
    }

    fn touch(&self, digest: &Digest) -> Result<Option<Blob>, StoreBlobError> {
        let path = self.path(digest);
        let _names = self.names();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(disk("open", &path)(error)),
        };
        let now = os::clock::wall().unix_millis();
        let times = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_millis(now));
        file.set_times(times).map_err(disk("touch", &path))?;
        let size = file.metadata().map_err(disk("look at", &path))?.len();
        Ok(Some(Blob { digest: digest.clone(), size, stored_ms: now }))
    }

    fn receive(&self, digest: &Digest, upload: &Path, content: &mut dyn Read) -> Result<Blob, StoreBlobError> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o400)
            .open(upload)
            .map_err(|error| self.write_failed("create", upload, error))?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; BUFFER_BYTES];
        let (mut size, mut checked) = (0u64, 0u64);
        loop {
            let got = match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(StoreBlobError::Receive(error)),
            };
            size += got as u64;
            if size > self.blob_bytes_max {
                return Err(StoreBlobError::TooLarge { max: self.blob_bytes_max });
            }
            if size - checked >= ROOM_CHECK_BYTES {
                checked = size;
                self.room_for(0)?;
            }
            hash.update(&buffer[..got]);
            file.write_all(&buffer[..got]).map_err(|error| self.write_failed("write", upload, error))?;
        }
        let actual = data_encoding::HEXLOWER.encode(&hash.finalize());
        let actual = Digest::parse(&actual).expect("a SHA-256 in lower-case hexadecimal is a digest");
        if actual != *digest {
            return Err(StoreBlobError::Mismatch { expected: digest.clone(), actual });
        }
        file.sync_all().map_err(|error| self.write_failed("sync", upload, error))?;
        self.name(digest, upload)?;
        Ok(Blob { digest: digest.clone(), size, stored_ms: os::clock::wall().unix_millis() })
    }

    /// Give a whole and synced upload its name, and make that survive a power cut.
    fn name(&self, digest: &Digest, upload: &Path) -> Result<(), StoreBlobError> {
        let path = self.path(digest);
        let shelf = path.parent().unwrap_or(&self.blobs);
        let _names = self.names();
        if !shelf.is_dir() {
            fs::create_dir_all(shelf).map_err(|error| self.write_failed("make", shelf, error))?;
            sync(&self.blobs)?;
        }
        fs::rename(upload, &path).map_err(|error| self.write_failed("rename to", &path, error))?;
        sync(shelf)
    }

    /// A full disk is an answer of its own.
    fn write_failed(&self, action: &'static str, path: &Path, error: io::Error) -> StoreBlobError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                StoreBlobError::NoRoom { free: self.free_bytes().unwrap_or(0), reserve: self.reserve_bytes }
            }
            _ => disk(action, path)(error),
        }
    }

    /// The blob's file and length; `None` when it is not there.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn open_blob(&self, digest: &Digest) -> Result<Option<(File, Blob)>, StoreBlobError> {
        let path = self.path(digest);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(disk("open", &path)(error)),
        };
        let found = file.metadata().map_err(disk("look at", &path))?;
        Ok(Some((file, describe(digest.clone(), &found))))
    }

    /// Remove a blob, unless it was stored or touched after `older_than_ms`. `None` when it is not there.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn remove(&self, digest: &Digest, older_than_ms: Option<u64>) -> Result<Option<bool>, StoreBlobError> {
        let path = self.path(digest);
        let _names = self.names();
        let found = match fs::metadata(&path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(disk("look at", &path)(error)),
        };
        if older_than_ms.is_some_and(|limit| describe(digest.clone(), &found).stored_ms > limit) {
            return Ok(Some(false));
        }
        fs::remove_file(&path).map_err(disk("remove", &path))?;
        sync(path.parent().unwrap_or(&self.blobs))?;
        Ok(Some(true))
    }

    /// The blobs after `after`, in the order of their digests, at most `limit`.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn list(&self, after: Option<&Digest>, limit: usize) -> Result<Listing, StoreBlobError> {
        let limit = limit.clamp(1, PAGE_MAX);
        let first = after.and_then(|digest| digest.as_str().get(..2)).unwrap_or("");
        let mut blobs = Vec::new();
        for shelf in sorted_names(&self.blobs)?.iter().filter(|name| name.as_str() >= first) {
            for name in sorted_names(&self.blobs.join(shelf))? {
                let Ok(digest) = Digest::parse(&name) else { continue };
                if after.is_some_and(|after| digest <= *after) {
                    continue;
                }
                // One removed in the meantime is not there any more.
                let Ok(found) = fs::metadata(self.path(&digest)) else { continue };
                blobs.push(describe(digest, &found));
                if blobs.len() > limit {
                    blobs.truncate(limit);
                    let next = blobs.last().map(|blob| blob.digest.clone());
                    return Ok(Listing { blobs, next });
                }
            }
        }
        Ok(Listing { blobs, next: None })
    }
}

fn describe(digest: Digest, found: &fs::Metadata) -> Blob {
    let stored = found.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let stored_ms = stored.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    Blob { digest, size: found.len(), stored_ms }
}

fn sorted_names(dir: &Path) -> Result<Vec<String>, StoreBlobError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(disk("list", dir)(error)),
    };
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok().and_then(|entry| entry.file_name().into_string().ok())).collect();
    names.sort();
    Ok(names)
}

fn sync(dir: &Path) -> Result<(), StoreBlobError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(disk("sync", dir))
}
