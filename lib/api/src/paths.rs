//! Where the platform's sockets are on a host.

use std::path::{Path, PathBuf};

use types::JobId;

/// The run directory when nothing else is said; also where system jobs see it.
pub const RUN_DIR: &str = "/run/slipway";

/// The store's API.
#[must_use]
pub fn store_socket(run_dir: &Path) -> PathBuf {
    run_dir.join("store.sock")
}

/// The host's API.
#[must_use]
pub fn host_socket(run_dir: &Path) -> PathBuf {
    run_dir.join("host.sock")
}

/// Where the jobs of a system service put their sockets.
#[must_use]
pub fn service_dir(run_dir: &Path, service: &str) -> PathBuf {
    run_dir.join("services").join(service)
}

/// The socket of one job of a system service. Socket paths are short, so only the job's short id is in it.
#[must_use]
pub fn service_socket(run_dir: &Path, service: &str, job: &JobId) -> PathBuf {
    service_dir(run_dir, service).join(format!("{}.sock", job.short()))
}

/// The public half of the git receiver's own key, for `known_hosts` of whoever pushes from this host.
#[must_use]
pub fn ssh_host_key(run_dir: &Path) -> PathBuf {
    run_dir.join("ssh_host_key.pub")
}
