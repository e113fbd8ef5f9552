//! Every bound of the schedulers, with its reason.

use core::time::Duration;

/// Writes or guards in one transaction: etcd refuses more than 128 of either.
pub const OPS_PER_TRANSACTION_MAX: usize = 120;

/// Atomic proposals in one plan. More wait for the next one, so that a plan stays short of a second.
pub const PROPOSALS_PER_PLAN_MAX: usize = 4_000;

/// Records of ended jobs kept for one app; the oldest go first.
pub const ENDED_PER_APP_MAX: usize = 100;

/// How long the presence of a host that was here must be gone before its jobs are replaced. The lease's own
/// time to live has passed by then; this covers a daemon that is just reconnecting.
pub const LOST_AFTER: Duration = Duration::from_secs(2);

/// The same for a host that this scheduler has never seen present: after a power cut hosts boot at different speeds.
pub const LOST_AFTER_BOOT: Duration = Duration::from_secs(15);

/// Crashes per wanted job that are answered at once.
pub const FREE_RESTARTS: u32 = 5;

/// The longest wait between a crash and the next start.
pub const RESTART_WAIT_MAX: Duration = Duration::from_secs(30);

/// So long without a crash, and the count starts over.
pub const STABLE_AFTER: Duration = Duration::from_mins(5);

/// How long a job whose streams are to be attached may wait for its client.
pub const ATTACH_WAIT: Duration = Duration::from_mins(2);

/// Hosts of a zone that are all looked at; of more, this many random ones.
pub const CANDIDATES_MAX: usize = 24;

const _: () = assert!(OPS_PER_TRANSACTION_MAX <= 128, "etcd's default limit");
const _: () = assert!(LOST_AFTER.as_secs() < LOST_AFTER_BOOT.as_secs(), "a boot takes longer than a reconnect");
