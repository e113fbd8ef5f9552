//! The router's API, on a unix socket.

use std::sync::Arc;

use api::endpoint::{Endpoint, Raw};
use api::serve::Service;
use serde::Serialize;
use types::app::Route;

use crate::{BackendView, Engine};

/// The routes in use.
const ROUTES: Endpoint<(), Vec<Route>> = Endpoint::get("/routes");
/// The backends and what they are doing.
const BACKENDS: Endpoint<(), Vec<BackendView>> = Endpoint::get("/backends");
/// Counters in Prometheus text.
const METRICS: Endpoint<(), Raw> = Endpoint::get("/metrics");
/// Whether it works.
const STATUS: Endpoint<(), Status> = Endpoint::get("/.well-known/status");

#[derive(Debug, Serialize)]
struct Status {
    status: &'static str,
    /// Where clients connect.
    listen: Vec<String>,
    seen: u64,
    drained: u64,
    requests: u64,
}

pub(crate) fn service(engine: &Arc<Engine>) -> Service<Engine> {
    Service::new(Arc::clone(engine))
        .on(&ROUTES, |engine, _, (): ()| Ok(engine.routes()))
        .on(&BACKENDS, |engine, _, (): ()| Ok(engine.backends()))
        .on(&STATUS, |engine, _, (): ()| {
            let progress = engine.progress();
            // Before the first listing it would answer every request with 404.
            let status = if progress.seen > 0 { "healthy" } else { "starting" };
            let listen = engine.addrs().iter().map(ToString::to_string).collect();
            Ok(Status { status, listen, seen: progress.seen, drained: progress.drained, requests: engine.requests() })
        })
        .raw(&METRICS, |engine, _, exchange| {
            exchange.whole(200, "text/plain; version=0.0.4", engine.metrics().as_bytes());
            Ok(())
        })
}
