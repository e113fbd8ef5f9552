//! The blob store over its socket: what it keeps, what it refuses, what a kill leaves.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod crash;
mod hostile;
mod store;

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use api::blobs::BlobClient;
use os::signal::Shutdown;
use sha2::{Digest as _, Sha256};
use testkit::TempDir;
use types::Digest;

pub(crate) fn digest_of(content: &[u8]) -> Digest {
    Digest::parse(&data_encoding::HEXLOWER.encode(&Sha256::digest(content))).unwrap()
}

/// A running blob store in a folder of its own.
pub(crate) struct Running {
    pub(crate) dir: TempDir,
    pub(crate) client: BlobClient,
    shutdown: Shutdown,
    thread: Option<JoinHandle<()>>,
}

pub(crate) fn socket_of(dir: &Path) -> PathBuf {
    dir.join("b.sock")
}

pub(crate) fn options(dir: &Path) -> blobs::Options {
    blobs::Options { dir: dir.join("blobs"), socket: socket_of(dir) }
}

pub(crate) const LIMITS: blobs::Limits = blobs::Limits { reserve_bytes: 0, blob_bytes_max: 4 << 20 };

pub(crate) fn wait_for_socket(socket: &Path) {
    testkit::wait_until("the socket", Duration::from_secs(20), || std::os::unix::net::UnixStream::connect(socket).ok());
}

impl Running {
    pub(crate) fn start(change: impl FnOnce(&mut blobs::Options, &mut blobs::Limits)) -> Running {
        let dir = TempDir::new("blobs");
        let mut options = options(dir.path());
        let mut limits = LIMITS;
        change(&mut options, &mut limits);
        let shutdown = Shutdown::new();
        let (socket, asked) = (options.socket.clone(), shutdown.clone());
        let thread = os::thread::spawn("blobs", move || blobs::run_within(options, limits, &asked).unwrap()).unwrap();
        wait_for_socket(&socket);
        Running { client: BlobClient::socket(&socket), dir, shutdown, thread: Some(thread) }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        socket_of(self.dir.path())
    }

    pub(crate) fn unfinished(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("blobs/uploads")).unwrap().count()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.ask();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
