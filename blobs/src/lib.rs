//! The blob store: content by the SHA-256 of what it is, kept as files.
//!
//! Knows nothing of slugs, layers or who refers to what: the controller decides what is garbage. Entry points:
//! [`run`] (the role) and [`Store`] (the folder behind it).
//!
//! ```text
//! DIR/sha256/ab/abcd...   whole blobs, read-only, never changed
//! DIR/uploads/UUID        being received; removed at the start, since nobody can go on with one
//! ```
//! Invariants: a file below `sha256/` has the content its name says, whole and synced, before its PUT is
//! answered; no request can name a path. Failure model: killed at any moment, what was acknowledged is there
//! and what was not is gone at the next start; a full disk refuses uploads with a code, keeps a reserve for
//! others on the disk and goes on serving reads and removals. Tested by `tests/it`: hostile requests, a disk
//! without room, SIGKILL in the middle of uploads.
#![forbid(unsafe_code)]

mod limits;
mod serve;
mod store;

pub use serve::{Limits, Options, RunError, run, run_within};
pub use store::{OpenStoreError, Store, StoreBlobError};
