//! Bringing the platform's own apps up on a host: a plan made from what is there, done step by step.
//!
//! Runs at every start of the daemon until nothing is left to do. Each step can be done again, so an interruption
//! at any point costs nothing: the next look plans the rest.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use api::Client;
use api::host::{self as host_api, StackProgress};
use api::store::StoreClient;
use controller::SystemApp;
use os::signal::Shutdown;
use types::app::{Port, ProcessSpec, ProcessVolume, Strategy};
use types::job::{CheckKind, HealthCheck, Resources};
use types::stack::LayerName;
use types::{AppName, Digest, ProcessType};

use crate::config::Config;

mod plan;

use plan::{Observed, Step};

/// The apps that make the platform, in the order in which they are needed.
pub(crate) const SYSTEM_APPS: [&str; 5] = ["scheduler", "controller", "blobs", "router", "gitd"];

/// How long to wait before a failed step is planned again.
const RETRY: Duration = Duration::from_secs(2);

/// Work until every system app is as it is wanted, or the shutdown is asked for.
pub(crate) fn run(config: &Config, shutdown: &Shutdown) {
    let store = StoreClient::new(&api::paths::store_socket(&config.run_dir));
    let mut observed = Observed::default();
    while !shutdown.asked() {
        let Some(step) = plan::next(&observed) else {
            log::info!("bootstrap complete");
            return;
        };
        let start = os::clock::now();
        match execute(config, &store, &step, &mut observed) {
            Ok(()) => {
                let millis = u64::try_from(os::clock::now().since(start).as_millis()).unwrap_or(u64::MAX);
                log::info!(step:% = step, millis; "bootstrap step done");
            }
            Err(error) => {
                log::warn!(step:% = step, error:% = format!("{error:#}"); "bootstrap step failed; trying again");
                let _ = os::clock::wait_for(RETRY, || shutdown.asked().then_some(()));
            }
        }
    }
}

fn execute(config: &Config, store: &StoreClient, step: &Step, observed: &mut Observed) -> Result<()> {
    match step {
        Step::Install(name) => {
            let app = wanted(config, name, &observed.git_layers)?;
            let formation = controller::install_system_app(store, &app)?;
            observed.formations.insert(name, formation);
        }
        Step::Place(name) => {
            let formation = observed.formations.get(name).context("the formation of an installed app")?;
            let specs =
                formation.processes.values().filter(|want| want.count > 0).map(|want| want.template.spec.clone());
            scheduler::place(store, &config.host, specs.collect())?;
            observed.placed = true;
        }
        Step::MakeLayers => observed.git_layers = make_layers(config, &[LayerName::Run, LayerName::Git])?,
    }
    Ok(())
}

/// Have the host's own API make stack layers; the first time takes a minute or two.
fn make_layers(config: &Config, layers: &[LayerName]) -> Result<Vec<Digest>> {
    let host = Client::socket(&api::paths::host_socket(&config.run_dir)).timeout(Some(Duration::from_secs(1_200)));
    let mut digests = Vec::new();
    for layer in layers {
        let mut ready = None;
        for progress in host.lines(&host_api::STACK, &[layer.as_str()], &[], &())? {
            match progress? {
                StackProgress::Step(step) => log::info!(layer:% = layer, step:% = step; "stack layer in the making"),
                StackProgress::Ready(layer) => ready = Some(layer.digest),
            }
        }
        digests.push(ready.with_context(|| format!("the host did not make the stack layer {layer}"))?);
    }
    Ok(digests)
}

/// A system app as this version of the platform wants it.
fn wanted(config: &Config, name: &'static str, git_layers: &[Digest]) -> Result<SystemApp> {
    let kind = ProcessType::parse(if name == "controller" { "web" } else { "app" })?;
    let mut process = ProcessSpec {
        args: vec!["/usr/local/bin/slipway".to_owned(), name.to_owned()],
        resources: Resources {
            memory_bytes: Some(memory_bytes(name, host_memory_bytes())),
            cpu_weight: Some(1_000),
            pids: Some(4_096),
            ..Resources::default()
        },
        ..ProcessSpec::default()
    };
    let mut env = BTreeMap::new();
    let mut layers = Vec::new();
    let mut strategy = Strategy::OneByOne;
    let port =
        |number: u16| Port { port: number, proto: "tcp".to_owned(), check: Some(HealthCheck::new(CheckKind::Tcp)) };
    match name {
        "controller" => {
            env.insert("SLIPWAY_DOMAIN".to_owned(), config.domain.clone());
        }
        "blobs" => {
            process.volumes.push(ProcessVolume { path: "/data".to_owned() });
            // Two must not write to one volume.
            strategy = Strategy::OneDownOneUp;
        }
        "router" => {
            env.insert("SLIPWAY_HTTP_PORT".to_owned(), config.http_port.to_string());
            process.host_network = true;
            process.linux_capabilities.push("CAP_NET_BIND_SERVICE".to_owned());
            process.ports.push(port(config.http_port));
        }
        "gitd" => {
            env.insert("SLIPWAY_HTTP_PORT".to_owned(), config.http_port.to_string());
            env.insert("SLIPWAY_SSH_PORT".to_owned(), config.ssh_port.to_string());
            env.insert("PATH".to_owned(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
            process.host_network = true;
            process.volumes.push(ProcessVolume { path: "/data".to_owned() });
            let mut ssh = port(config.ssh_port);
            if let Some(check) = &mut ssh.check {
                // Each connection costs sshd a process and two lines of its log.
                check.interval_ms = GITD_CHECK_MS;
            }
            process.ports.push(ssh);
            // What sshd needs to become another user and to cage its own parts.
            for capability in
                ["SETUID", "SETGID", "SYS_CHROOT", "CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE"]
            {
                process.linux_capabilities.push(format!("CAP_{capability}"));
            }
            layers = git_layers.to_vec();
            strategy = Strategy::OneDownOneUp;
        }
        _ => {}
    }
    Ok(SystemApp {
        name: AppName::parse(name)?,
        critical: matches!(name, "controller" | "scheduler"),
        strategy,
        layers,
        env,
        processes: BTreeMap::from([(kind.clone(), process)]),
        counts: BTreeMap::from([(kind, 1)]),
        description: format!("slipway {}", env!("CARGO_PKG_VERSION")),
    })
}

/// Time between two checks of a git receiver that is up.
const GITD_CHECK_MS: u64 = 10_000;

/// What a role may use: a leak ends the role, not the host. Placement holds it back from apps, so that all together
/// have a quarter of the host's memory at most. In steps, so that a new kernel is no new release.
fn memory_bytes(name: &str, host_bytes: u64) -> u64 {
    const STEP: u64 = 16 << 20;
    let share = (host_bytes / 32 / STEP * STEP).clamp(64 << 20, 256 << 20);
    // Pushes run git inside the receiver.
    if name == "gitd" { share * 4 } else { share }
}

/// All memory of this host; what a small one has when the kernel does not tell.
fn host_memory_bytes() -> u64 {
    containerd_lite::host_memory_bytes().unwrap_or(4 << 30)
}

/// Whether jobs or their traces may be left of a daemon that is gone.
pub(crate) fn leftovers(config: &Config) -> bool {
    let jobs = std::fs::read_dir(config.data_dir.join("jobs")).is_ok_and(|mut entries| entries.next().is_some());
    jobs || Path::new("/sys/class/net").join(bridge(config)).exists()
}

/// The name of the bridge that jobs hang on.
pub(crate) fn bridge(config: &Config) -> String {
    format!("{}0", config.instance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_apps_hold_a_quarter_of_the_host_at_most() {
        let sum = |host| SYSTEM_APPS.iter().map(|name| memory_bytes(name, host)).sum::<u64>();
        for gigabytes in [2_u64, 4, 8, 64] {
            assert!(sum(gigabytes << 30) <= gigabytes << 28, "{gigabytes} GiB");
        }
        assert_eq!(memory_bytes("router", 8 << 30), 256 << 20);
        assert_eq!(memory_bytes("gitd", 64 << 30), 1 << 30);
        // Some megabytes more or less for the kernel make no difference.
        assert_eq!(memory_bytes("gitd", (4 << 30) - (100 << 20)), memory_bytes("gitd", (4 << 30) - (120 << 20)));
    }
}
