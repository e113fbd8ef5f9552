//! The keys: etcd v3's semantics as a state machine without clock or randomness.
//!
//! One [`Store`] per member. [`Store::apply`] takes committed commands in log order; [`Store::range`] and
//! [`Store::read_txn`] look; [`watch::Watchers`] says who must hear of what; [`lease::LeaseClock`] lives on
//! the leader alone and says which leases to propose for revocation.
//!
//! Revisions: the empty store is at 1; a command that changes a key takes the next one, for all it changes.
//! Old values stay readable down to the compacted revision. Compaction is logical at once, and memory is
//! given back by [`Store::prune`] in small steps, so that a snapshot can be read piece by piece meanwhile.

pub mod check;
pub mod command;
mod kv;
pub mod lease;
pub mod snapshot;
mod txn;
pub mod watch;

use alloc::vec::Vec;

use self::command::{Command, DeleteReply, Failure, Outcome, PutReply, RangeQuery, RangeReply, Txn, TxnReply};
use self::kv::Keys;
use self::lease::{LeaseId, Leases};

/// The whole replicated state.
#[derive(Debug, Default)]
pub struct Store {
    keys: Keys,
    leases: Leases,
}

/// Figures for status and for deciding when to compact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreStatus {
    /// The current revision.
    pub revision: u64,
    /// Revisions below this one are gone.
    pub compacted: u64,
    /// Keys that exist now.
    pub keys: u64,
    /// Bytes of keys and values, old versions included.
    pub bytes: u64,
    /// Changes that can still be replayed to watchers.
    pub history: u64,
    /// Leases that exist now.
    pub leases: u64,
}

impl Store {
    /// An empty store, at revision 1.
    #[must_use]
    pub fn new() -> Store {
        Store::default()
    }

    /// The current revision.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.keys.revision()
    }

    /// The figures.
    #[must_use]
    pub fn status(&self) -> StoreStatus {
        StoreStatus {
            revision: self.keys.revision(),
            compacted: self.keys.compacted(),
            keys: self.keys.live(),
            bytes: self.keys.bytes(),
            history: self.keys.history_len(),
            leases: self.leases.len(),
        }
    }

    /// Apply one committed command. The same commands in the same order give the same outcomes everywhere.
    pub fn apply(&mut self, command: Command) -> Outcome {
        match command {
            Command::Put(put) => {
                if let Err(failure) = self.check_put(&put) {
                    return Outcome::Failed(failure);
                }
                let revision = self.keys.begin();
                let previous = self.put(revision, &put);
                self.keys.commit(revision);
                Outcome::Put(PutReply { revision, previous: previous.filter(|_| put.prev_kv) })
            }
            Command::Delete(delete) => {
                let revision = self.keys.begin();
                let deleted = self.delete(revision, &delete.range);
                self.keys.commit_if(revision, !deleted.is_empty());
                Outcome::Delete(DeleteReply {
                    revision: self.keys.revision(),
                    deleted: deleted.len() as u64,
                    previous: if delete.prev_kv { deleted } else { Vec::new() },
                })
            }
            Command::Txn(txn) => match self.write_txn(&txn) {
                Ok(reply) => Outcome::Txn(reply),
                Err(failure) => Outcome::Failed(failure),
            },
            Command::Compact { revision } => match self.keys.compact(revision) {
                Ok(()) => Outcome::Compacted { revision: self.keys.revision() },
                Err(failure) => Outcome::Failed(failure),
            },
            Command::Grant { id, ttl } => match self.leases.grant(id, ttl) {
                Ok(()) => Outcome::Granted { revision: self.keys.revision(), id, ttl },
                Err(failure) => Outcome::Failed(failure),
            },
            Command::Revoke { id } => self.revoke(id),
        }
    }

    /// Keys in a range, now or at an earlier revision.
    ///
    /// # Errors
    /// If the revision is in the future or was compacted.
    pub fn range(&self, query: &RangeQuery) -> Result<RangeReply, Failure> {
        self.check_revision(query)?;
        Ok(self.keys.range(query, self.keys.revision()))
    }

    /// A transaction that writes nothing, answered without the log.
    ///
    /// # Errors
    /// As [`Store::range`].
    ///
    /// # Panics
    /// If it writes; see [`Txn::writes`].
    pub fn read_txn(&self, txn: &Txn) -> Result<TxnReply, Failure> {
        assert!(!txn.writes(), "a transaction that writes goes through the log");
        self.plain_txn(txn)
    }

    /// Give back the memory of what was compacted, about `budget` changes of it. False when nothing is left.
    pub fn prune(&mut self, budget: usize) -> bool {
        self.keys.prune(budget)
    }

    /// The lease's granted time to live in seconds.
    #[must_use]
    pub fn lease_ttl(&self, id: LeaseId) -> Option<u64> {
        self.leases.ttl(id)
    }

    /// The keys attached to a lease.
    #[must_use]
    pub fn lease_keys(&self, id: LeaseId) -> Vec<command::Key> {
        self.leases.keys(id)
    }

    /// All leases with their time to live in seconds.
    pub fn leases(&self) -> impl Iterator<Item = (LeaseId, u64)> + '_ {
        self.leases.iter()
    }

    /// The revision from which on about `changes` changes of history are held.
    #[must_use]
    pub fn revision_keeping(&self, changes: u64) -> Option<u64> {
        let skip = self.keys.history_len().checked_sub(changes)?;
        self.keys.history.get(usize::try_from(skip).ok()?).map(|change| change.revision)
    }

    fn revoke(&mut self, id: LeaseId) -> Outcome {
        let Some(keys) = self.leases.revoke(id) else { return Outcome::Failed(Failure::LeaseNotFound) };
        let revision = self.keys.begin();
        let mut changed = false;
        for key in keys {
            changed |= self.keys.delete(revision, &key).is_some();
        }
        self.keys.commit_if(revision, changed);
        Outcome::Revoked { revision: self.keys.revision() }
    }
}
