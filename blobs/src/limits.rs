//! Every maximum, with its reason.

/// Largest blob when nothing else is said: slugs are below 1 GiB, stack layers below 2.
pub(crate) const BLOB_BYTES_MAX: u64 = 4 << 30;

/// What uploads leave free of the disk: the store's log and the jobs' logs are on it too.
pub(crate) const RESERVE_BYTES: u64 = 512 << 20;

/// Read and hashed at once.
pub(crate) const BUFFER_BYTES: usize = 256 * 1024;

/// How often an upload looks at the room on the disk.
pub(crate) const ROOM_CHECK_BYTES: u64 = 8 << 20;

/// Most blobs of one page of a listing.
pub(crate) const PAGE_MAX: usize = 1_000;

/// Uploads at once; each holds a file and a thread.
pub(crate) const UPLOADS_MAX: usize = 64;

const _: () = assert!(BUFFER_BYTES as u64 <= ROOM_CHECK_BYTES && ROOM_CHECK_BYTES <= BLOB_BYTES_MAX);
