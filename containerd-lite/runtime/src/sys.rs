//! System calls that nix lacks, each behind a safe function. The only unsafe code of this crate.

use std::ffi::{CStr, CString};
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// libc's constants of these names are `c_int` and overflow to 0.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;

const OPEN_TREE_CLONE: libc::c_uint = 1;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH: libc::c_uint = 0x40;
const FSOPEN_CLOEXEC: libc::c_uint = 1;
const FSMOUNT_CLOEXEC: libc::c_uint = 1;
const FSCONFIG_SET_FLAG: libc::c_uint = 0;
const FSCONFIG_SET_STRING: libc::c_uint = 1;
const FSCONFIG_SET_FD: libc::c_uint = 5;
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;

pub(crate) const MOUNT_ATTR_RDONLY: u64 = 0x1;
pub(crate) const MOUNT_ATTR_NOSUID: u64 = 0x2;
pub(crate) const MOUNT_ATTR_NODEV: u64 = 0x4;
pub(crate) const MOUNT_ATTR_NOEXEC: u64 = 0x8;
const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;

/// Where the init stage finds its channel.
pub(crate) const CHANNEL_FD: RawFd = 3;
/// Descriptors used between clone and exec are moved up here, out of the way of 0 to 3.
const HIGH_FD: libc::c_int = 100;
/// Exit code of a child that could not become the init stage.
const NOT_EXECUTED: libc::c_int = 127;

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn check_int(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn owned(result: libc::c_long) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(check(result)?).map_err(io::Error::other)?;
    // SAFETY: the kernel has just returned this descriptor to us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Take over a descriptor number that recvmsg delivered or that the launcher placed for us.
pub(crate) fn adopt(fd: RawFd) -> OwnedFd {
    // SAFETY: callers name a descriptor that they were handed once and that nothing else owns.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn move_high(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: duplicates a valid descriptor; no memory is passed.
    owned(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, HIGH_FD) }.into())
}

/// What a child needs to become the init stage.
pub(crate) struct Launch<'a> {
    pub(crate) namespaces: u64,
    pub(crate) cgroup: Option<BorrowedFd<'a>>,
    pub(crate) binary: BorrowedFd<'a>,
    pub(crate) null: BorrowedFd<'a>,
    pub(crate) channel: BorrowedFd<'a>,
    /// Wait for one byte on the channel, then become id 0 of the new user namespace.
    pub(crate) new_user: NewUser,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum NewUser {
    Await,
    Keep,
}

/// Clone a child into new namespaces that executes `binary` at once. Between clone and exec it makes plain system
/// calls only, so the caller may have threads.
pub(crate) fn launch(launch: &Launch<'_>, argv: &[CString]) -> io::Result<(i32, OwnedFd)> {
    let binary = move_high(launch.binary)?;
    let null = move_high(launch.null)?;
    let channel = move_high(launch.channel)?;
    let mut pointers: Vec<*const libc::c_char> = argv.iter().map(|word| word.as_ptr()).collect();
    pointers.push(ptr::null());
    let environment: [*const libc::c_char; 1] = [ptr::null()];
    let mut pidfd: libc::c_int = -1;
    // SAFETY: clone_args is plain numbers, for which zero is valid.
    let mut args: libc::clone_args = unsafe { mem::zeroed() };
    args.flags = launch.namespaces | u64::from(libc::CLONE_PIDFD.cast_unsigned()) | CLONE_CLEAR_SIGHAND;
    args.pidfd = (&raw mut pidfd).addr() as u64;
    args.exit_signal = libc::SIGCHLD.cast_unsigned().into();
    if let Some(group) = launch.cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = group.as_raw_fd().cast_unsigned().into();
    }
    // SAFETY: without CLONE_VM this is a fork: the child has its own copy of all memory. It calls only `become_stage`,
    // which makes system calls and touches no lock or allocator of libc.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, mem::size_of::<libc::clone_args>()) };
    if pid == 0 {
        let numbers = [binary.as_raw_fd(), null.as_raw_fd(), channel.as_raw_fd()];
        // SAFETY: the arrays outlive the call, end with null, and point to strings that end with NUL.
        unsafe { become_stage(numbers, launch.new_user, pointers.as_ptr(), environment.as_ptr()) };
    }
    let pid = i32::try_from(check(pid)?).map_err(io::Error::other)?;
    // SAFETY: the kernel has just stored this descriptor for us.
    Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

/// The child's side of [`launch`].
///
/// # Safety
/// `argv` and `envp` are null-terminated arrays of C strings; runs in a fresh child only.
unsafe fn become_stage(
    [binary, null, channel]: [RawFd; 3],
    new_user: NewUser,
    argv: *const *const libc::c_char,
    envp: *const *const libc::c_char,
) -> ! {
    // SAFETY: plain system calls on valid descriptors and on the arrays that the caller vouches for. Ids are set by
    // syscall number because libc's own wrappers talk to other threads, which a child of clone does not have.
    unsafe {
        let mut byte = 0u8;
        let mut ok = true;
        if new_user == NewUser::Await {
            ok = libc::read(channel, (&raw mut byte).cast(), 1) == 1
                && libc::syscall(libc::SYS_setgroups, 0, ptr::null::<libc::gid_t>()) == 0
                && libc::syscall(libc::SYS_setresgid, 0, 0, 0) == 0
                && libc::syscall(libc::SYS_setresuid, 0, 0, 0) == 0;
        }
        ok = ok
            && libc::dup2(null, 0) == 0
            && libc::dup2(null, 1) == 1
            && libc::dup2(null, 2) == 2
            && libc::dup2(channel, CHANNEL_FD) == CHANNEL_FD
            && libc::syscall(libc::SYS_close_range, CHANNEL_FD + 1, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) == 0;
        if ok {
            libc::syscall(libc::SYS_execveat, binary, c"".as_ptr(), argv, envp, libc::AT_EMPTY_PATH);
        }
        libc::_exit(NOT_EXECUTED)
    }
}

/// Fork a process that has one thread, as the init stage has.
pub(crate) fn fork() -> io::Result<i32> {
    // SAFETY: only the init stage calls this, and it never starts a thread.
    check_int(unsafe { libc::fork() })
}

/// End without destructors or exit hooks.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process; touches nothing.
    unsafe { libc::_exit(code) }
}

pub(crate) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: passes numbers only.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

pub(crate) fn pidfd_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let none = ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo is allowed and means the same as for kill(2).
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, none, 0) }).map(drop)
}

pub(crate) fn fsopen(kind: &CStr) -> io::Result<OwnedFd> {
    // SAFETY: the string ends with NUL and outlives the call.
    owned(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) })
}

pub(crate) fn fsconfig_flag(context: BorrowedFd<'_>, key: &CStr) -> io::Result<()> {
    let none = ptr::null::<libc::c_char>();
    // SAFETY: the string ends with NUL and outlives the call; a flag has no value.
    let result =
        unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), FSCONFIG_SET_FLAG, key.as_ptr(), none, 0) };
    check(result).map(drop)
}

pub(crate) fn fsconfig_string(context: BorrowedFd<'_>, key: &CStr, value: &CStr) -> io::Result<()> {
    // SAFETY: both strings end with NUL and outlive the call.
    let result = unsafe {
        libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), FSCONFIG_SET_STRING, key.as_ptr(), value.as_ptr(), 0)
    };
    check(result).map(drop)
}

pub(crate) fn fsconfig_fd(context: BorrowedFd<'_>, key: &CStr, value: BorrowedFd<'_>) -> io::Result<()> {
    let none = ptr::null::<libc::c_char>();
    // SAFETY: the string ends with NUL and outlives the call; the descriptor is passed as a number.
    let result = unsafe {
        libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), FSCONFIG_SET_FD, key.as_ptr(), none, value.as_raw_fd())
    };
    check(result).map(drop)
}

/// Create the superblock and mount it, attached nowhere.
pub(crate) fn fsmount(context: BorrowedFd<'_>, attributes: u64) -> io::Result<OwnedFd> {
    let none = ptr::null::<libc::c_char>();
    // SAFETY: the create command takes neither key nor value.
    let made = unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), FSCONFIG_CMD_CREATE, none, none, 0) };
    check(made)?;
    // SAFETY: passes numbers only.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, attributes) })
}

/// A detached copy of the mount at `dir`/`path`; an empty path is `dir` itself.
pub(crate) fn open_tree(dir: BorrowedFd<'_>, path: &CStr, recursion: Recursion) -> io::Result<OwnedFd> {
    let mut flags = OPEN_TREE_CLONE | libc::O_CLOEXEC.cast_unsigned() | libc::AT_EMPTY_PATH.cast_unsigned();
    if recursion == Recursion::Tree {
        flags |= libc::AT_RECURSIVE.cast_unsigned();
    }
    // SAFETY: the string ends with NUL and outlives the call.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, dir.as_raw_fd(), path.as_ptr(), flags) })
}

/// Whether mounts below a mount are meant too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recursion {
    One,
    Tree,
}

/// Attach a detached mount on the file or directory `target`.
pub(crate) fn move_mount(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    let (from, to, empty) = (mount.as_raw_fd(), target.as_raw_fd(), c"".as_ptr());
    // SAFETY: both paths are the empty C string.
    check(unsafe { libc::syscall(libc::SYS_move_mount, from, empty, to, empty, flags) }).map(drop)
}

/// Add restrictions to a mount.
pub(crate) fn mount_restrict(mount: BorrowedFd<'_>, attributes: u64, recursion: Recursion) -> io::Result<()> {
    mount_setattr(mount, attributes, 0, None, recursion)
}

/// Make a mount and all below it private: nothing propagates in or out.
pub(crate) fn mount_private(mount: BorrowedFd<'_>) -> io::Result<()> {
    mount_setattr(mount, 0, libc::MS_PRIVATE, None, Recursion::Tree)
}

/// Show the files of a detached mount under the ids of a user namespace.
pub(crate) fn mount_idmap(mount: BorrowedFd<'_>, user: BorrowedFd<'_>, recursion: Recursion) -> io::Result<()> {
    mount_setattr(mount, MOUNT_ATTR_IDMAP, 0, Some(user), recursion)
}

fn mount_setattr(
    mount: BorrowedFd<'_>,
    set: u64,
    propagation: u64,
    user: Option<BorrowedFd<'_>>,
    recursion: Recursion,
) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation,
        userns_fd: user.map_or(0, |fd| u64::from(fd.as_raw_fd().cast_unsigned())),
    };
    let flags = match recursion {
        Recursion::One => libc::AT_EMPTY_PATH,
        Recursion::Tree => libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
    };
    // SAFETY: the structure outlives the call and its size is given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            mem::size_of::<libc::mount_attr>(),
        )
    };
    check(result).map(drop)
}

/// `pivot_root(".", ".")`: the old root ends up below the new one, ready to be detached.
pub(crate) fn pivot_root_here() -> io::Result<()> {
    // SAFETY: both paths are C strings.
    check(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) }).map(drop)
}

/// Mark every descriptor from `first` on to close at exec.
pub(crate) fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    // SAFETY: passes numbers only.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    check(result).map(drop)
}

/// Set a limit of another process; see `Errors` of prlimit(2).
pub(crate) fn prlimit(pid: i32, resource: libc::__rlimit_resource_t, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the structure outlives the call; the old value is not asked for.
    check_int(unsafe { libc::prlimit(pid, resource, &raw const limit, ptr::null_mut()) }).map(drop)
}

/// Unlock a new pseudo terminal and open its other end without any path.
pub(crate) fn pty_peer(master: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let unlocked: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int.
    check_int(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) })?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes open flags as a number and returns a descriptor.
    owned(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) }.into())
}

/// Make a terminal the controlling one of this session.
pub(crate) fn take_terminal(terminal: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: TIOCSCTTY takes a number.
    check_int(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) }).map(drop)
}

/// Set the size of a terminal; the foreground group gets SIGWINCH.
pub(crate) fn set_window_size(terminal: BorrowedFd<'_>, rows: u16, columns: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one winsize.
    check_int(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }).map(drop)
}

/// Bring up the loopback interface of this network namespace.
pub(crate) fn loopback_up() -> io::Result<()> {
    // SAFETY: passes numbers only.
    let socket = owned(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }.into())?;
    // SAFETY: ifreq is plain numbers, for which zero is valid.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    request.ifr_name[0] = b'l'.cast_signed();
    request.ifr_name[1] = b'o'.cast_signed();
    request.ifr_ifru.ifru_flags = 1; // IFF_UP
    // SAFETY: SIOCSIFFLAGS reads one ifreq.
    check_int(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }).map(drop)
}

/// Install a system call filter for this thread and what it starts.
pub(crate) fn seccomp_install(program: &[seccompiler::sock_filter]) -> io::Result<()> {
    let len = libc::c_ushort::try_from(program.len()).map_err(io::Error::other)?;
    // The two structures have the same C layout; the kernel only reads it.
    let filter = libc::sock_fprog { len, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: the filter outlives the call and its length is given.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter) };
    check(result).map(drop)
}

/// Block every signal, for a thread that takes them from a signalfd.
pub(crate) fn block_signals() -> nix::Result<()> {
    nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)
}

/// Let every signal through and give each its default action, as a fresh program expects.
pub(crate) fn reset_signals() -> nix::Result<()> {
    for signal in Signal::iterator().filter(|signal| !matches!(signal, Signal::SIGKILL | Signal::SIGSTOP)) {
        // SAFETY: installs no handler. Rust's runtime ignores SIGPIPE, which a program must not inherit.
        unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigDfl) }?;
    }
    nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
}

/// Send any signal number, real-time ones too.
pub(crate) fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: passes numbers only.
    check_int(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Wait for the child of a pidfd: its code, or its signal. None while it runs.
pub(crate) fn wait_pidfd(pidfd: BorrowedFd<'_>, flags: libc::c_int) -> io::Result<Option<Ended>> {
    // SAFETY: siginfo_t is plain numbers, for which zero is valid.
    let mut found: libc::siginfo_t = unsafe { mem::zeroed() };
    let id = pidfd.as_raw_fd().cast_unsigned();
    loop {
        // SAFETY: the structure outlives the call.
        let result = unsafe { libc::waitid(libc::P_PIDFD, id, &raw mut found, libc::WEXITED | flags) };
        match check_int(result) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) => break,
        }
    }
    // SAFETY: waitid filled the fields of a child's end, or left them zero.
    let (pid, status) = unsafe { (found.si_pid(), found.si_status()) };
    if pid == 0 {
        return Ok(None);
    }
    Ok(Some(if found.si_code == libc::CLD_EXITED { Ended::Code(status) } else { Ended::Signal(status) }))
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Code(i32),
    Signal(i32),
}

/// Reap any child: its pid and end. None when there is none to reap now.
pub(crate) fn reap_any() -> Option<(i32, Ended)> {
    let mut status = 0;
    // SAFETY: the integer outlives the call.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    if pid <= 0 {
        return None;
    }
    let ended = if libc::WIFEXITED(status) {
        Ended::Code(libc::WEXITSTATUS(status))
    } else {
        Ended::Signal(libc::WTERMSIG(status))
    };
    Some((pid, ended))
}

/// File type and device number behind a descriptor.
pub(crate) fn device_of(fd: impl AsFd) -> io::Result<(libc::mode_t, libc::dev_t)> {
    let stat = nix::sys::stat::fstat(fd)?;
    Ok((stat.st_mode & libc::S_IFMT, stat.st_rdev))
}

/// The hard limit in force for a process.
pub(crate) fn hard_limit(pid: i32, resource: libc::__rlimit_resource_t) -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure outlives the call; no new value is given.
    check_int(unsafe { libc::prlimit(pid, resource, ptr::null(), &raw mut limit) }).ok()?;
    Some(limit.rlim_max)
}
