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
    mounted: bool,
}

impl Member {
    pub(crate) fn start() -> Member {
        Member::tuned(|_| {})
    }

    pub(crate) fn tuned(tune: fn(&mut Options)) -> Member {
        let mut member = Member { dir: TempDir::new("store"), running: None, tune, mounted: false };
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

    pub(crate) fn replica(&self) -> &Replica {
        &self.running.as_ref().unwrap().0
    }

    /// A member whose data is on a file system of its own.
    pub(crate) fn on_small_disk(size: &str, tune: fn(&mut Options)) -> Member {
        let mut member = Member { dir: TempDir::new("store"), running: None, tune, mounted: true };
        std::fs::create_dir_all(member.data_dir()).unwrap();
        let flags = nix::mount::MsFlags::empty();
        let size = format!("size={size}");
        nix::mount::mount(Some("tmpfs"), &member.data_dir(), Some("tmpfs"), flags, Some(size.as_str())).unwrap();
        member.open();
        member
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
        if self.mounted {
            let _ = nix::mount::umount2(&self.data_dir(), nix::mount::MntFlags::MNT_DETACH);
        }
    }
}
