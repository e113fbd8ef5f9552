//! The last steps before the program: session, terminal, stdio, ids, capabilities, directory, exec.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use caps::{CapSet, Capability};
use nix::errno::Errno;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{AccessFlags, Gid, Uid, access, setgroups, setresgid, setresuid, setsid};

use super::{Fault, FaultAt, ProgramStdio};
use crate::spec::{Capabilities, Program};
use crate::sys;

/// Where names without a slash are looked for when the environment has no PATH.
const PATH_USUAL: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Run the program in place of this process. Returns only when that is impossible.
pub(super) fn become_program(program: &Program, stdio: ProgramStdio) -> Fault {
    match prepare(program, stdio) {
        Err(fault) => fault,
        Ok(()) => exec(program),
    }
}

fn fault(at: FaultAt) -> impl Fn(io::Error) -> Fault {
    move |error| Fault { at, errno: error.raw_os_error().unwrap_or(libc::EIO) }
}

fn prepare(program: &Program, stdio: ProgramStdio) -> Result<(), Fault> {
    setsid().map(drop).map_err(|errno| fault(FaultAt::Session)(errno.into()))?;
    match stdio {
        ProgramStdio::Fds(fds) => place_stdio(fds.each_ref().map(AsFd::as_fd)),
        ProgramStdio::Terminal(peer) => {
            sys::take_terminal(peer.as_fd()).map_err(fault(FaultAt::Terminal))?;
            place_stdio([peer.as_fd(); 3])
        }
    }
    .map_err(fault(FaultAt::Stdio))?;
    umask(Mode::from_bits_truncate(program.umask));
    become_user(program)?;
    enter(&program.cwd).map_err(fault(FaultAt::Cwd))?;
    sys::reset_signals().map_err(|errno| fault(FaultAt::Session)(errno.into()))?;
    // Nothing of ours survives exec, whoever opened it: CVE-2024-21626 was one forgotten descriptor.
    sys::close_on_exec_from(3).map_err(fault(FaultAt::Descriptors))
}

fn place_stdio(fds: [std::os::fd::BorrowedFd<'_>; 3]) -> io::Result<()> {
    nix::unistd::dup2_stdin(fds[0])?;
    nix::unistd::dup2_stdout(fds[1])?;
    nix::unistd::dup2_stderr(fds[2])?;
    Ok(())
}

fn become_user(program: &Program) -> Result<(), Fault> {
    let capability = |error: caps::errors::CapsError| {
        log::debug!(error:% = error; "capabilities");
        Fault { at: FaultAt::Capabilities, errno: Errno::last_raw() }
    };
    let ids = |errno: Errno| Fault { at: FaultAt::Ids, errno: errno as i32 };
    let sets = &program.capabilities;
    drop_bounding(sets).map_err(capability)?;
    let groups: Vec<Gid> = program.user.groups.iter().copied().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(program.user.uid), Gid::from_raw(program.user.gid));
    // The kernel would drop all capabilities with the last id 0, before the sets below are put in place.
    nix::sys::prctl::set_keepcaps(true).map_err(ids)?;
    setgroups(&groups).map_err(ids)?;
    setresgid(gid, gid, gid).map_err(ids)?;
    setresuid(uid, uid, uid).map_err(ids)?;
    nix::sys::prctl::set_keepcaps(false).map_err(ids)?;
    caps::clear(None, CapSet::Ambient).map_err(capability)?;
    // Inheritable first, it draws on permitted; then effective, which must stay within permitted.
    caps::set(None, CapSet::Inheritable, &set(&sets.inheritable)).map_err(capability)?;
    caps::set(None, CapSet::Effective, &set(&sets.effective)).map_err(capability)?;
    caps::set(None, CapSet::Permitted, &set(&sets.permitted)).map_err(capability)?;
    for one in set(&sets.ambient) {
        caps::raise(None, CapSet::Ambient, one).map_err(capability)?;
    }
    Ok(())
}

fn drop_bounding(sets: &Capabilities) -> Result<(), caps::errors::CapsError> {
    let keep = set(&sets.bounding);
    for one in caps::all().into_iter().filter(|one| !keep.contains(one)) {
        // A kernel older than the capability does not know it: then nobody has it.
        if caps::has_cap(None, CapSet::Bounding, one).unwrap_or(false) {
            caps::drop(None, CapSet::Bounding, one)?;
        }
    }
    Ok(())
}

/// Names were checked with the spec.
fn set(names: &[String]) -> caps::CapsHashSet {
    names.iter().filter_map(|name| name.parse::<Capability>().ok()).collect()
}

/// As the user, so that it is the user's rights that count; and not to a directory outside of the root, such as one
/// that a leaked descriptor leads to.
fn enter(cwd: &Path) -> io::Result<()> {
    nix::unistd::chdir(cwd)?;
    let found = nix::unistd::getcwd()?;
    if found.is_absolute() { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ENOENT)) }
}

fn exec(program: &Program) -> Fault {
    let invalid = Fault { at: FaultAt::Exec, errno: libc::EINVAL };
    let words = |words: &[String]| -> Option<Vec<CString>> {
        words.iter().map(|word| CString::new(word.as_bytes()).ok()).collect()
    };
    let (Some(args), Some(env)) = (words(&program.args), words(&program.env)) else { return invalid };
    let Some(name) = program.args.first() else { return invalid };
    let mut worst = libc::ENOENT;
    for candidate in candidates(name, &program.env) {
        let Ok(path) = CString::new(candidate.as_os_str().as_bytes()) else { return invalid };
        let Err(errno) = nix::unistd::execve(&path, &args, &env);
        match errno {
            // The file is there, so it is the interpreter in it that is not.
            Errno::ENOENT if access(&candidate, AccessFlags::F_OK).is_ok() => {
                return Fault { at: FaultAt::Interpreter, errno: libc::ENOENT };
            }
            Errno::ENOENT | Errno::ENOTDIR => {}
            // Go on looking as a shell does, but remember that there was something.
            Errno::EACCES => worst = libc::EACCES,
            other => return Fault { at: FaultAt::Exec, errno: other as i32 },
        }
    }
    Fault { at: FaultAt::Exec, errno: worst }
}

fn candidates(name: &str, env: &[String]) -> Vec<std::path::PathBuf> {
    if name.contains('/') {
        return vec![name.into()];
    }
    let path = env.iter().find_map(|pair| pair.strip_prefix("PATH=")).unwrap_or(PATH_USUAL);
    path.split(':').map(|dir| Path::new(if dir.is_empty() { "." } else { dir }).join(name)).collect()
}

/// Close both ends that a child of the stage does not need.
pub(super) fn drop_stdio(stdio: ProgramStdio) {
    match stdio {
        ProgramStdio::Fds(fds) => drop::<[OwnedFd; 3]>(fds),
        ProgramStdio::Terminal(fd) => drop(fd),
    }
}
