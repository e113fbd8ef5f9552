//! Transactions: compare, then write.

use super::wire::{
    Compare, CompareResult, CompareTarget, DeleteRangeRequest, Int, PutRequest, RangeRequest, RequestOp, TxnReply,
    TxnRequest,
};
use super::{LeaseId, Record, prefix_end, unsigned};

/// A transaction being put together. Without comparisons it always runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    compares: Vec<Compare>,
    then: Vec<RequestOp>,
    otherwise: Vec<RequestOp>,
}

/// What a transaction did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnOutcome {
    /// Whether the comparisons held and the writes were done.
    pub succeeded: bool,
    /// The store's revision after it.
    pub revision: u64,
    /// What the reads of the branch that ran found, in their order.
    pub read: Vec<Vec<Record>>,
}

impl Txn {
    /// An empty transaction.
    #[must_use]
    pub fn new() -> Txn {
        Txn::default()
    }

    /// Only if there is no such key.
    #[must_use]
    pub fn if_absent(self, key: &str) -> Txn {
        self.if_created(key, 0)
    }

    /// Only if there is such a key.
    #[must_use]
    pub fn if_present(mut self, key: &str) -> Txn {
        self.compares.push(Compare {
            target: CompareTarget::Create,
            result: CompareResult::Greater,
            key: key.into(),
            create_revision: Some(Int(0)),
            ..Compare::default()
        });
        self
    }

    /// Only if the key was last changed at `revision`; 0 means that it must be absent.
    #[must_use]
    pub fn if_unchanged(mut self, key: &str, revision: u64) -> Txn {
        self.compares.push(Compare {
            target: CompareTarget::Mod,
            key: key.into(),
            mod_revision: Some(signed(revision)),
            ..Compare::default()
        });
        self
    }

    /// Only if the key was made at `revision`; 0 means that it must be absent.
    #[must_use]
    pub fn if_created(mut self, key: &str, revision: u64) -> Txn {
        self.compares.push(Compare {
            target: CompareTarget::Create,
            key: key.into(),
            create_revision: Some(signed(revision)),
            ..Compare::default()
        });
        self
    }

    /// Write a key.
    #[must_use]
    pub fn put(self, key: &str, value: impl Into<Vec<u8>>) -> Txn {
        self.put_leased(key, value, None)
    }

    /// Write a key that goes with a lease.
    #[must_use]
    pub fn put_leased(mut self, key: &str, value: impl Into<Vec<u8>>, lease: Option<LeaseId>) -> Txn {
        self.then.push(RequestOp {
            request_put: Some(PutRequest {
                key: key.into(),
                value: value.into().into(),
                lease: lease.map_or(Int(0), |lease| Int(lease.0)),
                ..PutRequest::default()
            }),
            ..RequestOp::default()
        });
        self
    }

    /// Delete a key.
    #[must_use]
    pub fn delete(mut self, key: &str) -> Txn {
        self.then.push(RequestOp {
            request_delete_range: Some(DeleteRangeRequest { key: key.into(), ..DeleteRangeRequest::default() }),
            ..RequestOp::default()
        });
        self
    }

    /// Delete every key that begins with `prefix`.
    #[must_use]
    pub fn delete_prefix(mut self, prefix: &str) -> Txn {
        self.then.push(RequestOp {
            request_delete_range: Some(DeleteRangeRequest {
                key: prefix.into(),
                range_end: prefix_end(prefix).into(),
                ..DeleteRangeRequest::default()
            }),
            ..RequestOp::default()
        });
        self
    }

    /// Read a key when the comparisons failed.
    #[must_use]
    pub fn or_read(mut self, key: &str) -> Txn {
        self.otherwise.push(RequestOp {
            request_range: Some(RangeRequest { key: key.into(), ..RangeRequest::default() }),
            ..RequestOp::default()
        });
        self
    }

    /// How many operations there are; a store refuses more than 128.
    #[must_use]
    pub fn len(&self) -> usize {
        self.then.len()
    }

    /// Whether it would write nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.then.is_empty()
    }

    pub(super) fn into_request(self) -> TxnRequest {
        TxnRequest { compare: self.compares, success: self.then, failure: self.otherwise }
    }
}

impl From<TxnReply> for TxnOutcome {
    fn from(reply: TxnReply) -> TxnOutcome {
        let read = reply
            .responses
            .into_iter()
            .filter_map(|response| response.response_range)
            .map(|range| range.kvs.into_iter().map(Record::from).collect())
            .collect();
        TxnOutcome { succeeded: reply.succeeded, revision: unsigned(reply.header.revision), read }
    }
}

fn signed(revision: u64) -> Int {
    Int(i64::try_from(revision).unwrap_or(i64::MAX))
}
