//! The only readers of the clock and of entropy, and the few things every shell needs from Linux.
//!
//! Knows nothing of the platform: no jobs, no store, no HTTP. Entry points: [`clock`], [`entropy`],
//! [`mod@file`] (writes that survive a power cut), [`mod@thread`] (named threads), [`signal`] (waiting for an
//! orderly end), [`log`](mod@crate::log) (the logfmt sink behind the `log` crate), [`text`] (the chain of an error).
#![warn(missing_docs)]
#![forbid(unsafe_code)]

pub mod clock;
pub mod entropy;
pub mod file;
pub mod log;
pub mod signal;
pub mod text;
pub mod thread;
