//! The data plane alone, for measuring: `bench_router LISTEN WORKERS on|off BACKEND...` sends every request for
//! the host `bench.example` to the backends, with the access log on or off, until it is told to end.

use std::net::SocketAddr;

use router::{AccessLog, Change, Engine, EngineOptions, Instance, Settings};
use types::app::Route;
use types::{RouteId, ServiceName};

/// What was wrong with the command line or the start.
type Fault = Box<dyn std::error::Error>;

fn main() -> Result<(), Fault> {
    let mut args = std::env::args().skip(1);
    let mut next = || args.next().ok_or("usage: bench_router LISTEN WORKERS on|off BACKEND...");
    let listen: SocketAddr = next()?.parse()?;
    let workers: usize = next()?.parse()?;
    let access_log = if next()? == "on" { AccessLog::Stderr } else { AccessLog::Off };
    let service = ServiceName::parse("bench")?;
    let mut changes = vec![Change::Route(Route {
        id: RouteId::parse("bench")?,
        kind: "http".into(),
        parent_ref: String::new(),
        service: service.clone(),
        domain: "bench.example".into(),
        path: "/".into(),
        created_at: None,
        updated_at: None,
    })];
    for backend in args {
        let instance =
            Instance { service: service.clone(), id: backend.clone(), addr: backend.parse()?, draining: false };
        changes.push(Change::Instance(instance, 1));
    }
    os::log::init(log::LevelFilter::Info);
    let shutdown = os::signal::Shutdown::new();
    shutdown.on_signals()?;
    let options = EngineOptions { listen: vec![listen], workers, settings: Settings::STANDARD, access_log };
    let engine = Engine::start(&options)?;
    engine.apply(changes);
    shutdown.wait();
    engine.finish(std::time::Duration::from_secs(2));
    Ok(())
}
