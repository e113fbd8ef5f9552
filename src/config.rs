//! What a host is told: flags over environment over the file, checked before anything is touched.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use os::file::Durability;
use serde::{Deserialize, Serialize};
use types::HostId;

/// Where the file is when nothing else is said.
const CONFIG_PATH: &str = "/etc/slipway/host.json";

/// The file as it is written: everything optional, so that later versions can add to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Raw {
    /// The cluster, made by `slipway init`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// This host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Apps answer at NAME.DOMAIN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// State that must survive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// Sockets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_dir: Option<PathBuf>,
    /// The router's port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_port: Option<u16>,
    /// The git receiver's port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh_port: Option<u16>,
    /// The addresses of this host's jobs, e.g. 100.100.0.0/24.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subnet: Option<String>,
    /// The name of the bridge, the nftables table and the cgroup of this host's jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
}

/// There is no configuration yet.
#[derive(Debug)]
pub(crate) struct NoCluster {
    file: PathBuf,
}

impl std::fmt::Display for NoCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "this host is in no cluster: {} does not exist", self.file.display())
    }
}

impl std::error::Error for NoCluster {}

/// What a host runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    pub cluster: String,
    pub host: HostId,
    pub domain: String,
    pub data_dir: PathBuf,
    pub run_dir: PathBuf,
    pub http_port: u16,
    pub ssh_port: u16,
    pub subnet: Subnet,
    pub instance: String,
    /// The file all this came from; other commands on this host are pointed to it.
    pub file: PathBuf,
}

/// An address with a prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subnet {
    pub address: Ipv4Addr,
    pub prefix: u8,
}

/// The file in force: the flag, else `SLIPWAY_CONFIG`, else the usual place.
pub(crate) fn file_path(flag: Option<&Path>) -> PathBuf {
    flag.map(Path::to_path_buf)
        .or_else(|| std::env::var_os("SLIPWAY_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from(CONFIG_PATH))
}

/// Read the file; absent is empty.
pub(crate) fn read(file: &Path) -> Result<Raw> {
    let Some(text) = os::file::read_if_exists(file)? else { return Ok(Raw::default()) };
    serde_json::from_slice(&text).with_context(|| format!("read {}", file.display()))
}

/// Write the file.
pub(crate) fn write(file: &Path, raw: &Raw) -> Result<()> {
    if let Some(dir) = file.parent() {
        os::file::make_dir(dir, 0o755)?;
    }
    let mut text = serde_json::to_vec_pretty(raw).context("write the configuration as JSON")?;
    text.push(b'\n');
    Ok(os::file::replace(file, &text, 0o644, Durability::Synced)?)
}

impl Raw {
    /// What is missing filled in: ids are made, the rest has its usual value.
    pub(crate) fn complete(mut self) -> Raw {
        self.cluster.get_or_insert_with(os::entropy::uuid);
        self.host.get_or_insert_with(|| host_name().unwrap_or_else(|| "host1".to_owned()));
        self.domain.get_or_insert_with(|| "slipway.localhost".to_owned());
        self.data_dir.get_or_insert_with(|| PathBuf::from("/var/lib/slipway"));
        self.run_dir.get_or_insert_with(|| PathBuf::from(api::paths::RUN_DIR));
        self.http_port.get_or_insert(80);
        self.ssh_port.get_or_insert(2222);
        self.subnet.get_or_insert_with(|| "100.100.0.0/24".to_owned());
        self.instance.get_or_insert_with(|| "slipway".to_owned());
        self
    }

    /// The same, checked.
    pub(crate) fn check(self, file: &Path) -> Result<Config> {
        let raw = self.complete();
        let missing = |what: &'static str| format!("{what} is missing");
        let config = Config {
            cluster: raw.cluster.with_context(|| missing("cluster"))?,
            host: HostId::parse(&raw.host.with_context(|| missing("host"))?)?,
            domain: raw.domain.with_context(|| missing("domain"))?,
            data_dir: absolute("data_dir", raw.data_dir.unwrap_or_default())?,
            run_dir: absolute("run_dir", raw.run_dir.unwrap_or_default())?,
            http_port: raw.http_port.unwrap_or_default(),
            ssh_port: raw.ssh_port.unwrap_or_default(),
            subnet: Subnet::parse(&raw.subnet.unwrap_or_default())?,
            instance: raw.instance.unwrap_or_default(),
            file: file.to_path_buf(),
        };
        if config.http_port == config.ssh_port {
            bail!("http_port and ssh_port are both {}; they must differ", config.http_port);
        }
        check_domain(&config.domain)?;
        check_instance(&config.instance)?;
        // A unix socket's path has 108 bytes at most, and the longest of ours is 40 below the run directory.
        if config.run_dir.as_os_str().len() > 60 {
            bail!("run_dir {} is too long for socket paths; use at most 60 bytes", config.run_dir.display());
        }
        Ok(config)
    }
}

impl Config {
    /// The configuration of this host, which `slipway init` has made.
    pub(crate) fn load(flag: Option<&Path>) -> Result<Config> {
        let file = file_path(flag);
        let raw = read(&file)?;
        if raw.cluster.is_none() {
            return Err(NoCluster { file }.into());
        }
        raw.check(&file)
    }

    /// The URL of an app's default route.
    pub(crate) fn url(&self, domain: &str) -> String {
        if self.http_port == 80 { format!("http://{domain}") } else { format!("http://{domain}:{}", self.http_port) }
    }
}

impl Subnet {
    fn parse(text: &str) -> Result<Subnet> {
        let parsed = text.split_once('/').and_then(|(address, prefix)| {
            Some(Subnet { address: address.parse().ok()?, prefix: prefix.parse().ok()? })
        });
        match parsed {
            Some(subnet) if (16..=28).contains(&subnet.prefix) => Ok(subnet),
            _ => bail!("subnet {text:?} is not valid: write it as 100.100.0.0/24, with a prefix of 16 to 28"),
        }
    }
}

fn absolute(name: &str, path: PathBuf) -> Result<PathBuf> {
    if !path.is_absolute() {
        bail!("{name} {} is not absolute", path.display());
    }
    Ok(path)
}

fn check_domain(domain: &str) -> Result<()> {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    if domain.len() > 200 || !domain.split('.').all(label) {
        bail!("domain {domain:?} is not valid: use lower-case letters, digits, dashes and dots");
    }
    Ok(())
}

fn check_instance(name: &str) -> Result<()> {
    let fits = !name.is_empty() && name.len() <= 10;
    if !fits || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
        bail!(
            "instance {name:?} is not valid: use 1 to 10 lower-case letters and digits, it becomes part of link names"
        );
    }
    Ok(())
}

/// The machine's name as a host id: letters and digits only.
fn host_name() -> Option<String> {
    let name = nix::unistd::gethostname().ok()?.into_string().ok()?;
    let first = name.split('.').next().unwrap_or("");
    let id: String = first.to_lowercase().chars().filter(char::is_ascii_alphanumeric).take(32).collect();
    (!id.is_empty() && id != "localhost").then_some(id)
}

#[cfg(test)]
mod tests;
