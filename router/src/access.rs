//! The access log: one logfmt line per exchange, in batches, by a thread that may lag but never holds up a worker.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use router_core::Record;

use crate::limits::LOG_BATCHES_MAX;

/// Whether requests are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// To stderr, which is the job's log.
    Stderr,
    /// Not at all.
    Off,
}

/// A worker's end of the log.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: Option<SyncSender<String>>,
    batch: String,
    lines: u64,
    time: String,
}

/// Start the thread that writes. It ends with the last writer.
pub(crate) fn start(log: AccessLog, workers: usize) -> io::Result<Vec<Writer>> {
    let queue = match log {
        AccessLog::Off => None,
        AccessLog::Stderr => {
            let (queue, batches) = sync_channel(LOG_BATCHES_MAX);
            os::thread::spawn("access-log", move || write_all(&batches))?;
            Some(queue)
        }
    };
    let writer = || Writer { queue: queue.clone(), batch: String::new(), lines: 0, time: String::new() };
    Ok((0..workers).map(|_| writer()).collect())
}

fn write_all(batches: &Receiver<String>) {
    for batch in batches {
        // Nowhere is left to report a stderr that is gone.
        let _ = io::stderr().lock().write_all(batch.as_bytes());
    }
}

impl Writer {
    pub(crate) fn add(&mut self, record: &Record) {
        if self.queue.is_none() {
            return;
        }
        if self.batch.is_empty() {
            // One reading per batch: a batch is one round of the loop.
            self.time = os::clock::wall().to_string();
        }
        format_line(&mut self.batch, &self.time, record);
        self.lines += 1;
    }

    /// Hand the batch over; how many lines were lost because the thread is too far behind.
    pub(crate) fn flush(&mut self) -> u64 {
        let Some(queue) = self.queue.as_ref().filter(|_| !self.batch.is_empty()) else { return 0 };
        let lines = std::mem::take(&mut self.lines);
        match queue.try_send(std::mem::take(&mut self.batch)) {
            Ok(()) => 0,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => lines,
        }
    }
}

fn format_line(line: &mut String, time: &str, record: &Record) {
    let ms = |duration: std::time::Duration| duration.as_secs_f64() * 1000.0;
    write!(
        line,
        "time={time} level=info target=router::access msg=request method={} path={} host={} status={} service_ms={:.2}",
        record.method,
        Plain(&record.path),
        Plain(&record.host),
        record.status,
        ms(record.service)
    )
    .and_then(|()| match record.connect {
        Some(connect) => write!(line, " connect_ms={:.2}", ms(connect)),
        None => Ok(()),
    })
    .and_then(|()| write!(line, " bytes={} request_id={}", record.bytes_out, Plain(&record.request_id)))
    .and_then(|()| match record.code {
        Some(code) => write!(line, " code={code}"),
        None => Ok(()),
    })
    .expect("a String takes every write");
    line.push('\n');
}

/// As the log sink writes values: quoted where a reader would be misled.
struct Plain<'a>(&'a str);

impl std::fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plain = !self.0.is_empty() && self.0.bytes().all(|b| b > b' ' && b != b'"' && b != b'=' && b < 0x7f);
        if plain { f.write_str(self.0) } else { write!(f, "{:?}", self.0) }
    }
}

#[cfg(test)]
mod tests;
