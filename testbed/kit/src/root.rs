//! Tests that need privileges.

use std::fs;

/// Whether this test may go on: true as root. Without root it says `skipped` and gives false, so that
/// `if !testkit::root::granted("root_x") { return; }` is the first line of such a test.
///
/// # Panics
/// Without root when `CI=true`: there, a skipped test would be a hole nobody sees.
#[must_use]
pub fn granted(test: &str) -> bool {
    if effective_user() == Some(0) {
        return true;
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} needs root, and CI=true allows no skipped test");
    #[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
    {
        eprintln!("{test}: skipped, it needs root");
    }
    false
}

fn effective_user() -> Option<u32> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("Uid:"))?;
    line.split_whitespace().nth(2)?.parse().ok()
}
