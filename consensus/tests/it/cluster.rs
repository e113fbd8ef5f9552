//! A member in this process, and a client of it.

use std::path::PathBuf;
use std::time::Duration;

use api::serve::Listening;
use api::store::StoreClient;
use consensus::{Options, Replica};
use os::signal::Shutdown;
use testkit::TempDir;

pub(crate) struct Member {
    pub(crate) dir: TempDir,
    running: Option<(Replica, Listening, Shutdown)>,
    tune: fn(&mut Options),
}

impl Member {
    pub(crate) fn start() -> Member {
        Member::tuned(|_| {})
    }

    pub(crate) fn tuned(tune: fn(&mut Options)) -> Member {
        let mut member = Member { dir: TempDir::new("store"), running: None, tune };
        member.open();
        member
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn options(&self) -> Options {
        let mut options = Options::new(&self.data_dir(), "one");
        (self.tune)(&mut options);
        options
    }

    pub(crate) fn open(&mut self) {
        let replica = Replica::open(self.options()).unwrap();
        let shutdown = Shutdown::new();
        let listening = replica.serve(&self.socket(), &shutdown).unwrap();
        self.running = Some((replica, listening, shutdown));
    }

    pub(crate) fn client(&self) -> StoreClient {
        StoreClient::new(&self.socket()).patience(Duration::from_secs(10))
    }

    pub(crate) fn stop(&mut self) {
        if let Some((replica, listening, shutdown)) = self.running.take() {
            shutdown.ask();
            replica.close();
            listening.finish();
        }
    }

    pub(crate) fn restart(&mut self) {
        self.stop();
        self.open();
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.stop();
    }
}
