//! Network namespaces of others.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;

use nix::sched::{CloneFlags, setns};
use nix::unistd::Pid;

use crate::error::NetError;
use crate::netlink::Netlink;

/// A namespace that stays for as long as this is held.
#[derive(Debug)]
pub(crate) struct Netns {
    file: File,
    pid: Pid,
}

impl Netns {
    /// The namespace that process `pid` is in.
    pub(crate) fn of(pid: Pid) -> Result<Netns, NetError> {
        let file = File::open(format!("/proc/{pid}/ns/net")).map_err(|source| failed("open", pid, source))?;
        Ok(Netns { file, pid })
    }

    /// As [`Netns::of`], but refuses the namespace of the calling thread: wiring that would cut off the host.
    pub(crate) fn foreign(pid: Pid) -> Result<Netns, NetError> {
        let netns = Netns::of(pid)?;
        let own = own().map_err(|source| failed("compare", pid, source))?;
        if identity(&netns.file).map_err(|source| failed("compare", pid, source))?
            == identity(&own).map_err(|source| failed("compare", pid, source))?
        {
            let why = io::Error::new(io::ErrorKind::InvalidInput, "it is the host's own");
            return Err(failed("wire", pid, why));
        }
        Ok(netns)
    }

    /// Run `act` with this thread inside. What `act` opens stays of this namespace.
    pub(crate) fn within<T>(&self, act: impl FnOnce() -> T) -> Result<T, NetError> {
        let home = own().map_err(|source| failed("leave for", self.pid, source))?;
        setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(|errno| failed("enter", self.pid, errno.into()))?;
        let done = act();
        // A thread that cannot get home would do everything that follows in a job's namespace.
        setns(&home, CloneFlags::CLONE_NEWNET).expect("the thread's own namespace takes it back");
        Ok(done)
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn own() -> io::Result<File> {
    File::open("/proc/thread-self/ns/net")
}

fn identity(file: &File) -> io::Result<(u64, u64)> {
    let meta = file.metadata()?;
    Ok((meta.dev(), meta.ino()))
}

fn failed(action: &'static str, pid: Pid, source: io::Error) -> NetError {
    NetError::Namespace { action, pid: pid.as_raw(), source }
}

/// Bring up the loopback interface in the namespace that process `pid` is in.
///
/// # Errors
/// When the process is gone or the kernel refuses.
pub fn raise_loopback(pid: Pid) -> Result<(), NetError> {
    let netns = Netns::of(pid)?;
    let netlink = netns.within(Netlink::open)??;
    netlink.raise(crate::netlink::LOOPBACK_INDEX, "lo")
}
