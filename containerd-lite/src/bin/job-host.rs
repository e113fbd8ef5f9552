//! The smallest binary that a host agent can work with: the init stage of jobs, their shims, and an agent over a
//! store that is already there, with or without a network. The tests of this crate run with it, because a test harness has threads
//! before its first test, and because an agent has to be killed.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use containerd_lite::{Agent, Options};
use os::signal::Shutdown;
use types::HostId;

fn main() -> ExitCode {
    runtime::init_stage();
    os::log::init(log::LevelFilter::Info);
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["shim", dir] => containerd_lite::shim::main(&PathBuf::from(dir)),
        ["agent", dir, store, cgroup_root] => agent(Path::new(dir), Path::new(store), cgroup_root, None),
        ["agent", dir, store, cgroup_root, "net"] => match network() {
            Ok(net) => agent(Path::new(dir), Path::new(store), cgroup_root, Some(net)),
            Err(error) => {
                log::error!(error:% = os::text::chain(&error); "no network for jobs");
                ExitCode::FAILURE
            }
        },
        _ => ExitCode::FAILURE,
    }
}

/// For a network namespace that has nothing else in it.
fn network() -> Result<net::Network, net::NetError> {
    net::Network::open(net::Options {
        bridge: "jobs0".to_owned(),
        table: "jobs".to_owned(),
        subnet: "100.100.9.0/24".parse().expect("a literal subnet"),
        uplink: None,
        dns_port: 53,
        host_ports: Vec::new(),
    })
}

fn agent(dir: &Path, store: &Path, cgroup_root: &str, net: Option<net::Network>) -> ExitCode {
    let shutdown = Shutdown::new();
    let started = shutdown.on_signals().is_ok();
    let options = Options {
        host: HostId::parse("h").expect("a literal that obeys the rule"),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        zone: String::new(),
        tags: BTreeMap::new(),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        data_dir: dir.join("data"),
        run_dir: dir.join("run"),
        cgroup_root: cgroup_root.to_owned(),
        binary: std::env::current_exe().unwrap_or_default(),
        net,
        store: api::store::StoreClient::new(store),
        shutdown: shutdown.clone(),
        operator_env: BTreeMap::new(),
        operator_home: dir.to_path_buf(),
    };
    let served = Agent::start(options).and_then(|agent| Ok(agent.serve()?));
    match served {
        Ok(listening) if started => {
            shutdown.wait();
            listening.finish();
            ExitCode::SUCCESS
        }
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            log::error!(error:% = os::text::chain(&error); "agent not started");
            ExitCode::FAILURE
        }
    }
}
