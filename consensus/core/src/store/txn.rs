//! Writes and transactions: every check first, against the state before, so that what follows cannot fail halfway.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Ordering;

use super::Store;
use super::command::{
    Compare, DeleteReply, Failure, KeyRange, KeyValue, Op, OpReply, Put, PutReply, RangeQuery, Relation, Target, Txn,
    TxnReply,
};
use super::kv::Slot;
use super::lease::NO_LEASE;

/// The branches that a transaction takes, its inner ones included, chosen before anything changes.
struct Path<'t> {
    succeeded: bool,
    ops: &'t [Op],
    inner: Vec<Path<'t>>,
}

impl Store {
    pub(super) fn check_revision(&self, query: &RangeQuery) -> Result<(), Failure> {
        if query.revision > self.keys.revision() {
            return Err(Failure::FutureRevision);
        }
        if query.revision != 0 && query.revision < self.keys.compacted() {
            return Err(Failure::Compacted);
        }
        Ok(())
    }

    pub(super) fn check_put(&self, put: &Put) -> Result<(), Failure> {
        if (put.ignore_value || put.ignore_lease) && self.keys.get(&put.key).is_none() {
            return Err(Failure::KeyNotFound);
        }
        if put.lease != NO_LEASE && self.leases.ttl(put.lease).is_none() {
            return Err(Failure::LeaseNotFound);
        }
        Ok(())
    }

    /// Write one key whose put was checked; returns what was there.
    pub(super) fn put(&mut self, revision: u64, put: &Put) -> Option<KeyValue> {
        let old = self.keys.get(&put.key).map(|(_, slot)| (slot.value.clone(), slot.lease));
        let (old_value, old_lease) = old.unwrap_or((None, NO_LEASE));
        let value = if put.ignore_value { old_value.unwrap_or_default() } else { Arc::clone(&put.value) };
        let lease = if put.ignore_lease { old_lease } else { put.lease };
        let previous = self.keys.put(revision, &put.key, value, lease);
        if lease != old_lease {
            self.leases.detach(old_lease, &put.key);
            if let Some((key, _)) = self.keys.get(&put.key) {
                self.leases.attach(lease, key);
            }
        }
        previous
    }

    /// Remove keys; returns what was there.
    pub(super) fn delete(&mut self, revision: u64, range: &KeyRange) -> Vec<KeyValue> {
        let keys: Vec<_> = self.keys.existing(range).map(|(key, _)| Arc::clone(key)).collect();
        let mut deleted = Vec::with_capacity(keys.len());
        for key in keys {
            if let Some(previous) = self.keys.delete(revision, &key) {
                self.leases.detach(previous.lease, &key);
                deleted.push(previous);
            }
        }
        deleted
    }

    pub(super) fn write_txn(&mut self, txn: &Txn) -> Result<TxnReply, Failure> {
        let path = self.choose(txn);
        self.check_path(&path)?;
        let revision = self.keys.begin();
        let mut changed = false;
        let mut reply = self.run(&path, revision, &mut changed);
        self.keys.commit_if(revision, changed);
        set_revision(&mut reply, self.keys.revision());
        Ok(reply)
    }

    pub(super) fn plain_txn(&self, txn: &Txn) -> Result<TxnReply, Failure> {
        let path = self.choose(txn);
        self.check_path(&path)?;
        Ok(self.look(&path))
    }

    fn choose<'t>(&self, txn: &'t Txn) -> Path<'t> {
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        let ops = if succeeded { &txn.success } else { &txn.failure };
        let inner = ops.iter().filter_map(|op| match op {
            Op::Txn(txn) => Some(self.choose(txn)),
            _ => None,
        });
        Path { succeeded, ops, inner: inner.collect() }
    }

    fn holds(&self, compare: &Compare) -> bool {
        let mut existing = self.keys.existing(&compare.range).peekable();
        if existing.peek().is_none() {
            return holds_of(None, compare);
        }
        existing.all(|(_, slot)| holds_of(Some(slot), compare))
    }

    fn check_path(&self, path: &Path<'_>) -> Result<(), Failure> {
        for op in path.ops {
            match op {
                Op::Range(query) => self.check_revision(query)?,
                Op::Put(put) => self.check_put(put)?,
                Op::Delete(_) | Op::Txn(_) => {}
            }
        }
        path.inner.iter().try_for_each(|inner| self.check_path(inner))
    }

    fn run(&mut self, path: &Path<'_>, revision: u64, changed: &mut bool) -> TxnReply {
        let mut inner = path.inner.iter();
        let mut replies = Vec::with_capacity(path.ops.len());
        for op in path.ops {
            replies.push(match op {
                Op::Range(query) => OpReply::Range(self.keys.range(query, revision)),
                Op::Put(put) => {
                    let previous = self.put(revision, put);
                    *changed = true;
                    OpReply::Put(PutReply { revision, previous: previous.filter(|_| put.prev_kv) })
                }
                Op::Delete(delete) => {
                    let previous = self.delete(revision, &delete.range);
                    *changed |= !previous.is_empty();
                    let deleted = previous.len() as u64;
                    let previous = if delete.prev_kv { previous } else { Vec::new() };
                    OpReply::Delete(DeleteReply { revision, deleted, previous })
                }
                Op::Txn(_) => match inner.next() {
                    Some(path) => OpReply::Txn(self.run(path, revision, changed)),
                    None => unreachable!("one path was chosen for each inner transaction"),
                },
            });
        }
        TxnReply { revision, succeeded: path.succeeded, replies }
    }

    fn look(&self, path: &Path<'_>) -> TxnReply {
        let revision = self.keys.revision();
        let mut inner = path.inner.iter();
        let replies = path.ops.iter().filter_map(|op| match op {
            Op::Range(query) => Some(OpReply::Range(self.keys.range(query, revision))),
            Op::Txn(_) => inner.next().map(|path| OpReply::Txn(self.look(path))),
            Op::Put(_) | Op::Delete(_) => None,
        });
        TxnReply { revision, succeeded: path.succeeded, replies: replies.collect() }
    }
}

/// Whether a transaction changed something is known only at its end.
fn set_revision(reply: &mut TxnReply, revision: u64) {
    reply.revision = revision;
    for reply in &mut reply.replies {
        match reply {
            OpReply::Range(range) => range.revision = revision,
            OpReply::Put(put) => put.revision = revision,
            OpReply::Delete(delete) => delete.revision = revision,
            OpReply::Txn(inner) => set_revision(inner, revision),
        }
    }
}

fn holds_of(slot: Option<&Slot>, compare: &Compare) -> bool {
    let number = |pick: fn(&Slot) -> u64| slot.map_or(0, pick);
    let found = match &compare.target {
        Target::Version(given) => number(|slot| slot.version).cmp(given),
        Target::Create(given) => number(|slot| slot.created).cmp(given),
        Target::Mod(given) => number(|slot| slot.modified).cmp(given),
        Target::Lease(given) => slot.map_or(NO_LEASE, |slot| slot.lease).cmp(given),
        Target::Value(given) => match slot.and_then(|slot| slot.value.as_ref()) {
            Some(value) => value.cmp(given),
            // A key that does not exist has no value, not an empty one.
            None => return false,
        },
    };
    match compare.relation {
        Relation::Equal => found == Ordering::Equal,
        Relation::NotEqual => found != Ordering::Equal,
        Relation::Greater => found == Ordering::Greater,
        Relation::Less => found == Ordering::Less,
    }
}

#[cfg(test)]
mod tests;
