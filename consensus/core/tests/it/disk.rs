//! A disk that keeps what was synced, and of the rest a random front part.

use std::sync::Arc;

use consensus_core::raft::{Entry, HardState, Restored, SnapshotMeta};
use stdx::Rng;

/// The state machine of the simulation: what was applied, in order, with the term of each.
pub(crate) type Applied = Vec<(u64, Option<u64>)>;

#[derive(Clone, Debug)]
enum Write {
    State(HardState),
    Entries(Vec<Entry>),
}

#[derive(Clone, Debug)]
struct Image {
    state: HardState,
    entries: Vec<Entry>,
}

/// What one member has on disk.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    image: Image,
    unsynced: Vec<Write>,
    pub(crate) snapshot: (SnapshotMeta, Applied),
}

impl Image {
    fn write(&mut self, write: Write) {
        match write {
            Write::State(state) => self.state = state,
            Write::Entries(entries) => {
                let first = entries[0].index;
                self.entries.retain(|entry| entry.index < first);
                self.entries.extend(entries);
            }
        }
    }
}

impl Disk {
    pub(crate) fn new(meta: SnapshotMeta) -> Disk {
        let image = Image { state: HardState::default(), entries: Vec::new() };
        Disk { image, unsynced: Vec::new(), snapshot: (meta, Vec::new()) }
    }

    pub(crate) fn save(&mut self, state: HardState) {
        self.unsynced.push(Write::State(state));
        self.sync();
    }

    pub(crate) fn append(&mut self, entries: Vec<Entry>) {
        self.unsynced.push(Write::Entries(entries));
    }

    pub(crate) fn has_unsynced(&self) -> bool {
        !self.unsynced.is_empty()
    }

    /// Gives the last entry on disk.
    pub(crate) fn sync(&mut self) -> Option<(u64, u64)> {
        for write in std::mem::take(&mut self.unsynced) {
            self.image.write(write);
        }
        self.image.entries.last().map(|entry| (entry.index, entry.term))
    }

    /// A snapshot replaces the log before it; from a leader, also what does not belong to it.
    pub(crate) fn set_snapshot(&mut self, meta: SnapshotMeta, applied: Applied) {
        self.sync();
        let belongs = self.image.entries.iter().any(|entry| entry.index == meta.index && entry.term == meta.term);
        self.image.entries.retain(|entry| belongs && entry.index > meta.index);
        self.snapshot = (meta, applied);
    }

    /// The power goes: of what was not synced some front part was written all the same, the last write perhaps torn.
    pub(crate) fn crash(&mut self, rng: &mut Rng) {
        let kept = rng.index(self.unsynced.len() + 1);
        for (place, write) in std::mem::take(&mut self.unsynced).into_iter().enumerate() {
            match write {
                _ if place > kept => {}
                Write::Entries(mut entries) if place == kept => {
                    entries.truncate(rng.index(entries.len() + 1));
                    if !entries.is_empty() {
                        self.image.write(Write::Entries(entries));
                    }
                }
                write => self.image.write(write),
            }
        }
    }

    pub(crate) fn restore(&self) -> Restored {
        Restored {
            hard_state: self.image.state,
            snapshot: self.snapshot.0.clone(),
            entries: self.image.entries.clone(),
        }
    }
}

/// The snapshot's bytes, as they go to a peer.
pub(crate) fn encode(applied: &Applied) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (term, value) in applied {
        bytes.extend(term.to_le_bytes());
        bytes.extend(value.map_or(0, |value| value + 1).to_le_bytes());
    }
    bytes
}

pub(crate) fn decode(bytes: &[u8]) -> Applied {
    let numbers: Vec<u64> = bytes.chunks(8).map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap())).collect();
    numbers.chunks(2).map(|pair| (pair[0], pair[1].checked_sub(1))).collect()
}

/// The value of a command of the simulation.
pub(crate) fn value_of(bytes: &Arc<[u8]>) -> u64 {
    u64::from_le_bytes(bytes[..].try_into().unwrap())
}
