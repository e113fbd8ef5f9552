//! The runtime's side of the init stage: which binary it is, how it is started, what it answers.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::channel::Channel;
use crate::error::CreateError;
use crate::spec::UserNamespace;
use crate::sys::{self, Launch, NewUser, Recursion};
use crate::{INIT_STAGE_ARG, rootfs};

/// Which binary becomes the first process of a container. It must call [`crate::init_stage`] first in `main`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StageBinary {
    /// The one that is running.
    Own,
    /// Another one.
    Path(PathBuf),
}

/// The binary behind a read-only mount that nobody can reach, so that no container can write to it through
/// `/proc/self/exe` (CVE-2019-5736), and that costs no memory. Where the kernel refuses such a mount it is a sealed
/// copy in memory.
pub(crate) fn sealed_binary(which: &StageBinary) -> Result<OwnedFd, CreateError> {
    let path = match which {
        StageBinary::Own => Path::new("/proc/self/exe"),
        StageBinary::Path(path) => path,
    };
    let fail = |source| CreateError::Open { path: path.to_owned(), source };
    let place = fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path).map_err(fail)?;
    behind_mount(place.as_fd()).or_else(|_| in_memory(path)).map_err(fail)
}

fn behind_mount(binary: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mount = sys::open_tree(binary, c"", Recursion::One)?;
    sys::mount_restrict(mount.as_fd(), sys::MOUNT_ATTR_RDONLY, Recursion::One)?;
    // Opened for reading through the mount, whose own descriptor goes away: then the mount is in no namespace any
    // more, and even a holder of all capabilities cannot change its flags.
    let file = File::open(format!("/proc/self/fd/{}", mount.as_raw_fd()))?;
    Ok(file.into())
}

fn in_memory(path: &Path) -> io::Result<OwnedFd> {
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    use nix::sys::memfd::{MFdFlags, memfd_create};
    let copy = memfd_create(c"runtime-init", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    let mut copy = File::from(copy);
    io::copy(&mut File::open(path)?, &mut copy)?;
    let seals = SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    fcntl(&copy, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(copy.into())
}

/// A stage that was started and waits for its plan.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) channel: Channel,
}

/// What a stage starts in.
pub(crate) struct Spaces<'a> {
    /// `CLONE_NEW*`.
    pub(crate) flags: u64,
    /// The v2 group to be born in.
    pub(crate) cgroup: Option<BorrowedFd<'a>>,
    /// Ids of a new user namespace, when `flags` ask for one.
    pub(crate) user: UserNamespace,
}

impl Staged {
    /// Start the stage. Its ids are mapped before it runs anything.
    pub(crate) fn start(binary: BorrowedFd<'_>, spaces: &Spaces<'_>) -> Result<Staged, (&'static str, io::Error)> {
        let argv = [c"slipway".to_owned(), CString::new(INIT_STAGE_ARG).unwrap_or_default()];
        let (ours, theirs) = UnixStream::pair().map_err(|error| ("make a channel", error))?;
        let null = rootfs::open_null().map_err(|error| ("open /dev/null", error))?;
        let private = matches!(spaces.user, UserNamespace::Private { .. });
        let launch = Launch {
            namespaces: spaces.flags,
            cgroup: spaces.cgroup,
            binary,
            null: null.as_fd(),
            channel: theirs.as_fd(),
            new_user: if private { NewUser::Await } else { NewUser::Keep },
        };
        let (pid, pidfd) = sys::launch(&launch, &argv).map_err(|error| ("clone", error))?;
        let staged = Staged { pid, pidfd, channel: Channel::new(ours) };
        if let UserNamespace::Private { host_base, size } = spaces.user {
            let mapped = staged.map_ids(host_base, size).and_then(|()| staged.channel.send_byte());
            if let Err(error) = mapped {
                staged.abandon();
                return Err(("map ids", error));
            }
        }
        Ok(staged)
    }

    fn map_ids(&self, host_base: u32, size: u32) -> io::Result<()> {
        let map = format!("0 {host_base} {size}\n");
        fs::write(format!("/proc/{}/uid_map", self.pid), &map)?;
        fs::write(format!("/proc/{}/gid_map", self.pid), &map)
    }

    /// Kill and reap. Failures leave nothing to do: the process is gone then.
    pub(crate) fn abandon(&self) {
        sys::pidfd_signal(self.pidfd.as_fd(), libc::SIGKILL).ok();
        sys::wait_pidfd(self.pidfd.as_fd(), 0).ok();
    }
}

/// Run `body` on a thread that ends with it, because it changes what a thread cannot change back: its namespaces.
pub(crate) fn on_own_thread<T: Send>(name: &str, body: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(name.to_owned()).stack_size(256 << 10);
        let handle = thread.spawn_scoped(scope, body)?;
        handle.join().unwrap_or_else(|_| Err(io::Error::other("thread ended early")))
    })
}
