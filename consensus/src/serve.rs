//! etcd v3's JSON dialect on a unix socket.
//!
//! Differences from etcd that clients have not been seen to mind: unary errors carry a Content-Length and no
//! trailers; unknown paths answer with our own error form.

mod convert;
mod lease;
mod reply;
mod watch;

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use api::endpoint::{Endpoint, Raw};
use api::serve::{Exchange, ListenError, Listening};
use api::store::wire::{
    CallFailure, CompactionRequest, DeleteRangeRequest, HeaderReply, LeaseGrantRequest, LeaseReply, LeaseRequest,
    PutRequest, RangeRequest, StreamReply, TxnRequest, WatchReply, WatchRequest,
};
use api::{Lines, Service};
use consensus_core::store::command::{Command, Outcome};
use os::signal::Shutdown;
use serde::Serialize;
use serde::de::DeserializeOwned;
use types::ApiError;

use self::convert::{command_of_delete, command_of_put, is_zero, query_of, txn_of};
use self::reply::{delete_reply, header, member_list, put_reply, range_reply, status_reply, txn_reply};
use crate::limits::REQUEST_BYTES_MAX;
use crate::replica::{Answer, Ask, Freshness, Heading, Inbox, Refusal};

/// The etcd release whose dialect this is; clients choose paths by it.
pub(crate) const ETCD_VERSION: &str = "3.4.23";

/// Base64 and JSON around the largest request.
const BODY_BYTES_MAX: u64 = 2 * REQUEST_BYTES_MAX as u64;

/// What every connection shares.
#[derive(Debug)]
struct Front {
    inbox: Inbox,
    shutdown: Shutdown,
    next_watcher: AtomicU64,
}

/// A request that ends in an error of the dialect.
#[derive(Debug, PartialEq, Eq)]
struct Denial {
    code: u32,
    message: String,
}

impl From<Refusal> for Denial {
    fn from(refusal: Refusal) -> Denial {
        Denial { code: refusal.code(), message: refusal.to_string() }
    }
}

impl Denial {
    fn invalid(message: impl Into<String>) -> Denial {
        Denial { code: 3, message: message.into() }
    }

    /// The HTTP status of the gRPC code, as grpc-gateway maps it.
    fn status(&self) -> u16 {
        match self.code {
            3 | 11 => 400,
            5 => 404,
            8 => 429,
            9 => 412,
            14 => 503,
            4 => 504,
            _ => 500,
        }
    }
}

type Unary<Q> = fn(&Inbox, Q) -> Result<Vec<u8>, Denial>;

pub(crate) fn listen(inbox: Inbox, socket: &Path, shutdown: &Shutdown) -> Result<Listening, ListenError> {
    let front = Front { inbox, shutdown: shutdown.clone(), next_watcher: AtomicU64::new(1) };
    let mut service = Service::new(Arc::new(front))
        .raw(&Endpoint::<(), Raw>::get("/version"), |_, _, exchange| exchange.json(200, &reply::version()))
        .raw(&Endpoint::<(), Raw>::get("/health"), |front, _, exchange| {
            health(&front.inbox, exchange);
            Ok(())
        });
    for prefix in ["/v3", "/v3beta", "/v3alpha"] {
        service = unary_routes(service, prefix);
        service = streams(service, prefix);
    }
    service.listen(socket, shutdown)
}

fn unary_routes(service: Service<Front>, prefix: &str) -> Service<Front> {
    let service = unary::<RangeRequest>(service, prefix, "/kv/range", range);
    let service = unary::<PutRequest>(service, prefix, "/kv/put", put);
    let service = unary::<DeleteRangeRequest>(service, prefix, "/kv/deleterange", delete);
    let service = unary::<TxnRequest>(service, prefix, "/kv/txn", txn);
    let service = unary::<CompactionRequest>(service, prefix, "/kv/compaction", compact);
    let service = unary::<LeaseGrantRequest>(service, prefix, "/lease/grant", lease::grant);
    let service = unary::<LeaseRequest>(service, prefix, "/lease/revoke", lease::revoke);
    let service = unary::<LeaseRequest>(service, prefix, "/kv/lease/revoke", lease::revoke);
    let service = unary::<LeaseRequest>(service, prefix, "/lease/timetolive", lease::time_to_live);
    let service = unary::<LeaseRequest>(service, prefix, "/kv/lease/timetolive", lease::time_to_live);
    let service = unary::<serde::de::IgnoredAny>(service, prefix, "/lease/leases", lease::leases);
    let service = unary::<serde::de::IgnoredAny>(service, prefix, "/kv/lease/leases", lease::leases);
    let service = unary::<serde::de::IgnoredAny>(service, prefix, "/maintenance/status", status);
    unary::<serde::de::IgnoredAny>(service, prefix, "/cluster/member/list", members)
}

/// Answer one RPC, and refuse to do so for a GET.
fn unary<Q: DeserializeOwned + 'static>(
    service: Service<Front>,
    prefix: &str,
    path: &str,
    run: Unary<Q>,
) -> Service<Front> {
    let path = leak(prefix, path);
    service
        .raw(&Endpoint::<Q, Raw>::post(path), move |front, _, exchange| {
            let result = body::<Q>(exchange).and_then(|request| run(&front.inbox, request));
            answer(exchange, result)
        })
        .raw(&Endpoint::<(), Raw>::get(path), |_, _, exchange| {
            exchange.whole(405, "text/plain; charset=utf-8", b"Method Not Allowed\n");
            Ok(())
        })
}

fn streams(service: Service<Front>, prefix: &str) -> Service<Front> {
    let watch: Endpoint<WatchRequest, Lines<StreamReply<WatchReply>>> = Endpoint::post(leak(prefix, "/watch"));
    let mut service = service.lines(&watch, watch::watch);
    for path in ["/lease/keepalive", "/kv/lease/keepalive"] {
        let keep: Endpoint<LeaseRequest, Lines<StreamReply<LeaseReply>>> = Endpoint::post(leak(prefix, path));
        service = service.lines(&keep, lease::keep_alive);
    }
    service
}

/// Endpoints name static paths; these are made once for each socket.
fn leak(prefix: &str, path: &str) -> &'static str {
    format!("{prefix}{path}").leak()
}

fn body<Q: DeserializeOwned>(exchange: &mut Exchange<'_>) -> Result<Q, Denial> {
    let mut bytes = Vec::new();
    let read = exchange.body().take(BODY_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| Denial::invalid(error.to_string()))?;
    if bytes.len() as u64 > BODY_BYTES_MAX {
        return Err(Denial::invalid("etcdserver: request is too large"));
    }
    parse(&bytes)
}

/// JSON of the dialect; nothing at all counts as `{}`.
fn parse<Q: DeserializeOwned>(bytes: &[u8]) -> Result<Q, Denial> {
    let bytes = if bytes.iter().all(u8::is_ascii_whitespace) { b"{}" } else { bytes };
    serde_json::from_slice(bytes).map_err(|error| {
        if error.is_eof() {
            return Denial::invalid("unexpected EOF");
        }
        let text = error.to_string();
        // Where in the JSON it stands is of no use to a client that made it by program.
        let cut = text.rfind(" at line ").unwrap_or(text.len());
        Denial::invalid(&text[..cut])
    })
}

fn answer(exchange: &mut Exchange<'_>, result: Result<Vec<u8>, Denial>) -> Result<(), ApiError> {
    match result {
        Ok(reply) => {
            exchange.whole(200, "application/json", &reply);
            Ok(())
        }
        Err(denial) => {
            let status = denial.status();
            let stopped = denial == Denial::from(Refusal::Stopped);
            let failure = CallFailure { error: denial.message.clone(), message: denial.message, code: denial.code };
            exchange.json(status, &failure)?;
            if stopped {
                // A restarted member answers on a new connection.
                exchange.hang_up();
            }
            Ok(())
        }
    }
}

fn json(reply: &impl Serialize) -> Result<Vec<u8>, Denial> {
    serde_json::to_vec(reply).map_err(|error| Denial { code: 13, message: error.to_string() })
}

/// The owner answers a question with the answer to it; anything else is a bug.
fn mismatch(answer: &Answer) -> Denial {
    Denial { code: 13, message: format!("unexpected answer {answer:?}") }
}

fn write(inbox: &Inbox, command: Command) -> Result<(Heading, Outcome), Denial> {
    match inbox.ask(Ask::Write(command))? {
        (heading, Answer::Outcome(outcome)) => Ok((heading, outcome)),
        (_, other) => Err(mismatch(&other)),
    }
}

fn unexpected(outcome: Outcome) -> Denial {
    mismatch(&Answer::Outcome(outcome))
}

fn range(inbox: &Inbox, request: RangeRequest) -> Result<Vec<u8>, Denial> {
    let freshness = if request.serializable { Freshness::Local } else { Freshness::Linearizable };
    match inbox.ask(Ask::Range(query_of(request)?, freshness))? {
        (heading, Answer::Range(found)) => json(&range_reply(found, header(&heading))),
        (_, other) => Err(mismatch(&other)),
    }
}

fn put(inbox: &Inbox, request: PutRequest) -> Result<Vec<u8>, Denial> {
    match write(inbox, Command::Put(command_of_put(request)))? {
        (heading, Outcome::Put(done)) => json(&put_reply(done, &heading)),
        (_, other) => Err(unexpected(other)),
    }
}

fn delete(inbox: &Inbox, request: DeleteRangeRequest) -> Result<Vec<u8>, Denial> {
    match write(inbox, Command::Delete(command_of_delete(request)))? {
        (heading, Outcome::Delete(done)) => json(&delete_reply(done, &heading)),
        (_, other) => Err(unexpected(other)),
    }
}

fn txn(inbox: &Inbox, request: TxnRequest) -> Result<Vec<u8>, Denial> {
    let txn = txn_of(request, 0)?;
    let (heading, done) = if txn.writes() {
        match write(inbox, Command::Txn(txn))? {
            (heading, Outcome::Txn(done)) => (heading, done),
            (_, other) => return Err(unexpected(other)),
        }
    } else {
        match inbox.ask(Ask::ReadTxn(txn))? {
            (heading, Answer::Txn(done)) => (heading, done),
            (_, other) => return Err(mismatch(&other)),
        }
    };
    json(&txn_reply(done, &heading))
}

fn compact(inbox: &Inbox, request: CompactionRequest) -> Result<Vec<u8>, Denial> {
    match write(inbox, Command::Compact { revision: convert::unsigned(request.revision)? })? {
        (heading, Outcome::Compacted { revision }) => {
            json(&HeaderReply { header: header(&Heading { revision, ..heading }) })
        }
        (_, other) => Err(unexpected(other)),
    }
}

fn status(inbox: &Inbox, _: serde::de::IgnoredAny) -> Result<Vec<u8>, Denial> {
    match inbox.ask(Ask::Status)? {
        (heading, Answer::Status(status)) => json(&status_reply(&status, &heading)),
        (_, other) => Err(mismatch(&other)),
    }
}

fn members(inbox: &Inbox, _: serde::de::IgnoredAny) -> Result<Vec<u8>, Denial> {
    match inbox.ask(Ask::Members)? {
        (heading, Answer::Members(members)) => json(&member_list(&members, &heading)),
        (_, other) => Err(mismatch(&other)),
    }
}

fn health(inbox: &Inbox, exchange: &mut Exchange<'_>) {
    let leads = match inbox.ask(Ask::Status) {
        Ok((_, Answer::Status(status))) => status.raft.leader.is_some() && !is_zero(status.raft.term),
        _ => false,
    };
    let (code, text) = if leads { (200, r#"{"health":"true"}"#) } else { (503, r#"{"health":"false"}"#) };
    exchange.whole(code, "text/plain; charset=utf-8", text.as_bytes());
}

#[cfg(test)]
mod tests;
