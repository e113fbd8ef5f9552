//! From the dialect to the store's own requests.

use std::sync::Arc;

use api::store::wire::{
    Bytes, Compare as WireCompare, CompareResult, CompareTarget, DeleteRangeRequest, Int, PutRequest, RangeRequest,
    RequestOp, SortOrder as WireOrder, SortTarget as WireTarget, TxnRequest,
};
use consensus_core::store::check::TXN_DEPTH_MAX;
use consensus_core::store::command::{
    Compare, Delete, Failure, KeyRange, Op, Put, RangeEnd, RangeQuery, Relation, SortOrder, SortTarget, Target, Txn,
};

use super::Denial;
use crate::replica::Refusal;

/// A revision, count or time. etcd takes negative ones in various ways; here they are refused.
pub(super) fn unsigned(number: Int) -> Result<u64, Denial> {
    u64::try_from(number.0).map_err(|_| Denial::invalid(format!("negative number {}", number.0)))
}

pub(super) fn is_zero(number: u64) -> bool {
    number == 0
}

/// No end is one key, an end of `\0` is no end.
pub(super) fn key_range(key: Bytes, range_end: Bytes) -> KeyRange {
    let end = match range_end.0.as_slice() {
        [] => RangeEnd::Single,
        [0] => RangeEnd::Open,
        end => RangeEnd::Before(Arc::from(end)),
    };
    KeyRange { start: Arc::from(key.0), end }
}

pub(super) fn query_of(request: RangeRequest) -> Result<RangeQuery, Denial> {
    let bounds = |min, max| Ok::<_, Denial>((unsigned(min)?, unsigned(max)?));
    Ok(RangeQuery {
        range: key_range(request.key, request.range_end),
        limit: unsigned(request.limit)?,
        // etcd reads "now" into anything that is not positive.
        revision: u64::try_from(request.revision.0).unwrap_or(0),
        order: match request.sort_order {
            WireOrder::None => SortOrder::None,
            WireOrder::Ascend => SortOrder::Ascend,
            WireOrder::Descend => SortOrder::Descend,
        },
        target: match request.sort_target {
            WireTarget::Key => SortTarget::Key,
            WireTarget::Version => SortTarget::Version,
            WireTarget::Create => SortTarget::Create,
            WireTarget::Mod => SortTarget::Mod,
            WireTarget::Value => SortTarget::Value,
        },
        keys_only: request.keys_only,
        count_only: request.count_only,
        mod_revisions: bounds(request.min_mod_revision, request.max_mod_revision)?,
        create_revisions: bounds(request.min_create_revision, request.max_create_revision)?,
    })
}

pub(super) fn command_of_put(request: PutRequest) -> Put {
    Put {
        key: Arc::from(request.key.0),
        value: Arc::from(request.value.0),
        lease: request.lease.0,
        prev_kv: request.prev_kv,
        ignore_value: request.ignore_value,
        ignore_lease: request.ignore_lease,
    }
}

pub(super) fn command_of_delete(request: DeleteRangeRequest) -> Delete {
    Delete { range: key_range(request.key, request.range_end), prev_kv: request.prev_kv }
}

pub(super) fn txn_of(request: TxnRequest, depth: usize) -> Result<Txn, Denial> {
    if depth >= TXN_DEPTH_MAX {
        return Err(Refusal::from(Failure::TooManyOps).into());
    }
    let ops = |ops: Vec<RequestOp>| ops.into_iter().map(|op| op_of(op, depth)).collect::<Result<Vec<_>, _>>();
    Ok(Txn {
        compare: request.compare.into_iter().map(compare_of).collect::<Result<_, _>>()?,
        success: ops(request.success)?,
        failure: ops(request.failure)?,
    })
}

fn op_of(op: RequestOp, depth: usize) -> Result<Op, Denial> {
    match (op.request_range, op.request_put, op.request_delete_range, op.request_txn) {
        (Some(range), None, None, None) => query_of(range).map(Op::Range),
        (None, Some(put), None, None) => Ok(Op::Put(command_of_put(put))),
        (None, None, Some(delete), None) => Ok(Op::Delete(command_of_delete(delete))),
        (None, None, None, Some(txn)) => txn_of(txn, depth + 1).map(Op::Txn),
        // An operation without content is etcd's "key not found"; more than one is no operation at all.
        (None, None, None, None) => Err(Refusal::from(Failure::KeyNotFound).into()),
        _ => Err(Denial::invalid("more than one request in one operation")),
    }
}

fn compare_of(compare: WireCompare) -> Result<Compare, Denial> {
    let number = |number: Option<Int>| unsigned(number.unwrap_or_default());
    let target = match compare.target {
        CompareTarget::Version => Target::Version(number(compare.version)?),
        CompareTarget::Create => Target::Create(number(compare.create_revision)?),
        CompareTarget::Mod => Target::Mod(number(compare.mod_revision)?),
        CompareTarget::Value => Target::Value(Arc::from(compare.value.unwrap_or_default().0)),
        CompareTarget::Lease => Target::Lease(compare.lease.unwrap_or_default().0),
    };
    let relation = match compare.result {
        CompareResult::Equal => Relation::Equal,
        CompareResult::Greater => Relation::Greater,
        CompareResult::Less => Relation::Less,
        CompareResult::NotEqual => Relation::NotEqual,
    };
    Ok(Compare { range: key_range(compare.key, compare.range_end), target, relation })
}
