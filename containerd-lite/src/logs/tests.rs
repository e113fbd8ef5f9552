use types::{HostId, JobId};

use super::{Origin, Tail, Wanted, merge};
use crate::segments::Writer;

fn origin(job: &str) -> Origin {
    Origin { host: HostId::parse("h").unwrap(), job: JobId::parse(job).unwrap(), process_type: "web".to_owned() }
}

#[test]
fn pieces_of_a_line_are_put_together_and_streams_chosen() {
    let dir = testkit::TempDir::new("logs");
    let mut writer = Writer::open(dir.path()).unwrap();
    writer.append(b"1000 oP one \n1001 eF error\n1002 oF line\n1003 sF note\n").unwrap();
    let read = |wanted| {
        let mut tail = Tail::open_at(origin("h-a"), dir.path(), wanted).unwrap();
        tail.last(10).unwrap().into_iter().map(|(_, message)| message.msg).collect::<Vec<_>>()
    };
    assert_eq!(read(Wanted::ALL), ["error", "one line", "note"]);
    assert_eq!(read(Wanted::parse("stdout").unwrap()), ["one line"]);
    assert_eq!(read(Wanted::parse("stderr,init").unwrap()), ["error", "note"]);
    assert_eq!(Wanted::parse("stdin"), None);
}

#[test]
fn last_lines_are_followed_by_what_comes() {
    let dir = testkit::TempDir::new("logs");
    let mut writer = Writer::open(dir.path()).unwrap();
    for number in 0..100 {
        writer.append(format!("{number} oF line {number}\n").as_bytes()).unwrap();
    }
    let mut tail = Tail::open_at(origin("h-a"), dir.path(), Wanted::ALL).unwrap();
    let last: Vec<_> = tail.last(2).unwrap().into_iter().map(|(_, message)| message.msg).collect();
    assert_eq!(last, ["line 98", "line 99"]);
    assert!(tail.read_on().unwrap().is_empty());
    writer.append(b"200 oF next\n").unwrap();
    assert_eq!(tail.read_on().unwrap()[0].1.msg, "next");
}

#[test]
fn logs_of_several_jobs_are_merged_by_time() {
    let dir = testkit::TempDir::new("logs");
    let mut lines = Vec::new();
    for (job, text) in [("h-a", "1 oF a1\n5 oF a5\n"), ("h-b", "3 oF b3\n5 oF b5\n")] {
        let log = dir.path().join(job);
        Writer::open(&log).unwrap().append(text.as_bytes()).unwrap();
        lines.extend(Tail::open_at(origin(job), &log, Wanted::ALL).unwrap().last(10).unwrap());
    }
    let merged: Vec<_> = merge(lines).into_iter().map(|message| message.msg).collect();
    assert_eq!(merged, ["a1", "b3", "a5", "b5"]);
}
