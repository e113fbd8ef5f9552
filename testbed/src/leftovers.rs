//! What a machine has that a cluster could leave behind: processes, mounts, namespaces, links, tables, cgroups.

use std::collections::BTreeSet;
use std::path::Path;

use crate::shell::sh;

/// Everything of one moment, one line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    lines: BTreeSet<String>,
}

impl Snapshot {
    /// Look at the machine.
    ///
    /// # Panics
    /// If `/proc` cannot be read.
    #[must_use]
    pub fn take() -> Snapshot {
        let mut lines = BTreeSet::new();
        processes(&mut lines);
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        lines.extend(
            mounts.lines().map(|line| format!("mount {}", line.split(' ').take(3).collect::<Vec<_>>().join(" "))),
        );
        for entry in std::fs::read_dir("/run/netns").into_iter().flatten().flatten() {
            lines.insert(format!("netns {}", entry.file_name().to_string_lossy()));
        }
        let links = sh("ip", &["-o", "link"]).ok();
        lines.extend(links.lines().filter_map(|line| line.split(": ").nth(1)).map(|name| format!("link {name}")));
        // Without the tool the absence of tables would be no proof.
        let tables = sh("nft", &["list", "tables"]).ok();
        lines.extend(tables.lines().map(|line| format!("nft {line}")));
        cgroups(Path::new("/sys/fs/cgroup"), 0, &mut lines);
        Snapshot { lines }
    }

    /// What is there now and was not there before.
    #[must_use]
    pub fn new_since(&self, before: &Snapshot) -> Vec<String> {
        self.lines.difference(&before.lines).cloned().collect()
    }
}

/// Programs of ours, and whatever runs in a cgroup or root of ours. Others come and go on a machine.
fn processes(lines: &mut BTreeSet<String>) {
    let own = std::process::id().to_string();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if !pid.bytes().all(|b| b.is_ascii_digit()) || pid == own {
            continue;
        }
        let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
        let cmdline = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
        let cgroup = String::from_utf8_lossy(&read("cgroup")).into_owned();
        let ours = cmdline.contains("slipway") || cgroup.contains("slipway") || cgroup.contains("/swt");
        if ours && !cmdline.contains("testbed") && !cmdline.contains("cargo") && !cmdline.contains("script/") {
            lines.insert(format!("process {pid} {}", cmdline.trim()));
        }
    }
}

fn cgroups(dir: &Path, depth: u32, lines: &mut BTreeSet<String>) {
    if depth > 4 {
        return;
    }
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            lines.insert(format!("cgroup {}", entry.path().display()));
            cgroups(&entry.path(), depth + 1, lines);
        }
    }
}
