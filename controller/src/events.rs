//! Events: kept in the store by the change that they tell of, mirrored in memory for streams.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use api::objects::EVENTS;
use api::serve::{Call, Exchange};
use api::store::StoreClient;
use api::table::{RowChange, TableEvent};
use os::signal::Shutdown;
use types::ApiError;
use types::app::Event;

use crate::limits::RING_MAX;
use crate::persist::event_key;
use crate::state::Controller;

/// A comment now and then shows a stream's client that all is well, and shows us that it has gone.
const HEARTBEAT: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(500);

/// The latest events, in the order in which they came. Streams follow it by their own place.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    ring: Mutex<Ring>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<Arc<Event>>,
    /// How many were dropped in front.
    dropped: u64,
    /// The highest kept number that is in the ring.
    last: u64,
    /// Whether the store's events have been read.
    ready: bool,
}

impl Hub {
    pub(crate) fn push(&self, event: Event) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.push(event);
        self.changed.notify_all();
    }

    /// The events from `place` on, and the place after them; waits a little when there are none.
    fn after(&self, place: u64, wait: Duration) -> (Vec<Arc<Event>>, u64) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.end() <= place {
            let waited = self.changed.wait_timeout(ring, wait);
            ring = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let skip = usize::try_from(place.saturating_sub(ring.dropped)).unwrap_or(usize::MAX);
        (ring.events.iter().skip(skip).cloned().collect(), ring.end())
    }

    /// Where a stream begins: after `since`, or with what comes next. Waits until the store's events are known.
    fn place(&self, since: Option<u64>, shutdown: &Shutdown) -> u64 {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        while !ring.ready && !shutdown.asked() {
            ring = self.changed.wait_timeout(ring, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        let Some(since) = since else { return ring.end() };
        let later = ring.events.iter().position(|event| event.id > since);
        later.map_or(ring.end(), |at| ring.dropped + at as u64)
    }

    /// Keep the ring true to the store until the shutdown.
    pub(crate) fn follow(&self, store: &StoreClient, shutdown: &Shutdown) {
        for seen in EVENTS.watch(store, &[], shutdown) {
            let mut fresh: Vec<Event> = match seen {
                TableEvent::Reset { rows, .. } => rows.into_values().map(|row| row.value).collect(),
                TableEvent::Changes { changes, .. } => changes
                    .into_iter()
                    .filter_map(|change| match change {
                        RowChange::Put(row) => Some(row.value),
                        RowChange::Deleted { .. } => None,
                    })
                    .collect(),
            };
            fresh.sort_by_key(|event| event.id);
            let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
            for event in fresh {
                if event.id > ring.last {
                    ring.push(event);
                }
            }
            ring.ready = true;
            self.changed.notify_all();
        }
        self.changed.notify_all();
    }
}

impl Ring {
    fn end(&self) -> u64 {
        self.dropped + self.events.len() as u64
    }

    fn push(&mut self, event: Event) {
        self.last = self.last.max(event.id);
        self.events.push_back(Arc::new(event));
        if self.events.len() > RING_MAX {
            self.events.pop_front();
            self.dropped += 1;
        }
    }
}

/// Which events are wanted.
#[derive(Debug, Default)]
struct Filter {
    app: Option<String>,
    types: Vec<String>,
    object: Option<String>,
}

impl Filter {
    fn of(controller: &Controller, call: &Call) -> Filter {
        // An app that is gone still has events, under its id.
        let id = |text: &str| controller.app(text).map_or_else(|_| text.to_owned(), |row| row.value.id.to_string());
        let app = call.query("app_id").filter(|text| !text.is_empty()).map(id);
        let types = call.query("object_types").unwrap_or("").split(',').filter(|text| !text.is_empty());
        let object = call.query("object_id").filter(|text| !text.is_empty()).map(str::to_owned);
        Filter { app, types: types.map(str::to_owned).collect(), object }
    }

    fn matches(&self, event: &Event) -> bool {
        let app = self.app.as_ref().is_none_or(|app| event.app.as_ref().is_some_and(|of| of.as_str() == app));
        let kind = self.types.is_empty() || self.types.contains(&event.object_type);
        app && kind && self.object.as_ref().is_none_or(|object| *object == event.object_id)
    }
}

/// `GET /events`: a list or a stream, by what the client accepts.
pub(crate) fn get(controller: &Controller, call: &Call, exchange: &mut Exchange<'_>) -> Result<(), ApiError> {
    let accept = call.header("accept").unwrap_or("");
    let lines = call.query("stream") == Some("lines") || accept.contains("application/x-ndjson");
    if accept.contains("application/json") && !lines {
        return exchange.json(200, &list(controller, call)?);
    }
    stream(controller, call, exchange, if lines { Form::Lines } else { Form::ServerSent })
}

fn list(controller: &Controller, call: &Call) -> Result<Vec<Event>, ApiError> {
    let filter = Filter::of(controller, call);
    let (before, since) = (call.number("before_id")?, call.number("since_id")?);
    let count = call.number("count")?.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
    let (rows, _) = EVENTS.list(&controller.store, &[])?;
    let events = rows.into_iter().rev().map(|row| row.value).filter(|event| {
        filter.matches(event) && before.is_none_or(|id| event.id < id) && since.is_none_or(|id| event.id > id)
    });
    Ok(events.take(count).collect())
}

/// `GET /events/:event`
pub(crate) fn one(controller: &Controller, call: &Call) -> Result<Event, ApiError> {
    let missing = || ApiError::not_found("event", call.param(0));
    let id: u64 = call.param(0).parse().map_err(|_| missing())?;
    Ok(EVENTS.get(&controller.store, &[&event_key(id)])?.ok_or_else(missing)?.value)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    ServerSent,
    Lines,
}

fn stream(controller: &Controller, call: &Call, exchange: &mut Exchange<'_>, form: Form) -> Result<(), ApiError> {
    let filter = Filter::of(controller, call);
    let resume = call.header("last-event-id").and_then(|text| text.trim().parse().ok());
    let since = resume.or(call.number("since_id")?).or_else(|| call.flag("past").then_some(0));
    let mut place = controller.hub.place(since, &controller.shutdown);
    let kind = if form == Form::Lines { "application/x-ndjson" } else { "text/event-stream" };
    begin(exchange, kind, form)?;
    let mut heard = os::clock::now();
    while !controller.shutdown.asked() && !exchange.client_gone() {
        let (events, next) = controller.hub.after(place, LOOK);
        place = next;
        let mut text = String::new();
        for event in events.iter().filter(|event| filter.matches(event)) {
            write_event(&mut text, event, form);
        }
        if text.is_empty() && form == Form::ServerSent && os::clock::now().since(heard) >= HEARTBEAT {
            text.push_str(":\n\n");
        }
        if !text.is_empty() {
            heard = os::clock::now();
            if exchange.resume_stream().write_all(text.as_bytes()).is_err() {
                break;
            }
        }
    }
    Ok(())
}

fn begin(exchange: &mut Exchange<'_>, kind: &str, form: Form) -> Result<(), ApiError> {
    // The head goes out now: a client waits for it before it does what it wants to see the events of.
    let mut out = exchange.stream(kind);
    if form == Form::ServerSent {
        let gone = |_| ApiError::new(types::Code::Unavailable, "the client went away");
        out.write_all(b":\n\n").map_err(gone)?;
    }
    Ok(())
}

fn write_event(text: &mut String, event: &Event, form: Form) {
    let json = crate::persist::json(event);
    match form {
        Form::Lines => text.push_str(&json),
        Form::ServerSent => {
            if event.id > 0 {
                text.push_str(&format!("id: {}\n", event.id));
            }
            text.push_str("data: ");
            text.push_str(&json);
            text.push('\n');
        }
    }
    text.push('\n');
}
