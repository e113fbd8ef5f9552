//! Every maximum of the receiver and its reason.

use std::time::Duration;

/// A push's pack. Larger repositories hold what does not belong into a slug.
pub(crate) const PACK_BYTES_MAX: u64 = 512 << 20;

/// A slug. It is copied to every host that runs the app.
pub(crate) const SLUG_BYTES_MAX: u64 = 2 << 30;

/// The tar of a commit: packs compress, so it may be a few times larger than a pack.
pub(crate) const SOURCE_BYTES_MAX: u64 = 2 << 30;

/// Free disk below which no push is taken: a build needs its source, its slug and its layers.
pub(crate) const DISK_FREE_BYTES_MIN: u64 = 256 << 20;

/// A build. Cold ones of large native modules take minutes on a small host.
pub(crate) const BUILD_TIME_MAX: Duration = Duration::from_secs(30 * 60);

/// A deployment beyond what the controller allows for it.
pub(crate) const DEPLOY_TIME_MAX: Duration = Duration::from_secs(15 * 60);

/// The first line of a commit's message as a release remembers it.
pub(crate) const SUBJECT_CHARS_MAX: usize = 200;

/// What the build's first line may hold.
pub(crate) const REPLY_LINE_BYTES_MAX: usize = 1 << 20;

const _: () = assert!(PACK_BYTES_MAX <= SOURCE_BYTES_MAX, "a pack that was taken must be buildable");
