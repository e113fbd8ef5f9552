//! Executes the plan's steps: everything is mounted by descriptor onto places opened below the new root, and the host
//! is left behind by pivot_root.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, mkdirat};
use nix::sys::statfs::fstatfs;
use nix::unistd::{chdir, fchdir, sethostname, symlinkat};

use super::tree::{self, Kind, Symlinks};
use super::{At, StepError};
use crate::plan::Step;
use crate::spec::WindowSize;
use crate::sys::{self, Recursion};

/// Usual group of terminals; left out where the user namespace does not map it.
const TTY_GROUP: &CStr = c"5";
const DEVPTS_MAGIC: i64 = 0x1cd1;
/// Name, major and minor number of what every program may expect below /dev.
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
const HIDDEN: u64 = sys::MOUNT_ATTR_RDONLY | sys::MOUNT_ATTR_NOSUID | sys::MOUNT_ATTR_NODEV | sys::MOUNT_ATTR_NOEXEC;

/// What the steps leave for the program.
pub(super) struct Made {
    /// Master and peer.
    pub(super) terminal: Option<(OwnedFd, OwnedFd)>,
}

/// The state between steps.
struct Work {
    sent: Vec<Option<OwnedFd>>,
    root: Option<OwnedFd>,
    dev: Option<OwnedFd>,
    devpts: Option<OwnedFd>,
    null: Option<OwnedFd>,
    terminal: Option<(OwnedFd, OwnedFd)>,
}

pub(super) fn execute(steps: &[Step], sent: Vec<OwnedFd>) -> Result<Made, StepError> {
    let mut work = Work {
        sent: sent.into_iter().map(Some).collect(),
        root: None,
        dev: None,
        devpts: None,
        null: None,
        terminal: None,
    };
    for step in steps {
        work.step(step).at(|| describe(step))?;
    }
    Ok(Made { terminal: work.terminal })
}

fn describe(step: &Step) -> String {
    match step {
        Step::PrivateMounts => String::from("make mounts private"),
        Step::Hostname(name) => format!("set hostname {name}"),
        Step::CgroupNamespace => String::from("unshare the cgroup namespace"),
        Step::LoopbackUp => String::from("bring up loopback"),
        Step::AttachRoot { .. } | Step::EmptyRoot { .. } => String::from("attach the root"),
        Step::Proc { target, .. } => format!("mount proc on {}", target.display()),
        Step::Sysfs { target, .. } => format!("mount sysfs on {}", target.display()),
        Step::Tmpfs { target, .. } => format!("mount tmpfs on {}", target.display()),
        Step::Dev { target, .. } => format!("mount devices on {}", target.display()),
        Step::Devpts { target, .. } => format!("mount devpts on {}", target.display()),
        Step::Mqueue { target, .. } => format!("mount mqueue on {}", target.display()),
        Step::CgroupV2 { target, .. } | Step::CgroupV1 { target, .. } => {
            format!("mount control groups on {}", target.display())
        }
        Step::Bind { target, .. } => format!("bind {}", target.display()),
        Step::Terminal(_) => String::from("open a terminal"),
        Step::Sysctl { name, .. } => format!("set {name}"),
        Step::ReadOnlyPath(path) => format!("make {} read-only", path.display()),
        Step::MaskPath(path) => format!("mask {}", path.display()),
        Step::PivotRoot => String::from("pivot_root"),
        Step::RootReadOnly => String::from("make the root read-only"),
    }
}

impl Work {
    fn step(&mut self, step: &Step) -> io::Result<()> {
        match step {
            Step::PrivateMounts => sys::mount_private(host("/")?.as_fd()),
            Step::Hostname(name) => Ok(sethostname(name)?),
            Step::CgroupNamespace => Ok(unshare(CloneFlags::CLONE_NEWCGROUP)?),
            Step::LoopbackUp => sys::loopback_up(),
            Step::AttachRoot { fd } => {
                let root = self.take(*fd)?;
                self.attach_root(root)
            }
            Step::EmptyRoot { size_bytes } => {
                let root = tmpfs(*size_bytes, 0o755, sys::MOUNT_ATTR_NODEV)?;
                self.attach_root(root)
            }
            Step::Proc { target, attributes } => {
                self.attach(&fresh(c"proc", &[], *attributes)?, target, Symlinks::Refuse)
            }
            Step::Sysfs { target, attributes } => {
                self.attach(&fresh(c"sysfs", &[], *attributes)?, target, Symlinks::Refuse)
            }
            Step::Mqueue { target, attributes } => {
                self.attach(&fresh(c"mqueue", &[], *attributes)?, target, Symlinks::Refuse)
            }
            Step::CgroupV2 { target, attributes } => {
                self.attach(&fresh(c"cgroup2", &[], *attributes)?, target, Symlinks::Refuse)
            }
            Step::CgroupV1 { target, attributes, hierarchies } => self.cgroup_v1(target, *attributes, hierarchies),
            Step::Tmpfs { target, attributes, size_bytes, mode } => {
                self.attach(&tmpfs(*size_bytes, *mode, *attributes)?, target, Symlinks::Follow)
            }
            Step::Dev { target, attributes, devices } => self.dev(target, *attributes, devices),
            Step::Devpts { target, attributes } => self.devpts(target, *attributes),
            Step::Bind { target, attributes, fd } => self.bind(target, *attributes, *fd),
            Step::Terminal(size) => self.open_terminal(*size),
            Step::Sysctl { name, value } => sysctl(name, value),
            Step::ReadOnlyPath(path) => self.read_only(path),
            Step::MaskPath(path) => self.mask(path),
            Step::PivotRoot => self.pivot(),
            Step::RootReadOnly => sys::mount_restrict(self.root()?, sys::MOUNT_ATTR_RDONLY, Recursion::One),
        }
    }

    fn root(&self) -> io::Result<std::os::fd::BorrowedFd<'_>> {
        self.root.as_ref().map(AsFd::as_fd).ok_or_else(|| errno(libc::EBADF))
    }

    fn take(&mut self, index: usize) -> io::Result<OwnedFd> {
        self.sent.get_mut(index).and_then(Option::take).ok_or_else(|| errno(libc::EBADF))
    }

    /// On top of the old root, where nobody looks: the process still sees the old one until it pivots.
    fn attach_root(&mut self, root: OwnedFd) -> io::Result<()> {
        sys::move_mount(root.as_fd(), host("/")?.as_fd())?;
        self.root = Some(root);
        Ok(())
    }

    fn attach(&self, mount: &OwnedFd, target: &Path, symlinks: Symlinks) -> io::Result<()> {
        let place = tree::place(self.root()?, target, Kind::Dir, symlinks)?;
        sys::move_mount(mount.as_fd(), place.as_fd())
    }

    fn bind(&mut self, target: &Path, attributes: u64, index: usize) -> io::Result<()> {
        let mount = self.take(index)?;
        if attributes != 0 {
            sys::mount_restrict(mount.as_fd(), attributes, Recursion::One)?;
        }
        let (kind, _) = sys::device_of(&mount)?;
        let kind = if kind == libc::S_IFDIR { Kind::Dir } else { Kind::File };
        let place = tree::place(self.root()?, target, kind, Symlinks::Follow)?;
        sys::move_mount(mount.as_fd(), place.as_fd())
    }

    fn cgroup_v1(&self, target: &Path, attributes: u64, hierarchies: &[Vec<String>]) -> io::Result<()> {
        // Not read-only yet: the folders for the hierarchies are made in it.
        let board = tmpfs(1 << 16, 0o755, attributes & !sys::MOUNT_ATTR_RDONLY)?;
        self.attach(&board, target, Symlinks::Refuse)?;
        for controllers in hierarchies {
            let options: Vec<CString> =
                controllers.iter().filter_map(|name| CString::new(name.as_bytes()).ok()).collect();
            let options: Vec<(&CStr, Option<&CStr>)> = options.iter().map(|name| (name.as_c_str(), None)).collect();
            let mount = fresh(c"cgroup", &options, attributes)?;
            let place = tree::place(&board, Path::new(&controllers.join(",")), Kind::Dir, Symlinks::Refuse)?;
            sys::move_mount(mount.as_fd(), place.as_fd())?;
        }
        if attributes & sys::MOUNT_ATTR_RDONLY != 0 {
            sys::mount_restrict(board.as_fd(), sys::MOUNT_ATTR_RDONLY, Recursion::One)?;
        }
        Ok(())
    }

    fn dev(&mut self, target: &Path, attributes: u64, devices: &[PathBuf]) -> io::Result<()> {
        let dev = tmpfs(1 << 16, 0o755, attributes)?;
        self.attach(&dev, target, Symlinks::Refuse)?;
        for (name, major, minor) in DEVICES {
            let source = host(&format!("/dev/{name}"))?;
            if sys::device_of(&source)? != (libc::S_IFCHR, libc::makedev(major, minor)) {
                return Err(errno(libc::ENODEV));
            }
            bind_device(&dev, Path::new(name), &source)?;
        }
        for name in devices {
            let source = host(&Path::new("/dev").join(name))?;
            if !matches!(sys::device_of(&source)?.0, libc::S_IFCHR | libc::S_IFBLK) {
                return Err(errno(libc::ENODEV));
            }
            bind_device(&dev, name, &source)?;
        }
        for (name, leads_to) in LINKS {
            symlinkat(leads_to, &dev, name)?;
        }
        mkdirat(&dev, "pts", Mode::from_bits_truncate(0o755))?;
        self.dev = Some(dev);
        Ok(())
    }

    fn devpts(&mut self, target: &Path, attributes: u64) -> io::Result<()> {
        let usual: [(&CStr, Option<&CStr>); 3] =
            [(c"mode", Some(c"0620")), (c"ptmxmode", Some(c"0666")), (c"gid", Some(TTY_GROUP))];
        let devpts = fresh(c"devpts", &usual, attributes).or_else(|_| fresh(c"devpts", &usual[..2], attributes))?;
        self.attach(&devpts, target, Symlinks::Refuse)?;
        self.devpts = Some(devpts);
        Ok(())
    }

    /// Everything by descriptor of our own devpts: an image's `/dev/pts/0` or `/dev/console` is never looked at.
    fn open_terminal(&mut self, size: WindowSize) -> io::Result<()> {
        let (Some(devpts), Some(dev)) = (&self.devpts, &self.dev) else { return Err(errno(libc::ENODEV)) };
        let (master, peer) = new_terminal(devpts, Path::new("ptmx"), size)?;
        bind_device(dev, Path::new("console"), &peer)?;
        self.terminal = Some((master, peer));
        Ok(())
    }

    fn read_only(&self, path: &Path) -> io::Result<()> {
        let Some(place) = present(tree::open(self.root()?, path, Symlinks::Follow))? else { return Ok(()) };
        let copy = sys::open_tree(place.as_fd(), c"", Recursion::Tree)?;
        sys::mount_restrict(copy.as_fd(), sys::MOUNT_ATTR_RDONLY, Recursion::Tree)?;
        sys::move_mount(copy.as_fd(), place.as_fd())
    }

    /// With our own verified null device, never the container's: CVE-2025-31133.
    fn mask(&mut self, path: &Path) -> io::Result<()> {
        let Some(place) = present(tree::open(self.root()?, path, Symlinks::Follow))? else { return Ok(()) };
        if sys::device_of(&place)?.0 == libc::S_IFDIR {
            let empty = fresh(c"tmpfs", &[(c"nr_inodes", Some(c"2"))], HIDDEN)?;
            return sys::move_mount(empty.as_fd(), place.as_fd());
        }
        if self.null.is_none() {
            self.null = Some(crate::rootfs::open_null()?);
        }
        let null = self.null.as_ref().ok_or_else(|| errno(libc::ENODEV))?;
        let mask = sys::open_tree(null.as_fd(), c"", Recursion::One)?;
        sys::mount_restrict(mask.as_fd(), HIDDEN & !sys::MOUNT_ATTR_NODEV, Recursion::One)?;
        sys::move_mount(mask.as_fd(), place.as_fd())
    }

    fn pivot(&self) -> io::Result<()> {
        fchdir(self.root()?)?;
        sys::pivot_root_here()?;
        // The old root is now stacked below us at the same place; take it away with all its mounts.
        umount2(".", MntFlags::MNT_DETACH)?;
        Ok(chdir("/")?)
    }
}

/// Through a procfs that nobody else has mounted anything on.
fn sysctl(name: &str, value: &str) -> io::Result<()> {
    let proc = fresh(c"proc", &[], 0)?;
    let path = PathBuf::from("sys").join(name.replace('.', "/"));
    let file = tree::open_with(&proc, &path, OFlag::O_WRONLY, Symlinks::Refuse)?;
    File::from(file).write_all(value.as_bytes())
}

/// A terminal for a program that joins: through the container's devpts, if that is what it claims to be.
pub(super) fn joined_terminal(size: WindowSize) -> Result<(OwnedFd, OwnedFd), StepError> {
    let open = || -> io::Result<(OwnedFd, OwnedFd)> {
        let root = host("/")?;
        let devpts = tree::open(&root, Path::new("/dev/pts"), Symlinks::Refuse)?;
        if fstatfs(&devpts)?.filesystem_type().0 != DEVPTS_MAGIC {
            return Err(errno(libc::ENODEV));
        }
        new_terminal(&devpts, Path::new("ptmx"), size)
    };
    open().at(|| String::from("open a terminal"))
}

fn new_terminal(devpts: &OwnedFd, ptmx: &Path, size: WindowSize) -> io::Result<(OwnedFd, OwnedFd)> {
    let master = tree::open_with(devpts, ptmx, OFlag::O_RDWR | OFlag::O_NOCTTY, Symlinks::Refuse)?;
    if sys::device_of(&master)? != (libc::S_IFCHR, libc::makedev(5, 2)) {
        return Err(errno(libc::ENODEV));
    }
    let peer = sys::pty_peer(master.as_fd())?;
    sys::set_window_size(peer.as_fd(), size.rows, size.columns)?;
    Ok((master, peer))
}

fn bind_device(dev: &OwnedFd, name: &Path, source: &OwnedFd) -> io::Result<()> {
    let place = tree::place(dev, name, Kind::File, Symlinks::Refuse)?;
    let device = sys::open_tree(source.as_fd(), c"", Recursion::One)?;
    sys::mount_restrict(device.as_fd(), sys::MOUNT_ATTR_NOSUID | sys::MOUNT_ATTR_NOEXEC, Recursion::One)?;
    sys::move_mount(device.as_fd(), place.as_fd())
}

/// A place of the host, seen from before the pivot.
fn host(path: &(impl AsRef<Path> + ?Sized)) -> io::Result<OwnedFd> {
    Ok(openat(AT_FDCWD, path.as_ref(), OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?)
}

fn tmpfs(size_bytes: u64, mode: u32, attributes: u64) -> io::Result<OwnedFd> {
    let size = CString::new(size_bytes.to_string())?;
    let mode = CString::new(format!("{mode:o}"))?;
    fresh(c"tmpfs", &[(c"size", Some(&size)), (c"mode", Some(&mode))], attributes)
}

fn fresh(kind: &CStr, options: &[(&CStr, Option<&CStr>)], attributes: u64) -> io::Result<OwnedFd> {
    let context = sys::fsopen(kind)?;
    for (key, value) in options {
        match value {
            Some(value) => sys::fsconfig_string(context.as_fd(), key, value)?,
            None => sys::fsconfig_flag(context.as_fd(), key)?,
        }
    }
    sys::fsmount(context.as_fd(), attributes)
}

/// A path that the kernel or the image does not have needs no hiding.
fn present(opened: io::Result<OwnedFd>) -> io::Result<Option<OwnedFd>> {
    match opened {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => Ok(None),
        other => other.map(Some),
    }
}

fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}
