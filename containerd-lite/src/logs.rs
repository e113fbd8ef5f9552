//! Logs of jobs read back: the last lines, then whatever comes, of one job or of all of an app, in the order of time.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use api::controller::{LogMessage, LogStream};
use types::{HostId, JobId};

use crate::core::lines::{self, Source};
use crate::jobdir::JobDir;
use crate::segments::{Reader, SegmentError};

/// Which lines are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// What the platform says.
    pub init: bool,
}

impl Wanted {
    /// All of them.
    pub const ALL: Wanted = Wanted { stdout: true, stderr: true, init: true };

    /// Those of a list such as `stdout,init`; `None` for a word that is no stream.
    #[must_use]
    pub fn parse(list: &str) -> Option<Wanted> {
        let mut wanted = Wanted { stdout: false, stderr: false, init: false };
        for word in list.split(',').filter(|word| !word.is_empty()) {
            match word {
                "stdout" => wanted.stdout = true,
                "stderr" => wanted.stderr = true,
                "init" => wanted.init = true,
                _ => return None,
            }
        }
        Some(wanted)
    }

    fn takes(&self, source: Source) -> bool {
        match source {
            Source::Out => self.stdout,
            Source::Err => self.stderr,
            Source::System => self.init,
        }
    }
}

/// Whose log it is.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The host.
    pub host: HostId,
    /// The job.
    pub job: JobId,
    /// Its process type.
    pub process_type: String,
}

/// A job's log on its way to a client. What a line was cut into is put together again.
#[derive(Debug)]
pub struct Tail {
    origin: Origin,
    reader: Reader,
    wanted: Wanted,
    parts: BTreeMap<Source, Vec<u8>>,
}

/// A line with its time in milliseconds since 1970.
pub type Timed = (u64, LogMessage);

impl Tail {
    /// The log of the job in `dir`, from its beginning.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(origin: Origin, dir: &JobDir, wanted: Wanted) -> Result<Tail, SegmentError> {
        Tail::open_at(origin, &dir.log(), wanted)
    }

    fn open_at(origin: Origin, log: &Path, wanted: Wanted) -> Result<Tail, SegmentError> {
        Ok(Tail { origin, reader: Reader::first(log)?, wanted, parts: BTreeMap::new() })
    }

    /// Whatever came since the last call, a bounded piece of it; empty when there is nothing.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn read_on(&mut self) -> Result<Vec<Timed>, SegmentError> {
        loop {
            let records = self.reader.read_on()?;
            if records.is_empty() {
                return Ok(Vec::new());
            }
            let mut found = Vec::new();
            for line in records.split(|b| *b == b'\n').filter_map(lines::parse) {
                if !self.wanted.takes(line.source) {
                    continue;
                }
                let part = self.parts.entry(line.source).or_default();
                part.extend_from_slice(line.text);
                // Much longer than a record is no line for people: it is shown in pieces.
                if line.is_whole || part.len() >= LINE_BYTES_MAX {
                    let text = std::mem::take(part);
                    found.push((line.time_ms, self.message(line.time_ms, line.source, &text)));
                }
            }
            if !found.is_empty() {
                return Ok(found);
            }
        }
    }

    /// The last `count` lines of what there is now.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn last(&mut self, count: usize) -> Result<VecDeque<Timed>, SegmentError> {
        let mut last = VecDeque::new();
        loop {
            let more = self.read_on()?;
            if more.is_empty() {
                return Ok(last);
            }
            last.extend(more);
            last.drain(..last.len().saturating_sub(count));
        }
    }

    fn message(&self, time_ms: u64, source: Source, text: &[u8]) -> LogMessage {
        let (stream, said_by) = match source {
            Source::Out => (LogStream::Stdout, "app"),
            Source::Err => (LogStream::Stderr, "app"),
            Source::System => (LogStream::Init, "slipway"),
        };
        LogMessage {
            host_id: self.origin.host.to_string(),
            job_id: self.origin.job.to_string(),
            msg: String::from_utf8_lossy(text).into_owned(),
            process_type: self.origin.process_type.clone(),
            source: said_by.to_owned(),
            stream,
            timestamp: os::clock::WallTime::from_unix_millis(time_ms).to_string(),
        }
    }
}

/// Pieces of a line that are put together at most.
const LINE_BYTES_MAX: usize = 256 * 1024;

/// Bring lines of several jobs into the order of their time; those of one job keep theirs.
pub fn merge(mut lines: Vec<Timed>) -> Vec<LogMessage> {
    lines.sort_by_key(|(time_ms, _)| *time_ms);
    lines.into_iter().map(|(_, message)| message).collect()
}

#[cfg(test)]
mod tests;
