//! Why a container could not be made, started, joined or removed.

use std::io;
use std::path::PathBuf;

use crate::cgroup::CgroupError;

/// A container could not be made. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The spec contradicts itself or asks for what does not exist.
    #[error("spec is not valid: {reason}")]
    Invalid {
        /// What is wrong.
        reason: String,
    },
    /// The kernel or the file system cannot show files under other ids here. Use shifted copies with
    /// [`crate::Ownership::Host`] instead.
    #[error("files of {path} cannot be idmapped here")]
    IdmapUnsupported {
        /// The layer or directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel takes no idmapped layers in an overlay (before 5.19). Use shifted copies with
    /// [`crate::Ownership::Host`] instead.
    #[error("overlayfs takes no idmapped layers here")]
    IdmappedLayersUnsupported {
        /// The kernel's answer.
        source: io::Error,
    },
    /// A volatile overlay has used the work directory before, and overlayfs takes it only once: throw upper and work
    /// away, or keep upper (only when the host has not crashed since) and make work anew.
    #[error("overlay work directory {work} was used before")]
    StaleWork {
        /// The work directory.
        work: PathBuf,
    },
    /// A directory or device of the host could not be used.
    #[error("open {path}")]
    Open {
        /// Which.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The root file system could not be assembled.
    #[error("mount the root file system: {step}")]
    Root {
        /// What was being done.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The control group could not be made or entered.
    #[error("prepare the control group")]
    Cgroup(#[from] CgroupError),
    /// The first process could not be started.
    #[error("start the init stage: {step}")]
    Launch {
        /// What was being done.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A step inside the new namespaces failed.
    #[error("set up the container: {step}")]
    Setup {
        /// What was being done, with its subject.
        step: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// A program could not be run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No such program, in `PATH` or at its path.
    #[error("exec `{program}`: no such file")]
    NotFound {
        /// As the spec names it.
        program: String,
    },
    /// The program exists, the interpreter that its first line or its ELF header names does not.
    #[error("exec `{program}`: its interpreter does not exist")]
    InterpreterMissing {
        /// As the spec names it.
        program: String,
    },
    /// The program may not be executed by this user.
    #[error("exec `{program}`: permission denied")]
    Denied {
        /// As the spec names it.
        program: String,
    },
    /// The file is no program for this machine.
    #[error("exec `{program}`: not a program")]
    BadFormat {
        /// As the spec names it.
        program: String,
    },
    /// The working directory is missing, no directory, or closed to this user.
    #[error("enter working directory {cwd}")]
    BadCwd {
        /// The directory.
        cwd: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Another step before exec failed.
    #[error("prepare the program: {step}")]
    Setup {
        /// What was being done.
        step: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The container ended before the program ran (killed, or out of memory).
    #[error("the container ended before its program ran")]
    Gone,
}

/// A program could not be added to a running container.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The container is not there any more.
    #[error("container with init pid {pid} is not running")]
    NotRunning {
        /// Its init's pid.
        pid: i32,
    },
    /// The request contradicts itself.
    #[error("program is not valid: {reason}")]
    Invalid {
        /// What is wrong.
        reason: String,
    },
    /// The process that enters the container could not be started.
    #[error("enter the container: {step}")]
    Launch {
        /// What was being done.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The control group could not be entered.
    #[error("enter the control group")]
    Cgroup(#[from] CgroupError),
    /// The program itself could not be run.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// A container's remains could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// A process did not end after SIGKILL within the time allowed.
    #[error("init pid {pid} did not end after SIGKILL")]
    StillRunning {
        /// Its init's pid.
        pid: i32,
    },
    /// The control group could not be removed.
    #[error("remove the control group")]
    Cgroup(#[from] CgroupError),
    /// The process could not be signalled or waited for.
    #[error("end init pid {pid}")]
    Kill {
        /// Its init's pid.
        pid: i32,
        /// The kernel's answer.
        source: io::Error,
    },
}
