//! Every maximum of this crate, with its reason.

use std::time::Duration;

/// A plan or a reply on the channel to the init stage. Environments are the large part; execve takes 2 MiB.
pub(crate) const MESSAGE_BYTES_MAX: usize = 8 << 20;
/// Descriptors in one control message: the kernel's own limit is 253.
pub(crate) const FDS_PER_MESSAGE: usize = 250;
/// Mounts of one container, far below fs.mount-max and the descriptor limit of the caller.
pub(crate) const MOUNTS_MAX: usize = 1_000;
/// Layers of one root: overlayfs takes 500.
pub(crate) const LAYERS_MAX: usize = 500;
/// How long a process may take to vanish after SIGKILL: an exit with dirty mounts on a loaded disk takes seconds.
pub(crate) const KILL_WAIT: Duration = Duration::from_secs(30);
/// How long an emptied control group may answer EBUSY: the last exit is still being accounted.
pub(crate) const GROUP_BUSY_WAIT: Duration = Duration::from_secs(10);
/// Rounds of freeze, kill, thaw where the kernel has no `cgroup.kill`.
pub(crate) const KILL_ROUNDS_MAX: u32 = 100;
/// Depth of control groups that a container may have made inside its own, when they are removed.
pub(crate) const GROUP_DEPTH_MAX: u32 = 16;
/// The arguments, environment and names of one program.
pub(crate) const WORDS_MAX: usize = 100_000;

const _: () = assert!(FDS_PER_MESSAGE <= 253, "SCM_MAX_FD");
