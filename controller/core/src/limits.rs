//! Every maximum of the controller's input, with its reason.

use core::time::Duration;

/// Longest environment variable name: longer ones are mistakes, not names.
pub const ENV_NAME_BYTES_MAX: usize = 256;

/// Longest environment value. The kernel refuses `NAME=value` over 128 KiB (`MAX_ARG_STRLEN`).
pub const ENV_VALUE_BYTES_MAX: usize = 64 * 1024;

/// Largest environment in all, so that it and the arguments fit a quarter of the smallest usual stack (8 MiB / 4),
/// and a release fits one store value.
pub const ENV_BYTES_MAX: usize = 256 * 1024;

/// Most environment variables of a release.
pub const ENV_COUNT_MAX: usize = 1_000;

/// Longest metadata key and value: metadata is for labels, not for content.
pub const META_KEY_BYTES_MAX: usize = 256;
/// See [`META_KEY_BYTES_MAX`].
pub const META_VALUE_BYTES_MAX: usize = 16 * 1024;
/// Most metadata entries of one object.
pub const META_COUNT_MAX: usize = 100;

/// Most process types of a release: a Procfile has a handful.
pub const PROCESS_TYPES_MAX: usize = 64;

/// Most jobs of one process type: past this a typing mistake is likelier than a wish.
pub const PROCESS_COUNT_MAX: u32 = 1_000;

/// Most arguments of a command.
pub const ARGS_COUNT_MAX: usize = 512;

/// Most bytes of a command's arguments together; half of the kernel's limit for one string.
pub const ARGS_BYTES_MAX: usize = 64 * 1024;

/// Most ports of a process type.
pub const PORTS_MAX: usize = 16;

/// Most volumes of a process type.
pub const VOLUMES_MAX: usize = 16;

/// Most files that are put into the root of a job, and the bytes of their text together: they go through the store.
pub const FILES_MAX: usize = 32;
/// See [`FILES_MAX`].
pub const FILES_BYTES_MAX: usize = 256 * 1024;

/// Most layers under an artifact: overlayfs takes 500, option strings fewer.
pub const LAYERS_MAX: usize = 64;

/// Most artifacts of a release.
pub const ARTIFACTS_MAX: usize = 4;

/// Longest path of a route, a volume or a health check.
pub const PATH_BYTES_MAX: usize = 1_024;

/// Longest host name (RFC 1035).
pub const DOMAIN_BYTES_MAX: usize = 253;

/// Longest description of a release.
pub const DESCRIPTION_BYTES_MAX: usize = 1_024;

/// Least memory of a job: below it not even a shell starts.
pub const MEMORY_BYTES_MIN: u64 = 4 * 1024 * 1024;

/// Bounds of the time one deployment step may take, in seconds.
pub const DEPLOY_TIMEOUT_SECS_MIN: u32 = 1;
/// See [`DEPLOY_TIMEOUT_SECS_MIN`].
pub const DEPLOY_TIMEOUT_SECS_MAX: u32 = 86_400;

/// A deployment goes back when the jobs of the new release have ended unasked this often, and once more for each
/// job beyond the first that is asked for.
pub const CRASHES_MAX: u32 = 3;

/// A host counts a job's start time from a little later than the record of its start says.
pub const START_SLACK: Duration = Duration::from_secs(2);

/// How long going back waits for the old jobs before it ends all the same: they run or the scheduler brings them.
pub const ROLLBACK_STEP: Duration = Duration::from_secs(30);

const _: () = assert!(ENV_NAME_BYTES_MAX + ENV_VALUE_BYTES_MAX + 1 < 128 * 1024);
const _: () = assert!(ENV_VALUE_BYTES_MAX <= ENV_BYTES_MAX);
