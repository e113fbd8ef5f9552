//! Following keys: the current state first, then every change, across restarts of the store.

use std::time::Duration;

use os::signal::Shutdown;

use super::wire::{EventType, Int, StreamReply, WatchCreate, WatchReply, WatchRequest};
use super::{Record, StoreClient, StoreError, endpoints, prefix_end, unsigned};
use crate::client::{LineReader, Polled};

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// All that there is at `revision`: forget what was known. The first event, and again when changes were missed.
    Reset {
        /// The records.
        records: Vec<Record>,
        /// The revision.
        revision: u64,
    },
    /// What changed, whole revisions at a time, in order.
    Changes {
        /// The changes.
        changes: Vec<Change>,
        /// The revision of the last one.
        revision: u64,
    },
}

/// What happened to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was written.
    Put(Record),
    /// It was deleted at `revision`.
    Deleted {
        /// The key.
        key: String,
        /// The revision.
        revision: u64,
    },
}

/// An endless stream of events under a prefix. It ends only when the shutdown is asked for.
#[derive(Debug)]
pub struct Watch {
    store: StoreClient,
    prefix: String,
    shutdown: Shutdown,
    stream: Option<LineReader<StreamReply<WatchReply>>>,
    /// The revision up to which everything was told; `None` before the first reset.
    seen: Option<u64>,
}

/// How long a line that has begun may take to be whole before the shutdown is looked at again.
const LOOK: Duration = Duration::from_millis(200);

impl StoreClient {
    /// Follow every key that begins with `prefix`.
    #[must_use]
    pub fn watch(&self, prefix: &str, shutdown: &Shutdown) -> Watch {
        let store = self.clone().patience(Duration::from_secs(1));
        Watch { store, prefix: prefix.to_owned(), shutdown: shutdown.clone(), stream: None, seen: None }
    }
}

impl Iterator for Watch {
    type Item = WatchEvent;

    fn next(&mut self) -> Option<WatchEvent> {
        while !self.shutdown.asked() {
            match self.step() {
                Ok(Some(event)) => return Some(event),
                Ok(None) => {}
                Err(error) => {
                    log::debug!(prefix:% = self.prefix, error:% = os::text::chain(&error); "watch broke; trying again");
                    self.stream = None;
                    os::clock::pause(Duration::from_millis(50));
                }
            }
        }
        None
    }
}

impl Watch {
    fn step(&mut self) -> Result<Option<WatchEvent>, StoreError> {
        let Some(seen) = self.seen else {
            let listing = self.store.list(&self.prefix)?;
            self.seen = Some(listing.revision);
            return Ok(Some(WatchEvent::Reset { records: listing.records, revision: listing.revision }));
        };
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let start = i64::try_from(seen + 1).unwrap_or(i64::MAX);
                let create = WatchCreate {
                    key: self.prefix.as_str().into(),
                    range_end: prefix_end(&self.prefix).into(),
                    start_revision: Int(start),
                    ..WatchCreate::default()
                };
                let request = WatchRequest { create_request: Some(create) };
                let lines = self.store.http().lines(&endpoints::WATCH, &[], &[], &request).map_err(super::classify)?;
                self.stream.insert(lines)
            }
        };
        if !stream.wait(&self.shutdown) {
            return Ok(None);
        }
        let reply = match stream.next_within(LOOK).map_err(super::classify)? {
            Polled::Item(reply) => reply,
            Polled::Quiet => return Ok(None),
            Polled::End => {
                self.stream = None;
                // The store ended the stream in good order: it is going down.
                os::clock::pause(Duration::from_millis(20));
                return Ok(None);
            }
        };
        if let Some(error) = reply.error {
            return Err(StoreError::Refused { code: error.grpc_code, message: error.message });
        }
        Ok(self.take(reply.result.unwrap_or_default()))
    }

    fn take(&mut self, reply: WatchReply) -> Option<WatchEvent> {
        if reply.canceled {
            // History was compacted, or the watch was too slow: begin again with the whole state.
            self.stream = None;
            self.seen = None;
            return None;
        }
        let changes: Vec<Change> = reply
            .events
            .into_iter()
            .map(|event| match event.r#type {
                EventType::Put => Change::Put(Record::from(event.kv)),
                EventType::Delete => Change::Deleted {
                    key: String::from_utf8_lossy(&event.kv.key.0).into_owned(),
                    revision: unsigned(event.kv.mod_revision),
                },
            })
            .collect();
        let revision = changes.iter().map(Change::revision).max()?;
        self.seen = Some(revision);
        Some(WatchEvent::Changes { changes, revision })
    }
}

impl Change {
    /// The revision at which it happened.
    #[must_use]
    pub fn revision(&self) -> u64 {
        match self {
            Change::Put(record) => record.revision,
            Change::Deleted { revision, .. } => *revision,
        }
    }
}
