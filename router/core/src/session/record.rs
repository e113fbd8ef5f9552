//! What is written down of an exchange when it is over.

use alloc::string::String;
use core::time::Duration;

use crate::BackendId;

/// One exchange, for the access log and the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The request's method.
    pub method: String,
    /// The path without the query: that may hold secrets.
    pub path: String,
    /// The host asked for; empty if none.
    pub host: String,
    /// The status sent; 499 if the client left first.
    pub status: u16,
    /// From the end of the request's head to the end of the exchange.
    pub service: Duration,
    /// Until a connection to a backend was there; `None` if none was.
    pub connect: Option<Duration>,
    /// Content bytes sent to the client.
    pub bytes_out: u64,
    /// Content bytes received from the client.
    pub bytes_in: u64,
    /// The id given to the request.
    pub request_id: String,
    /// What went wrong, if something did; stable, for programs.
    pub code: Option<&'static str>,
    /// The backend that had it last.
    pub backend: Option<BackendId>,
}
