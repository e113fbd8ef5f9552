//! The daemon as a unit of systemd, where that is the first process: it starts with the machine and after a crash.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use os::file::Durability;

use super::log_file;
use crate::config::Config;
use crate::role;

/// Whether systemd runs this machine, and not only the one that this namespace is on.
pub(super) fn is_used() -> bool {
    let first = std::fs::read_to_string("/proc/1/comm").unwrap_or_default();
    Path::new("/run/systemd/system").exists() && first.trim() == "systemd"
}

fn name(config: &Config) -> String {
    match config.instance.as_str() {
        "slipway" => "slipway.service".to_owned(),
        other => format!("slipway-{other}.service"),
    }
}

fn file(config: &Config) -> PathBuf {
    Path::new("/etc/systemd/system").join(name(config))
}

/// The unit. Jobs are not the daemon's to end (`KillMode`), and a daemon that was asked to end stays down.
fn text(binary: &Path, config: &Config) -> String {
    let mut text = String::from("[Unit]\nDescription=Slipway host\nAfter=network-online.target\n");
    text.push_str("Wants=network-online.target\n\n[Service]\nType=exec\n");
    let (binary, file, log) = (quoted(binary), quoted(&config.file), log_file(config));
    let _ = writeln!(text, "ExecStart={binary} --config {file} host");
    let _ = writeln!(text, "Environment=\"{}={}\"", role::host::LOG_FILE, escaped(&log));
    text.push_str("KillMode=process\nDelegate=yes\nRestart=always\nRestartSec=1\nRestartPreventExitStatus=0\n");
    text.push_str("\n[Install]\nWantedBy=multi-user.target\n");
    text
}

fn escaped(path: &Path) -> String {
    path.display().to_string().replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%")
}

fn quoted(path: &Path) -> String {
    format!("\"{}\"", escaped(path).replace('$', "$$"))
}

/// Write the unit and start it, now and with the machine.
pub(super) fn start(config: &Config) -> Result<()> {
    let binary = std::env::current_exe().context("find this binary")?;
    os::file::replace(&file(config), text(&binary, config).as_bytes(), 0o644, Durability::Synced)?;
    systemctl(&["daemon-reload"])?;
    systemctl(&["enable", "--quiet", &name(config)])?;
    systemctl(&["restart", &name(config)])
}

/// Have the unit, if there is one, neither running nor started again, and gone.
pub(super) fn remove(config: &Config) -> Result<()> {
    if !is_used() || !file(config).exists() {
        return Ok(());
    }
    systemctl(&["disable", "--quiet", "--now", &name(config)])?;
    os::file::remove_if_exists(&file(config))?;
    systemctl(&["daemon-reload"])
}

fn systemctl(args: &[&str]) -> Result<()> {
    let out = Command::new("systemctl").args(args).output().context("run systemctl")?;
    if !out.status.success() {
        bail!("systemctl {}: {}", args.join(" "), String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Raw;

    #[test]
    fn unit_of_the_usual_host() {
        let config = Raw::default().complete().check(Path::new("/etc/slipway/host.json")).unwrap();
        assert_eq!(name(&config), "slipway.service");
        let expected = "\
[Unit]
Description=Slipway host
After=network-online.target
Wants=network-online.target

[Service]
Type=exec
ExecStart=\"/usr/local/bin/slipway\" --config \"/etc/slipway/host.json\" host
Environment=\"SLIPWAY_LOG_FILE=/var/lib/slipway/host.log\"
KillMode=process
Delegate=yes
Restart=always
RestartSec=1
RestartPreventExitStatus=0

[Install]
WantedBy=multi-user.target
";
        assert_eq!(text(Path::new("/usr/local/bin/slipway"), &config), expected);
        assert_eq!(quoted(Path::new("/a b/50%/$x")), "\"/a b/50%%/$$x\"");
    }
}
