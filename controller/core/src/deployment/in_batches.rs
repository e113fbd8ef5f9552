//! As one by one, several at a time.

use crate::barrier::{Overlap, Pace, Types};

/// `batch` jobs more than wanted, never one less.
#[must_use]
pub fn pace(batch: u32) -> Pace {
    let batch = batch.max(1);
    Pace { batch, surge: batch, unavailable: 0, overlap: Overlap::Allowed, types: Types::OneAfterAnother }
}
