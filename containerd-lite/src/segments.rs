//! A job's log on disk: numbered files of records, the oldest of which goes when another begins.
//!
//! One shim writes, any number of readers read: records are only ever appended, a file is never written again once
//! the next one exists, and numbers only grow, so a reader's place in the log is a number and an offset.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::limits::{LOG_SEGMENT_BYTES, LOG_SEGMENTS};

/// Why a log cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{action} log file {}", path.display())]
pub struct SegmentError {
    /// What was tried.
    pub action: &'static str,
    /// On which file or directory.
    pub path: PathBuf,
    /// What the kernel said.
    pub source: io::Error,
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SegmentError {
    let path = path.to_path_buf();
    move |source| SegmentError { action, path, source }
}

/// The numbers of the files in `dir`, in order. No directory is no files.
///
/// # Errors
/// When the directory cannot be read.
pub fn numbers(dir: &Path) -> Result<Vec<u64>, SegmentError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("list", dir)(error)),
    };
    let mut numbers: Vec<u64> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.strip_prefix("log-")?.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The file of that number.
#[must_use]
pub fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("log-{number:010}"))
}

/// The one writer of a log.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    number: u64,
    file: File,
    bytes: u64,
}

impl Writer {
    /// Go on where the last writer ended; a record that a power cut tore is cut off.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(dir: &Path) -> Result<Writer, SegmentError> {
        fs::create_dir_all(dir).map_err(failed("make the directory of", dir))?;
        let number = numbers(dir)?.last().copied().unwrap_or(1);
        let file = open(dir, number)?;
        let mut writer = Writer { dir: dir.to_path_buf(), number, file, bytes: 0 };
        writer.cut_torn_tail().map_err(failed("repair", &path(dir, number)))?;
        Ok(writer)
    }

    fn cut_torn_tail(&mut self) -> io::Result<()> {
        let mut content = Vec::new();
        self.file.seek(SeekFrom::Start(0))?;
        self.file.read_to_end(&mut content)?;
        let whole = content.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        self.bytes = whole as u64;
        if whole < content.len() {
            self.file.set_len(self.bytes)?;
        }
        Ok(())
    }

    /// Append whole records.
    ///
    /// # Errors
    /// When they could not be written; nothing of them is in the log then.
    pub fn append(&mut self, records: &[u8]) -> Result<(), SegmentError> {
        if self.bytes >= LOG_SEGMENT_BYTES {
            self.rotate()?;
        }
        if let Err(error) = self.file.write_all(records) {
            // Take back what a full disk left of it, so that the next record begins on a line of its own.
            let _ = self.file.set_len(self.bytes);
            return Err(failed("append to", &path(&self.dir, self.number))(error));
        }
        self.bytes += records.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> Result<(), SegmentError> {
        // The oldest goes first: on a full disk that is what makes room for the next.
        if let Some(oldest) = (self.number + 1).checked_sub(LOG_SEGMENTS) {
            for number in numbers(&self.dir)?.into_iter().filter(|number| *number <= oldest) {
                let old = path(&self.dir, number);
                fs::remove_file(&old).map_err(failed("remove", &old))?;
            }
        }
        self.file = open(&self.dir, self.number + 1)?;
        self.number += 1;
        self.bytes = 0;
        Ok(())
    }
}

fn open(dir: &Path, number: u64) -> Result<File, SegmentError> {
    let path = path(dir, number);
    let opened = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path);
    opened.map_err(failed("open", &path))
}

/// A reader's place in a log.
#[derive(Clone, Debug)]
pub struct Reader {
    dir: PathBuf,
    number: u64,
    offset: u64,
}

/// Bytes read at once.
const READ_BYTES: u64 = 256 * 1024;

impl Reader {
    /// At the beginning of what there is.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn first(dir: &Path) -> Result<Reader, SegmentError> {
        let number = numbers(dir)?.first().copied().unwrap_or(1);
        Ok(Reader { dir: dir.to_path_buf(), number, offset: 0 })
    }

    /// The next whole records, as many as fit a buffer; empty at the end of what was written so far.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn read_on(&mut self) -> Result<Vec<u8>, SegmentError> {
        loop {
            // Looked up before reading: a file that was followed by another then is complete.
            let numbers = numbers(&self.dir)?;
            if let Some(first) = numbers.first().filter(|first| **first > self.number) {
                (self.number, self.offset) = (*first, 0);
            }
            let records = self.read()?;
            if !records.is_empty() {
                self.offset += records.len() as u64;
                return Ok(records);
            }
            match numbers.into_iter().find(|number| *number > self.number) {
                Some(next) => (self.number, self.offset) = (next, 0),
                None => return Ok(records),
            }
        }
    }

    fn read(&self) -> Result<Vec<u8>, SegmentError> {
        let path = path(&self.dir, self.number);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("open", &path)(error)),
        };
        let mut content = Vec::new();
        file.seek(SeekFrom::Start(self.offset))
            .and_then(|_| file.take(READ_BYTES).read_to_end(&mut content))
            .map_err(failed("read", &path))?;
        let whole = content.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        content.truncate(whole);
        Ok(content)
    }
}

#[cfg(test)]
mod tests;
