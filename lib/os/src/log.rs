//! The sink behind the `log` crate: one logfmt line per record, to stderr, or to a file of bounded size.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use log::kv::{Error, Key, Value, VisitSource};
use log::{LevelFilter, Log, Metadata, Record};

struct Sink;

/// The file in use, if lines go to one.
static FILE: Mutex<Option<Rotated>> = Mutex::new(None);

/// Install the sink. Records below `level` are dropped. A second call changes the level only.
pub fn init(level: LevelFilter) {
    // Already installed means that an earlier call did the work.
    let _ = log::set_logger(&Sink);
    log::set_max_level(level);
}

/// Send all lines to the file at `path` from now on, and with them what this process writes to its standard output and
/// errors. When it has `bytes_max`, it becomes `path.1`, in place of the one before it.
///
/// # Errors
/// When the file cannot be opened.
pub fn to_file(path: &Path, bytes_max: u64) -> io::Result<()> {
    let rotated = Rotated::open(path, bytes_max)?;
    rotated.take_standard_streams()?;
    *FILE.lock().unwrap_or_else(PoisonError::into_inner) = Some(rotated);
    Ok(())
}

/// A file that is put aside when it is large.
struct Rotated {
    file: File,
    path: PathBuf,
    bytes: u64,
    bytes_max: u64,
}

impl Rotated {
    fn open(path: &Path, bytes_max: u64) -> io::Result<Rotated> {
        // Lines may hold what apps are told.
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        let bytes = file.metadata()?.len();
        Ok(Rotated { file, path: path.to_path_buf(), bytes, bytes_max })
    }

    /// A panic is written there by the language itself.
    fn take_standard_streams(&self) -> io::Result<()> {
        nix::unistd::dup2_stdout(&self.file)?;
        nix::unistd::dup2_stderr(&self.file)?;
        Ok(())
    }

    /// Whether another file was begun for this line.
    fn write(&mut self, line: &str) -> io::Result<bool> {
        let begins = self.bytes >= self.bytes_max;
        if begins {
            let mut aside = self.path.clone().into_os_string();
            aside.push(".1");
            std::fs::rename(&self.path, aside)?;
            *self = Rotated::open(&self.path, self.bytes_max)?;
        }
        self.file.write_all(line.as_bytes())?;
        self.bytes += line.len() as u64;
        Ok(begins)
    }
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
        let mut file = FILE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rotated) = file.as_mut() {
            // A disk without room takes no lines, and nothing waits for it.
            if let Ok(true) = rotated.write(&line) {
                let _ = rotated.take_standard_streams();
            }
            return;
        }
        drop(file);
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
