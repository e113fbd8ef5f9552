//! What the control plane costs when nothing happens.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{Cluster, shell};

/// The figures.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Proportional memory in KiB, by program.
    pub pss_kib: BTreeMap<String, u64>,
    /// Bytes of the binary.
    pub binary_bytes: u64,
    /// CPU of all of it, in thousandths of a core, over the time that was looked at.
    pub cpu_milli: u64,
}

impl Report {
    /// All memory, in MB.
    #[must_use]
    pub fn total_mb(&self) -> u64 {
        self.pss_kib.values().sum::<u64>() * 1_024 / 1_000_000
    }
}

/// Look at everything in the cluster's pid namespace for `span`.
///
/// # Panics
/// If `/proc` cannot be read.
#[must_use]
pub fn run(cluster: &Cluster, span: Duration) -> Report {
    let before = cpu_ticks(cluster);
    let start = os::clock::now();
    os::clock::pause(span);
    let ticks = cpu_ticks(cluster).saturating_sub(before);
    // A tick is 10 ms on every Linux that people run.
    let millis = u64::try_from(os::clock::now().since(start).as_millis()).unwrap().max(1);
    let mut report = Report { cpu_milli: ticks * 10 * 1_000 / millis, ..Report::default() };
    let script = "for p in /proc/[0-9]*; do \
        pss=$(sed -n 's/^Pss: *\\([0-9]*\\).*/\\1/p' $p/smaps_rollup 2>/dev/null); \
        [ -n \"$pss\" ] && echo \"$pss $(tr '\\0' ' ' < $p/cmdline | cut -c 1-200)\"; done";
    for line in cluster.inside("bash", &["-c", script]).ok().lines() {
        let Some((pss, words)) = line.split_once(' ') else { continue };
        if let (Ok(pss), Some(name)) = (pss.parse::<u64>(), program(words)) {
            *report.pss_kib.entry(name).or_default() += pss;
        }
    }
    report.binary_bytes = std::fs::metadata(shell::binary()).unwrap().len();
    report
}

/// Which part of the control plane a command line is; the test's own shell and tools are none.
fn program(words: &str) -> Option<String> {
    if words.contains("sshd") {
        return Some("sshd".to_owned());
    }
    let mut parts = words.split_whitespace();
    let first = parts.next()?;
    if ["bash", "sleep", "sed", "tr", "cut", "cat"].contains(&first) {
        return None;
    }
    let name = first.rsplit('/').next().unwrap_or(first);
    let role = parts.find(|word| !word.starts_with('-') && !word.contains('/')).unwrap_or("");
    Some(format!("{} {role}", if name.starts_with("slipway") { "slipway" } else { name }))
}

fn cpu_ticks(cluster: &Cluster) -> u64 {
    let script = "cat /proc/[0-9]*/stat 2>/dev/null";
    let stat = cluster.inside("bash", &["-c", script]);
    let ticks = |line: &str| -> Option<u64> {
        let (head, rest) = line.rsplit_once(") ")?;
        // The first process of the namespace and its sleep are the test's.
        if head.contains("(bash") || head.contains("(sleep") || head.contains("(cat") {
            return Some(0);
        }
        let fields: Vec<&str> = rest.split(' ').collect();
        Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
    };
    stat.stdout.lines().filter_map(ticks).sum()
}
