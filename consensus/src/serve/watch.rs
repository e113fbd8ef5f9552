//! Watches: one on each stream, one line for each answer of the owner.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use api::serve::{Call, LineWriter};
use api::store::wire::{
    Bytes, EventType, Filter, Int, KeyValue as WireKeyValue, StreamReply, WatchCreate, WatchEvent as WireEvent,
    WatchReply as WireReply, WatchRequest,
};
use consensus_core::store::command::RangeEnd;
use consensus_core::store::watch::{WatchEvent, WatchReply, WatchSpec};
use types::ApiError;

use super::convert::key_range;
use super::lease::{start_revision, stream_error};
use super::reply::{header, int, key_value};
use super::{Denial, Front};
use crate::replica::{Answer, Ask, Heading, Refusal};

/// How often a silent stream looks whether its client is still there.
const LOOK: Duration = Duration::from_secs(2);

/// After this long without an event a client that asked for it hears that there was none; etcd's.
const PROGRESS: Duration = Duration::from_secs(600);

type Out<'o, 'e, 'a> = &'o mut LineWriter<'e, 'a, StreamReply<WireReply>>;

pub(super) fn watch(
    front: &Front,
    _: &Call,
    request: WatchRequest,
    out: &mut LineWriter<'_, '_, StreamReply<WireReply>>,
) -> Result<(), ApiError> {
    let Some(create) = request.create_request else {
        return out.send(&StreamReply {
            result: None,
            error: Some(stream_error(Denial::invalid("a watch begins with create_request"))),
        });
    };
    match follow(front, create, out) {
        Err(Ended::Client(error)) => Err(error),
        Err(Ended::Refused(refusal)) => {
            out.send(&StreamReply { result: None, error: Some(stream_error(refusal.into())) })
        }
        Ok(()) => Ok(()),
    }
}

/// Why a watch came to its end.
enum Ended {
    Client(ApiError),
    Refused(Refusal),
}

impl From<ApiError> for Ended {
    fn from(error: ApiError) -> Ended {
        Ended::Client(error)
    }
}

impl From<Refusal> for Ended {
    fn from(refusal: Refusal) -> Ended {
        Ended::Refused(refusal)
    }
}

fn send(out: Out<'_, '_, '_>, reply: WireReply) -> Result<(), ApiError> {
    out.send(&StreamReply { result: Some(reply), error: None })
}

fn follow(front: &Front, create: WatchCreate, out: Out<'_, '_, '_>) -> Result<(), Ended> {
    let (heading, _) = front.inbox.ask(Ask::Status)?;
    let notify = create.progress_notify;
    let mut from = match start_revision(create.start_revision) {
        0 => heading.revision + 1,
        revision => revision,
    };
    let created = WireReply { header: header(&heading), created: true, ..WireReply::default() };
    let Some(spec) = spec_of(create) else {
        let reason = "mvcc: watcher range is empty".to_owned();
        send(out, WireReply { canceled: true, cancel_reason: reason, ..created })?;
        return Ok(());
    };
    send(out, created)?;
    let spec = Arc::new(spec);
    let id = front.next_watcher.fetch_add(1, Ordering::Relaxed);
    let mut silent = Duration::ZERO;
    let mut pending = front.inbox.begin(Ask::Watch { id, spec: Arc::clone(&spec), from })?;
    loop {
        let answer = match pending.wait(LOOK) {
            Ok(Some(answer)) => answer,
            Ok(None) => {
                if out.client_gone() || front.shutdown.asked() {
                    front.inbox.unwatch(id);
                    return Ok(());
                }
                silent += LOOK;
                if notify && silent >= PROGRESS {
                    silent = Duration::ZERO;
                    let (heading, _) = front.inbox.ask(Ask::Status)?;
                    send(out, WireReply { header: header(&heading), ..WireReply::default() })?;
                }
                continue;
            }
            // The member stops: the client finds the stream ended and comes back.
            Err(Refusal::Stopped) => return Ok(()),
            Err(refusal) => return Err(refusal.into()),
        };
        silent = Duration::ZERO;
        match answer {
            (heading, Answer::Watch(WatchReply::Events { events, next, revision })) => {
                if !events.is_empty() {
                    let header = header(&Heading { revision, ..heading });
                    let events = events.into_iter().map(event).collect();
                    send(out, WireReply { header, events, ..WireReply::default() })?;
                }
                from = next;
            }
            (heading, Answer::Watch(WatchReply::Compacted { revision })) => {
                return linger(front, &heading, revision, out);
            }
            (_, other) => {
                log::error!(answer:? = other; "a watch got another answer than it asked for");
                return Ok(());
            }
        }
        pending = front.inbox.begin(Ask::Watch { id, spec: Arc::clone(&spec), from })?;
    }
}

/// etcd leaves the stream open after it cancelled the watch; the client closes it.
fn linger(front: &Front, heading: &Heading, compacted: u64, out: Out<'_, '_, '_>) -> Result<(), Ended> {
    let header = header(&Heading { revision: 0, ..*heading });
    let reply = WireReply { header, canceled: true, compact_revision: int(compacted), ..WireReply::default() };
    send(out, reply)?;
    while !out.client_gone() && !front.shutdown.asked() {
        os::clock::pause(LOOK / 4);
    }
    Ok(())
}

/// What to watch; `None` if no key can be in it. No key at all is the first one, as in etcd.
fn spec_of(create: WatchCreate) -> Option<WatchSpec> {
    let key = if create.key.0.is_empty() { Bytes(vec![0]) } else { create.key };
    let range = key_range(key, create.range_end);
    if matches!(&range.end, RangeEnd::Before(end) if **end <= *range.start) {
        return None;
    }
    Some(WatchSpec {
        range,
        no_put: create.filters.contains(&Filter::NoPut),
        no_delete: create.filters.contains(&Filter::NoDelete),
        prev_kv: create.prev_kv,
    })
}

fn event(event: WatchEvent) -> WireEvent {
    match event {
        WatchEvent::Put { kv, previous } => {
            WireEvent { r#type: EventType::Put, kv: key_value(kv), prev_kv: previous.map(key_value) }
        }
        WatchEvent::Delete { key, mod_revision, previous } => {
            let mod_revision = Int(mod_revision.cast_signed());
            let kv = WireKeyValue { key: Bytes(key.to_vec()), mod_revision, ..WireKeyValue::default() };
            WireEvent { r#type: EventType::Delete, kv, prev_kv: previous.map(key_value) }
        }
    }
}
