//! How long a restart waits after crashes.

use core::time::Duration;

use stdx::Instant;

use crate::cell::Crashes;
use crate::limits::{FREE_RESTARTS, RESTART_WAIT_MAX};

/// The wait after the last of `crashes` in a group of `wanted` jobs. Ten jobs that crash once are one round, not ten.
pub(crate) fn wait(crashes: Crashes, wanted: u32) -> Duration {
    let rounds = crashes.count.div_ceil(wanted.max(1));
    let Some(slow) = rounds.checked_sub(FREE_RESTARTS + 1) else { return Duration::ZERO };
    Duration::from_secs(1 << slow.min(16)).min(RESTART_WAIT_MAX)
}

/// When the next restart is due.
pub(crate) fn due(crashes: Crashes, wanted: u32) -> Instant {
    crashes.last.map_or(Instant::START, |last| last.after(wait(crashes, wanted)))
}
