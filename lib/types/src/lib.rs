//! The words of the platform as types: ids, objects, job specifications, errors on the wire.
//!
//! Knows no I/O, no store and no HTTP. What is here crosses a process or reaches a disk, so its JSON
//! form is a promise: fields are only added, and a missing field has a default that keeps the old meaning.
//! Entry points: [`id`], [`job`], [`app`], [`host`], [`cell`], [`error`].
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

pub mod app;
pub mod cell;
pub mod error;
pub mod host;
pub mod id;
pub mod job;
pub mod stack;

pub use error::{ApiError, Code};
pub use id::*;
