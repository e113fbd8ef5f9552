//! Whether the ports that the platform needs are free.

use anyhow::{Result, bail};
use containerd_lite::ports;

use super::ask_status;
use crate::config::Config;

/// Refuse ports that somebody else listens on. A host that runs, or whose jobs do, holds them itself.
pub(in crate::cli) fn check_ports(config: &Config) -> Result<()> {
    if ask_status(config).is_some() {
        return Ok(());
    }
    for (port, flag) in [(config.http_port, "--http-port"), (config.ssh_port, "--ssh-port")] {
        let Some(holder) = ports::holder(port) else { continue };
        if holder.pid.is_some_and(|pid| is_own(pid, &config.instance)) {
            continue;
        }
        bail!("port {port} is taken by {holder}: stop it, or choose another with `slipway init {flag} PORT`");
    }
    Ok(())
}

fn is_own(pid: i32, instance: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|groups| is_below(&groups, instance))
}

fn is_below(groups: &str, instance: &str) -> bool {
    groups.lines().any(|line| line.split([':', '/']).any(|name| name == instance))
}

#[cfg(test)]
mod tests {
    use super::is_below;

    #[test]
    fn jobs_are_known_by_their_group() {
        assert!(is_below("12:pids:/slipway/system/abc\n0::/\n", "slipway"));
        assert!(!is_below("0::/system.slice/nginx.service\n", "slipway"));
    }
}
