//! The daemon of a host: store, network, agent, resolver and bootstrap in one program.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use api::store::StoreClient;
use consensus::Replica;
use containerd_lite::Agent;
use discovery::{Resolver, View};
use net::Network;
use os::signal::Shutdown;

use crate::config::Config;
use crate::{Exit, bootstrap, datadir};

/// Names the file that the daemon logs to, instead of its standard error.
pub(crate) const LOG_FILE: &str = "SLIPWAY_LOG_FILE";

/// The log is put aside when it has this much; one old file is kept.
const LOG_BYTES_MAX: u64 = 32 << 20;

/// Run until SIGTERM, SIGINT or `slipway host stop`. Jobs go on without the daemon, except after the last.
pub(crate) fn run(config: &Config) -> Result<ExitCode> {
    os::log::init(log::LevelFilter::Info);
    if let Some(path) = std::env::var_os(LOG_FILE) {
        os::log::to_file(Path::new(&path), LOG_BYTES_MAX).context("open the log")?;
    }
    log::info!(host:% = config.host, version = env!("CARGO_PKG_VERSION"); "host starting");
    os::file::make_dir(&config.data_dir, 0o711)?;
    os::file::make_dir(&config.run_dir, 0o700)?;
    let _lock = datadir::lock(config)?;
    let shutdown = Shutdown::new();
    shutdown.on_signals().context("wait for signals")?;
    // The store outlives everything that writes to it.
    let store_shutdown = Shutdown::new();
    let mut options = consensus::Options::new(&config.data_dir.join("store"), config.host.as_str());
    options.client_urls = vec![format!("unix:{}", api::paths::store_socket(&config.run_dir).display())];
    let replica = Replica::open(options).context("open the store")?;
    let store_socket = api::paths::store_socket(&config.run_dir);
    let serving = replica.serve(&store_socket, &store_shutdown).context("serve the store")?;
    let store = StoreClient::new(&store_socket);
    let network = network(config).context("set up the network of jobs")?;
    let agent = Agent::start(agent_options(config, &network, &store, &shutdown)?).context("start the host agent")?;
    let listening = agent.serve().context("serve the host's API")?;
    resolver(&network, &store, &shutdown).context("start the resolver")?;
    let (for_bootstrap, until) = (config.clone(), shutdown.clone());
    os::thread::spawn("bootstrap", move || bootstrap::run(&for_bootstrap, &until)).context("start the bootstrap")?;
    log::info!(host:% = config.host; "host started");
    shutdown.wait();
    log::info!("host stopping");
    listening.finish();
    drop(agent);
    store_shutdown.ask();
    serving.finish();
    replica.close();
    log::info!("host stopped");
    Ok(Exit::Success.into())
}

/// The network of this host's jobs, made or found.
pub(crate) fn network(config: &Config) -> Result<Network> {
    let subnet = format!("{}/{}", config.subnet.address, config.subnet.prefix);
    let options = net::Options {
        bridge: bootstrap::bridge(config),
        table: config.instance.clone(),
        subnet: subnet.parse().map_err(|error| anyhow::anyhow!("subnet {subnet}: {error}"))?,
        uplink: None,
        dns_port: 53,
        host_ports: vec![config.http_port],
    };
    Ok(Network::open(options)?)
}

fn agent_options(
    config: &Config,
    network: &Network,
    store: &StoreClient,
    shutdown: &Shutdown,
) -> Result<containerd_lite::Options> {
    Ok(containerd_lite::Options {
        host: config.host.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        zone: String::new(),
        tags: BTreeMap::new(),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        data_dir: config.data_dir.clone(),
        run_dir: config.run_dir.clone(),
        cgroup_root: config.instance.clone(),
        binary: std::env::current_exe().context("find this binary")?,
        net: Some(network.clone()),
        store: store.clone(),
        shutdown: shutdown.clone(),
        operator_env: std::env::vars().collect(),
        operator_home: std::env::var_os("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from),
    })
}

fn resolver(network: &Network, store: &StoreClient, shutdown: &Shutdown) -> Result<Resolver> {
    let view = View::follow(store, shutdown)?;
    let options = discovery::resolver::Options {
        listen: SocketAddr::from((network.gateway(), 53)),
        resolv_conf: PathBuf::from("/etc/resolv.conf"),
        upstreams: Vec::new(),
        view,
        shutdown: shutdown.clone(),
    };
    Ok(Resolver::start(options)?)
}
