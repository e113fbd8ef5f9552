//! The blob store: content by the SHA-256 of what it is.

use std::io::{self, Read, Write};
use std::path::Path;

use http1::Method;
use serde::{Deserialize, Serialize};
use types::Digest;

use crate::client::{Body, CallError, Client, Response};
use crate::endpoint::{Endpoint, Raw};

/// The name of the service, and of the folder with its sockets.
pub const SERVICE: &str = "blobs";

/// Store a blob: the body is its content. Storing what is there already changes nothing but its age.
pub const PUT: Endpoint<Raw, Blob> = Endpoint::put("/blobs/:sha256");
/// Read a blob.
pub const GET: Endpoint<(), Raw> = Endpoint::get("/blobs/:sha256");
/// Ask whether a blob is there.
pub const HEAD: Endpoint<(), Raw> = Endpoint::new(Method::Head, "/blobs/:sha256");
/// What is known of a blob.
pub const STAT: Endpoint<(), Blob> = Endpoint::get("/blobs/:sha256/stat");
/// Remove a blob; query `older_than_ms` spares what was stored or touched since.
pub const DELETE: Endpoint<(), Removed> = Endpoint::delete("/blobs/:sha256");
/// The blobs in the order of their digests; query `after` and `limit` page.
pub const LIST: Endpoint<(), Listing> = Endpoint::get("/blobs");
/// The same at the root.
pub const ROOT: Endpoint<(), Listing> = Endpoint::get("/");
/// Whether it serves, and how much room there is.
pub const STATUS: Endpoint<(), Status> = Endpoint::get("/.well-known/status");

/// One blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// The SHA-256 of its content.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// Milliseconds since 1970 when it was last stored.
    pub stored_ms: u64,
}

/// A page of blobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The blobs.
    pub blobs: Vec<Blob>,
    /// Where the next page begins, if there is one: its `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Digest>,
}

/// What a removal did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Whether the blob is gone because of this call.
    pub removed: bool,
}

/// How the blob store is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// `healthy`.
    pub status: String,
    /// Bytes that may still be stored.
    pub free_bytes: u64,
}

/// Stores and reads blobs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BlobClient {
    client: Client,
}

impl BlobClient {
    /// A client of the cluster's blob store.
    #[must_use]
    pub fn service(run_dir: &Path) -> BlobClient {
        BlobClient { client: Client::service(run_dir, SERVICE) }
    }

    /// A client of the blob store on `socket`.
    #[must_use]
    pub fn socket(socket: &Path) -> BlobClient {
        BlobClient { client: Client::socket(socket) }
    }

    /// Store what `content` gives, which must have this digest.
    ///
    /// # Errors
    /// See [`CallError`]; [`types::Code::Validation`] when the content is something else,
    /// [`types::Code::DiskFull`] and [`types::Code::OverLimit`] when there is no room for it.
    pub fn put(&self, digest: &Digest, content: &mut dyn Read) -> Result<Blob, CallError> {
        let path = PUT.fill(&[digest.as_str()]);
        let headers = [("Content-Type", "application/octet-stream")];
        let mut response = self.client.request(&PUT.method, &path, &headers, Body::Reader(content))?;
        let mut text = Vec::new();
        let lost = |source| CallError::Lost { path: path.clone(), source };
        response.read_to_end(&mut text).map_err(lost)?;
        serde_json::from_slice(&text).map_err(|source| CallError::Decode { path: path.clone(), source })
    }

    /// Read a blob. Whoever acts on the content checks its digest.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn get(&self, digest: &Digest) -> Result<Response, CallError> {
        self.client.request(&GET.method, &GET.fill(&[digest.as_str()]), &[], Body::None)
    }

    /// Copy a blob into `out`; gives the number of bytes.
    ///
    /// # Errors
    /// See [`CallError`]; a failure of `out` is [`CallError::Lost`].
    pub fn copy(&self, digest: &Digest, out: &mut dyn Write) -> Result<u64, CallError> {
        let path = GET.fill(&[digest.as_str()]);
        let mut response = self.get(digest)?;
        io::copy(&mut response, out).map_err(|source| CallError::Lost { path, source })
    }

    /// What is known of a blob; `None` when it is not there.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn stat(&self, digest: &Digest) -> Result<Option<Blob>, CallError> {
        match self.client.call(&STAT, &[digest.as_str()], &()) {
            Ok(blob) => Ok(Some(blob)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Remove a blob, unless it was stored or touched after `older_than_ms`; whether it was there and is gone.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn delete(&self, digest: &Digest, older_than_ms: Option<u64>) -> Result<bool, CallError> {
        let limit = older_than_ms.map(|ms| ms.to_string());
        let query: Vec<(&str, &str)> = limit.iter().map(|text| ("older_than_ms", text.as_str())).collect();
        match self.client.call_query(&DELETE, &[digest.as_str()], &query, &()) {
            Ok(removed) => Ok(removed.removed),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// One page of blobs.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn list(&self, after: Option<&Digest>) -> Result<Listing, CallError> {
        let query: Vec<(&str, &str)> = after.iter().map(|digest| ("after", digest.as_str())).collect();
        self.client.call_query(&LIST, &[], &query, &())
    }
}
