//! `init`: make this machine a cluster of one host. Writes the configuration; the daemon does the rest.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use nix::sys::statfs::statfs;

use super::Context;
use crate::config::{self, Raw};
use crate::datadir;
use crate::term::{self, Format};

#[derive(Debug, Args)]
pub(super) struct Init {
    /// Apps answer at NAME.DOMAIN; the default needs no DNS on this machine
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<String>,
    /// This host's id; else its name
    #[arg(long, value_name = "ID")]
    host: Option<String>,
    /// The router's port
    #[arg(long, value_name = "PORT")]
    http_port: Option<u16>,
    /// The git receiver's port
    #[arg(long, value_name = "PORT")]
    ssh_port: Option<u16>,
    /// Where state is kept
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where sockets are
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// The addresses of this host's jobs
    #[arg(long, value_name = "ADDRESS/PREFIX")]
    subnet: Option<String>,
    /// Names the bridge, the nftables table and the cgroup, where several hosts share a machine
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
}

pub(super) fn init(context: &Context, args: &Init) -> Result<()> {
    let file = context.config_file();
    let there = config::read(&file)?;
    let fresh = there.cluster.is_none();
    let raw = Raw {
        cluster: there.cluster,
        host: choose("host", args.host.clone(), there.host, fresh)?,
        domain: choose("domain", args.domain.clone(), there.domain, fresh)?,
        data_dir: choose("data-dir", args.data_dir.clone(), there.data_dir, fresh)?,
        run_dir: args.run_dir.clone().or(there.run_dir),
        http_port: args.http_port.or(there.http_port),
        ssh_port: args.ssh_port.or(there.ssh_port),
        subnet: choose("subnet", args.subnet.clone(), there.subnet, fresh)?,
        instance: choose("instance", args.instance.clone(), there.instance, fresh)?,
    }
    .complete();
    let checked = raw.clone().check(&file)?;
    super::host::check_ports(&checked)?;
    datadir::claim(&checked)?;
    check_disk(&checked.data_dir)?;
    config::write(&file, &raw)?;
    if context.format == Format::Json {
        return term::json(&raw);
    }
    let what = if fresh { "Made" } else { "Kept" };
    term::out(&format!("{what} cluster {} with host {}", checked.cluster, checked.host));
    term::out(&format!("Apps answer at {}", checked.url(&format!("NAME.{}", checked.domain))));
    term::note("next: slipway host start");
    Ok(())
}

/// What a cluster was made with stays: its state depends on it.
fn choose<T: PartialEq + std::fmt::Debug>(
    flag: &str,
    asked: Option<T>,
    there: Option<T>,
    fresh: bool,
) -> Result<Option<T>> {
    match (asked, there) {
        (Some(asked), Some(there)) if asked != there && !fresh => {
            bail!(
                "--{flag} is {there:?} and cannot become {asked:?}: state depends on it; `slipway host stop --purge` starts afresh"
            )
        }
        (asked, there) => Ok(asked.or(there)),
    }
}

/// The stack, layers and logs of even one app need this much.
const DISK_BYTES_MIN: u64 = 1 << 30;

fn check_disk(dir: &std::path::Path) -> Result<()> {
    let stat = statfs(dir).with_context(|| format!("look at the disk of {}", dir.display()))?;
    let free = stat.blocks_available().saturating_mul(u64::try_from(stat.block_size()).unwrap_or(4096));
    if free < DISK_BYTES_MIN {
        bail!("{} has {} MiB free; at least 1 GiB is needed", dir.display(), free >> 20);
    }
    Ok(())
}
