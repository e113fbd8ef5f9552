//! The caller's part of the mounts: files of the host become detached mounts, with the right owners, that the init
//! stage only has to attach. Only the host's root may do this; the stage is already inside a user namespace.

#[cfg(test)]
mod tests;

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, mkdirat};

use crate::error::CreateError;
use crate::plan::Sent;
use crate::spec::{Ownership, Root, Spec, Upper, UserNamespace};
use crate::sys::{self, Recursion};

/// Whether this kernel takes detached mounts as overlay layers (6.15): asked by trying, once.
static LAYERS_NEED_ATTACHING: AtomicBool = AtomicBool::new(false);

/// Whose ids files are shown under.
pub(crate) struct Ids<'a> {
    pub(crate) namespace: UserNamespace,
    /// The user namespace, when it is private.
    pub(crate) user: Option<BorrowedFd<'a>>,
}

impl Ids<'_> {
    fn root(&self) -> u32 {
        host_id(self.namespace, 0)
    }
}

/// The host's number for an id of the container.
pub(crate) fn host_id(namespace: UserNamespace, id: u32) -> u32 {
    match namespace {
        UserNamespace::Host => id,
        UserNamespace::Private { host_base, .. } => host_base.saturating_add(id),
    }
}

/// One detached mount for each of `wanted`.
pub(crate) fn detach_all(spec: &Spec, wanted: &[Sent<'_>], ids: &Ids<'_>) -> Result<Vec<OwnedFd>, CreateError> {
    wanted
        .iter()
        .map(|one| match one {
            Sent::Root => root(spec, ids),
            Sent::Bind { source, ownership } => bind(source, *ownership, ids),
        })
        .collect()
}

fn root(spec: &Spec, ids: &Ids<'_>) -> Result<OwnedFd, CreateError> {
    let mount = match &spec.root {
        Root::Dir { path, ownership } => bind(path, *ownership, ids)?,
        Root::Overlay { layers, upper: Upper::None, ownership } if layers.len() == 1 => {
            bind(&layers[0], *ownership, ids)?
        }
        Root::Overlay { layers, upper, ownership } => overlay(layers, upper, *ownership, ids)?,
        // The stage mounts it itself.
        Root::Empty { .. } => return Err(step("attach")(io::Error::from_raw_os_error(libc::EINVAL))),
    };
    let mut restrictions = sys::MOUNT_ATTR_NODEV;
    if matches!(spec.root, Root::Overlay { upper: Upper::None, .. }) {
        restrictions |= sys::MOUNT_ATTR_RDONLY;
    }
    sys::mount_restrict(mount.as_fd(), restrictions, Recursion::One).map_err(step("restrict"))?;
    Ok(mount)
}

fn bind(source: &Path, ownership: Ownership, ids: &Ids<'_>) -> Result<OwnedFd, CreateError> {
    let fail = |source_error| CreateError::Open { path: source.to_owned(), source: source_error };
    let name = CString::new(source.as_os_str().as_bytes()).map_err(|_| fail(libc_error(libc::EINVAL)))?;
    let mount = sys::open_tree(nix::fcntl::AT_FDCWD, &name, Recursion::One).map_err(fail)?;
    if let (Ownership::Mapped, Some(user)) = (ownership, ids.user) {
        sys::mount_idmap(mount.as_fd(), user, Recursion::One)
            .map_err(|error| CreateError::IdmapUnsupported { path: source.to_owned(), source: error })?;
    }
    Ok(mount)
}

/// Upper and work directory of an overlay, ready for use.
struct Changes {
    upper: OwnedFd,
    work: OwnedFd,
    place: Place,
}

/// Where the two directories are, for a kernel that takes only paths of its own mount namespace.
enum Place {
    Paths(PathBuf, PathBuf),
    /// `upper` and `work` in this detached tmpfs.
    Memory(OwnedFd),
}

fn overlay(layers: &[PathBuf], upper: &Upper, own: Ownership, ids: &Ids<'_>) -> Result<OwnedFd, CreateError> {
    let changes = changes(upper, ids)?;
    let detached = |own| layers.iter().map(|layer| bind(layer, own, ids)).collect::<Result<Vec<_>, _>>();
    if !LAYERS_NEED_ATTACHING.load(Ordering::Relaxed) {
        match overlay_of(&detached(own)?, changes.as_ref(), Layers::Detached) {
            Ok(mount) => return Ok(mount),
            // What older kernels answer to a layer that is attached nowhere, or given as a descriptor.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EBADF)) => {}
            Err(error) => return Err(step("overlay")(error)),
        }
    }
    let attached = |own| -> Result<OwnedFd, CreateError> {
        let layers = detached(own)?;
        in_private_mounts(|| overlay_of(&layers, changes.as_ref(), Layers::Attached)).map_err(step("overlay"))
    };
    match attached(own) {
        Ok(mount) => {
            LAYERS_NEED_ATTACHING.store(true, Ordering::Relaxed);
            Ok(mount)
        }
        Err(CreateError::Root { source, .. }) if own == Ownership::Mapped && ids.user.is_some() => {
            // If the same layers work without a mapping, the mapping is what the kernel cannot do.
            match attached(Ownership::Host) {
                Ok(_) => Err(CreateError::IdmappedLayersUnsupported { source }),
                Err(_) => Err(step("overlay")(source)),
            }
        }
        Err(error) => Err(error),
    }
}

#[derive(Clone, Copy)]
enum Layers {
    Detached,
    /// Attach them below a tmpfs of this thread's own mount namespace first.
    Attached,
}

fn overlay_of(layers: &[OwnedFd], changes: Option<&Changes>, how: Layers) -> io::Result<OwnedFd> {
    let context = sys::fsopen(c"overlay")?;
    let context = context.as_fd();
    match how {
        // overlayfs wants the top layer first, the spec names the bottom first.
        Layers::Detached => {
            for layer in layers.iter().rev() {
                sys::fsconfig_fd(context, c"lowerdir+", layer.as_fd())?;
            }
            if let Some(changes) = changes {
                sys::fsconfig_fd(context, c"upperdir", changes.upper.as_fd())?;
                sys::fsconfig_fd(context, c"workdir", changes.work.as_fd())?;
            }
        }
        Layers::Attached => {
            sys::fsconfig_string(context, c"lowerdir", &attach_layers(layers)?)?;
            if let Some(changes) = changes {
                let (upper, work) = attach_changes(&changes.place)?;
                sys::fsconfig_string(context, c"upperdir", &upper)?;
                sys::fsconfig_string(context, c"workdir", &work)?;
            }
        }
    }
    if changes.is_some() {
        // No fsync on unmount: upper belongs to one run and is thrown away after a crash anyway.
        sys::fsconfig_flag(context, c"volatile")?;
    }
    sys::fsmount(context, 0)
}

/// Runs where [`attach_layers`] has entered its tmpfs.
fn attach_changes(place: &Place) -> io::Result<(CString, CString)> {
    match place {
        Place::Paths(upper, work) => {
            Ok((CString::new(upper.as_os_str().as_bytes())?, CString::new(work.as_os_str().as_bytes())?))
        }
        Place::Memory(memory) => {
            let name = Path::new("m");
            fs::create_dir(name)?;
            sys::move_mount(memory.as_fd(), open_path(name)?.as_fd())?;
            Ok((c"m/upper".to_owned(), c"m/work".to_owned()))
        }
    }
}

/// Put every layer at a name as short as can be, because one option string is limited to 255 bytes, and enter there.
fn attach_layers(layers: &[OwnedFd]) -> io::Result<CString> {
    let context = sys::fsopen(c"tmpfs")?;
    let board = sys::fsmount(context.as_fd(), 0)?;
    sys::move_mount(board.as_fd(), open_path(Path::new("/sys"))?.as_fd())?;
    nix::unistd::fchdir(&board)?;
    let mut names = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        let name = format!("{index}");
        mkdirat(&board, name.as_str(), Mode::S_IRWXU)?;
        sys::move_mount(layer.as_fd(), open_path(Path::new(&name))?.as_fd())?;
        names.push(name);
    }
    names.reverse();
    Ok(CString::new(names.join(":"))?)
}

/// Run `body` on a thread of its own with a private copy of the mounts, which is gone when it returns.
fn in_private_mounts<T: Send>(body: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    crate::launch::on_own_thread("runtime-mounts", || {
        unshare(CloneFlags::CLONE_NEWNS)?;
        sys::mount_private(open_path(Path::new("/"))?.as_fd())?;
        body()
    })
}

fn changes(upper: &Upper, ids: &Ids<'_>) -> Result<Option<Changes>, CreateError> {
    match upper {
        Upper::None => Ok(None),
        Upper::Dirs { upper, work } => {
            if work.join("work/incompat/volatile").exists() {
                return Err(CreateError::StaleWork { work: work.clone() });
            }
            own(upper, ids)?;
            let open =
                |path: &PathBuf| open_path(path).map_err(|source| CreateError::Open { path: path.clone(), source });
            let place = Place::Paths(upper.clone(), work.clone());
            Ok(Some(Changes { upper: open(upper)?, work: open(work)?, place }))
        }
        Upper::Memory { size_bytes } => memory_changes(*size_bytes, ids).map(Some).map_err(step("memory")),
    }
}

/// The root directory's owner and mode come from upper, so it must be the container's root.
fn own(upper: &Path, ids: &Ids<'_>) -> Result<(), CreateError> {
    let owned = chown(upper, Some(ids.root()), Some(ids.root()))
        .and_then(|()| fs::set_permissions(upper, fs::Permissions::from_mode(0o755)));
    owned.map_err(|source| CreateError::Open { path: upper.to_owned(), source })
}

fn memory_changes(size_bytes: u64, ids: &Ids<'_>) -> io::Result<Changes> {
    let context = sys::fsopen(c"tmpfs")?;
    sys::fsconfig_string(context.as_fd(), c"size", &CString::new(size_bytes.to_string())?)?;
    let memory = sys::fsmount(context.as_fd(), 0)?;
    let open = |name: &str| {
        mkdirat(&memory, name, Mode::from_bits_truncate(0o755))?;
        let flags = nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_DIRECTORY | nix::fcntl::OFlag::O_CLOEXEC;
        nix::fcntl::openat(&memory, name, flags, Mode::empty())
    };
    let (upper, work) = (open("upper")?, open("work")?);
    let root = ids.root();
    let (uid, gid) = (nix::unistd::Uid::from_raw(root), nix::unistd::Gid::from_raw(root));
    let flags = nix::fcntl::AtFlags::empty();
    nix::unistd::fchownat(&memory, "upper", Some(uid), Some(gid), flags)?;
    Ok(Changes { upper, work, place: Place::Memory(memory) })
}

fn open_path(path: &Path) -> io::Result<OwnedFd> {
    Ok(fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path)?.into())
}

fn step(step: &'static str) -> impl Fn(io::Error) -> CreateError {
    move |source| CreateError::Root { step, source }
}

fn libc_error(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

/// A verified `/dev/null` of the host (character device 1:3), for stdio that leads nowhere.
pub(crate) fn open_null() -> io::Result<OwnedFd> {
    let file = fs::OpenOptions::new().read(true).write(true).open(Path::new("/dev/null"))?;
    if sys::device_of(&file)? != (libc::S_IFCHR, libc::makedev(1, 3)) {
        return Err(libc_error(libc::ENODEV));
    }
    Ok(file.into())
}
