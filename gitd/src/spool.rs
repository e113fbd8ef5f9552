//! Content on its way through the receiver: too large for memory, of no worth after the push.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use types::{ApiError, Code, Digest};

/// A file that is gone when this is dropped, with the digest of what was written.
#[derive(Debug)]
pub(crate) struct Spool {
    path: PathBuf,
    file: File,
    sha: Sha256,
    bytes: u64,
    limit: u64,
    what: &'static str,
}

impl Spool {
    /// An empty one in `dir` for at most `limit` bytes of `what`.
    pub(crate) fn new(dir: &Path, what: &'static str, limit: u64) -> Result<Spool, ApiError> {
        let path = dir.join(os::entropy::uuid());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| disk_error(what, &error))?;
        Ok(Spool { path, file, sha: Sha256::new(), bytes: 0, limit, what })
    }

    pub(crate) fn write(&mut self, content: &[u8]) -> Result<(), ApiError> {
        self.bytes += content.len() as u64;
        if self.bytes > self.limit {
            return Err(ApiError::new(Code::OverLimit, format!("the {} is over {} MiB", self.what, self.limit >> 20))
                .hint("keep large files out of the repository, or out of the slug with .slugignore"));
        }
        self.sha.update(content);
        self.file.write_all(content).map_err(|error| disk_error(self.what, &error))
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn digest(&self) -> Digest {
        let hex = data_encoding::HEXLOWER.encode(&self.sha.clone().finalize());
        Digest::parse(&hex).expect("SHA-256 has 64 hexadecimal digits")
    }

    /// All of it from the beginning.
    pub(crate) fn reader(&self) -> Result<impl Read + Send + 'static, ApiError> {
        let open = || -> io::Result<File> {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(0))?;
            Ok(file)
        };
        open().map_err(|error| disk_error(self.what, &error))
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        // What is left is removed at the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn disk_error(what: &str, error: &io::Error) -> ApiError {
    if error.kind() == io::ErrorKind::StorageFull {
        return disk_full(what);
    }
    ApiError::new(Code::Internal, format!("keep the {what}: {error}"))
}

pub(crate) fn disk_full(what: &str) -> ApiError {
    ApiError::new(Code::DiskFull, format!("the host's disk has no room for the {what}"))
        .hint("free space on the host (`slipway host status` shows the disk), then push again")
}

/// Refuse to begin what the disk cannot hold.
pub(crate) fn check_disk(dir: &Path) -> Result<(), ApiError> {
    let stat = nix::sys::statvfs::statvfs(dir)
        .map_err(|error| ApiError::new(Code::Internal, format!("look at the disk: {error}")))?;
    if stat.blocks_available().saturating_mul(stat.fragment_size()) < crate::limits::DISK_FREE_BYTES_MIN {
        return Err(disk_full("build"));
    }
    Ok(())
}
