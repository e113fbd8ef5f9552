use std::time::Duration;

use stdx::Instant;

use super::{Lines, Source, parse};
use crate::limits::{LOG_BURST_BYTES, LOG_LINE_BYTES};

fn text(records: &[u8]) -> String {
    String::from_utf8_lossy(records).into_owned()
}

#[test]
fn lines_cut_anywhere_make_the_same_records() {
    let output = b"first\nsecond \xff\n\nlast without end";
    for cut in 0..output.len() {
        let mut lines = Lines::new(Instant::START);
        let mut records = Vec::new();
        lines.push(Instant::START, 7, Source::Out, &output[..cut], &mut records);
        lines.push(Instant::START, 7, Source::Out, &output[cut..], &mut records);
        lines.finish(7, &mut records);
        assert_eq!(records, b"7 oF first\n7 oF second \xff\n7 oF \n7 oF last without end\n");
    }
}

#[test]
fn streams_do_not_mix_within_a_line() {
    let mut lines = Lines::new(Instant::START);
    let mut records = Vec::new();
    lines.push(Instant::START, 1, Source::Out, b"half ", &mut records);
    lines.push(Instant::START, 1, Source::Err, b"error\n", &mut records);
    lines.push(Instant::START, 1, Source::Out, b"whole\n", &mut records);
    assert_eq!(text(&records), "1 eF error\n1 oF half whole\n");
}

#[test]
fn lines_longer_than_the_limit_go_on_in_the_next_record() {
    let mut lines = Lines::new(Instant::START);
    let mut records = Vec::new();
    let mut long = vec![b'x'; LOG_LINE_BYTES + 3];
    long.push(b'\n');
    lines.push(Instant::START, 1, Source::Out, &long, &mut records);
    let parsed: Vec<_> = records.split(|b| *b == b'\n').filter_map(parse).collect();
    assert_eq!(
        parsed.iter().map(|l| (l.text.len(), l.is_whole)).collect::<Vec<_>>(),
        [(LOG_LINE_BYTES, false), (3, true)]
    );
}

#[test]
fn prompt_without_newline_is_written_after_a_while() {
    let mut lines = Lines::new(Instant::START);
    let mut records = Vec::new();
    lines.push(Instant::START, 1, Source::Out, b"continue? ", &mut records);
    let due = lines.deadline().unwrap();
    lines.tick(due, 2, &mut records);
    assert_eq!(text(&records), "2 oP continue? \n");
    assert_eq!(lines.deadline(), None);
}

#[test]
fn flood_is_dropped_counted_and_told_once() {
    let mut lines = Lines::new(Instant::START);
    let mut records = Vec::new();
    let line = [b'y'; 999];
    for _ in 0..10_000 {
        lines.push(Instant::START, 1, Source::Out, &line, &mut records);
        lines.push(Instant::START, 1, Source::Out, b"\n", &mut records);
    }
    assert!(records.len() as u64 <= LOG_BURST_BYTES);
    let kept = records.split(|b| *b == b'\n').filter_map(parse).count();
    records.clear();
    let due = lines.deadline().unwrap();
    lines.tick(due, 2, &mut records);
    let dropped = 10_000 - kept;
    assert_eq!(
        text(&records),
        format!(
            "2 sF {dropped} lines ({} bytes) of this job's output were dropped: its log takes 1048576 bytes per second\n",
            dropped * 999
        )
    );
    records.clear();
    lines.push(due.after(Duration::from_millis(1)), 3, Source::Out, b"calm again\n", &mut records);
    assert_eq!(text(&records), "3 oF calm again\n");
}

#[test]
fn torn_and_foreign_records_are_not_read() {
    for bad in [&b""[..], b"12", b"12 ", b"12 o", b"12 oF", b"12 xF a", b"12 oX a", b"x oF a", b"12 oFa"] {
        assert_eq!(parse(bad), None, "{bad:?}");
    }
    assert_eq!(parse(b"12 oF ").unwrap().text, b"");
}
