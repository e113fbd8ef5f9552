//! The etcd v3 JSON dialect: bytes as base64, 64-bit numbers as strings, zero values left out.

use serde::{Deserialize, Serialize};

/// Bytes as standard base64.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&data_encoding::BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Bytes, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(input)?;
        data_encoding::BASE64
            .decode(text.as_bytes())
            .map(Bytes)
            .map_err(|error| serde::de::Error::custom(format!("illegal base64 data at input byte {}", error.position)))
    }
}

impl From<&str> for Bytes {
    fn from(text: &str) -> Bytes {
        Bytes(text.as_bytes().to_vec())
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Bytes {
        Bytes(bytes.to_vec())
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        Bytes(bytes)
    }
}

/// A 64-bit number: a string in answers, a string or a number in requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Int(pub i64);

impl Serialize for Int {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Int {
    fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Int, D::Error> {
        struct Visit;
        impl serde::de::Visitor<'_> for Visit {
            type Value = Int;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a 64-bit number or its text")
            }
            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Int, E> {
                Ok(Int(number))
            }
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Int, E> {
                // Ids of etcd members use all 64 bits and are written unsigned.
                Ok(Int(number.cast_signed()))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Int, E> {
                let unsigned = || text.parse::<u64>().map(u64::cast_signed);
                text.parse::<i64>().or_else(|_| unsigned()).map(Int).map_err(E::custom)
            }
            fn visit_unit<E: serde::de::Error>(self) -> Result<Int, E> {
                Ok(Int(0))
            }
        }
        input.deserialize_any(Visit)
    }
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Fields of the answer's header.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Header {
    /// The cluster.
    #[serde(skip_serializing_if = "is_default", alias = "clusterId")]
    pub cluster_id: Int,
    /// The member that answered.
    #[serde(skip_serializing_if = "is_default", alias = "memberId")]
    pub member_id: Int,
    /// The store's revision.
    #[serde(skip_serializing_if = "is_default")]
    pub revision: Int,
    /// The raft term.
    #[serde(skip_serializing_if = "is_default", alias = "raftTerm")]
    pub raft_term: Int,
}

/// A key with its value and versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyValue {
    /// The key.
    #[serde(skip_serializing_if = "is_default")]
    pub key: Bytes,
    /// The revision at which it was made.
    #[serde(skip_serializing_if = "is_default", alias = "createRevision")]
    pub create_revision: Int,
    /// The revision at which it was last changed.
    #[serde(skip_serializing_if = "is_default", alias = "modRevision")]
    pub mod_revision: Int,
    /// How often it was changed since it was made.
    #[serde(skip_serializing_if = "is_default")]
    pub version: Int,
    /// The value.
    #[serde(skip_serializing_if = "is_default")]
    pub value: Bytes,
    /// The lease it hangs on.
    #[serde(skip_serializing_if = "is_default")]
    pub lease: Int,
}

/// An enum that is read as a name or a number and written as a name.
macro_rules! wire_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $number:literal, $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.serialize_str(match self { $($name::$variant => $text,)* })
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<$name, D::Error> {
                struct Visit;
                impl serde::de::Visitor<'_> for Visit {
                    type Value = $name;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("a name or number of ", stringify!($name)))
                    }
                    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<$name, E> {
                        match number { $($number => Ok($name::$variant),)* _ => Err(E::custom(format!("unknown number {number}"))) }
                    }
                    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<$name, E> {
                        self.visit_u64(u64::try_from(number).unwrap_or(u64::MAX))
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        match text { $($text => Ok($name::$variant),)* _ => Err(E::custom(format!("unknown name {text:?}"))) }
                    }
                }
                input.deserialize_any(Visit)
            }
        }
    };
}

wire_enum! {
    /// The order of a range's answer.
    SortOrder {
        /// As the keys are.
        #[default]
        None = 0, "NONE";
        /// Smallest first.
        Ascend = 1, "ASCEND";
        /// Largest first.
        Descend = 2, "DESCEND";
    }
}

wire_enum! {
    /// What a range is sorted by.
    SortTarget {
        /// The key.
        #[default]
        Key = 0, "KEY";
        /// The version.
        Version = 1, "VERSION";
        /// The create revision.
        Create = 2, "CREATE";
        /// The mod revision.
        Mod = 3, "MOD";
        /// The value.
        Value = 4, "VALUE";
    }
}

wire_enum! {
    /// What a comparison looks at.
    CompareTarget {
        /// The version.
        #[default]
        Version = 0, "VERSION";
        /// The create revision.
        Create = 1, "CREATE";
        /// The mod revision.
        Mod = 2, "MOD";
        /// The value.
        Value = 3, "VALUE";
        /// The lease.
        Lease = 4, "LEASE";
    }
}

wire_enum! {
    /// How a comparison compares.
    CompareResult {
        /// Equal.
        #[default]
        Equal = 0, "EQUAL";
        /// The key's is greater.
        Greater = 1, "GREATER";
        /// The key's is less.
        Less = 2, "LESS";
        /// Not equal.
        NotEqual = 3, "NOT_EQUAL";
    }
}

wire_enum! {
    /// What happened to a key.
    EventType {
        /// It was put.
        #[default]
        Put = 0, "PUT";
        /// It was deleted.
        Delete = 1, "DELETE";
    }
}

wire_enum! {
    /// Events that a watch leaves out.
    Filter {
        /// Puts.
        #[default]
        NoPut = 0, "NOPUT";
        /// Deletes.
        NoDelete = 1, "NODELETE";
    }
}

/// Declare a message: every field optional, read in both spellings, left out when it is its default.
macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $type:ty $(, $alias:literal)?;)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $name {
            $($(#[$fdoc])* #[serde(skip_serializing_if = "is_default" $(, alias = $alias)?)] pub $field: $type,)*
        }
    )*};
}

messages! {
    /// `/v3/kv/range`.
    RangeRequest {
        /// The first key.
        key: Bytes;
        /// The key after the last; none for one key, `\0` for all that follow.
        range_end: Bytes, "rangeEnd";
        /// At most so many; 0 is no limit.
        limit: Int;
        /// As of this revision; 0 is now.
        revision: Int;
        /// The order.
        sort_order: SortOrder, "sortOrder";
        /// What the order is of.
        sort_target: SortTarget, "sortTarget";
        /// Whether a member's own, perhaps older, state will do.
        serializable: bool;
        /// Leave the values out.
        keys_only: bool, "keysOnly";
        /// Leave the keys out too.
        count_only: bool, "countOnly";
        /// Only keys changed at or after it.
        min_mod_revision: Int, "minModRevision";
        /// Only keys changed at or before it.
        max_mod_revision: Int, "maxModRevision";
        /// Only keys made at or after it.
        min_create_revision: Int, "minCreateRevision";
        /// Only keys made at or before it.
        max_create_revision: Int, "maxCreateRevision";
    }
    /// The answer of a range.
    RangeReply {
        /// The header.
        header: Header;
        /// The keys.
        kvs: Vec<KeyValue>;
        /// Whether the limit cut it.
        more: bool;
        /// How many keys there are without the limit.
        count: Int;
    }
    /// `/v3/kv/put`.
    PutRequest {
        /// The key.
        key: Bytes;
        /// The value.
        value: Bytes;
        /// The lease to hang it on.
        lease: Int;
        /// Answer with what it was.
        prev_kv: bool, "prevKv";
        /// Keep the value.
        ignore_value: bool, "ignoreValue";
        /// Keep the lease.
        ignore_lease: bool, "ignoreLease";
    }
    /// The answer of a put.
    PutReply {
        /// The header.
        header: Header;
        /// What it was.
        prev_kv: Option<KeyValue>, "prevKv";
    }
    /// `/v3/kv/deleterange`.
    DeleteRangeRequest {
        /// The first key.
        key: Bytes;
        /// The key after the last.
        range_end: Bytes, "rangeEnd";
        /// Answer with what they were.
        prev_kv: bool, "prevKv";
    }
    /// The answer of a deletion.
    DeleteRangeReply {
        /// The header.
        header: Header;
        /// How many keys were deleted.
        deleted: Int;
        /// What they were.
        prev_kvs: Vec<KeyValue>, "prevKvs";
    }
    /// One comparison of a transaction.
    Compare {
        /// How.
        result: CompareResult;
        /// What.
        target: CompareTarget;
        /// Of which key.
        key: Bytes;
        /// Up to which key: it must then hold for each.
        range_end: Bytes, "rangeEnd";
        /// With this version.
        version: Option<Int>;
        /// With this create revision.
        create_revision: Option<Int>, "createRevision";
        /// With this mod revision.
        mod_revision: Option<Int>, "modRevision";
        /// With this value.
        value: Option<Bytes>;
        /// With this lease.
        lease: Option<Int>;
    }
    /// One operation of a transaction: exactly one field is there.
    RequestOp {
        /// Read.
        request_range: Option<RangeRequest>, "requestRange";
        /// Write.
        request_put: Option<PutRequest>, "requestPut";
        /// Delete.
        request_delete_range: Option<DeleteRangeRequest>, "requestDeleteRange";
        /// A transaction within.
        request_txn: Option<TxnRequest>, "requestTxn";
    }
    /// `/v3/kv/txn`.
    TxnRequest {
        /// All must hold.
        compare: Vec<Compare>;
        /// What to do when they do.
        success: Vec<RequestOp>;
        /// What to do when they do not.
        failure: Vec<RequestOp>;
    }
    /// The answer of one operation.
    ResponseOp {
        /// Of a read.
        response_range: Option<RangeReply>, "responseRange";
        /// Of a write.
        response_put: Option<PutReply>, "responsePut";
        /// Of a deletion.
        response_delete_range: Option<DeleteRangeReply>, "responseDeleteRange";
        /// Of a transaction within.
        response_txn: Option<TxnReply>, "responseTxn";
    }
    /// The answer of a transaction.
    TxnReply {
        /// The header.
        header: Header;
        /// Whether the comparisons held.
        succeeded: bool;
        /// One for each operation done.
        responses: Vec<ResponseOp>;
    }
    /// `/v3/kv/compaction`.
    CompactionRequest {
        /// Forget what is older.
        revision: Int;
        /// Answer when it is done on disk.
        physical: bool;
    }
    /// An answer with nothing but its header.
    HeaderReply {
        /// The header.
        header: Header;
    }
}

/// `/v3/lease/grant`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeaseGrantRequest {
    /// Seconds.
    #[serde(rename = "TTL", skip_serializing_if = "is_default")]
    pub ttl: Int,
    /// The wanted id; 0 lets the store pick.
    #[serde(rename = "ID", skip_serializing_if = "is_default")]
    pub id: Int,
}

/// The answer of a grant or keep-alive. A dead lease's has no TTL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeaseReply {
    /// The header.
    pub header: Header,
    /// The lease.
    #[serde(rename = "ID", skip_serializing_if = "is_default")]
    pub id: Int,
    /// Seconds.
    #[serde(rename = "TTL", skip_serializing_if = "is_default")]
    pub ttl: Int,
}

/// `/v3/lease/revoke`, `/v3/lease/keepalive`, `/v3/lease/timetolive`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeaseRequest {
    /// The lease.
    #[serde(rename = "ID", skip_serializing_if = "is_default")]
    pub id: Int,
    /// For timetolive: answer with its keys.
    #[serde(skip_serializing_if = "is_default")]
    pub keys: bool,
}

/// One message of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StreamReply<T> {
    /// The message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<T>,
    /// Why the stream ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<StreamError>,
}

/// Why a stream ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StreamError {
    /// gRPC's code.
    pub grpc_code: u32,
    /// HTTP's status.
    pub http_code: u16,
    /// What failed.
    pub message: String,
    /// The status in words.
    pub http_status: String,
}

/// The error of a unary call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallFailure {
    /// What failed.
    pub error: String,
    /// The same.
    pub message: String,
    /// gRPC's code.
    pub code: u32,
}

/// `/v3/watch`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WatchRequest {
    /// What to watch.
    #[serde(alias = "createRequest", skip_serializing_if = "Option::is_none")]
    pub create_request: Option<WatchCreate>,
}

messages! {
    /// What to watch.
    WatchCreate {
        /// The first key.
        key: Bytes;
        /// The key after the last.
        range_end: Bytes, "rangeEnd";
        /// From this revision on; 0 is from now on.
        start_revision: Int, "startRevision";
        /// Say now and then that nothing happened.
        progress_notify: bool, "progressNotify";
        /// Leave these out.
        filters: Vec<Filter>;
        /// Tell what a key was before.
        prev_kv: bool, "prevKv";
        /// The id the client wants; each stream has one watch, so it says nothing.
        watch_id: Int, "watchId";
        /// Split large messages; they are never split here.
        fragment: bool;
    }
    /// One message of a watch.
    WatchReply {
        /// The header.
        header: Header;
        /// The watch.
        watch_id: Int, "watchId";
        /// This is the first message.
        created: bool;
        /// Nothing more will come.
        canceled: bool;
        /// The revision from which history is there, when the start was older.
        compact_revision: Int, "compactRevision";
        /// Why it was cancelled.
        cancel_reason: String, "cancelReason";
        /// What happened, whole revisions at a time.
        events: Vec<WatchEvent>;
    }
    /// What happened to one key.
    WatchEvent {
        /// What.
        r#type: EventType;
        /// The key after it; of a deleted one only the key and the revision.
        kv: KeyValue;
        /// The key before it.
        prev_kv: Option<KeyValue>, "prevKv";
    }
}
