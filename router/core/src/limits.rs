//! Every maximum and every wait of a session, and its reason.

use core::time::Duration;

use http1::Limits;

/// Bytes of a read buffer. Two of them per session under way, none for an idle one.
pub const BUFFER_BYTES: usize = 16 * 1024;

/// Bytes that may wait in front of a passed-through run: heads, small chunks, our own answers.
pub const OUTPUT_BYTES_MAX: usize = 16 * 1024;

/// Runs of content below this are copied behind the head, to leave in one write; longer ones go out of the
/// buffer they were read into.
pub const COPY_BYTES_MAX: usize = 2 * 1024;

/// Interim responses per exchange, so that a backend cannot send them for ever.
pub const INTERIM_MAX: u8 = 8;

/// Bytes read and thrown away after the last answer, so that the client gets to read it before a reset.
pub const LINGER_BYTES_MAX: u64 = 256 * 1024;

/// Request ids of clients are kept between these lengths.
pub const REQUEST_ID_BYTES: core::ops::RangeInclusive<usize> = 20..=200;

/// What one worker allows its sessions.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Of message heads and chunked bodies.
    pub http: Limits,
    /// From the first byte of a head to its end; on a new connection from the start.
    pub head_wait: Duration,
    /// Between requests on a connection.
    pub idle_wait: Duration,
    /// Without a byte of a request body.
    pub body_wait: Duration,
    /// For one connection attempt to a backend.
    pub connect_wait: Duration,
    /// From the end of the request to the head of the response.
    pub response_wait: Duration,
    /// Without a byte of a response body.
    pub stream_wait: Duration,
    /// Without the client taking a byte.
    pub write_wait: Duration,
    /// Without a byte either way in a tunnel.
    pub tunnel_wait: Duration,
    /// For the client to close after the last answer.
    pub linger_wait: Duration,
    /// For an exchange to end after the client has closed its sending side.
    pub half_close_wait: Duration,
    /// Backends tried for one request.
    pub attempts_max: usize,
}

impl Settings {
    /// What public HTTP servers use, with waits that outlive the heartbeats of streams and web sockets.
    pub const STANDARD: Settings = Settings {
        http: Limits { head_bytes_max: 32 * 1024, ..Limits::STANDARD },
        head_wait: Duration::from_secs(15),
        idle_wait: Duration::from_secs(60),
        body_wait: Duration::from_secs(30),
        connect_wait: Duration::from_secs(2),
        response_wait: Duration::from_secs(60),
        stream_wait: Duration::from_secs(300),
        write_wait: Duration::from_secs(60),
        tunnel_wait: Duration::from_secs(3600),
        linger_wait: Duration::from_secs(2),
        half_close_wait: Duration::from_secs(30),
        attempts_max: 4,
    };
}

const _: () = {
    assert!(COPY_BYTES_MAX <= OUTPUT_BYTES_MAX / 2, "a copied run must fit behind a head");
    assert!(Settings::STANDARD.http.head_bytes_max >= BUFFER_BYTES, "a buffer must not refuse a legal head");
};
