use std::fs;

use super::{Reader, Writer, numbers, path};
use crate::limits::{LOG_SEGMENT_BYTES, LOG_SEGMENTS};

fn all(reader: &mut Reader) -> String {
    let mut text = String::new();
    loop {
        let records = reader.read_on().unwrap();
        if records.is_empty() {
            return text;
        }
        text.push_str(&String::from_utf8(records).unwrap());
    }
}

#[test]
fn reader_follows_the_writer_across_files() {
    let dir = testkit::TempDir::new("segments");
    let mut writer = Writer::open(dir.path()).unwrap();
    let mut reader = Reader::first(dir.path()).unwrap();
    let mut expected = String::new();
    let mut got = String::new();
    for round in 0..40 {
        let record = format!("{round} oF {}\n", "x".repeat(100_000));
        writer.append(record.as_bytes()).unwrap();
        expected.push_str(&record);
        got.push_str(&all(&mut reader));
    }
    assert!(numbers(dir.path()).unwrap().len() > 2);
    assert_eq!(got, expected);
}

#[test]
fn log_keeps_a_bounded_number_of_files() {
    let dir = testkit::TempDir::new("segments");
    let mut writer = Writer::open(dir.path()).unwrap();
    let record = vec![b'\n'; usize::try_from(LOG_SEGMENT_BYTES).unwrap()];
    for _ in 0..LOG_SEGMENTS * 3 {
        writer.append(&record).unwrap();
    }
    let kept = numbers(dir.path()).unwrap();
    assert_eq!(kept.len() as u64, LOG_SEGMENTS);
    assert_eq!(*kept.last().unwrap(), LOG_SEGMENTS * 3);
}

#[test]
fn reader_that_fell_behind_goes_on_with_the_oldest_kept() {
    let dir = testkit::TempDir::new("segments");
    let mut writer = Writer::open(dir.path()).unwrap();
    let mut reader = Reader::first(dir.path()).unwrap();
    let filler = vec![b'\n'; usize::try_from(LOG_SEGMENT_BYTES).unwrap()];
    for _ in 0..LOG_SEGMENTS + 2 {
        writer.append(&filler).unwrap();
    }
    writer.append(b"9 oF last\n").unwrap();
    assert!(all(&mut reader).ends_with("9 oF last\n"));
}

#[test]
fn torn_record_is_cut_by_the_next_writer_and_not_shown_to_readers() {
    let dir = testkit::TempDir::new("segments");
    let mut writer = Writer::open(dir.path()).unwrap();
    writer.append(b"1 oF whole\n").unwrap();
    drop(writer);
    let file = path(dir.path(), 1);
    let mut content = fs::read(&file).unwrap();
    content.extend_from_slice(b"2 oF to");
    fs::write(&file, content).unwrap();
    let mut reader = Reader::first(dir.path()).unwrap();
    assert_eq!(all(&mut reader), "1 oF whole\n");
    Writer::open(dir.path()).unwrap().append(b"3 oF next\n").unwrap();
    assert_eq!(all(&mut reader), "3 oF next\n");
}
