//! The store behind HTTP.

use std::path::PathBuf;
use std::sync::Arc;

use api::blobs::{self, Removed, Status};
use api::serve::{Call, Exchange, ListenError};
use api::{Endpoint, Service};
use os::signal::Shutdown;
use types::{ApiError, Code, Digest};

use crate::limits::{BLOB_BYTES_MAX, PAGE_MAX, RESERVE_BYTES};
use crate::store::{OpenStoreError, Store};

/// What the role is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where blobs are kept.
    pub dir: PathBuf,
    /// Where it listens.
    pub socket: PathBuf,
}

/// What the store takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the disk that uploads leave free, for the rest of the platform.
    pub reserve_bytes: u64,
    /// Largest blob.
    pub blob_bytes_max: u64,
}

impl Limits {
    /// What suits a host.
    pub const STANDARD: Limits = Limits { reserve_bytes: RESERVE_BYTES, blob_bytes_max: BLOB_BYTES_MAX };
}

/// Why the role ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The folder cannot be used.
    #[error(transparent)]
    Open(#[from] OpenStoreError),
    /// The socket cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

/// Serve until the shutdown is asked for.
///
/// # Errors
/// When the folder or the socket cannot be used.
pub fn run(options: Options, shutdown: &Shutdown) -> Result<(), RunError> {
    run_within(options, Limits::STANDARD, shutdown)
}

/// As [`run`], with other limits.
///
/// # Errors
/// As [`run`].
pub fn run_within(options: Options, limits: Limits, shutdown: &Shutdown) -> Result<(), RunError> {
    let store = Arc::new(Store::open(&options.dir, limits.reserve_bytes, limits.blob_bytes_max)?);
    let service = Service::new(store)
        .raw(&blobs::PUT, put)
        .raw(&blobs::GET, get)
        .raw(&blobs::HEAD, head)
        .on(&blobs::STAT, |store, call, ()| Ok(find(store, call)?.1))
        .on(&blobs::DELETE, |store, call, ()| {
            let digest = digest(call)?;
            let removed = store.remove(&digest, call.number("older_than_ms")?)?;
            removed.map(|removed| Removed { removed }).ok_or_else(|| missing(&digest))
        });
    let service = [blobs::LIST, blobs::ROOT].iter().fold(service, |service, endpoint: &Endpoint<(), _>| {
        service.on(endpoint, |store, call, ()| {
            let parse =
                |text: &str| Digest::parse(text).map_err(|error| ApiError::invalid("after", &error.to_string()));
            let after = call.query("after").map(parse).transpose()?;
            let limit = call.number("limit")?.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(PAGE_MAX);
            Ok(store.list(after.as_ref(), limit)?)
        })
    });
    let service = service
        .on(&blobs::STATUS, |store, _, ()| Ok(Status { status: "healthy".into(), free_bytes: store.free_bytes()? }));
    let listening = service.listen(&options.socket, shutdown)?;
    log::info!(dir:% = options.dir.display(), socket:% = options.socket.display(); "blobs served");
    listening.finish();
    Ok(())
}

fn digest(call: &Call) -> Result<Digest, ApiError> {
    Digest::parse(call.param(0)).map_err(|error| ApiError::new(Code::Validation, error.to_string()))
}

fn missing(digest: &Digest) -> ApiError {
    ApiError::not_found("blob", digest.as_str())
}

fn find(store: &Store, call: &Call) -> Result<(std::fs::File, blobs::Blob), ApiError> {
    let digest = digest(call)?;
    store.open_blob(&digest)?.ok_or_else(|| missing(&digest))
}

fn put(store: &Store, call: &Call, exchange: &mut Exchange<'_>) -> Result<(), ApiError> {
    let digest = digest(call)?;
    // A length that is no number was refused with the head.
    let announced = call.header("content-length").and_then(|text| text.parse().ok());
    let blob = store.put(&digest, announced, &mut exchange.body())?;
    exchange.json(200, &blob)
}

fn get(store: &Store, call: &Call, exchange: &mut Exchange<'_>) -> Result<(), ApiError> {
    let (mut file, blob) = find(store, call)?;
    if let Err(error) = exchange.copy("application/octet-stream", blob.size, &mut file) {
        // The reply has begun: the client sees the connection end early.
        log::debug!(blob:% = blob.digest, error:% = error; "blob not sent to its end");
    }
    Ok(())
}

fn head(store: &Store, call: &Call, exchange: &mut Exchange<'_>) -> Result<(), ApiError> {
    let (_, blob) = find(store, call)?;
    exchange.head_only("application/octet-stream", blob.size);
    Ok(())
}
