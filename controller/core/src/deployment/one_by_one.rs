//! One up, one down, process type by process type in the order of their names.

use crate::barrier::{Overlap, Pace, Types};

/// One job more than wanted, never one less.
#[must_use]
pub fn pace() -> Pace {
    Pace { batch: 1, surge: 1, unavailable: 0, overlap: Overlap::Allowed, types: Types::OneAfterAnother }
}
