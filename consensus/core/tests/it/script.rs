//! Scripts: one line a command, its trace below.

use std::sync::Arc;
use std::time::Duration;

use consensus_core::raft::{Change, Event, MemberId};
use consensus_core::store::Store;
use consensus_core::store::command::{Command, Delete, KeyRange, KeyValue, Outcome, Put, RangeQuery};

use crate::group::{Group, learner};

fn number(word: Option<&str>) -> u64 {
    word.unwrap().parse().unwrap()
}

/// `group 3 1`, `run 2000`, `propose 1`, `read 1`, `crash 1`, `start 1`, `part 1 2`, `heal`, `compact 1`, `learn 4`, ...
fn raft_line(group: &mut Group, line: &str) {
    let mut words = line.split_whitespace();
    let verb = words.next().unwrap();
    let numbers: Vec<u64> = words.map(|word| word.parse().unwrap()).collect();
    let all = group.ids();
    match verb {
        "group" => *group = Group::new(1, numbers[0], numbers.get(1).copied().unwrap_or(0), None),
        "run" => group.run_for(Duration::from_millis(numbers[0])).unwrap(),
        "propose" => {
            group.propose(numbers[0]);
        }
        "read" => group.read(numbers[0]),
        "crash" => group.crash(numbers[0]),
        "start" => group.start(numbers[0]),
        "part" => group.world.part(&all, &numbers),
        "heal" => group.world.heal(),
        "compact" => group.compact(numbers[0]),
        "transfer" => group.feed(numbers[0], Event::Transfer { to: Some(MemberId(numbers[1])) }),
        "learn" => change(group, numbers[0], Change::AddLearner { id: MemberId(numbers[1]), member: learner() }),
        "promote" => change(group, numbers[0], Change::Promote(MemberId(numbers[1]))),
        "remove" => change(group, numbers[0], Change::Remove(MemberId(numbers[1]))),
        other => panic!("no such command: {other}"),
    }
}

fn change(group: &mut Group, leader: u64, change: Change) {
    group.feed(leader, Event::ProposeMembership { id: 999, change });
}

#[test]
fn script_raft() {
    testkit::script::run_sessions("tests/scripts/raft", |_| {
        let mut group = Group::new(1, 1, 0, None);
        move |commands: &str| {
            for line in commands.lines().filter(|line| !line.starts_with('#')) {
                raft_line(&mut group, line);
            }
            std::mem::take(&mut group.trace).join("\n")
        }
    });
}

fn show(kv: &KeyValue) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let lease = if kv.lease == 0 { String::new() } else { format!(" lease {}", kv.lease) };
    format!(
        "{}={} created {} changed {} version {}{lease}",
        text(&kv.key),
        text(&kv.value),
        kv.create_revision,
        kv.mod_revision,
        kv.version
    )
}

fn store_line(store: &mut Store, line: &str) -> String {
    let mut words = line.split_whitespace();
    let verb = words.next().unwrap();
    let command = match verb {
        "put" => {
            let key = Arc::from(words.next().unwrap().as_bytes());
            let value = Arc::from(words.next().unwrap().as_bytes());
            let lease = words.next().map_or(0, |word| word.parse().unwrap());
            Command::Put(Put { key, value, lease, prev_kv: true, ignore_value: false, ignore_lease: false })
        }
        "delete" => {
            let range = KeyRange::prefix(words.next().unwrap().as_bytes());
            Command::Delete(Delete { range, prev_kv: true })
        }
        "grant" => Command::Grant { id: number(words.next()).cast_signed(), ttl: 10 },
        "revoke" => Command::Revoke { id: number(words.next()).cast_signed() },
        "compact" => Command::Compact { revision: number(words.next()) },
        "range" => {
            let range = KeyRange::prefix(words.next().unwrap().as_bytes());
            let revision = words.next().map_or(0, |word| word.parse().unwrap());
            return match store.range(&RangeQuery { revision, ..RangeQuery::all(range) }) {
                Ok(reply) => {
                    let mut lines = vec![format!("at {}: {} keys", reply.revision, reply.count)];
                    lines.extend(reply.kvs.iter().map(show));
                    lines.join("\n")
                }
                Err(failure) => failure.to_string(),
            };
        }
        other => panic!("no such command: {other}"),
    };
    match store.apply(command) {
        Outcome::Put(done) => {
            let before = done.previous.map_or_else(|| "nothing".to_owned(), |kv| show(&kv));
            format!("at {}: was {before}", done.revision)
        }
        Outcome::Delete(done) => format!("at {}: deleted {}", done.revision, done.deleted),
        Outcome::Failed(failure) => failure.to_string(),
        Outcome::Granted { id, ttl, .. } => format!("lease {id} for {ttl} s"),
        Outcome::Revoked { revision } | Outcome::Compacted { revision } => format!("at {revision}: done"),
        Outcome::Txn(_) => unreachable!("no command makes one"),
    }
}

#[test]
fn script_store() {
    testkit::script::run_sessions("tests/scripts/store", |_| {
        let mut store = Store::new();
        move |commands: &str| {
            let lines = commands.lines().filter(|line| !line.starts_with('#'));
            lines.map(|line| store_line(&mut store, line)).collect::<Vec<_>>().join("\n")
        }
    });
}
