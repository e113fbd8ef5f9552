//! From the store's own answers to the dialect.

use api::store::wire::{
    Bytes, DeleteRangeReply, Header, Int, KeyValue as WireKeyValue, PutReply as WirePutReply, RangeReply as WireRange,
    ResponseOp, TxnReply as WireTxnReply,
};
use consensus_core::raft::{MemberId, Membership, Standing};
use consensus_core::store::command::{DeleteReply, KeyValue, OpReply, PutReply, RangeReply, TxnReply};
use serde::Serialize;

use super::ETCD_VERSION;
use super::convert::is_zero;
use crate::replica::{Heading, StatusAnswer};

pub(super) fn int(number: u64) -> Int {
    Int(number.cast_signed())
}

pub(super) fn header(heading: &Heading) -> Header {
    Header {
        cluster_id: int(heading.cluster_id),
        member_id: int(heading.member_id),
        revision: int(heading.revision),
        raft_term: int(heading.term),
    }
}

/// Inside a transaction there is only the revision.
fn inner(revision: u64) -> Header {
    Header { revision: int(revision), ..Header::default() }
}

pub(super) fn key_value(kv: KeyValue) -> WireKeyValue {
    WireKeyValue {
        key: Bytes(kv.key.to_vec()),
        create_revision: int(kv.create_revision),
        mod_revision: int(kv.mod_revision),
        version: int(kv.version),
        value: Bytes(kv.value.to_vec()),
        lease: Int(kv.lease),
    }
}

pub(super) fn range_reply(found: RangeReply, header: Header) -> WireRange {
    WireRange { header, kvs: found.kvs.into_iter().map(key_value).collect(), more: found.more, count: int(found.count) }
}

pub(super) fn put_reply(done: PutReply, heading: &Heading) -> WirePutReply {
    let header = header(&Heading { revision: done.revision, ..*heading });
    WirePutReply { header, prev_kv: done.previous.map(key_value) }
}

pub(super) fn delete_reply(done: DeleteReply, heading: &Heading) -> DeleteRangeReply {
    delete_with(done, |revision| header(&Heading { revision, ..*heading }))
}

fn delete_with(done: DeleteReply, header: impl Fn(u64) -> Header) -> DeleteRangeReply {
    DeleteRangeReply {
        header: header(done.revision),
        deleted: int(done.deleted),
        prev_kvs: done.previous.into_iter().map(key_value).collect(),
    }
}

pub(super) fn txn_reply(done: TxnReply, heading: &Heading) -> WireTxnReply {
    let header = header(&Heading { revision: done.revision, ..*heading });
    WireTxnReply { header, succeeded: done.succeeded, responses: done.replies.into_iter().map(op_reply).collect() }
}

fn op_reply(reply: OpReply) -> ResponseOp {
    let none = ResponseOp::default();
    match reply {
        OpReply::Range(found) => {
            let header = inner(found.revision);
            ResponseOp { response_range: Some(range_reply(found, header)), ..none }
        }
        OpReply::Put(done) => {
            let put = WirePutReply { header: inner(done.revision), prev_kv: done.previous.map(key_value) };
            ResponseOp { response_put: Some(put), ..none }
        }
        OpReply::Delete(done) => ResponseOp { response_delete_range: Some(delete_with(done, inner)), ..none },
        OpReply::Txn(done) => {
            let txn = WireTxnReply {
                header: inner(done.revision),
                succeeded: done.succeeded,
                responses: done.replies.into_iter().map(op_reply).collect(),
            };
            ResponseOp { response_txn: Some(txn), ..none }
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Version {
    etcdserver: &'static str,
    etcdcluster: &'static str,
}

pub(super) fn version() -> Version {
    Version { etcdserver: ETCD_VERSION, etcdcluster: "3.4.0" }
}

/// `/v3/maintenance/status`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusReply {
    header: Header,
    version: &'static str,
    #[serde(skip_serializing_if = "is_none_or_zero")]
    db_size: Int,
    #[serde(skip_serializing_if = "is_none_or_zero")]
    leader: Int,
    #[serde(skip_serializing_if = "is_none_or_zero")]
    raft_index: Int,
    #[serde(skip_serializing_if = "is_none_or_zero")]
    raft_term: Int,
    #[serde(skip_serializing_if = "is_none_or_zero")]
    raft_applied_index: Int,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<&'static str>,
    #[serde(skip_serializing_if = "is_none_or_zero")]
    db_size_in_use: Int,
}

fn is_none_or_zero(number: &Int) -> bool {
    is_zero(number.0.cast_unsigned())
}

pub(super) fn status_reply(status: &StatusAnswer, heading: &Heading) -> StatusReply {
    let mut errors = Vec::new();
    if status.raft.leader.is_none() {
        errors.push("etcdserver: no leader");
    }
    if status.disk_full {
        errors.push("NOSPACE");
    }
    StatusReply {
        header: header(heading),
        version: ETCD_VERSION,
        db_size: int(status.disk_bytes),
        leader: int(status.raft.leader.map_or(0, |MemberId(id)| id)),
        raft_index: int(status.raft.commit),
        raft_term: int(status.raft.term),
        raft_applied_index: int(status.raft.applied),
        errors,
        db_size_in_use: int(status.store.bytes),
    }
}

/// `/v3/cluster/member/list`.
#[derive(Debug, Serialize)]
pub(super) struct MemberList {
    header: Header,
    members: Vec<WireMember>,
}

#[derive(Debug, Serialize)]
struct WireMember {
    #[serde(rename = "ID")]
    id: Int,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(rename = "peerURLs", skip_serializing_if = "Vec::is_empty")]
    peer_urls: Vec<String>,
    #[serde(rename = "clientURLs", skip_serializing_if = "Vec::is_empty")]
    client_urls: Vec<String>,
    #[serde(rename = "isLearner", skip_serializing_if = "std::ops::Not::not")]
    is_learner: bool,
}

pub(super) fn member_list(membership: &Membership, heading: &Heading) -> MemberList {
    let members = membership.members.iter().map(|(MemberId(id), member)| WireMember {
        id: int(*id),
        name: member.name.clone(),
        peer_urls: member.peer_urls.clone(),
        client_urls: member.client_urls.clone(),
        is_learner: member.standing == Standing::Learner,
    });
    MemberList { header: header(&Heading { revision: 0, ..*heading }), members: members.collect() }
}
