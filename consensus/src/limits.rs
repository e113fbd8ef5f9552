//! Every maximum, and why.

use std::time::Duration;

/// Requests waiting for the owner thread. A full queue makes the connection threads wait.
pub const QUEUE_MAX: usize = 4096;

/// Requests taken from the queue before the log is synced: together they share one sync.
pub const BATCH_MAX: usize = 1024;

/// The largest request, as in etcd (1.5 MiB), since one entry is one message to a peer.
pub const REQUEST_BYTES_MAX: usize = 1536 * 1024;

/// The largest frame in the log: one batch of the largest requests is split before it gets here.
pub const FRAME_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A batch is written and synced when it has this many bytes.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long a request may wait for a quorum; etcd's 5 s and two election times.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(7);

/// Leases revoked in one step, so that a thousand that end at once do not stop everything else.
pub const EXPIRE_BATCH_MAX: usize = 64;

/// Changes whose memory is given back in one step.
pub const PRUNE_BATCH: usize = 1000;

/// Pieces of a snapshot that wait for its writer.
pub const SNAPSHOT_QUEUE_MAX: usize = 4;

/// The piece of a snapshot that goes to a peer in one message.
pub const SNAPSHOT_CHUNK_BYTES: usize = 512 * 1024;

const _: () = assert!(BATCH_BYTES_MAX + 2 * REQUEST_BYTES_MAX < FRAME_BYTES_MAX, "a batch fits a frame");
