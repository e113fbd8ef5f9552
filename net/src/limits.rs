//! Every bound of this crate, with its reason.

use std::time::Duration;

/// Calls that wait for the owner thread; more block their callers, who are the host's own threads.
pub(crate) const CALLS_MAX: usize = 64;

/// How long an address rests before another job gets it: longer than the routers and DNS caches remember one.
pub(crate) const ADDRESS_REST: Duration = Duration::from_secs(60);

/// The smallest network that still holds jobs, and the largest whose circle is searched in no time.
pub(crate) const PREFIX_BITS: std::ops::RangeInclusive<u8> = 16..=29;

/// Host ports open to jobs; each is a rule.
pub(crate) const HOST_PORTS_MAX: usize = 32;

/// What a path without a known uplink carries everywhere.
pub(crate) const MTU_DEFAULT: u32 = 1500;

/// Room for the kernel's answers to one batch of rules.
pub(crate) const NFT_REPLY_BYTES: usize = 64 * 1024;

/// How long a netlink answer may take before we say so: the kernel answers at once or not at all.
pub(crate) const NETLINK_WAIT: Duration = Duration::from_secs(10);

/// How often the uplink is looked at again: a dump of the routes, some 50 us.
pub(crate) const UPLINK_CHECK: Duration = Duration::from_secs(5);
