//! The sink behind the `log` crate: one logfmt line per record, to stderr.

use std::fmt::Write as _;
use std::io::Write as _;

use log::kv::{Error, Key, Value, VisitSource};
use log::{LevelFilter, Log, Metadata, Record};

struct Sink;

/// Install the sink. Records below `level` are dropped. A second call changes the level only.
pub fn init(level: LevelFilter) {
    // Already installed means that an earlier call did the work.
    let _ = log::set_logger(&Sink);
    log::set_max_level(level);
}

impl Log for Sink {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = format_record(&crate::clock::wall().to_string(), record);
        // Nowhere is left to report a stderr that is gone.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

fn format_record(time: &str, record: &Record<'_>) -> String {
    let mut line = String::with_capacity(160);
    let level = record.level().as_str().to_ascii_lowercase();
    let _ = write!(line, "time={time} level={level} target={} msg=", record.target());
    push_value(&mut line, &record.args().to_string());
    let mut fields = Fields { line: &mut line };
    let _ = record.key_values().visit(&mut fields);
    line.push('\n');
    line
}

struct Fields<'a> {
    line: &'a mut String,
}

impl<'kvs> VisitSource<'kvs> for Fields<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        self.line.push(' ');
        self.line.push_str(key.as_str());
        self.line.push('=');
        push_value(self.line, &value.to_string());
        Ok(())
    }
}

fn push_value(line: &mut String, text: &str) {
    let plain = !text.is_empty() && text.bytes().all(|b| b > b' ' && b != b'"' && b != b'=' && b != 0x7f);
    if plain {
        line.push_str(text);
    } else {
        let _ = write!(line, "{text:?}");
    }
}

#[cfg(test)]
mod tests;
