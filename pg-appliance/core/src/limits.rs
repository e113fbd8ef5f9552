//! Bounds of a cluster.

use core::time::Duration;

/// How long a proposal may go unanswered before it is sent again.
pub const PROPOSAL_PATIENCE: Duration = Duration::from_secs(1);

/// How long an async may be missing before the primary takes it from the list.
pub const ASYNC_PATIENCE: Duration = Duration::from_secs(10);
