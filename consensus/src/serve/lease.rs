//! Leases.

use api::serve::{Call, LineWriter};
use api::store::wire::{
    Bytes, Header, HeaderReply, Int, LeaseGrantRequest, LeaseReply, LeaseRequest, StreamError, StreamReply,
};
use consensus_core::store::command::{Command, Outcome};
use consensus_core::store::lease::NO_LEASE;
use serde::Serialize;
use types::ApiError;

use super::convert::unsigned;
use super::reply::{header, int};
use super::{Denial, Front, json, mismatch, unexpected, write};
use crate::replica::{Answer, Ask, Heading, Inbox};

/// The shortest time to live, in seconds: one and a half of etcd's default election time, rounded up.
const TTL_SECONDS_MIN: u64 = 2;

pub(super) fn grant(inbox: &Inbox, request: LeaseGrantRequest) -> Result<Vec<u8>, Denial> {
    // etcd raises whatever is too short, nothing and negative included.
    let ttl = u64::try_from(request.ttl.0).unwrap_or(0).max(TTL_SECONDS_MIN);
    let fresh = || i64::try_from((os::entropy::seed() >> 1).max(1)).unwrap_or(i64::MAX);
    let id = if request.id.0 == NO_LEASE { fresh() } else { request.id.0 };
    match write(inbox, Command::Grant { id, ttl })? {
        (heading, Outcome::Granted { id, ttl, .. }) => {
            json(&LeaseReply { header: header(&heading), id: Int(id), ttl: int(ttl) })
        }
        (_, other) => Err(unexpected(other)),
    }
}

pub(super) fn revoke(inbox: &Inbox, request: LeaseRequest) -> Result<Vec<u8>, Denial> {
    match write(inbox, Command::Revoke { id: request.id.0 })? {
        (heading, Outcome::Revoked { revision }) => {
            json(&HeaderReply { header: header(&Heading { revision, ..heading }) })
        }
        (_, other) => Err(unexpected(other)),
    }
}

/// `/v3/lease/timetolive`.
#[derive(Debug, Serialize)]
struct TimeToLiveReply {
    header: Header,
    #[serde(rename = "ID")]
    id: Int,
    #[serde(rename = "TTL", skip_serializing_if = "is_zero")]
    ttl: Int,
    #[serde(rename = "grantedTTL", skip_serializing_if = "is_zero")]
    granted: Int,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keys: Vec<Bytes>,
}

fn is_zero(number: &Int) -> bool {
    *number == Int(0)
}

pub(super) fn time_to_live(inbox: &Inbox, request: LeaseRequest) -> Result<Vec<u8>, Denial> {
    let (heading, found) = match inbox.ask(Ask::TimeToLive(request.id.0))? {
        (heading, Answer::TimeToLive(found)) => (heading, found),
        (_, other) => return Err(mismatch(&other)),
    };
    let header = header(&heading);
    json(&match found {
        Some((granted, left, keys)) => TimeToLiveReply {
            header,
            id: request.id,
            ttl: int(left),
            granted: int(granted),
            keys: keys.iter().filter(|_| request.keys).map(|key| Bytes(key.to_vec())).collect(),
        },
        None => TimeToLiveReply { header, id: request.id, ttl: Int(-1), granted: Int(0), keys: Vec::new() },
    })
}

/// `/v3/lease/leases`.
#[derive(Debug, Serialize)]
struct LeasesReply {
    header: Header,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    leases: Vec<LeaseName>,
}

#[derive(Debug, Serialize)]
struct LeaseName {
    #[serde(rename = "ID")]
    id: Int,
}

pub(super) fn leases(inbox: &Inbox, _: serde::de::IgnoredAny) -> Result<Vec<u8>, Denial> {
    match inbox.ask(Ask::Leases)? {
        (heading, Answer::Leases(ids)) => json(&LeasesReply {
            header: header(&heading),
            leases: ids.into_iter().map(|id| LeaseName { id: Int(id) }).collect(),
        }),
        (_, other) => Err(mismatch(&other)),
    }
}

/// One request, one line.
pub(super) fn keep_alive(
    front: &Front,
    _: &Call,
    request: LeaseRequest,
    out: &mut LineWriter<'_, '_, StreamReply<LeaseReply>>,
) -> Result<(), ApiError> {
    out.send(&match keep(&front.inbox, request.id) {
        Ok(reply) => StreamReply { result: Some(reply), error: None },
        Err(denial) => StreamReply { result: None, error: Some(stream_error(denial)) },
    })
}

fn keep(inbox: &Inbox, id: Int) -> Result<LeaseReply, Denial> {
    match inbox.ask(Ask::KeepAlive(id.0))? {
        (heading, Answer::KeptAlive(ttl)) => {
            Ok(LeaseReply { header: header(&heading), id, ttl: int(ttl.unwrap_or(0)) })
        }
        (_, other) => Err(mismatch(&other)),
    }
}

pub(super) fn stream_error(denial: Denial) -> StreamError {
    let status = denial.status();
    StreamError {
        grpc_code: denial.code,
        http_code: status,
        message: denial.message,
        http_status: http1::reason(status).to_owned(),
    }
}

/// The bounds of a revision in a watch request.
pub(super) fn start_revision(number: Int) -> u64 {
    unsigned(number).unwrap_or(0)
}
