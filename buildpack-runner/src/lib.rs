//! Builds an app from its source: the classic buildpack API, run inside a build job and nowhere else.
//!
//! [`run`] reads one line of JSON ([`types::stack::BuildRequest`]) and a tar of the source, and writes one line of
//! JSON ([`types::stack::BuildReply`]) and, when it worked, a tar of the slug with everything below `app/`. Everything
//! for people goes to the third stream, in the grammar of `git push heroku`. [`launch`] starts a process type of a slug.
//!
//! ```text
//! request, source ─ unpack ─ detect ─ compile ─ release ─ process types ─ slug ─> reply, tar
//!                              └── for each buildpack, with the exports of those before it ──┘
//! ```
//!
//! It knows no app, release or job of the platform, and no network but what a buildpack asks for. It starts as root of
//! its user namespace only to own its folders, and is the unprivileged user `app` before it reads a byte of the app.
//!
//! Invariants: a buildpack never sees a config variable in its environment, only as files in `ENV_DIR`; the build
//! folder and the cache folder have the same paths in every build; a failed compile leaves the cache of the last good
//! one; every child is dead before the slug is read. Failure: a [`FailureCode`], which is also the exit code, and a
//! message that says what failed, why and what to do. A crash leaves a work folder in the cache, which the next build
//! removes.
//!
//! Tested by unit tests, fuzzed parsers (`tests/it/fuzz.rs`), and real builds of `examples/` on real layers
//! (`tests/it/root.rs`).
#![forbid(unsafe_code)]

mod buildpack;
mod cache;
mod child;
pub mod core;
mod failure;
mod files;
mod launch;
pub mod limits;
mod output;
mod packs;
mod run;
mod slug;
mod source;

pub use failure::FailureCode;
pub use launch::{LaunchError, Target, launch};
pub use run::{Options, run};
