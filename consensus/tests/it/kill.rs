//! A child process that is killed with SIGKILL while it acknowledges writes.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use api::store::StoreClient;
use consensus::{Options, Replica};
use os::signal::Shutdown;
use testkit::TempDir;

const DIR: &str = "STORE_CHILD_DIR";

/// Not a test by itself: what the child runs, until it is killed.
#[test]
fn kill_child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let dir = std::path::PathBuf::from(dir);
    let mut options = Options::new(&dir.join("data"), "child");
    // Small, so that rotations and snapshots are interrupted too.
    options.segment_bytes = 32 << 10;
    options.snapshot_bytes = 32 << 10;
    options.history_changes_max = 200;
    let replica = Replica::open(options).unwrap();
    let shutdown = Shutdown::new();
    replica.serve(&dir.join("s"), &shutdown).unwrap();
    shutdown.wait();
}

struct Running(Child);

impl Running {
    fn start(dir: &TempDir) -> Running {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::kill_child"])
            .env(DIR, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Running(child.unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn kill_loses_no_acknowledged_write() {
    let dir = TempDir::new("kill");
    let mut acknowledged = [0_u64; 4];
    for round in 0..10_u64 {
        let child = Running::start(&dir);
        let client = StoreClient::new(&dir.path().join("s")).patience(Duration::from_secs(20));
        for (writer, last) in acknowledged.iter().enumerate() {
            let found = client.get(&format!("k{writer}")).unwrap();
            let found = found.map_or(0, |record| String::from_utf8(record.value).unwrap().parse().unwrap());
            assert!(found >= *last, "round {round}: writer {writer} was told {last}, the store has {found}");
        }
        let writers: Vec<_> = (0..4)
            .zip(acknowledged)
            .map(|(writer, last)| {
                let client = client.clone().patience(Duration::ZERO);
                os::thread::spawn("writer", move || write_until_it_dies(&client, writer, last)).unwrap()
            })
            .collect();
        os::clock::pause(Duration::from_millis(60 + round * 17));
        drop(child);
        for (writer, thread) in writers.into_iter().enumerate() {
            acknowledged[writer] = thread.join().unwrap();
        }
    }
    let total: u64 = acknowledged.iter().sum();
    assert!(total > 100, "only {total} writes in all rounds");
}

/// Count upwards; gives the last number that was acknowledged.
fn write_until_it_dies(client: &StoreClient, writer: usize, mut last: u64) -> u64 {
    let padding = " ".repeat(100);
    loop {
        let next = last + 1;
        let _ = client.put(&format!("filler{writer}/{}", next % 50), padding.as_bytes(), None);
        if client.put(&format!("k{writer}"), next.to_string().as_bytes(), None).is_err() {
            return last;
        }
        last = next;
    }
}
