//! Runs containers: a program in its own namespaces, root file system, control group, capabilities and system call
//! filter. Knows no jobs, images, layers' origin, HTTP or network set-up.
//!
//! Entry points, in the order of a container's life:
//!
//! - `init_stage()`: called FIRST in `main`, before any thread. Returns when this is an ordinary start of the binary,
//!   and never returns when the binary was re-executed by this crate ([`INIT_STAGE_ARG`] as its first argument).
//! - `Runtime::new(StageBinary) -> Result<Runtime, CreateError>`: once per process; `&Runtime` is Send + Sync.
//! - `runtime.create(&Spec, Stdio) -> Result<Created, CreateError>`: everything is set up, nothing of the spec's
//!   program has run. `created.pid()` names the network namespace to move a veth into (`/proc/PID/ns/net`).
//! - `created.take_console() -> Option<Console>`: the terminal's master, when `Stdio::Terminal` was asked for;
//!   `console.resize(WindowSize)`.
//! - `created.start() -> Result<Running, StartError>`; on an error nothing is left.
//! - `running.{pid, pidfd, target, signal, kill, try_wait, wait, cgroup, delete}`; `pidfd` polls readable on exit.
//! - `runtime.exec(&Target, &Program, Stdio) -> Result<Joined, ExecError>`: one more program in a running container;
//!   `joined.{pid, pidfd, take_console, signal, try_wait, wait}`. [`Target`] is plain data and can be stored.
//! - [`cgroup::Cgroup::open`] and [`cgroup::remove_root`]: to clean up after an owner that died.
#![warn(missing_docs)]

pub mod cgroup;
mod channel;
pub mod console;
mod container;
mod error;
mod join;
mod launch;
mod limits;
mod plan;
mod rootfs;
mod seccomp;
mod spec;
mod stage;
mod sys;

pub use console::Console;
pub use container::{Created, Exit, Running, Runtime, Stdio, Target};
pub use error::{CreateError, DeleteError, ExecError, StartError};
pub use join::Joined;
pub use launch::StageBinary;
pub use spec::{
    Access, Capabilities, Mount, MountFlags, MountKind, Network, NewPrivileges, OwnerExit, Ownership, Program,
    Resource, Rlimit, Root, Seccomp, Spec, Upper, User, UserNamespace, WindowSize,
};

pub use stage::init_stage;

/// First argument of a re-execution of our own binary; [`init_stage`] looks for it.
pub const INIT_STAGE_ARG: &str = "runtime-init";
