//! The store's client: keys, transactions, leases and watches over the etcd v3 JSON dialect.
//!
//! Calls wait out a store that is not there, up to a deadline: the daemon that holds it may be restarting.
//! A call that may have taken effect is repeated only when repeating it is harmless.

use std::path::Path;
use std::time::Duration;

use types::{ApiError, Code};

use crate::client::{CallError, Client};
use crate::endpoint::{Endpoint, Lines};

pub mod lease;
pub mod txn;
pub mod watch;
pub mod wire;

pub use lease::{LeaseId, LeaseKeeper};
pub use txn::{Txn, TxnOutcome};
pub use watch::{Change, Watch, WatchEvent};

use wire::{
    CallFailure, CompactionRequest, DeleteRangeReply, DeleteRangeRequest, HeaderReply, Int, KeyValue,
    LeaseGrantRequest, LeaseReply, LeaseRequest, PutReply, PutRequest, RangeReply, RangeRequest, StreamReply, TxnReply,
    TxnRequest, WatchReply, WatchRequest,
};

/// How long a call waits for a store that is not there.
const PATIENCE: Duration = Duration::from_secs(15);

/// Refusals that leave open whether the request took effect.
const MAY_HAVE_BEEN_DONE: [&str; 2] = ["etcdserver: request timed out", "etcdserver: server stopped"];

/// The store's endpoints.
pub mod endpoints {
    use super::*;

    /// Read keys.
    pub const RANGE: Endpoint<RangeRequest, RangeReply> = Endpoint::post("/v3/kv/range");
    /// Write a key.
    pub const PUT: Endpoint<PutRequest, PutReply> = Endpoint::post("/v3/kv/put");
    /// Delete keys.
    pub const DELETE_RANGE: Endpoint<DeleteRangeRequest, DeleteRangeReply> = Endpoint::post("/v3/kv/deleterange");
    /// Compare, then do one thing or the other.
    pub const TXN: Endpoint<TxnRequest, TxnReply> = Endpoint::post("/v3/kv/txn");
    /// Forget history.
    pub const COMPACTION: Endpoint<CompactionRequest, HeaderReply> = Endpoint::post("/v3/kv/compaction");
    /// Make a lease.
    pub const LEASE_GRANT: Endpoint<LeaseGrantRequest, LeaseReply> = Endpoint::post("/v3/lease/grant");
    /// End a lease and its keys.
    pub const LEASE_REVOKE: Endpoint<LeaseRequest, HeaderReply> = Endpoint::post("/v3/lease/revoke");
    /// Keep a lease.
    pub const LEASE_KEEPALIVE: Endpoint<LeaseRequest, Lines<StreamReply<LeaseReply>>> =
        Endpoint::post("/v3/lease/keepalive");
    /// Follow keys.
    pub const WATCH: Endpoint<WatchRequest, Lines<StreamReply<WatchReply>>> = Endpoint::post("/v3/watch");
}

/// A key with its value and versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
    /// The revision at which it was made.
    pub created: u64,
    /// The revision at which it was last changed.
    pub revision: u64,
}

/// Keys and the revision at which they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The records, in the order of their keys.
    pub records: Vec<Record>,
    /// The store's revision then.
    pub revision: u64,
}

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not reached within the deadline.
    #[error("reach the store")]
    Unreachable(#[source] CallError),
    /// The connection broke after the request was sent: it may have taken effect.
    #[error("hear the store's answer")]
    Unknown(#[source] CallError),
    /// It refused.
    #[error("the store refused: {message}")]
    Refused {
        /// gRPC's code.
        code: u32,
        /// What it said.
        message: String,
    },
    /// What it answered cannot be read.
    #[error("read the store's answer")]
    Answer(#[source] CallError),
    /// A record holds something else than it should.
    #[error("decode {key}")]
    Decode {
        /// Which record.
        key: String,
        /// What is wrong.
        source: serde_json::Error,
    },
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> ApiError {
        match &error {
            StoreError::Unreachable(_) | StoreError::Unknown(_) => {
                ApiError::retryable(Code::StoreUnavailable, os::text::chain(&error))
            }
            // gRPC's RESOURCE_EXHAUSTED: the store's disk or its quota.
            StoreError::Refused { code: 8, message } => ApiError::new(Code::StoreDiskFull, message.clone())
                .hint("free space on the disk under the data directory; reads and deletes still work"),
            StoreError::Refused { code: 4 | 14, message } => {
                ApiError::retryable(Code::StoreUnavailable, message.clone())
            }
            StoreError::Refused { .. } | StoreError::Answer(_) | StoreError::Decode { .. } => {
                ApiError::new(Code::Internal, os::text::chain(&error))
            }
        }
    }
}

/// Whether doing it twice is as good as once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// It is.
    Harmless,
    /// It may not be.
    Harmful,
}

/// A client of the store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct StoreClient {
    client: Client,
    patience: Duration,
}

impl StoreClient {
    /// A client of the store behind `socket`.
    #[must_use]
    pub fn new(socket: &Path) -> StoreClient {
        StoreClient { client: Client::socket(socket).timeout(Some(Duration::from_secs(30))), patience: PATIENCE }
    }

    /// The same client with another limit on waiting for a store that is not there.
    #[must_use]
    pub fn patience(mut self, limit: Duration) -> StoreClient {
        self.patience = limit;
        self
    }

    /// The record at `key`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn get(&self, key: &str) -> Result<Option<Record>, StoreError> {
        let request = RangeRequest { key: key.into(), ..RangeRequest::default() };
        let reply = self.ask(&endpoints::RANGE, &request, Repeat::Harmless)?;
        Ok(reply.kvs.into_iter().next().map(Record::from))
    }

    /// Every record whose key begins with `prefix`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        let request =
            RangeRequest { key: prefix.into(), range_end: prefix_end(prefix).into(), ..RangeRequest::default() };
        let reply = self.ask(&endpoints::RANGE, &request, Repeat::Harmless)?;
        let revision = unsigned(reply.header.revision);
        Ok(Listing { records: reply.kvs.into_iter().map(Record::from).collect(), revision })
    }

    /// Write a record; gives the revision.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn put(&self, key: &str, value: &[u8], lease: Option<LeaseId>) -> Result<u64, StoreError> {
        let lease = lease.map_or(Int(0), |lease| Int(lease.0));
        let request = PutRequest { key: key.into(), value: value.into(), lease, ..PutRequest::default() };
        let reply = self.ask(&endpoints::PUT, &request, Repeat::Harmless)?;
        Ok(unsigned(reply.header.revision))
    }

    /// Delete a record; gives the revision, and whether it was there.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn delete(&self, key: &str) -> Result<(u64, bool), StoreError> {
        let request = DeleteRangeRequest { key: key.into(), ..DeleteRangeRequest::default() };
        let reply = self.ask(&endpoints::DELETE_RANGE, &request, Repeat::Harmless)?;
        Ok((unsigned(reply.header.revision), reply.deleted.0 > 0))
    }

    /// Run a transaction.
    ///
    /// A broken connection leaves it open whether the transaction ran. `Harmless` is right when its
    /// comparisons fail the second time or its writes say the same again.
    ///
    /// # Errors
    /// See [`StoreError`]; a comparison that fails is no error.
    pub fn txn(&self, txn: Txn, repeat: Repeat) -> Result<TxnOutcome, StoreError> {
        let reply = self.ask(&endpoints::TXN, &txn.into_request(), repeat)?;
        Ok(TxnOutcome::from(reply))
    }

    /// Make a lease.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn lease_grant(&self, ttl: Duration) -> Result<LeaseId, StoreError> {
        let seconds = i64::try_from(ttl.as_secs().max(1)).unwrap_or(i64::MAX);
        // Granted twice, the first one only runs out.
        let request = LeaseGrantRequest { ttl: Int(seconds), id: Int(0) };
        self.ask(&endpoints::LEASE_GRANT, &request, Repeat::Harmless).map(|reply| LeaseId(reply.id.0))
    }

    /// Keep a lease alive; false when it is gone.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn lease_keepalive(&self, lease: LeaseId) -> Result<bool, StoreError> {
        let request = LeaseRequest { id: Int(lease.0), keys: false };
        let mut lines = self.client.lines(&endpoints::LEASE_KEEPALIVE, &[], &[], &request).map_err(classify)?;
        let reply = lines.next().transpose().map_err(classify)?.unwrap_or_default();
        // Read to the end, so that the connection can be used again.
        lines.for_each(drop);
        if let Some(error) = reply.error {
            return Err(StoreError::Refused { code: error.grpc_code, message: error.message });
        }
        Ok(reply.result.is_some_and(|reply| reply.ttl.0 > 0))
    }

    /// End a lease and delete its keys. One that is gone already is success.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn lease_revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        let request = LeaseRequest { id: Int(lease.0), keys: false };
        match self.ask(&endpoints::LEASE_REVOKE, &request, Repeat::Harmless) {
            Ok(_) | Err(StoreError::Refused { code: 5, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Call, and call again while the store is not there and that is harmless.
    fn ask<Q: serde::Serialize, R: serde::de::DeserializeOwned>(
        &self,
        endpoint: &Endpoint<Q, R>,
        request: &Q,
        repeat: Repeat,
    ) -> Result<R, StoreError> {
        let deadline = os::clock::now().after(self.patience);
        let mut pause = Duration::from_millis(5);
        loop {
            let error = match self.client.call(endpoint, &[], request) {
                Ok(reply) => return Ok(reply),
                Err(error) => classify(error),
            };
            let again = match &error {
                StoreError::Unreachable(_) => true,
                StoreError::Unknown(_) => repeat == Repeat::Harmless,
                // Unavailable. Except after a time-out or a stop, the store says so of what it did not do.
                StoreError::Refused { code: 14, message } => {
                    repeat == Repeat::Harmless || !MAY_HAVE_BEEN_DONE.contains(&message.as_str())
                }
                StoreError::Refused { .. } => false,
                StoreError::Answer(_) | StoreError::Decode { .. } => false,
            };
            if !again || os::clock::now() >= deadline {
                return Err(error);
            }
            os::clock::pause(pause);
            pause = (pause * 2).min(Duration::from_millis(250));
        }
    }

    pub(crate) fn http(&self) -> &Client {
        &self.client
    }
}

pub(crate) fn classify(error: CallError) -> StoreError {
    match error {
        CallError::Connect { .. } => StoreError::Unreachable(error),
        CallError::Lost { .. } => StoreError::Unknown(error),
        CallError::Decode { .. } => StoreError::Answer(error),
        CallError::Refused(refused) => {
            // The dialect's own error form reaches us as the text of a reply that is no ApiError.
            let failure = refused.message.find('{').map(|at| &refused.message[at..]);
            match failure.and_then(|text| serde_json::from_str::<CallFailure>(text).ok()) {
                Some(failure) => StoreError::Refused { code: failure.code, message: failure.message },
                None => StoreError::Refused { code: 2, message: refused.message },
            }
        }
    }
}

impl From<KeyValue> for Record {
    fn from(kv: KeyValue) -> Record {
        Record {
            key: String::from_utf8_lossy(&kv.key.0).into_owned(),
            value: kv.value.0,
            created: unsigned(kv.create_revision),
            revision: unsigned(kv.mod_revision),
        }
    }
}

pub(crate) fn unsigned(number: Int) -> u64 {
    u64::try_from(number.0).unwrap_or(0)
}

/// The first key after all keys that begin with `prefix`.
#[must_use]
pub fn prefix_end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}
