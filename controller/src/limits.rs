//! Every maximum of the controller, with its reason.

use std::time::Duration;

/// Tries of one change against changes by others. Each try is lost only to somebody else's success.
pub(crate) const COMMIT_TRIES_MAX: u32 = 50;

/// Events kept in the store; older ones go. A stream that was away longer begins anew.
pub(crate) const EVENTS_MAX: usize = 2_000;

/// How many events may be over [`EVENTS_MAX`] before the oldest are removed, so that it is not done each time.
pub(crate) const EVENTS_SLACK: usize = 200;

/// Ended deployments kept per app.
pub(crate) const DEPLOYMENTS_MAX: usize = 50;

/// Events kept in memory for streams: those of the store, and as many states of jobs.
pub(crate) const RING_MAX: usize = 4_000;

/// How long the deployer's leader may be silent before another controller takes over.
pub(crate) const LEADER_TTL: Duration = Duration::from_secs(5);

/// Messages that wait for the deployer; a full inbox holds the watches back.
pub(crate) const INBOX_MAX: usize = 256;

/// How long a failed job's last words are waited for: a deployment's end must not hang on a log.
pub(crate) const LAST_WORDS_WAIT: Duration = Duration::from_secs(2);

/// Lines of the failed job's log in the error of a deployment, and their bytes together.
pub(crate) const LAST_WORDS_LINES: usize = 10;
/// See [`LAST_WORDS_LINES`].
pub(crate) const LAST_WORDS_BYTES_MAX: usize = 4_000;

/// How often garbage is looked for.
pub(crate) const GARBAGE_EVERY: Duration = Duration::from_secs(600);

/// A slug that nothing refers to is kept this long, so that no push that is under way loses it.
pub(crate) const GARBAGE_GRACE: Duration = Duration::from_secs(24 * 3600);

/// How long an attached run waits for a host to take it.
pub(crate) const PLACEMENT_WAIT: Duration = Duration::from_secs(60);

/// Most lines of a log that are answered at once.
pub(crate) const LOG_LINES_MAX: u64 = 10_000;

const _: () = assert!(EVENTS_MAX + EVENTS_SLACK < RING_MAX);
