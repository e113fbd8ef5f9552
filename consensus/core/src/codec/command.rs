//! Commands as they stand in the log.

use alloc::vec::Vec;

use super::{DecodeError, Reader, Writer};
use crate::store::check::TXN_DEPTH_MAX;
use crate::store::command::{
    Command, Compare, Delete, KeyRange, Op, Put, RangeEnd, RangeQuery, Relation, SortOrder, SortTarget, Target, Txn,
};

const PREV_KV: u64 = 1;
const IGNORE_VALUE: u64 = 2;
const IGNORE_LEASE: u64 = 4;
const KEYS_ONLY: u64 = 8;
const COUNT_ONLY: u64 = 16;

/// The bytes of a command.
#[must_use]
pub fn encode_command(command: &Command) -> Vec<u8> {
    let mut out = Writer::new();
    match command {
        Command::Put(put) => {
            out.tag(1);
            encode_put(put, &mut out);
        }
        Command::Delete(delete) => {
            out.tag(2);
            encode_delete(delete, &mut out);
        }
        Command::Txn(txn) => {
            out.tag(3);
            encode_txn(txn, &mut out);
        }
        Command::Compact { revision } => {
            out.tag(4);
            out.number(*revision);
        }
        Command::Grant { id, ttl } => {
            out.tag(5);
            out.signed(*id);
            out.number(*ttl);
        }
        Command::Revoke { id } => {
            out.tag(6);
            out.signed(*id);
        }
    }
    out.into_bytes()
}

/// The command of some bytes.
///
/// # Errors
/// If they are none.
pub fn decode_command(bytes: &[u8]) -> Result<Command, DecodeError> {
    let mut reader = Reader::new(bytes);
    let command = match reader.tag()? {
        1 => Command::Put(decode_put(&mut reader)?),
        2 => Command::Delete(decode_delete(&mut reader)?),
        3 => Command::Txn(decode_txn(&mut reader, TXN_DEPTH_MAX)?),
        4 => Command::Compact { revision: reader.number()? },
        5 => Command::Grant { id: reader.signed()?, ttl: reader.number()? },
        6 => Command::Revoke { id: reader.signed()? },
        tag => return Err(DecodeError::Tag(tag)),
    };
    reader.finish()?;
    Ok(command)
}

fn flag(set: bool, bit: u64) -> u64 {
    if set { bit } else { 0 }
}

fn encode_put(put: &Put, out: &mut Writer) {
    out.bytes(&put.key);
    out.bytes(&put.value);
    out.signed(put.lease);
    out.number(
        flag(put.prev_kv, PREV_KV) | flag(put.ignore_value, IGNORE_VALUE) | flag(put.ignore_lease, IGNORE_LEASE),
    );
}

fn decode_put(reader: &mut Reader<'_>) -> Result<Put, DecodeError> {
    let key = reader.shared()?;
    let value = reader.shared()?;
    let lease = reader.signed()?;
    let flags = reader.number()?;
    let is = |bit| flags & bit != 0;
    Ok(Put { key, value, lease, prev_kv: is(PREV_KV), ignore_value: is(IGNORE_VALUE), ignore_lease: is(IGNORE_LEASE) })
}

fn encode_delete(delete: &Delete, out: &mut Writer) {
    encode_range(&delete.range, out);
    out.number(flag(delete.prev_kv, PREV_KV));
}

fn decode_delete(reader: &mut Reader<'_>) -> Result<Delete, DecodeError> {
    let range = decode_range(reader)?;
    Ok(Delete { range, prev_kv: reader.number()? & PREV_KV != 0 })
}

fn encode_range(range: &KeyRange, out: &mut Writer) {
    out.bytes(&range.start);
    match &range.end {
        RangeEnd::Single => out.tag(0),
        RangeEnd::Open => out.tag(1),
        RangeEnd::Before(end) => {
            out.tag(2);
            out.bytes(end);
        }
    }
}

fn decode_range(reader: &mut Reader<'_>) -> Result<KeyRange, DecodeError> {
    let start = reader.shared()?;
    let end = match reader.tag()? {
        0 => RangeEnd::Single,
        1 => RangeEnd::Open,
        2 => RangeEnd::Before(reader.shared()?),
        tag => return Err(DecodeError::Tag(tag)),
    };
    Ok(KeyRange { start, end })
}

fn encode_query(query: &RangeQuery, out: &mut Writer) {
    encode_range(&query.range, out);
    out.number(query.limit);
    out.number(query.revision);
    out.tag(query.order as u8);
    out.tag(query.target as u8);
    out.number(flag(query.keys_only, KEYS_ONLY) | flag(query.count_only, COUNT_ONLY));
    for bound in [query.mod_revisions.0, query.mod_revisions.1, query.create_revisions.0, query.create_revisions.1] {
        out.number(bound);
    }
}

fn decode_query(reader: &mut Reader<'_>) -> Result<RangeQuery, DecodeError> {
    let range = decode_range(reader)?;
    let limit = reader.number()?;
    let revision = reader.number()?;
    let order = match reader.tag()? {
        0 => SortOrder::None,
        1 => SortOrder::Ascend,
        2 => SortOrder::Descend,
        tag => return Err(DecodeError::Tag(tag)),
    };
    let target = match reader.tag()? {
        0 => SortTarget::Key,
        1 => SortTarget::Version,
        2 => SortTarget::Create,
        3 => SortTarget::Mod,
        4 => SortTarget::Value,
        tag => return Err(DecodeError::Tag(tag)),
    };
    let flags = reader.number()?;
    Ok(RangeQuery {
        range,
        limit,
        revision,
        order,
        target,
        keys_only: flags & KEYS_ONLY != 0,
        count_only: flags & COUNT_ONLY != 0,
        mod_revisions: (reader.number()?, reader.number()?),
        create_revisions: (reader.number()?, reader.number()?),
    })
}

fn encode_txn(txn: &Txn, out: &mut Writer) {
    out.count(txn.compare.len());
    for compare in &txn.compare {
        encode_compare(compare, out);
    }
    for ops in [&txn.success, &txn.failure] {
        out.count(ops.len());
        for op in ops {
            encode_op(op, out);
        }
    }
}

fn decode_txn(reader: &mut Reader<'_>, depth: usize) -> Result<Txn, DecodeError> {
    let depth = depth.checked_sub(1).ok_or(DecodeError::Depth)?;
    Ok(Txn {
        compare: reader.list(decode_compare)?,
        success: reader.list(|reader| decode_op(reader, depth))?,
        failure: reader.list(|reader| decode_op(reader, depth))?,
    })
}

fn encode_compare(compare: &Compare, out: &mut Writer) {
    encode_range(&compare.range, out);
    out.tag(compare.relation as u8);
    match &compare.target {
        Target::Version(given) => {
            out.tag(0);
            out.number(*given);
        }
        Target::Create(given) => {
            out.tag(1);
            out.number(*given);
        }
        Target::Mod(given) => {
            out.tag(2);
            out.number(*given);
        }
        Target::Value(given) => {
            out.tag(3);
            out.bytes(given);
        }
        Target::Lease(given) => {
            out.tag(4);
            out.signed(*given);
        }
    }
}

fn decode_compare(reader: &mut Reader<'_>) -> Result<Compare, DecodeError> {
    let range = decode_range(reader)?;
    let relation = match reader.tag()? {
        0 => Relation::Equal,
        1 => Relation::Greater,
        2 => Relation::Less,
        3 => Relation::NotEqual,
        tag => return Err(DecodeError::Tag(tag)),
    };
    let target = match reader.tag()? {
        0 => Target::Version(reader.number()?),
        1 => Target::Create(reader.number()?),
        2 => Target::Mod(reader.number()?),
        3 => Target::Value(reader.shared()?),
        4 => Target::Lease(reader.signed()?),
        tag => return Err(DecodeError::Tag(tag)),
    };
    Ok(Compare { range, target, relation })
}

fn encode_op(op: &Op, out: &mut Writer) {
    match op {
        Op::Range(query) => {
            out.tag(0);
            encode_query(query, out);
        }
        Op::Put(put) => {
            out.tag(1);
            encode_put(put, out);
        }
        Op::Delete(delete) => {
            out.tag(2);
            encode_delete(delete, out);
        }
        Op::Txn(txn) => {
            out.tag(3);
            encode_txn(txn, out);
        }
    }
}

fn decode_op(reader: &mut Reader<'_>, depth: usize) -> Result<Op, DecodeError> {
    match reader.tag()? {
        0 => decode_query(reader).map(Op::Range),
        1 => decode_put(reader).map(Op::Put),
        2 => decode_delete(reader).map(Op::Delete),
        3 => decode_txn(reader, depth).map(Op::Txn),
        tag => Err(DecodeError::Tag(tag)),
    }
}
