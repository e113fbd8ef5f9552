use alloc::sync::Arc;
use alloc::vec;

use super::super::command::{Command, Outcome, RangeEnd};
use super::*;

fn put(key: &str, value: &str) -> Put {
    Put {
        key: Arc::from(key.as_bytes()),
        value: Arc::from(value.as_bytes()),
        lease: NO_LEASE,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    }
}

#[test]
fn txn_that_fails_halfway_changes_nothing() {
    let mut store = Store::new();
    let leased = Put { lease: 7, ..put("b", "2") };
    let txn = Txn { success: vec![Op::Put(put("a", "1")), Op::Put(leased)], ..Txn::default() };
    assert_eq!(store.apply(Command::Txn(txn)), Outcome::Failed(Failure::LeaseNotFound));
    assert_eq!((store.revision(), store.status().keys), (1, 0));
}

#[test]
fn txn_inner_comparison_sees_the_state_before() {
    let mut store = Store::new();
    let absent = |key: &str| Compare {
        range: KeyRange::single(key.as_bytes()),
        target: Target::Version(0),
        relation: Relation::Equal,
    };
    let inner = Txn { compare: vec![absent("a")], success: vec![Op::Put(put("b", "inner"))], failure: vec![] };
    let txn = Txn { success: vec![Op::Put(put("a", "1")), Op::Txn(inner)], ..Txn::default() };
    let Outcome::Txn(reply) = store.apply(Command::Txn(txn)) else { panic!("txn refused") };
    assert_eq!((reply.revision, store.status().keys), (2, 2));
}

#[test]
fn compare_over_a_range_must_hold_for_every_key() {
    let mut store = Store::new();
    store.apply(Command::Put(put("a/1", "x")));
    store.apply(Command::Put(put("a/2", "x")));
    store.apply(Command::Put(put("a/2", "y")));
    let all = |target| Compare { range: KeyRange::prefix(b"a/"), target, relation: Relation::Equal };
    assert!(!store.holds(&all(Target::Version(1))));
    assert!(store.holds(&Compare { relation: Relation::Greater, ..all(Target::Mod(1)) }));
    let empty = KeyRange { start: Arc::from(&b"z"[..]), end: RangeEnd::Open };
    let value = Compare { range: empty.clone(), target: Target::Value(Arc::from(&b""[..])), relation: Relation::Equal };
    assert!(!store.holds(&value));
    assert!(store.holds(&Compare { range: empty, target: Target::Create(0), relation: Relation::Equal }));
}
