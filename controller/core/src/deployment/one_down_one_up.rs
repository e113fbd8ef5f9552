//! One down, one up: for what must not run twice, such as a clock or what owns a port or a volume.

use crate::barrier::{Overlap, Pace, Types};

/// One job less than wanted, never one more, and the old one has ended before the new one is asked for.
#[must_use]
pub fn pace() -> Pace {
    Pace { batch: 1, surge: 0, unavailable: 1, overlap: Overlap::Forbidden, types: Types::OneAfterAnother }
}
