//! What the host decides, as values: no clock, no file, no thread.

pub mod job;
pub mod lines;
pub mod plan;
