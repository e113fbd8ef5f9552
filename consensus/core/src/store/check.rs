//! What is refused before it reaches the log, because no state could make it right.

use alloc::vec::Vec;

use super::command::{Command, Failure, KeyRange, Op, Put, RangeQuery, Txn};
use super::lease::{LEASE_TTL_SECONDS_MAX, NO_LEASE};

/// The most operations, or comparisons, in one transaction; etcd's.
pub const TXN_OPS_MAX: usize = 128;

/// The deepest nesting of transactions: a request's depth is a stack's depth.
pub const TXN_DEPTH_MAX: usize = 16;

/// Check a command.
///
/// # Errors
/// Why it can never be right.
pub fn check(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Put(put) => check_put(put),
        Command::Delete(delete) => check_range(&delete.range),
        Command::Txn(txn) => check_txn(txn),
        Command::Grant { ttl, .. } if *ttl > LEASE_TTL_SECONDS_MAX => Err(Failure::LeaseTtlTooLarge),
        Command::Grant { .. } | Command::Revoke { .. } | Command::Compact { .. } => Ok(()),
    }
}

/// Check a look.
///
/// # Errors
/// Why it can never be right.
pub fn check_query(query: &RangeQuery) -> Result<(), Failure> {
    check_range(&query.range)
}

/// Check a transaction.
///
/// # Errors
/// Why it can never be right.
pub fn check_txn(txn: &Txn) -> Result<(), Failure> {
    check_level(txn, TXN_DEPTH_MAX)?;
    writes_once(&txn.success)?;
    writes_once(&txn.failure)?;
    Ok(())
}

fn check_level(txn: &Txn, depth: usize) -> Result<(), Failure> {
    let longest = txn.compare.len().max(txn.success.len()).max(txn.failure.len());
    if longest > TXN_OPS_MAX || depth == 0 {
        return Err(Failure::TooManyOps);
    }
    txn.compare.iter().try_for_each(|compare| check_range(&compare.range))?;
    txn.success.iter().chain(&txn.failure).try_for_each(|op| match op {
        Op::Range(query) => check_query(query),
        Op::Put(put) => check_put(put),
        Op::Delete(delete) => check_range(&delete.range),
        Op::Txn(inner) => check_level(inner, depth - 1),
    })
}

fn check_range(range: &KeyRange) -> Result<(), Failure> {
    if range.start.is_empty() { Err(Failure::KeyMissing) } else { Ok(()) }
}

fn check_put(put: &Put) -> Result<(), Failure> {
    if put.key.is_empty() {
        return Err(Failure::KeyMissing);
    }
    if put.ignore_value && !put.value.is_empty() {
        return Err(Failure::ValueProvided);
    }
    if put.ignore_lease && put.lease != NO_LEASE {
        return Err(Failure::LeaseProvided);
    }
    Ok(())
}

/// No key may be written by two steps that can both be taken.
fn writes_once(ops: &[Op]) -> Result<Writes<'_>, Failure> {
    let mut writes = Writes::default();
    for op in ops {
        let step = match op {
            Op::Range(_) => continue,
            Op::Put(put) => Writes { puts: alloc::vec![&put.key], deletes: Vec::new() },
            Op::Delete(delete) => Writes { puts: Vec::new(), deletes: alloc::vec![&delete.range] },
            Op::Txn(inner) => {
                // Only one branch will be taken, so the two may write the same key.
                let mut either = writes_once(&inner.success)?;
                let other = writes_once(&inner.failure)?;
                either.puts.extend(other.puts);
                either.deletes.extend(other.deletes);
                either
            }
        };
        if writes.conflicts(&step) {
            return Err(Failure::DuplicateKey);
        }
        writes.puts.extend(step.puts);
        writes.deletes.extend(step.deletes);
    }
    Ok(writes)
}

#[derive(Default)]
struct Writes<'t> {
    puts: Vec<&'t [u8]>,
    deletes: Vec<&'t KeyRange>,
}

impl Writes<'_> {
    fn conflicts(&self, other: &Writes<'_>) -> bool {
        let deleted = |puts: &[&[u8]], deletes: &[&KeyRange]| {
            puts.iter().any(|key| deletes.iter().any(|range| range.contains(key)))
        };
        other.puts.iter().any(|key| self.puts.contains(key))
            || deleted(&other.puts, &self.deletes)
            || deleted(&self.puts, &other.deletes)
    }
}
