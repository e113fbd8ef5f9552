//! Bounds of the shell.

use std::time::Duration;

/// Time to live of the leadership. A crashed scheduler is missed for at most this long when another takes over.
pub(crate) const LEASE: Duration = Duration::from_secs(3);

/// Watch events that wait for the owner thread; then the watch waits, and the store starts it anew if it must.
pub(crate) const EVENTS_MAX: usize = 256;

/// Wait after a store that answered with an error: first and longest.
pub(crate) const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// A refused commit is planned again when the view moved on, and after this in any case.
pub(crate) const REFUSED_PATIENCE: Duration = Duration::from_millis(500);

/// Attempts of [`place`](crate::place) against others who commit on the same host.
pub(crate) const PLACE_ATTEMPTS: u32 = 16;

/// Claims and stops in one commit of the framework's API; the store takes 128 operations.
pub(crate) const COMMIT_ITEMS_MAX: usize = 50;
