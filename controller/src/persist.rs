//! Changes as one transaction each, with the events that tell of them.
//!
//! Every change takes the next event numbers from one counter, so changes are in a line and an event stream can
//! neither lose nor invent one. A change that lost against another is built again from what is there now.

use std::sync::{Mutex, PoisonError};

use api::objects::{EVENTS, SETTINGS, Setting};
use api::store::{Repeat, StoreClient, Txn};
use types::app::Event;
use types::{ApiError, AppId, Code};

use crate::limits::COMMIT_TRIES_MAX;

/// The row of [`SETTINGS`] that counts events: `NUMBER MARK`, the mark naming the change that wrote it.
const COUNTER: &str = "events";

/// A change being put together: what must hold, what is written, what is told.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub(crate) txn: Txn,
    events: Vec<Event>,
}

impl Change {
    pub(crate) fn new() -> Change {
        Change::default()
    }

    /// Add to the transaction.
    pub(crate) fn with(mut self, add: impl FnOnce(Txn) -> Txn) -> Change {
        self.txn = add(self.txn);
        self
    }

    /// Tell of an object as it is after the change. `data` must hold no secret.
    pub(crate) fn tell(mut self, app: Option<&AppId>, object_type: &str, object_id: &str, data: String) -> Change {
        self.events.push(Event {
            id: 0,
            app: app.cloned(),
            object_type: object_type.to_owned(),
            object_id: object_id.to_owned(),
            data,
            created_at: Some(now_text()),
        });
        self
    }
}

/// The wall clock as it is shown.
pub(crate) fn now_text() -> String {
    os::clock::wall().to_string()
}

/// The key part of an event's number: in order as text.
pub(crate) fn event_key(number: u64) -> String {
    format!("{number:020}")
}

/// JSON for an event.
pub(crate) fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("objects are plain JSON")
}

/// Writes changes. Those of this process wait for one another instead of losing against each other.
#[derive(Debug)]
pub(crate) struct Writer {
    store: StoreClient,
    line: Mutex<()>,
}

impl Writer {
    pub(crate) fn new(store: StoreClient) -> Writer {
        Writer { store, line: Mutex::new(()) }
    }

    /// Build a change and write it; gives what `build` gave beside it, and the revision. `build` reads what it
    /// needs and guards it; it is called again when something it guarded has changed.
    pub(crate) fn commit<T>(
        &self,
        mut build: impl FnMut() -> Result<(Change, T), ApiError>,
    ) -> Result<(T, u64), ApiError> {
        let _turn = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..COMMIT_TRIES_MAX {
            let counter = SETTINGS.get(&self.store, &[COUNTER])?;
            let (change, given) = build()?;
            if change.txn.is_empty() && change.events.is_empty() {
                return Ok((given, counter.map_or(0, |row| row.revision)));
            }
            let last = counter.as_ref().map_or(0, |row| number(&row.value));
            let mark = os::entropy::uuid();
            let txn = finish(change, last, counter.map_or(0, |row| row.revision), &mark);
            let outcome = self.store.txn(txn, Repeat::Harmless)?;
            let ours = || {
                // The answer to a first try may have been lost on the way: then the second one finds our mark.
                outcome
                    .read
                    .iter()
                    .flatten()
                    .any(|record| SETTINGS.decode(record).is_ok_and(|row| row.value.value.ends_with(&mark)))
            };
            if outcome.succeeded || ours() {
                return Ok((given, outcome.revision));
            }
        }
        Err(ApiError::retryable(Code::Conflict, "others kept changing the same objects").hint("try again"))
    }
}

fn number(setting: &Setting) -> u64 {
    setting.value.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn finish(change: Change, last: u64, revision: u64, mark: &str) -> Txn {
    let mut txn = change.txn.if_unchanged(&SETTINGS.key(&[COUNTER]), revision).or_read(&SETTINGS.key(&[COUNTER]));
    let mut id = last;
    for event in change.events {
        id += 1;
        txn = EVENTS.put_in(txn, &[&event_key(id)], &Event { id, ..event });
    }
    SETTINGS.put_in(txn, &[COUNTER], &Setting { value: format!("{id} {mark}") })
}
