//! The store against the plainest thing that could be right: the list of all changes, looked through each time.

use std::collections::BTreeMap;
use std::sync::Arc;

use consensus_core::codec::{decode_command, encode_command};
use consensus_core::store::Store;
use consensus_core::store::command::{
    Command, Compare, Delete, Failure, KeyRange, KeyValue, Op, OpReply, Outcome, Put, RangeEnd, RangeQuery, Relation,
    Target, Txn,
};
use consensus_core::store::snapshot::{SnapshotLoader, SnapshotReader};
use consensus_core::store::watch::{WatchEvent, WatchReply, WatchSpec, Watchers};
use stdx::Rng;

/// One version of a key: what it was put to, under which lease; `None` if it was removed.
type Version = (u64, Option<(Vec<u8>, i64)>);

#[derive(Default)]
struct Model {
    revision: u64,
    compacted: u64,
    history: BTreeMap<Vec<u8>, Vec<Version>>,
    leases: BTreeMap<i64, u64>,
}

impl Model {
    fn new() -> Model {
        Model { revision: 1, ..Model::default() }
    }

    fn at(&self, key: &[u8], revision: u64) -> Option<KeyValue> {
        let versions: Vec<&Version> = self.history.get(key)?.iter().filter(|(at, _)| *at <= revision).collect();
        let (mod_revision, Some((value, lease))) = versions.last()? else { return None };
        let alive: Vec<_> = versions.iter().rev().take_while(|(_, value)| value.is_some()).collect();
        Some(KeyValue {
            key: Arc::from(key),
            value: Arc::from(&value[..]),
            create_revision: alive.last()?.0,
            mod_revision: *mod_revision,
            version: alive.len() as u64,
            lease: *lease,
        })
    }

    fn range(&self, range: &KeyRange, revision: u64) -> Vec<KeyValue> {
        self.history.keys().filter(|key| range.contains(key)).filter_map(|key| self.at(key, revision)).collect()
    }

    fn put(&mut self, revision: u64, put: &Put) {
        self.history.entry(put.key.to_vec()).or_default().push((revision, Some((put.value.to_vec(), put.lease))));
    }

    fn delete(&mut self, revision: u64, range: &KeyRange) -> Vec<KeyValue> {
        let gone = self.range(range, u64::MAX);
        for kv in &gone {
            self.history.get_mut(&kv.key[..]).unwrap().push((revision, None));
        }
        gone
    }

    fn changes_after(&self, from: u64, range: &KeyRange) -> BTreeMap<(u64, Vec<u8>), bool> {
        let all = self.history.iter().flat_map(|(key, versions)| versions.iter().map(move |version| (key, version)));
        all.filter(|(key, (at, _))| *at >= from && range.contains(key))
            .map(|(key, (at, value))| ((*at, key.clone()), value.is_some()))
            .collect()
    }
}

fn key(rng: &mut Rng) -> Vec<u8> {
    let letters = b"abc";
    (0..=rng.below(2)).map(|_| letters[rng.index(3)]).collect()
}

fn range(rng: &mut Rng) -> KeyRange {
    let start: Arc<[u8]> = Arc::from(key(rng));
    let end = match rng.below(4) {
        0 | 1 => RangeEnd::Single,
        2 => RangeEnd::Before(Arc::from(key(rng))),
        _ => RangeEnd::Open,
    };
    KeyRange { start, end }
}

fn put(rng: &mut Rng, model: &Model) -> Put {
    let leases: Vec<i64> = model.leases.keys().copied().collect();
    let lease = if rng.chance(1, 4) && !leases.is_empty() { leases[rng.index(leases.len())] } else { 0 };
    let value = Arc::from(&rng.below(5).to_string().into_bytes()[..]);
    Put { key: Arc::from(key(rng)), value, lease, prev_kv: true, ignore_value: false, ignore_lease: false }
}

fn check_put(store: &mut Store, model: &mut Model, put: Put) {
    let before = model.at(&put.key, u64::MAX);
    model.revision += 1;
    model.put(model.revision, &put);
    let Outcome::Put(done) = apply(store, Command::Put(put)) else { panic!("put refused") };
    assert_eq!((done.revision, done.previous), (model.revision, before));
}

fn check_delete(store: &mut Store, model: &mut Model, range: KeyRange) {
    let gone = model.delete(model.revision + 1, &range);
    model.revision += u64::from(!gone.is_empty());
    let Outcome::Delete(done) = apply(store, Command::Delete(Delete { range, prev_kv: true })) else {
        panic!("delete refused")
    };
    assert_eq!((done.revision, done.previous), (model.revision, gone));
}

/// Put one key if another is as the model says, and read it back inside; else remove a range.
fn check_txn(store: &mut Store, model: &mut Model, rng: &mut Rng) {
    let watched = key(rng);
    let found = model.at(&watched, u64::MAX).map_or(0, |kv| kv.mod_revision);
    let wrong = u64::from(rng.chance(1, 3));
    let compare =
        Compare { range: KeyRange::single(&watched), target: Target::Mod(found + wrong), relation: Relation::Equal };
    let put = put(rng, model);
    let gone = range(rng);
    let look = RangeQuery::all(KeyRange::single(&put.key));
    let txn = Txn {
        compare: vec![compare],
        success: vec![Op::Put(put.clone()), Op::Range(look)],
        failure: vec![Op::Delete(Delete { range: gone.clone(), prev_kv: false })],
    };
    let Outcome::Txn(reply) = apply(store, Command::Txn(txn)) else { panic!("txn refused") };
    assert_eq!(reply.succeeded, wrong == 0);
    if reply.succeeded {
        model.revision += 1;
        model.put(model.revision, &put);
        let OpReply::Range(seen) = &reply.replies[1] else { panic!("no range") };
        assert_eq!(seen.kvs, [model.at(&put.key, u64::MAX).unwrap()]);
    } else {
        let gone = model.delete(model.revision + 1, &gone);
        model.revision += u64::from(!gone.is_empty());
    }
    assert_eq!(reply.revision, model.revision);
}

fn check_lease(store: &mut Store, model: &mut Model, rng: &mut Rng) {
    let id = i64::try_from(rng.below(4)).unwrap() + 1;
    if rng.chance(1, 2) {
        let granted = matches!(apply(store, Command::Grant { id, ttl: 9 }), Outcome::Granted { .. });
        assert_eq!(granted, model.leases.insert(id, 9).is_none());
        return;
    }
    let outcome = apply(store, Command::Revoke { id });
    if model.leases.remove(&id).is_none() {
        assert_eq!(outcome, Outcome::Failed(Failure::LeaseNotFound));
        return;
    }
    let all = KeyRange { start: Arc::from(&[0][..]), end: RangeEnd::Open };
    let held: Vec<KeyValue> = model.range(&all, u64::MAX).into_iter().filter(|kv| kv.lease == id).collect();
    for kv in &held {
        model.delete(model.revision + 1, &KeyRange::single(&kv.key));
    }
    model.revision += u64::from(!held.is_empty());
    assert_eq!(outcome, Outcome::Revoked { revision: model.revision });
}

fn check_range(store: &Store, model: &Model, rng: &mut Rng) {
    let revision = rng.below(model.revision + 2);
    let query = RangeQuery { revision, limit: rng.below(3), ..RangeQuery::all(range(rng)) };
    let reply = store.range(&query);
    if revision > model.revision {
        assert_eq!(reply, Err(Failure::FutureRevision));
    } else if revision != 0 && revision < model.compacted {
        assert_eq!(reply, Err(Failure::Compacted));
    } else {
        let at = if revision == 0 { u64::MAX } else { revision };
        let all = model.range(&query.range, at);
        let limit = if query.limit == 0 { usize::MAX } else { usize::try_from(query.limit).unwrap() };
        let reply = reply.unwrap();
        assert_eq!(reply.kvs, all[..all.len().min(limit)]);
        assert_eq!((reply.count, reply.more), (all.len() as u64, all.len() > limit));
    }
}

/// Everything from a revision on, asked for piece by piece, is what the model has: complete and no more.
fn check_watch(store: &Store, model: &Model, rng: &mut Rng) {
    let from = rng.below(model.revision + 1) + 1;
    let range = range(rng);
    let spec = Arc::new(WatchSpec { range: range.clone(), no_put: false, no_delete: false, prev_kv: true });
    let mut watchers = Watchers::default();
    let mut next = from;
    let mut seen = BTreeMap::new();
    loop {
        match watchers.poll(store, 1, &spec, next) {
            None => break,
            Some(WatchReply::Compacted { revision }) => {
                assert!(from < model.compacted && revision == model.compacted);
                return;
            }
            Some(WatchReply::Events { events, next: after, .. }) => {
                assert!(after > next);
                next = after;
                for event in events {
                    match event {
                        WatchEvent::Put { kv, previous } => {
                            let expected = model.at(&kv.key, kv.mod_revision - 1);
                            // What was before the compacted revision may be gone.
                            assert!(previous == expected || (previous.is_none() && kv.mod_revision <= model.compacted));
                            assert!(seen.insert((kv.mod_revision, kv.key.to_vec()), true).is_none());
                        }
                        WatchEvent::Delete { key, mod_revision, .. } => {
                            assert!(seen.insert((mod_revision, key.to_vec()), false).is_none());
                        }
                    }
                }
            }
        }
    }
    assert_eq!(seen, model.changes_after(from, &range));
}

/// Through the encoding, as in the log.
fn apply(store: &mut Store, command: Command) -> Outcome {
    let bytes = encode_command(&command);
    assert_eq!(decode_command(&bytes).as_ref(), Ok(&command));
    store.apply(command)
}

#[test]
fn sim_store_is_a_sorted_map_with_history() {
    testkit::sweep("sim_store_is_a_sorted_map_with_history", |seed| {
        let mut rng = Rng::new(seed);
        let (mut store, mut model) = (Store::new(), Model::new());
        for _ in 0..testkit::steps(300) {
            match rng.below(16) {
                0..5 => {
                    let put = put(&mut rng, &model);
                    check_put(&mut store, &mut model, put);
                }
                5..7 => check_delete(&mut store, &mut model, range(&mut rng)),
                7..9 => check_txn(&mut store, &mut model, &mut rng),
                9 => check_lease(&mut store, &mut model, &mut rng),
                10 => {
                    let revision = rng.below(model.revision + 2);
                    let done = matches!(apply(&mut store, Command::Compact { revision }), Outcome::Compacted { .. });
                    assert_eq!(done, revision > model.compacted && revision <= model.revision);
                    if done {
                        model.compacted = revision;
                    }
                }
                11 => while store.prune(usize::try_from(rng.below(5) + 1).unwrap()) {},
                12 => check_watch(&store, &model, &mut rng),
                _ => check_range(&store, &model, &mut rng),
            }
        }
        while store.prune(1000) {}
        assert_eq!(store.status().keys, model.range(&KeyRange::prefix(b""), u64::MAX).len() as u64);
    });
}

#[test]
fn sim_snapshot_read_while_writing_is_the_state_where_it_began() {
    testkit::sweep("sim_snapshot_read_while_writing_is_the_state_where_it_began", |seed| {
        let mut rng = Rng::new(seed);
        let (mut store, mut model) = (Store::new(), Model::new());
        let mut write = |store: &mut Store, rng: &mut Rng| {
            check_lease(store, &mut model, rng);
            let next = put(rng, &model);
            check_put(store, &mut model, next);
            check_delete(store, &mut model, range(rng));
        };
        for _ in 0..50 {
            write(&mut store, &mut rng);
        }
        let revision = rng.below(store.revision()) + 1;
        store.apply(Command::Compact { revision });
        while store.prune(1000) {}
        let mut reader = SnapshotReader::new(&store);
        let mut still = SnapshotLoader::new();
        let mut pieces = SnapshotReader::new(&store);
        while let Some(piece) = pieces.next(&store) {
            still.piece(&piece).unwrap();
        }
        let still = still.finish().unwrap();
        assert!(still.same_as(&store));
        let mut moving = SnapshotLoader::new();
        while let Some(piece) = reader.next(&store) {
            moving.piece(&piece).unwrap();
            write(&mut store, &mut rng);
        }
        assert!(moving.finish().unwrap().same_as(&still));
    });
}
