//! Who hears of which change.
//!
//! A watcher asks for what is next from a revision on. If something is there it is answered at once, from
//! history if need be; else it is parked, and answered by the next change that concerns it. So a watcher
//! never has more than one answer under way, a slow one costs no memory, and one that is too slow learns
//! that what it wants was compacted. Order and completeness follow: each question names its revision.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Store;
use super::command::{Key, KeyRange, KeyValue, RangeEnd};
use super::kv::key_value;

/// The most events in one answer; the events of one revision are never parted.
pub const WATCH_EVENTS_MAX: usize = 1000;

/// Names one watcher to the shell.
pub type WatcherId = u64;

/// What a watcher wants to hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchSpec {
    /// Which keys.
    pub range: KeyRange,
    /// Leave writes out.
    pub no_put: bool,
    /// Leave removals out.
    pub no_delete: bool,
    /// With what was there before.
    pub prev_kv: bool,
}

/// What happened to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// Written.
    Put {
        /// What is there now.
        kv: KeyValue,
        /// What was there, if asked for and still held.
        previous: Option<KeyValue>,
    },
    /// Removed.
    Delete {
        /// The key.
        key: Key,
        /// When.
        mod_revision: u64,
        /// What was there, if asked for and still held.
        previous: Option<KeyValue>,
    },
}

/// The answer to a watcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchReply {
    /// This happened; ask again from `next`.
    Events {
        /// In order.
        events: Vec<WatchEvent>,
        /// The revision to ask from.
        next: u64,
        /// The store's revision.
        revision: u64,
    },
    /// What was asked for is gone.
    Compacted {
        /// The oldest revision there is.
        revision: u64,
    },
}

impl Store {
    /// Events for `spec` from revision `from` on, of whole revisions, about [`WATCH_EVENTS_MAX`] of them; and
    /// the revision up to which that is all there is.
    fn events(&self, spec: &WatchSpec, from: u64) -> (Vec<WatchEvent>, u64) {
        let first = self.keys.history.partition_point(|change| change.revision < from);
        let mut events: Vec<WatchEvent> = Vec::new();
        let mut last = 0;
        for change in self.keys.history.range(first..) {
            if events.len() >= WATCH_EVENTS_MAX && change.revision != last {
                return (events, last);
            }
            last = change.revision;
            if spec.range.contains(&change.key) {
                events.extend(self.event(spec, &change.key, change.revision));
            }
        }
        (events, self.revision())
    }

    fn event(&self, spec: &WatchSpec, key: &Key, revision: u64) -> Option<WatchEvent> {
        let (slot, before) = self.keys.version_at(key, revision)?;
        let previous = before.filter(|_| spec.prev_kv).map(|slot| key_value(key, slot));
        match &slot.value {
            Some(_) if !spec.no_put => Some(WatchEvent::Put { kv: key_value(key, slot), previous }),
            None if !spec.no_delete => {
                Some(WatchEvent::Delete { key: Arc::clone(key), mod_revision: revision, previous })
            }
            _ => None,
        }
    }
}

#[derive(Debug)]
struct Parked {
    spec: Arc<WatchSpec>,
    from: u64,
}

/// Everyone who waits.
#[derive(Debug, Default)]
pub struct Watchers {
    parked: BTreeMap<WatcherId, Parked>,
    /// Those of one key, by key: a change finds them without asking all.
    single: BTreeMap<Key, BTreeSet<WatcherId>>,
    wide: BTreeSet<WatcherId>,
    /// Whoever is parked has heard of everything up to here.
    told: u64,
}

impl Watchers {
    /// Answer now, or park `id` until something happens (`None`). `from` 0 means what comes next.
    pub fn poll(&mut self, store: &Store, id: WatcherId, spec: &Arc<WatchSpec>, from: u64) -> Option<WatchReply> {
        self.cancel(id);
        let revision = store.revision();
        let from = if from == 0 { revision + 1 } else { from };
        if from < store.keys.compacted() {
            return Some(WatchReply::Compacted { revision: store.keys.compacted() });
        }
        if from <= revision {
            let (events, end) = store.events(spec, from);
            if !events.is_empty() || end < revision {
                return Some(WatchReply::Events { events, next: end + 1, revision });
            }
        }
        self.park(id, Parked { spec: Arc::clone(spec), from: from.max(revision + 1) });
        None
    }

    /// Take a watcher out, if it is there.
    pub fn cancel(&mut self, id: WatcherId) {
        let Some(parked) = self.parked.remove(&id) else { return };
        match &parked.spec.range.end {
            RangeEnd::Single => {
                if let Some(ids) = self.single.get_mut(&*parked.spec.range.start) {
                    ids.remove(&id);
                    if ids.is_empty() {
                        self.single.remove(&*parked.spec.range.start);
                    }
                }
            }
            _ => {
                self.wide.remove(&id);
            }
        }
    }

    /// Commands were applied: take out and answer those whom the changes concern.
    pub fn advance(&mut self, store: &Store, answer: &mut impl FnMut(WatcherId, WatchReply)) {
        let since = core::mem::replace(&mut self.told, store.revision()) + 1;
        if self.parked.is_empty() {
            return;
        }
        let first = store.keys.history.partition_point(|change| change.revision < since);
        let mut concerned = BTreeSet::new();
        for change in store.keys.history.range(first..) {
            concerned.extend(self.single.get(&*change.key).into_iter().flatten().copied());
            let wide = self.wide.iter().filter(|id| self.parked[*id].spec.range.contains(&change.key));
            concerned.extend(wide.copied());
        }
        for id in concerned {
            let parked = &self.parked[&id];
            if parked.from > store.revision() {
                continue;
            }
            // Filters, or a start in the future, may leave nothing to say.
            let (events, end) = store.events(&parked.spec, parked.from.max(since));
            if !events.is_empty() {
                self.cancel(id);
                answer(id, WatchReply::Events { events, next: end + 1, revision: store.revision() });
            }
        }
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parked.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parked.is_empty()
    }

    fn park(&mut self, id: WatcherId, parked: Parked) {
        match &parked.spec.range.end {
            RangeEnd::Single => {
                self.single.entry(Arc::clone(&parked.spec.range.start)).or_default().insert(id);
            }
            _ => {
                self.wide.insert(id);
            }
        }
        self.parked.insert(id, parked);
    }
}
