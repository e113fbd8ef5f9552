//! Time: monotonic for decisions, wall for people and certificates.
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "this file is the one reader of the clocks")]

use std::fmt;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stdx::Instant;

static START: OnceLock<std::time::Instant> = OnceLock::new();

/// The monotonic clock, counted from the first call in this process.
pub fn now() -> Instant {
    let start = START.get_or_init(std::time::Instant::now);
    Instant::START.after(start.elapsed())
}

/// Let this thread rest. Only for shells that poll something the kernel cannot announce.
pub fn pause(wait: Duration) {
    std::thread::sleep(wait);
}

/// Ask `ready` every few milliseconds until it answers or `limit` has passed.
pub fn wait_for<T>(limit: Duration, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    let end = now().after(limit);
    let mut step = Duration::from_millis(1);
    loop {
        if let Some(found) = ready() {
            return Some(found);
        }
        if now() >= end {
            return None;
        }
        pause(step);
        step = (step * 2).min(Duration::from_millis(20));
    }
}

/// The wall clock. For display, records and certificates only: it can jump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallTime(SystemTime);

/// The wall clock's reading.
pub fn wall() -> WallTime {
    WallTime(SystemTime::now())
}

impl WallTime {
    /// Milliseconds since 1970.
    #[must_use]
    pub fn unix_millis(self) -> u64 {
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// The moment `millis` milliseconds after 1970.
    #[must_use]
    pub fn from_unix_millis(millis: u64) -> WallTime {
        WallTime(UNIX_EPOCH + Duration::from_millis(millis))
    }

    /// Parse what [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<WallTime> {
        humantime::parse_rfc3339_weak(text).ok().map(WallTime)
    }

    /// How long ago `earlier` was; zero if it is in the future.
    #[must_use]
    pub fn since(self, earlier: WallTime) -> Duration {
        self.0.duration_since(earlier.0).unwrap_or_default()
    }
}

impl fmt::Display for WallTime {
    /// RFC 3339 in UTC with milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_rfc3339_millis(self.0))
    }
}
