//! From the disk to a member.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::sync::Arc;

use consensus_core::raft::{Config, Member, MemberId, Membership, Raft, Restored, SnapshotMeta, Standing};
use consensus_core::store::Store;

use super::{OpenError, Options};
use crate::snapshot;
use crate::wal::{self, Identity, Wal};

const IDENTITY_FILE: &str = "identity";

/// Everything that the owner thread needs.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) identity: Identity,
    pub(super) wal: Wal,
    pub(super) raft: Raft,
    pub(super) store: Store,
    pub(super) snapshot_index: u64,
    pub(super) snapshot_file_bytes: u64,
    /// Held for as long as the member runs.
    pub(super) lock: File,
}

pub(super) fn open(options: &Options) -> Result<Opened, OpenError> {
    let dir = &options.data_dir;
    wal::make_dir(dir).map_err(OpenError::Wal)?;
    let lock = lock(dir)?;
    wal::remove_leftovers(dir).map_err(OpenError::Wal)?;
    let identity = identity(options)?;
    let latest = snapshot::latest(dir).map_err(OpenError::Snapshot)?;
    let (meta, store, snapshot_file_bytes) = match &latest {
        Some(path) => {
            let (meta, store) = snapshot::load(path, identity.cluster_id).map_err(OpenError::Snapshot)?;
            let bytes = path.metadata().map_or(0, |metadata| metadata.len());
            (meta, store, bytes)
        }
        None => (first_members(options, identity), Store::new(), 0),
    };
    let (wal, mut recovered) = Wal::open(dir, identity, options.segment_bytes).map_err(OpenError::Wal)?;
    if recovered.torn_bytes > 0 {
        log::info!(bytes = recovered.torn_bytes; "torn end of the store's log cut off, it was never acknowledged");
    }
    let entries = recovered.entries_after(meta.index).map_err(|index| OpenError::Hole { path: dir.clone(), index })?;
    log::info!(
        snapshot = meta.index, entries = entries.len(), revision = store.revision();
        "store read from disk"
    );
    let snapshot_index = meta.index;
    let restored = Restored { hard_state: recovered.hard_state, snapshot: meta, entries };
    let config = Config::new(MemberId(identity.member_id), options.election, options.heartbeat);
    let raft = Raft::new(config, restored, os::entropy::seed(), os::clock::now());
    Ok(Opened { identity, wal, raft, store, snapshot_index, snapshot_file_bytes, lock })
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let failed = |source| OpenError::Folder { action: "lock", path: path.clone(), source };
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: dir.to_path_buf() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Who this is: as told, as on disk, or new. Kept in a file of its own, so that it is known before the log
/// is read, and checked against the log.
fn identity(options: &Options) -> Result<Identity, OpenError> {
    let path = options.data_dir.join(IDENTITY_FILE);
    let failed =
        |error: os::file::FileError| OpenError::Folder { action: error.action, path: error.path, source: error.source };
    let told = |told: u64, otherwise: u64| if told == 0 { otherwise } else { told };
    if let Some(text) = os::file::read_if_exists(&path).map_err(failed)? {
        let text = String::from_utf8_lossy(&text).into_owned();
        let mut ids = text.split_whitespace().map(|id| u64::from_str_radix(id, 16));
        if let (Some(Ok(cluster_id)), Some(Ok(member_id))) = (ids.next(), ids.next()) {
            let cluster_id = told(options.cluster_id, cluster_id);
            return Ok(Identity { cluster_id, member_id: told(options.member_id, member_id) });
        }
        let source = std::io::Error::new(std::io::ErrorKind::InvalidData, "not two hexadecimal numbers");
        return Err(OpenError::Folder { action: "read", path, source });
    }
    // Positive as a signed number, because that is how some clients read it; and never 0.
    let fresh = || (os::entropy::seed() >> 1).max(1);
    let identity =
        Identity { cluster_id: told(options.cluster_id, fresh()), member_id: told(options.member_id, fresh()) };
    let text = format!("{:x} {:x}\n", identity.cluster_id, identity.member_id);
    os::file::replace(&path, text.as_bytes(), 0o600, os::file::Durability::Synced).map_err(failed)?;
    Ok(identity)
}

fn first_members(options: &Options, identity: Identity) -> SnapshotMeta {
    let own = Member {
        standing: Standing::Voter,
        name: options.name.clone(),
        peer_urls: options.peer_urls.clone(),
        client_urls: options.client_urls.clone(),
    };
    let members = BTreeMap::from([(MemberId(identity.member_id), own)]);
    SnapshotMeta { index: 0, term: 0, membership: Arc::new(Membership { members }) }
}
