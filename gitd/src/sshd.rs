//! OpenSSH's server: its key, its configuration, and keeping it up.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use os::file::{Durability, FileError, make_dir, read_if_exists, replace};
use os::signal::Shutdown;
use types::{ApiError, Code};

use crate::{BINARY, GIT_UID, GIT_USER, HOOKS_DIR, Options};

/// How long the port may be somebody else's.
const PORT_WAIT: Duration = Duration::from_secs(5);

/// sshd that ends so often within a minute each is not started again.
const SHORT_LIVES_MAX: u32 = 6;

fn failed(what: &str) -> impl FnOnce(io::Error) -> ApiError {
    let what = what.to_owned();
    move |error| ApiError::new(Code::Internal, format!("{what}: {error}"))
}

fn file_failed(error: FileError) -> ApiError {
    ApiError::new(Code::Internal, os::text::chain(&error))
}

/// Make what sshd and git need in the job's root and volume. Safe to run again.
pub(crate) fn prepare(options: &Options) -> Result<(), ApiError> {
    add_user()?;
    let repos = options.data_dir.join("repos");
    make_dir(&repos, 0o755).map_err(file_failed)?;
    chown(&repos, Some(GIT_UID), Some(GIT_UID)).map_err(failed("give the repositories to git"))?;
    let spool = options.spool();
    // Pushes that were cut off left their content behind.
    let _ = fs::remove_dir_all(&spool);
    make_dir(&options.data_dir.join("spool"), 0o700).map_err(file_failed)?;
    make_dir(&spool, 0o700).map_err(file_failed)?;
    make_dir(Path::new("/run/sshd"), 0o755).map_err(file_failed)?;
    make_dir(Path::new(HOOKS_DIR), 0o755).map_err(file_failed)?;
    let hook = format!("#!/bin/sh\nexec {BINARY} gitd hook\n");
    let path = Path::new(HOOKS_DIR).join("pre-receive");
    replace(&path, hook.as_bytes(), 0o755, Durability::Atomic).map_err(file_failed)?;
    host_key(options)?;
    replace(Path::new("/run/gitd/sshd_config"), config(options).as_bytes(), 0o644, Durability::Atomic)
        .map_err(file_failed)
}

/// The user that sshd lets in. `*` is no password and not locked.
fn add_user() -> Result<(), ApiError> {
    let line = format!("{GIT_USER}:*:{GIT_UID}:{GIT_UID}:git receiver:/run/gitd:/bin/sh\n");
    for (file, line) in [("/etc/passwd", line), ("/etc/group", format!("{GIT_USER}:*:{GIT_UID}:\n"))] {
        let path = Path::new(file);
        let mut text = read_if_exists(path).map_err(file_failed)?.unwrap_or_default();
        if text.split(|b| *b == b'\n').any(|old| old.starts_with(b"git:")) {
            continue;
        }
        text.extend(line.as_bytes());
        replace(path, &text, 0o644, Durability::Atomic).map_err(file_failed)?;
    }
    Ok(())
}

/// The receiver's own key stays with its volume, and its public half is told to this host's command line.
fn host_key(options: &Options) -> Result<(), ApiError> {
    let key = options.data_dir.join("ssh_host_ed25519_key");
    if !key.exists() {
        let status = Command::new("/usr/bin/ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "slipway", "-f"])
            .arg(&key)
            .stdin(Stdio::null())
            .status()
            .map_err(failed("start ssh-keygen"))?;
        if !status.success() {
            return Err(ApiError::new(Code::Internal, format!("ssh-keygen: {status}")));
        }
        os::file::sync_dir(&options.data_dir).map_err(file_failed)?;
    }
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).map_err(failed("protect the host key"))?;
    let public = fs::read(key.with_extension("pub")).map_err(failed("read the public host key"))?;
    replace(&api::paths::ssh_host_key(&options.run_dir), &public, 0o644, Durability::Atomic).map_err(file_failed)
}

fn config(options: &Options) -> String {
    let port = options.ssh_port;
    let key = options.data_dir.join("ssh_host_ed25519_key");
    format!(
        "\
Port {port}
HostKey {}
AllowUsers {GIT_USER}
AuthenticationMethods publickey
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
AuthorizedKeysFile none
AuthorizedKeysCommand {BINARY} gitd authorized-keys %t %k
AuthorizedKeysCommandUser {GIT_USER}
DisableForwarding yes
PermitTTY no
PermitTunnel no
PermitUserRC no
PermitUserEnvironment no
PrintMotd no
PrintLastLog no
UsePAM no
UseDNS no
AcceptEnv GIT_PROTOCOL
MaxAuthTries 10
LoginGraceTime 20
MaxStartups 20:30:60
MaxSessions 4
ClientAliveInterval 15
ClientAliveCountMax 4
PidFile none
LogLevel INFO
",
        key.display()
    )
}

/// sshd that cannot have its port says so in its log alone, and ends. An earlier one may need a moment to let go.
fn check_port(port: u16) -> Result<(), ApiError> {
    let mut last = None;
    let free = os::clock::wait_for(PORT_WAIT, || match TcpListener::bind(("0.0.0.0", port)) {
        Ok(_) => Some(()),
        Err(error) => {
            last = Some(error);
            None
        }
    });
    if free.is_some() {
        return Ok(());
    }
    let why = last.map(|error| error.to_string()).unwrap_or_default();
    Err(ApiError::new(Code::Unavailable, format!("the git receiver cannot listen on port {port}: {why}"))
        .hint("stop what has the port (ss -ltnp shows it), or give the host another as ssh_port in its configuration"))
}

/// Keep sshd up until the shutdown is asked for.
///
/// # Errors
/// When it cannot have its port, or does not stay up.
pub(crate) fn keep_up(port: u16, shutdown: &Shutdown) -> Result<(), ApiError> {
    check_port(port)?;
    let mut child = start()?;
    let mut short_lives = 0;
    let mut pause = Duration::from_millis(200);
    let mut since = os::clock::now();
    while !shutdown.asked() {
        os::clock::pause(Duration::from_millis(50));
        match child.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => {
                log::error!(status:% = status; "sshd ended; starting it again");
                if os::clock::now().since(since) > Duration::from_secs(60) {
                    pause = Duration::from_millis(200);
                    short_lives = 0;
                }
                short_lives += 1;
                if short_lives >= SHORT_LIVES_MAX {
                    let text = format!("sshd does not stay up: {status} {short_lives} times in a row");
                    return Err(
                        ApiError::new(Code::Unavailable, text).hint("`slipway log --app gitd` has what it said")
                    );
                }
                check_port(port)?;
                os::clock::pause(pause);
                pause = (pause * 2).min(Duration::from_secs(10));
                child = start()?;
                since = os::clock::now();
            }
            Err(error) => return Err(failed("wait for sshd")(error)),
        }
    }
    // It dies with the job in any case; asking first lets it say goodbye.
    let _ = child.kill();
    let _ = child.wait();
    Ok(())
}

fn start() -> Result<Child, ApiError> {
    Command::new("/usr/sbin/sshd")
        .args(["-D", "-e", "-f", "/run/gitd/sshd_config"])
        .stdin(Stdio::null())
        .spawn()
        .map_err(failed("start sshd"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_of_somebody_else_is_told() {
        let taken = TcpListener::bind(("0.0.0.0", 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = check_port(port).unwrap_err();
        assert!(error.message.contains(&format!("port {port}")) && error.hint.is_some(), "{error}");
        drop(taken);
        check_port(port).unwrap();
    }
}
