//! What the root tests share: a folder, a layer with a shell, control groups of their own, and nothing left of it all.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use types::job::{JobSpec, Lifecycle};

/// How long anything here may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The binary with the init stage and the shim.
pub(crate) fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_job-host"))
}

/// Applets that the jobs of these tests use.
const APPLETS: &str =
    "cat sh echo sleep id hostname ls test true false kill dd env seq head stty tty yes httpd wc touch";

/// Fill `dir` with a root file system of one static program under many names.
pub(crate) fn rootfs(dir: &Path) {
    let bin = dir.join("bin");
    fs::create_dir_all(&bin).expect("make the root's bin");
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    fs::copy(busybox.expect("busybox is installed"), bin.join("busybox")).expect("copy busybox");
    for applet in APPLETS.split(' ') {
        symlink("busybox", bin.join(applet)).expect("link an applet");
    }
}

/// A tenant's job that runs a shell script.
pub(crate) fn script(lifecycle: Lifecycle, text: &str) -> JobSpec {
    let mut spec: JobSpec = serde_json::from_str(
        r#"{"app":"a","app_name":"blog","process_type":"web","lifecycle":"service","network":"loopback","args":[]}"#,
    )
    .expect("a minimal specification");
    spec.lifecycle = lifecycle;
    spec.args = vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()];
    spec.grace_ms = 2_000;
    spec.resources.memory_bytes = Some(64 << 20);
    spec
}
