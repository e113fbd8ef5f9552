//! A job's output as records of its log: cut into lines, limited in rate, with its losses counted.
//!
//! A record is one line of the file: `1732289982123 oF text`. The time is in milliseconds since 1970; `o` is standard
//! output, `e` standard error, `s` what the platform says of the job; `F` ends a line of the job, `P` says that the
//! line goes on in the next record of that stream. The text is the job's own bytes: they hold no newline, so nothing
//! needs escapes and a record without a newline at its end is one that a power cut tore.

use std::io::Write as _;
use std::time::Duration;

use stdx::Instant;

use crate::limits::{LOG_BURST_BYTES, LOG_BYTES_PER_SECOND, LOG_LINE_BYTES};

/// How long an unfinished line waits for its rest: a prompt or a progress dot is to be seen.
const PARTIAL_WAIT: Duration = Duration::from_secs(1);

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
    /// The platform.
    System,
}

impl Source {
    fn letter(self) -> char {
        match self {
            Source::Out => 'o',
            Source::Err => 'e',
            Source::System => 's',
        }
    }
}

/// One record as it is read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// Whose words.
    pub source: Source,
    /// Whether the job's line ends here.
    pub is_whole: bool,
    /// The words, without a newline.
    pub text: &'a [u8],
}

/// Read one record, without its newline. `None` for what is no record.
#[must_use]
pub fn parse(record: &[u8]) -> Option<Line<'_>> {
    let space = record.iter().position(|b| *b == b' ')?;
    let time_ms = std::str::from_utf8(record.get(..space)?).ok()?.parse().ok()?;
    let rest = record.get(space + 1..)?;
    let source = match rest.first()? {
        b'o' => Source::Out,
        b'e' => Source::Err,
        b's' => Source::System,
        _ => return None,
    };
    let is_whole = match rest.get(1)? {
        b'F' => true,
        b'P' => false,
        _ => return None,
    };
    match rest.get(2)? {
        b' ' => Some(Line { time_ms, source, is_whole, text: rest.get(3..)? }),
        _ => None,
    }
}

/// One stream's unfinished line.
#[derive(Debug, Default)]
struct Partial {
    text: Vec<u8>,
    since: Option<Instant>,
}

/// The output of one job on its way to the log.
#[derive(Debug)]
pub struct Lines {
    partials: [Partial; 2],
    tokens: u64,
    refilled: Instant,
    lost_lines: u64,
    lost_bytes: u64,
}

impl Lines {
    /// Nothing written yet at `now`.
    #[must_use]
    pub fn new(now: Instant) -> Lines {
        Lines {
            partials: [Partial::default(), Partial::default()],
            tokens: LOG_BURST_BYTES,
            refilled: now,
            lost_lines: 0,
            lost_bytes: 0,
        }
    }

    /// Take in output of the job, and append the records it makes.
    pub fn push(&mut self, now: Instant, wall_ms: u64, source: Source, bytes: &[u8], records: &mut Vec<u8>) {
        self.refill(now);
        let slot = usize::from(source == Source::Err);
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let (text, ends) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            self.extend(now, wall_ms, source, text, records);
            if ends {
                let line = std::mem::take(&mut self.partials[slot]).text;
                let line = line.strip_suffix(b"\r").unwrap_or(&line);
                self.emit(wall_ms, source, 'F', line, records);
            }
        }
    }

    fn extend(&mut self, now: Instant, wall_ms: u64, source: Source, text: &[u8], records: &mut Vec<u8>) {
        let slot = usize::from(source == Source::Err);
        let mut rest = text;
        while !rest.is_empty() {
            let partial = &mut self.partials[slot];
            let room = LOG_LINE_BYTES - partial.text.len();
            let (now_bytes, later) = rest.split_at(rest.len().min(room));
            partial.text.extend_from_slice(now_bytes);
            partial.since.get_or_insert(now);
            rest = later;
            if partial.text.len() == LOG_LINE_BYTES {
                let line = std::mem::take(partial).text;
                self.emit(wall_ms, source, 'P', &line, records);
            }
        }
    }

    /// Append what the platform says. It is never dropped.
    pub fn note(wall_ms: u64, text: &str, records: &mut Vec<u8>) {
        for line in text.lines() {
            append(wall_ms, Source::System, 'F', line.as_bytes(), records);
        }
    }

    /// Time has passed: unfinished lines that waited long enough are written, and losses told.
    pub fn tick(&mut self, now: Instant, wall_ms: u64, records: &mut Vec<u8>) {
        self.refill(now);
        for (slot, source) in [(0, Source::Out), (1, Source::Err)] {
            if self.partials[slot].since.is_some_and(|since| now.since(since) >= PARTIAL_WAIT) {
                let line = std::mem::take(&mut self.partials[slot]).text;
                self.emit(wall_ms, source, 'P', &line, records);
            }
        }
        self.tell_losses(wall_ms, records);
    }

    /// The job is over: write what is left.
    pub fn finish(&mut self, wall_ms: u64, records: &mut Vec<u8>) {
        for (slot, source) in [(0, Source::Out), (1, Source::Err)] {
            let line = std::mem::take(&mut self.partials[slot]).text;
            if !line.is_empty() {
                self.emit(wall_ms, source, 'F', &line, records);
            }
        }
        self.tokens = LOG_BURST_BYTES;
        self.tell_losses(wall_ms, records);
    }

    /// Count lines that could not be kept for another reason, e.g. a full disk.
    pub fn lose(&mut self, bytes: u64) {
        self.lost_lines += 1;
        self.lost_bytes += bytes;
    }

    /// When [`Lines::tick`] has something to do, if ever.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let partial = self.partials.iter().filter_map(|p| p.since).min().map(|since| since.after(PARTIAL_WAIT));
        let loss = (self.lost_lines > 0).then(|| {
            let missing = RESUME_TOKENS.saturating_sub(self.tokens);
            self.refilled.after(Duration::from_nanos(missing.saturating_mul(1_000_000_000) / LOG_BYTES_PER_SECOND + 1))
        });
        [partial, loss].into_iter().flatten().min()
    }

    fn refill(&mut self, now: Instant) {
        let nanos = u64::try_from(now.since(self.refilled).as_nanos()).unwrap_or(u64::MAX);
        let earned = u64::try_from(u128::from(nanos) * u128::from(LOG_BYTES_PER_SECOND) / 1_000_000_000);
        let earned = earned.unwrap_or(u64::MAX);
        if earned > 0 {
            self.tokens = self.tokens.saturating_add(earned).min(LOG_BURST_BYTES);
            self.refilled = now;
        }
    }

    fn emit(&mut self, wall_ms: u64, source: Source, end: char, text: &[u8], records: &mut Vec<u8>) {
        self.tell_losses(wall_ms, records);
        let cost = text.len() as u64 + RECORD_OVERHEAD;
        if self.lost_lines > 0 || self.tokens < cost {
            self.lose(text.len() as u64);
            return;
        }
        self.tokens -= cost;
        append(wall_ms, source, end, text, records);
    }

    fn tell_losses(&mut self, wall_ms: u64, records: &mut Vec<u8>) {
        // Once lines are lost they stay so until some room is back: one note for a flood, not one for each line.
        if self.lost_lines == 0 || self.tokens < RESUME_TOKENS {
            return;
        }
        let text = format!(
            "{} lines ({} bytes) of this job's output were dropped: its log takes {} bytes per second",
            self.lost_lines, self.lost_bytes, LOG_BYTES_PER_SECOND
        );
        append(wall_ms, Source::System, 'F', text.as_bytes(), records);
        self.lost_lines = 0;
        self.lost_bytes = 0;
    }
}

/// Room that must be back before a log that dropped lines goes on.
const RESUME_TOKENS: u64 = LOG_BURST_BYTES / 4;

/// Bytes of a record beside its text.
const RECORD_OVERHEAD: u64 = 18;

fn append(wall_ms: u64, source: Source, end: char, text: &[u8], records: &mut Vec<u8>) {
    write!(records, "{wall_ms} {}{end} ", source.letter()).expect("a Vec takes every write");
    records.extend_from_slice(text);
    records.push(b'\n');
}

#[cfg(test)]
mod tests;
