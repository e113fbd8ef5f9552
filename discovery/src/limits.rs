//! Every bound of this crate, with its reason.

use std::time::Duration;

/// How long an answer about our names may be remembered: shorter than an address rests before it is used again.
pub(crate) const DNS_TTL_SECONDS: u32 = 1;

/// The largest UDP answer: fits every path without fragments (DNS flag day 2020).
pub(crate) const DNS_UDP_BYTES_MAX: usize = 1232;

/// What a client without EDNS takes (RFC 1035 4.2.1).
pub(crate) const DNS_UDP_BYTES_PLAIN: usize = 512;

/// Addresses in one answer; a client needs a few, and a service may have thousands.
pub(crate) const DNS_ANSWERS_MAX: usize = 128;

/// A label cannot be longer (RFC 1035 2.3.4); nor a whole name than 255.
pub(crate) const DNS_LABEL_BYTES_MAX: usize = 63;
/// See [`DNS_LABEL_BYTES_MAX`].
pub(crate) const DNS_NAME_BYTES_MAX: usize = 255;

/// Queries on their way to the host's resolvers. Each holds a socket.
pub(crate) const FORWARDS_MAX: usize = 512;

/// Of one client, so that one job cannot use up what all share.
pub(crate) const FORWARDS_PER_CLIENT_MAX: usize = 64;

/// How long one of the host's resolvers may take before the next is asked.
pub(crate) const FORWARD_TRY: Duration = Duration::from_secs(2);

/// Tries over all resolvers before the client is told of the failure; libc gives up after 10 s.
pub(crate) const FORWARD_TRIES_MAX: u32 = 4;

/// TCP connections to the resolver at once, and of one client. Each holds a thread.
pub(crate) const TCP_CONNECTIONS_MAX: usize = 64;
/// See [`TCP_CONNECTIONS_MAX`].
pub(crate) const TCP_CONNECTIONS_PER_CLIENT_MAX: usize = 8;

/// How long a TCP connection may be silent, and how many questions it may ask.
pub(crate) const TCP_IDLE: Duration = Duration::from_secs(5);
/// See [`TCP_IDLE`].
pub(crate) const TCP_QUESTIONS_MAX: u32 = 128;

/// How often the host's resolver configuration is looked at again.
pub(crate) const RESOLV_CONF_CHECK: Duration = Duration::from_secs(2);

/// Resolvers taken from it: as many as libc takes.
pub(crate) const UPSTREAMS_MAX: usize = 3;

/// Jobs checked at once on one host. Each probe under way holds a socket.
pub(crate) const CHECKS_MAX: usize = 4096;

/// Commands to the checker that wait; more block the caller, who is the host's own thread.
pub(crate) const CHECK_COMMANDS_MAX: usize = 256;

/// How much of an HTTP answer is read to find its status.
pub(crate) const PROBE_HEAD_BYTES_MAX: usize = 16 * 1024;

/// How often a thread that waits looks whether it is to end.
pub(crate) const SHUTDOWN_CHECK: Duration = Duration::from_millis(200);

const _: () = assert!(FORWARDS_PER_CLIENT_MAX < FORWARDS_MAX);
const _: () = assert!(TCP_CONNECTIONS_PER_CLIENT_MAX < TCP_CONNECTIONS_MAX);
const _: () = assert!(DNS_UDP_BYTES_PLAIN < DNS_UDP_BYTES_MAX);

/// How long a lost lease may take to be granted anew before an operation that needs it fails.
pub(crate) const LEASE_WAIT: Duration = Duration::from_secs(10);
