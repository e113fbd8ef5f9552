//! What is promised, tried on a whole cluster, with figures.

pub mod deploys;
pub mod examples;
pub mod idle;
pub mod machine;
pub mod power;

use std::time::Duration;

/// Seconds with one digit.
pub(crate) fn seconds(span: Duration) -> String {
    format!("{:.1}", span.as_secs_f64())
}
