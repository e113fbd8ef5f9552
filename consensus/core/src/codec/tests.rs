use alloc::sync::Arc;

use super::*;
use crate::raft::{Entry, HardState, MemberId, Payload};
use crate::store::command::{Command, Compare, KeyRange, Op, Put, RangeQuery, Relation, Target, Txn};

fn round_trip(command: &Command) {
    let bytes = encode_command(command);
    assert_eq!(decode_command(&bytes).as_ref(), Ok(command));
    for end in 0..bytes.len() {
        assert!(decode_command(&bytes[..end]).is_err(), "cut at {end}");
    }
}

fn put() -> Put {
    let bytes = |text: &str| Arc::from(text.as_bytes());
    Put { key: bytes("k"), value: bytes("v"), lease: -5, prev_kv: true, ignore_value: false, ignore_lease: true }
}

#[test]
fn command_round_trips_and_no_cut_of_it_decodes() {
    let inner = Txn { compare: Vec::new(), success: alloc::vec![Op::Put(put())], failure: Vec::new() };
    let compare =
        Compare { range: KeyRange::prefix(b"a\xff"), target: Target::Mod(u64::MAX), relation: Relation::NotEqual };
    round_trip(&Command::Put(put()));
    round_trip(&Command::Grant { id: i64::MIN, ttl: 300 });
    round_trip(&Command::Txn(Txn {
        compare: alloc::vec![compare],
        success: alloc::vec![Op::Txn(inner), Op::Range(RangeQuery::all(KeyRange::prefix(b"")))],
        failure: alloc::vec![Op::Put(put())],
    }));
}

#[test]
fn entry_and_hard_state_round_trip() {
    let entry = Entry { term: 3, index: 300, payload: Payload::Command(Arc::from(&b"xyz"[..])) };
    let mut out = Writer::new();
    encode_entry(&entry, &mut out);
    assert_eq!(decode_entry(&out.into_bytes()), Ok(entry));
    let state = HardState { term: 9, vote: Some(MemberId(u64::MAX)) };
    let mut out = Writer::new();
    encode_hard_state(&state, &mut out);
    assert_eq!(decode_hard_state(&out.into_bytes()), Ok(state));
}

#[test]
fn number_of_more_than_64_bits_is_refused() {
    assert_eq!(Reader::new(&[0xff; 11]).number(), Err(DecodeError::Number));
    let mut out = Writer::new();
    out.number(u64::MAX);
    assert_eq!(Reader::new(&out.into_bytes()).number(), Ok(u64::MAX));
}

#[test]
fn list_longer_than_the_bytes_is_refused_before_it_is_made() {
    let mut out = Writer::new();
    out.number(1 << 40);
    assert_eq!(Reader::new(&out.into_bytes()).list(Reader::tag), Err(DecodeError::Short));
}
