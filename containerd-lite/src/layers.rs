//! The layers of this host: read-only directories named by the SHA-256 of the tar they were made of.
//!
//! ```text
//! DATA_DIR/layers/<sha256>/          complete: it was renamed here after everything in it was synced
//! DATA_DIR/layers/tmp-<sha256>-<n>/  being unpacked, or left by a power cut; removed at start
//! ```
//! A layer is fetched and unpacked once however many jobs ask for it at the same time, and it is there only if its
//! bytes have its name. Layers that no claim names are kept for the next deployment or a rollback until they are the
//! oldest of too many, or the disk is short of room.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
use types::{ApiError, Code, Digest};

use crate::disk::{self, DiskError};
use crate::limits::{LAYER_BYTES_MAX, LAYER_ENTRIES_MAX, LAYERS_KEPT};

mod unpack;

pub use unpack::UnpackError;

/// Where the bytes of layers come from.
pub trait Blobs: Send + Sync {
    /// The bytes with this digest. They are checked by who asked.
    ///
    /// # Errors
    /// When they cannot be had; [`ApiError::retryable`] tells whether that may pass.
    fn open(&self, digest: &Digest) -> Result<Box<dyn Read + Send>, ApiError>;
}

/// Why a layer is not there.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LayerError {
    /// Its bytes cannot be had.
    #[error("fetch layer {}", digest.short())]
    Fetch {
        /// Which.
        digest: Digest,
        /// What the blob store said.
        source: ApiError,
    },
    /// Its bytes are not what its name says.
    #[error("layer {} came with other bytes: their digest is {}", digest.short(), got.short())]
    OtherBytes {
        /// Which.
        digest: Digest,
        /// What came.
        got: Digest,
    },
    /// Its bytes are no layer, or one that must not be unpacked.
    #[error("unpack layer {}", digest.short())]
    Unpack {
        /// Which.
        digest: Digest,
        /// Why not.
        source: Arc<UnpackError>,
    },
    /// The disk is short of room.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The directory of layers cannot be changed.
    #[error("{action} {}", path.display())]
    Store {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: Arc<io::Error>,
    },
}

impl LayerError {
    /// Whether the same layer may be had later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            LayerError::Fetch { source, .. } => source.retryable,
            // A broken transfer gives other bytes, and a torn tar.
            LayerError::OtherBytes { .. } | LayerError::Store { .. } => true,
            LayerError::Unpack { .. } | LayerError::Disk(_) => false,
        }
    }
}

impl From<LayerError> for ApiError {
    fn from(error: LayerError) -> ApiError {
        let retryable = error.is_retryable();
        match error {
            LayerError::Disk(error) => error.into(),
            LayerError::Fetch { source, .. } if source.code == Code::DiskFull => source,
            error => ApiError { retryable, ..ApiError::new(Code::LayerFailed, os::text::chain(&error)) },
        }
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LayerError {
    let path = path.to_path_buf();
    move |source| LayerError::Store { action, path, source: Arc::new(source) }
}

/// What a tar may be at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TarLimits {
    /// Files, directories and links.
    pub entries: u64,
    /// Unpacked bytes.
    pub bytes: u64,
}

impl TarLimits {
    /// Those of every layer.
    pub const STANDARD: TarLimits = TarLimits { entries: LAYER_ENTRIES_MAX, bytes: LAYER_BYTES_MAX };
}

type Outcome = Arc<(Mutex<Option<Result<(), LayerError>>>, Condvar)>;

/// The layers of this host. Clones share them.
#[derive(Clone)]
pub struct Layers {
    dir: PathBuf,
    blobs: Arc<dyn Blobs>,
    limits: TarLimits,
    flights: Arc<Mutex<BTreeMap<Digest, Outcome>>>,
    /// What was asked for since the last [`Layers::collection`] began.
    recent: Arc<Mutex<BTreeSet<Digest>>>,
    serial: Arc<AtomicU64>,
}

impl std::fmt::Debug for Layers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Layers({})", self.dir.display())
    }
}

impl Layers {
    /// The layers in `dir`, which is made if need be; what a power cut left half unpacked is removed.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub fn open(dir: &Path, blobs: Arc<dyn Blobs>, limits: TarLimits) -> Result<Layers, LayerError> {
        fs::create_dir_all(dir).map_err(failed("make", dir))?;
        let layers = Layers {
            dir: dir.to_path_buf(),
            blobs,
            limits,
            flights: Arc::default(),
            recent: Arc::default(),
            serial: Arc::new(AtomicU64::new(u64::from(std::process::id()) << 32)),
        };
        for entry in fs::read_dir(dir).map_err(failed("list", dir))?.flatten() {
            if entry.file_name().to_str().is_some_and(|name| name.starts_with("tmp-")) {
                fs::remove_dir_all(entry.path()).map_err(failed("remove", &entry.path()))?;
            }
        }
        Ok(layers)
    }

    /// Where a layer is or would be.
    #[must_use]
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(digest.as_str())
    }

    /// Have the layer, and say where it is. Whoever asks for one that is being fetched waits for that.
    ///
    /// # Errors
    /// See [`LayerError`]; nothing of the layer is left then.
    pub fn ensure(&self, digest: &Digest) -> Result<PathBuf, LayerError> {
        let path = self.path(digest);
        self.recent().insert(digest.clone());
        let (flight, is_first) = {
            let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
            if path.is_dir() {
                disk::touch(&path);
                return Ok(path);
            }
            match flights.get(digest) {
                Some(flight) => (Arc::clone(flight), false),
                None => {
                    let flight = Outcome::default();
                    flights.insert(digest.clone(), Arc::clone(&flight));
                    (flight, true)
                }
            }
        };
        if is_first {
            let outcome = self.fetch(digest);
            self.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(digest);
            *flight.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome.clone());
            flight.1.notify_all();
            return outcome.map(|()| path);
        }
        let mut outcome = flight.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match outcome.as_ref() {
                Some(outcome) => return outcome.clone().map(|()| path),
                None => outcome = flight.1.wait(outcome).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn fetch(&self, digest: &Digest) -> Result<(), LayerError> {
        disk::check_room(&self.dir)?;
        let content = self.blobs.open(digest).map_err(|source| LayerError::Fetch { digest: digest.clone(), source })?;
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let tmp = self.dir.join(format!("tmp-{}-{serial}", digest.as_str()));
        let unpacked = self.unpack(digest, content, &tmp);
        if unpacked.is_err()
            && let Err(error) = disk::remove_tree(&tmp)
        {
            log::warn!(path:% = tmp.display(), error:% = error; "half a layer not removed");
        }
        unpacked
    }

    fn unpack(&self, digest: &Digest, content: Box<dyn Read + Send>, tmp: &Path) -> Result<(), LayerError> {
        fs::create_dir(tmp).map_err(failed("make", tmp))?;
        let mut content = Hashed { content, hash: Sha256::new() };
        let unpacked = unpack::unpack(&mut content, tmp, self.limits, &|| disk::check_room(&self.dir));
        let fault = |source| LayerError::Unpack { digest: digest.clone(), source: Arc::new(source) };
        // What is behind the last entry is part of the name too. On bytes that are not the layer's, what the tar
        // reader says of them means nothing.
        let rest = io::copy(&mut content, &mut io::sink());
        let hash = content.hash.finalize();
        let got = Digest::parse(&HEXLOWER.encode(&hash)).expect("a SHA-256 in hexadecimal is a digest");
        match (unpacked, rest) {
            (Err(UnpackError::Disk(full)), _) => return Err(full.into()),
            (Err(error), _) if got == *digest => return Err(fault(error)),
            (_, Err(source)) => return Err(fault(UnpackError::Read { source })),
            (_, Ok(_)) if got != *digest => return Err(LayerError::OtherBytes { digest: digest.clone(), got }),
            (Err(error), _) => return Err(fault(error)),
            (Ok(()), Ok(_)) => {}
        }
        disk::sync_filesystem(tmp).map_err(failed("sync", tmp))?;
        let path = self.path(digest);
        fs::rename(tmp, &path).map_err(failed("name", &path))?;
        os::file::sync_dir(&self.dir).map_err(|error| failed("sync", &self.dir)(error.source))
    }

    fn recent(&self) -> MutexGuard<'_, BTreeSet<Digest>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begin to remove what nobody needs: to be called before it is found out what claims name. What is asked for from
    /// now on is spared.
    #[must_use]
    pub fn collection(&self) -> Collection {
        self.recent().clear();
        Collection { layers: self.clone() }
    }
}

/// A removal of layers that nobody needs.
#[derive(Debug)]
pub struct Collection {
    layers: Layers,
}

impl Collection {
    /// Remove layers that are not `named` by a claim, but for the newest [`LAYERS_KEPT`] of them; all of them when
    /// the disk is short of room. Gives what was removed.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn remove_unnamed(&self, named: &BTreeSet<Digest>) -> Result<Vec<Digest>, LayerError> {
        let layers = &self.layers;
        let mut unnamed = Vec::new();
        for entry in fs::read_dir(&layers.dir).map_err(failed("list", &layers.dir))?.flatten() {
            let Some(digest) = entry.file_name().to_str().and_then(|name| Digest::parse(name).ok()) else { continue };
            if !named.contains(&digest) {
                let used = entry.metadata().and_then(|meta| meta.modified()).ok();
                unnamed.push((used, digest));
            }
        }
        unnamed.sort();
        let keep = if disk::check_room(&layers.dir).is_ok() { LAYERS_KEPT } else { 0 };
        let surplus = unnamed.len().saturating_sub(keep);
        let mut removed = Vec::new();
        for (_, digest) in unnamed.into_iter().take(surplus) {
            // Renamed first, so that a layer is never there in part.
            let serial = layers.serial.fetch_add(1, Ordering::Relaxed);
            let tmp = layers.dir.join(format!("tmp-{}-{serial}", digest.as_str()));
            let recent = layers.recent();
            if recent.contains(&digest) {
                continue;
            }
            fs::rename(layers.path(&digest), &tmp).map_err(failed("remove", &tmp))?;
            drop(recent);
            disk::remove_tree(&tmp).map_err(failed("remove", &tmp))?;
            removed.push(digest);
        }
        Ok(removed)
    }
}

/// Hashes what is read through it.
struct Hashed {
    content: Box<dyn Read + Send>,
    hash: Sha256,
}

impl Read for Hashed {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(out)?;
        self.hash.update(&out[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
