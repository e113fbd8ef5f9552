//! Every maximum of the shell and its reason.

use std::time::Duration;

/// Messages that may wait for a worker; whoever sends changes waits when it is behind.
pub(crate) const INBOX_MAX: usize = 1024;

/// Downstream connections of one worker. Each under way has two buffers of 16 KiB, each idle one next to nothing.
pub(crate) const SESSIONS_MAX: usize = 32 * 1024;

/// Unused buffers that a worker keeps: a burst's worth.
pub(crate) const BUFFERS_KEPT: usize = 1024;

/// Idle connections kept per backend and worker.
pub(crate) const IDLE_PER_BACKEND_MAX: usize = 256;

/// How long a connection to a backend may be idle. Below what the usual servers allow theirs (gunicorn 2 s,
/// Node.js 5 s): then the backend never closes one just when a request is sent on it.
pub(crate) const IDLE_UPSTREAM: Duration = Duration::from_millis(1500);

/// One idle for longer than this is looked at before it is used.
pub(crate) const IDLE_UNCHECKED: Duration = Duration::from_millis(5);

/// Connections accepted before the others get their turn.
pub(crate) const ACCEPT_BATCH: usize = 64;

/// Read-and-write rounds of one session before the others get their turn.
pub(crate) const ROUNDS_MAX: usize = 16;

/// Kernel events taken at once.
pub(crate) const EVENTS_MAX: usize = 512;

/// Connections waiting in the kernel to be accepted.
pub(crate) const BACKLOG: i32 = 4096;

/// Wait after the kernel refused a connection for want of descriptors or memory.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Batches of log lines that may wait to be written.
pub(crate) const LOG_BATCHES_MAX: usize = 256;

/// The time between two reports to the store while there is something new: they cost a disk write each.
pub(crate) const REPORT_GAP: Duration = Duration::from_millis(20);

/// How long the report outlives a router that died.
pub(crate) const OBSERVER_TTL: Duration = Duration::from_secs(6);
