//! Waiting for something to become true, never for a time to pass.

use std::time::Duration;

/// Ask until `condition` gives a value, and panic with `what` after `limit`.
///
/// # Panics
/// When the limit has passed.
#[expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "the one place where tests wait")]
pub fn wait_until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = std::time::Instant::now();
    let mut pause = Duration::from_micros(200);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} in vain for: {what}");
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}
