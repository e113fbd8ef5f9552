//! A scheduler of one's own over the framework's API.

use api::Client;
use api::scheduling::{CELL, COMMIT, CellLine, ClaimRequest, CommitMode, CommitRequest, SERVICE, StopRequest, WATCH};
use testkit::wait_until;
use types::host::StopOrder;
use types::job::Lifecycle;

use crate::role::{Cell, spec};

fn ledger(line: &CellLine, host: &str) -> u64 {
    line.rows.iter().find(|row| row.table == "ledger" && row.id == host).map_or(0, |row| row.revision)
}

#[test]
fn commits_are_refused_when_their_picture_is_old() {
    let mut cell = Cell::new();
    cell.host("h1", 2);
    cell.host("h2", 10);
    cell.scheduler("h1-00000001");
    let client = Client::service(cell.dir.path(), SERVICE);
    let limit = std::time::Duration::from_secs(20);
    let seen = wait_until("the API answers", limit, || client.call(&CELL, &[], &()).ok());
    let mut lines = client.lines(&WATCH, &[], &[], &()).unwrap();
    assert!(lines.next().unwrap().unwrap().reset);

    let claim = |host: &str, line: &CellLine| ClaimRequest {
        host: host.parse().unwrap(),
        ledger_revision: ledger(line, host),
        spec: spec("mine", None, "work", Lifecycle::Batch),
    };
    let request = |mode, claims| CommitRequest { mode, claims, stops: Vec::new() };
    let first = request(CommitMode::AllOrNothing, vec![claim("h1", &seen), claim("h2", &seen)]);
    let done = client.call(&COMMIT, &[], &first).unwrap();
    assert!(done.conflicts.is_empty() && done.jobs.iter().all(Option::is_some), "{done:?}");

    // The same picture again: both ledgers have moved.
    let again = client.call(&COMMIT, &[], &first).unwrap();
    assert_eq!((again.revision, again.conflicts.len()), (0, 2), "{again:?}");

    let newer = client.call(&CELL, &[], &()).unwrap();
    assert!(newer.revision >= done.revision);
    let mixed = request(CommitMode::Incremental, vec![claim("h1", &seen), claim("h2", &newer)]);
    let reply = client.call(&COMMIT, &[], &mixed).unwrap();
    assert!(reply.jobs[0].is_none() && reply.jobs[1].is_some(), "{reply:?}");

    let full = client.call(&CELL, &[], &()).unwrap();
    let over = request(CommitMode::AllOrNothing, vec![claim("h1", &full), claim("h1", &full)]);
    let reply = client.call(&COMMIT, &[], &over).unwrap();
    assert_eq!(reply.conflicts[0].reason, "it has too little room left");

    let job = done.jobs[0].clone().unwrap();
    let stop = StopRequest { host: "h1".parse().unwrap(), job: job.clone(), order: StopOrder::Kill };
    let stops = CommitRequest { mode: CommitMode::AllOrNothing, claims: Vec::new(), stops: vec![stop] };
    client.call(&COMMIT, &[], &stops).unwrap();
    let told = cell.claims().into_iter().find(|claim| claim.job == job).unwrap();
    assert_eq!(told.stop, Some(StopOrder::Kill));
}
