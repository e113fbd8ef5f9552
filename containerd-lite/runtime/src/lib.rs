//! Runs containers: a program in its own namespaces, root file system, control group, capabilities and system call
//! filter. Knows no jobs, images, layers' origin, HTTP or network set-up.
//!
//! Entry points, in the order of a container's life:
//!
//! - [`init_stage`]: called FIRST in `main`, before any thread. Returns when this is an ordinary start of the binary,
//!   and never returns when the binary was executed again by this crate ([`INIT_STAGE_ARG`] as its first argument).
//! - [`Runtime::new`]: once per process; `&Runtime` can be shared between threads.
//! - [`Runtime::create`]: everything is set up, nothing of the spec's program has run. [`Created::pid`] names the
//!   network namespace to move a veth into; [`Created::take_console`] is the terminal's master.
//! - [`Created::start`]; on an error nothing is left.
//! - [`Running`]: signal, wait, limits and counters, delete. Its pidfd polls readable when the container ends.
//! - [`Runtime::exec`]: one more program in a running container. [`Target`] is plain data and can be stored.
//! - [`cgroup::Cgroup::open`] and [`cgroup::remove_root`]: to clean up after an owner that died.
//!
//! ```text
//!  caller                                   init stage (pid 1 of the container)
//!  clone3 into new namespaces ------------> waits
//!  maps ids, joins cgroups, makes detached
//!  and idmapped mounts, sends the plan ---> executes Step after Step, pivots, installs the filter
//!  create() returns <---------------------- Ready (with the terminal's master)
//!  start() -------------------------------> forks the program, which drops ids and capabilities, and executes
//!  start() returns <----------------------- Started, or why not
//!  wait() <-------------------------------- reaps and forwards signals; Exited or Signaled; ends
//! ```
//!
//! Invariants:
//! - Only the caller is privileged on the host. What needs that (layers, ids, limits) it does from outside, before the
//!   program exists; the stage holds no descriptor of a host directory when the program starts.
//! - No path inside the root is resolved from outside of it: `stage::tree` opens every one with `openat2`.
//! - No binary of the container runs before ids, capabilities and filter are final.
//! - The stage cannot be traced or opened by the container, and its binary cannot be written through it.
//! - A threaded caller never runs its own code after fork: the child makes system calls until it has executed.
//!
//! Failure model: a failed create or start leaves nothing. If the caller dies, the container dies too
//! ([`OwnerExit::Kill`]) and leaves an empty control group. What the host does not permit (raising limits) is a
//! warning. Whether the kernel takes detached overlay layers or idmapped ones is found by trying.
//!
//! Tested by unit tests of the plan, the filter and a v2 tree of plain files, and as root by `tests/it`, which runs
//! busybox. `examples/lifecycle.rs` measures.
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
