//! Containers that really run. Needs root, and `busybox` as a static binary (package `busybox-static`).
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod bed;
mod root;
mod sys;
