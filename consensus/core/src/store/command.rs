//! What can be asked of the store, and what it answers.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;

use super::lease::LeaseId;

/// A key. Shared, so that history, leases and answers hold the same bytes.
pub type Key = Arc<[u8]>;
/// A value.
pub type Value = Arc<[u8]>;

/// Where a range of keys ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RangeEnd {
    /// The one key only.
    Single,
    /// Before this key.
    Before(Key),
    /// Nowhere.
    Open,
}

/// First and last, for an ordered map.
pub(super) type Bounds<'r> = (Bound<&'r [u8]>, Bound<&'r [u8]>);

/// Some keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// The first.
    pub start: Key,
    /// Where they end.
    pub end: RangeEnd,
}

impl KeyRange {
    /// One key.
    #[must_use]
    pub fn single(key: &[u8]) -> KeyRange {
        KeyRange { start: Arc::from(key), end: RangeEnd::Single }
    }

    /// All keys that begin with `prefix`.
    #[must_use]
    pub fn prefix(prefix: &[u8]) -> KeyRange {
        let mut end = prefix.to_vec();
        while end.last() == Some(&0xff) {
            end.pop();
        }
        let end = match end.last_mut() {
            Some(last) => {
                *last += 1;
                RangeEnd::Before(Arc::from(end))
            }
            None => RangeEnd::Open,
        };
        KeyRange { start: Arc::from(prefix), end }
    }

    /// Whether `key` is one of them.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            RangeEnd::Single => key == &*self.start,
            RangeEnd::Before(end) => key >= &*self.start && key < &**end,
            RangeEnd::Open => key >= &*self.start,
        }
    }

    /// Whether any key could be in both.
    #[must_use]
    pub fn overlaps(&self, other: &KeyRange) -> bool {
        let below = |a: &KeyRange, b: &KeyRange| match &a.end {
            RangeEnd::Single => *a.start < *b.start,
            RangeEnd::Before(end) => **end <= *b.start,
            RangeEnd::Open => false,
        };
        !below(self, other) && !below(other, self)
    }

    /// As bounds for an ordered map; `None` if it can hold no key.
    pub(super) fn bounds(&self) -> Option<Bounds<'_>> {
        let start = Bound::Included(&*self.start);
        match &self.end {
            RangeEnd::Single => Some((start, Bound::Included(&*self.start))),
            RangeEnd::Before(end) if *self.start < **end => Some((start, Bound::Excluded(&**end))),
            RangeEnd::Before(_) => None,
            RangeEnd::Open => Some((start, Bound::Unbounded)),
        }
    }
}

/// One version of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Key,
    /// Its value.
    pub value: Value,
    /// The revision at which it came to be.
    pub create_revision: u64,
    /// The revision of this version.
    pub mod_revision: u64,
    /// How many times it was put since it came to be.
    pub version: u64,
    /// The lease it is attached to, or 0.
    pub lease: LeaseId,
}

/// What a sorted answer is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortTarget {
    /// The key.
    #[default]
    Key,
    /// How often it was put.
    Version,
    /// When it was created.
    Create,
    /// When it was changed.
    Mod,
    /// The value.
    Value,
}

/// Which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortOrder {
    /// Not asked for: upwards by key, and upwards if another target is named.
    #[default]
    None,
    /// Upwards.
    Ascend,
    /// Downwards.
    Descend,
}

/// A look at some keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeQuery {
    /// Which.
    pub range: KeyRange,
    /// At most this many; 0 is all.
    pub limit: u64,
    /// At this revision; 0 is now.
    pub revision: u64,
    /// Which way sorted ...
    pub order: SortOrder,
    /// ... and by what.
    pub target: SortTarget,
    /// Leave the values out.
    pub keys_only: bool,
    /// Only count.
    pub count_only: bool,
    /// Bounds on the revision of change, 0 for none.
    pub mod_revisions: (u64, u64),
    /// Bounds on the revision of creation, 0 for none.
    pub create_revisions: (u64, u64),
}

impl RangeQuery {
    /// All of `range`, now.
    #[must_use]
    pub fn all(range: KeyRange) -> RangeQuery {
        RangeQuery {
            range,
            limit: 0,
            revision: 0,
            order: SortOrder::None,
            target: SortTarget::Key,
            keys_only: false,
            count_only: false,
            mod_revisions: (0, 0),
            create_revisions: (0, 0),
        }
    }
}

/// A write of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// The key.
    pub key: Key,
    /// Its new value.
    pub value: Value,
    /// The lease to attach it to; 0 detaches it.
    pub lease: LeaseId,
    /// Answer with what was there.
    pub prev_kv: bool,
    /// Keep the value, which must exist.
    pub ignore_value: bool,
    /// Keep the lease; the key must exist.
    pub ignore_lease: bool,
}

/// A removal of some keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// Which.
    pub range: KeyRange,
    /// Answer with what was there.
    pub prev_kv: bool,
}

/// What a comparison looks at, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// How often it was put; 0 if it does not exist.
    Version(u64),
    /// When it was created; 0 if it does not exist.
    Create(u64),
    /// When it was changed; 0 if it does not exist.
    Mod(u64),
    /// The value; nothing holds of a key that does not exist.
    Value(Value),
    /// The lease; 0 if there is none.
    Lease(LeaseId),
}

/// What must hold between what is and what was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Relation {
    /// The same.
    #[default]
    Equal,
    /// More.
    Greater,
    /// Less.
    Less,
    /// Not the same.
    NotEqual,
}

/// One condition; with a range it must hold of every key in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// Of which keys.
    pub range: KeyRange,
    /// Of what.
    pub target: Target,
    /// What must hold.
    pub relation: Relation,
}

/// One step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Look.
    Range(RangeQuery),
    /// Write.
    Put(Put),
    /// Remove.
    Delete(Delete),
    /// A transaction inside. Its comparisons see the state before the outermost one.
    Txn(Txn),
}

/// If all comparisons hold, `success`, else `failure`; all or nothing, at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// The conditions.
    pub compare: Vec<Compare>,
    /// What is done if all hold.
    pub success: Vec<Op>,
    /// What is done otherwise.
    pub failure: Vec<Op>,
}

impl Txn {
    /// Whether it could write, whichever way it goes.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.success.iter().chain(&self.failure).any(|op| match op {
            Op::Range(_) => false,
            Op::Put(_) | Op::Delete(_) => true,
            Op::Txn(inner) => inner.writes(),
        })
    }
}

/// What goes through the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Write one key.
    Put(Put),
    /// Remove some keys.
    Delete(Delete),
    /// All or nothing.
    Txn(Txn),
    /// Forget what was before `revision`.
    Compact {
        /// The oldest revision that stays readable.
        revision: u64,
    },
    /// A new lease. Who proposes it picks the id and has raised the time to live to the minimum.
    Grant {
        /// The id.
        id: LeaseId,
        /// Seconds.
        ttl: u64,
    },
    /// End a lease and delete its keys.
    Revoke {
        /// The id.
        id: LeaseId,
    },
}

/// The answer to a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeReply {
    /// The store's revision.
    pub revision: u64,
    /// What was found.
    pub kvs: Vec<KeyValue>,
    /// Whether the limit cut some off.
    pub more: bool,
    /// How many keys are in the range, whatever the limit and the filters.
    pub count: u64,
}

/// The answer to a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutReply {
    /// The store's revision.
    pub revision: u64,
    /// What was there, if asked for.
    pub previous: Option<KeyValue>,
}

/// The answer to a removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteReply {
    /// The store's revision.
    pub revision: u64,
    /// How many keys went.
    pub deleted: u64,
    /// What was there, if asked for.
    pub previous: Vec<KeyValue>,
}

/// The answer to one step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpReply {
    /// To a look.
    Range(RangeReply),
    /// To a write.
    Put(PutReply),
    /// To a removal.
    Delete(DeleteReply),
    /// To a transaction inside.
    Txn(TxnReply),
}

/// The answer to a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnReply {
    /// The store's revision.
    pub revision: u64,
    /// Whether all comparisons held.
    pub succeeded: bool,
    /// One answer for each step taken.
    pub replies: Vec<OpReply>,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Of a write.
    Put(PutReply),
    /// Of a removal.
    Delete(DeleteReply),
    /// Of a transaction.
    Txn(TxnReply),
    /// The past is forgotten.
    Compacted {
        /// The store's revision.
        revision: u64,
    },
    /// The lease exists.
    Granted {
        /// The store's revision.
        revision: u64,
        /// The lease.
        id: LeaseId,
        /// Seconds.
        ttl: u64,
    },
    /// The lease is gone.
    Revoked {
        /// The store's revision.
        revision: u64,
    },
    /// Nothing changed.
    Failed(Failure),
}

/// Why a request was refused. The texts are etcd's: clients match on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// An empty key.
    #[error("etcdserver: key is not provided")]
    KeyMissing,
    /// `ignore_value` or `ignore_lease` of a key that does not exist.
    #[error("etcdserver: key not found")]
    KeyNotFound,
    /// A value together with `ignore_value`.
    #[error("etcdserver: value is provided")]
    ValueProvided,
    /// A lease together with `ignore_lease`.
    #[error("etcdserver: lease is provided")]
    LeaseProvided,
    /// One key written twice in one transaction.
    #[error("etcdserver: duplicate key given in txn request")]
    DuplicateKey,
    /// A transaction that is too long.
    #[error("etcdserver: too many operations in txn request")]
    TooManyOps,
    /// A request that is too large.
    #[error("etcdserver: request is too large")]
    TooLarge,
    /// A revision that has not happened.
    #[error("etcdserver: mvcc: required revision is a future revision")]
    FutureRevision,
    /// A revision that is gone.
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted,
    /// No such lease.
    #[error("etcdserver: requested lease not found")]
    LeaseNotFound,
    /// The id is taken.
    #[error("etcdserver: lease already exists")]
    LeaseExists,
    /// A time to live out of bounds.
    #[error("etcdserver: too large lease TTL")]
    LeaseTtlTooLarge,
}

impl Failure {
    /// The gRPC status code that etcd gives it.
    #[must_use]
    pub fn code(self) -> u32 {
        match self {
            Failure::LeaseNotFound => 5,
            Failure::LeaseExists => 9,
            Failure::FutureRevision | Failure::Compacted | Failure::LeaseTtlTooLarge => 11,
            _ => 3,
        }
    }
}
