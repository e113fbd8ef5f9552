//! SIGKILL in the middle of uploads: what was acknowledged is there and whole, nothing else is.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use api::blobs::BlobClient;
use os::signal::Shutdown;
use stdx::Rng;
use types::Digest;

use crate::{LIMITS, digest_of, options, socket_of, wait_for_socket};

const DIR: &str = "BLOBS_TEST_DIR";

/// Not a test of its own: what the test below starts as another process and kills.
#[test]
fn serve_for_the_crash_test() {
    let Ok(dir) = std::env::var(DIR) else { return };
    blobs::run_within(options(Path::new(&dir)), LIMITS, &Shutdown::new()).unwrap();
}

/// Killed when dropped.
struct Server(Child);

impl Server {
    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn start(dir: &Path) -> Server {
    let _ = std::fs::remove_file(socket_of(dir));
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::serve_for_the_crash_test"])
        .env(DIR, dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let server = Server(child);
    wait_for_socket(&socket_of(dir));
    server
}

fn content(rng: &mut Rng) -> Vec<u8> {
    let length = usize::try_from(rng.below(400_000)).unwrap();
    let byte = u8::try_from(rng.below(256)).unwrap();
    let mut content = vec![byte; length];
    content.extend(rng.next_u64().to_le_bytes());
    content
}

#[test]
fn killed_in_the_middle_keeps_what_was_acknowledged() {
    let dir = testkit::TempDir::new("blobs-kill");
    let mut rng = Rng::new(11);
    let mut acknowledged: BTreeMap<Digest, usize> = BTreeMap::new();
    for _ in 0..8 {
        let mut child = start(dir.path());
        let uploads: Vec<Vec<u8>> = (0..40).map(|_| content(&mut rng)).collect();
        let enough = 1 + rng.index(20);
        let (told, tell) = std::sync::mpsc::sync_channel(100);
        std::thread::scope(|scope| {
            for part in uploads.chunks(10) {
                let (told, client) = (told.clone(), BlobClient::socket(&socket_of(dir.path())));
                scope.spawn(move || {
                    for content in part {
                        let digest = digest_of(content);
                        if client.put(&digest, &mut content.as_slice()).is_ok() {
                            told.send((digest, content.len())).unwrap();
                        }
                    }
                });
            }
            drop(told);
            for (count, blob) in tell.iter().enumerate() {
                acknowledged.insert(blob.0, blob.1);
                if count + 1 == enough {
                    child.kill();
                }
            }
        });
    }
    let mut child = start(dir.path());
    let client = BlobClient::socket(&socket_of(dir.path()));
    for (digest, length) in &acknowledged {
        let mut read = Vec::new();
        client.copy(digest, &mut read).unwrap();
        assert_eq!((read.len(), &digest_of(&read)), (*length, digest));
    }
    for blob in client.list(None).unwrap().blobs {
        let mut read = Vec::new();
        client.copy(&blob.digest, &mut read).unwrap();
        assert_eq!(digest_of(&read), blob.digest, "a blob that is there is whole");
    }
    assert_eq!(std::fs::read_dir(dir.path().join("blobs/uploads")).unwrap().count(), 0);
    assert!(acknowledged.len() >= 8);
    child.kill();
    testkit::wait_until("the socket to be dead", Duration::from_secs(5), || {
        std::os::unix::net::UnixStream::connect(socket_of(dir.path())).err()
    });
}
