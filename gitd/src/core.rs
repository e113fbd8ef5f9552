//! The decisions: what a client asked for, and which updates are deployed.

pub mod command;
pub mod refs;
