//! Every maximum, with its reason.

use std::time::Duration;

/// The first line: config variables of an app, which the controller limits too.
pub const REQUEST_BYTES_MAX: u64 = 4 << 20;

/// Files of a source or a slug, so that hostile archives of empty files end.
pub const FILES_MAX: u64 = 500_000;

/// Bytes of a source's files, unless the operator says otherwise.
pub const SOURCE_BYTES_MAX: u64 = 2 << 30;

/// Bytes of a slug's files, unless the operator says otherwise.
pub const SLUG_BYTES_MAX: u64 = 1 << 30;

/// Bytes of a cache; more is dropped, because every byte of it is read or copied in later builds.
pub const CACHE_BYTES_MAX: u64 = 3 << 30;

/// An honest cold build of a large program on two cores takes longer than ten minutes.
pub const BUILD_TIME_MAX: Duration = Duration::from_secs(30 * 60);

/// What buildpacks may print.
pub const OUTPUT_BYTES_MAX: u64 = 64 << 20;

/// What `bin/detect` and `bin/release` may print: both are read into memory.
pub const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// A Procfile, `.buildpacks`, `.slugignore`.
pub const TEXT_BYTES_MAX: u64 = 256 << 10;

/// Buildpacks of one app.
pub const BUILDPACKS_MAX: usize = 20;

const _: () = assert!(SLUG_BYTES_MAX <= SOURCE_BYTES_MAX);
