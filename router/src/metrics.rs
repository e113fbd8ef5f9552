//! What a worker counts, and how it is shown.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the latency buckets in microseconds.
const BUCKETS: [u64; 12] =
    [500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000, 30_000_000];

/// One worker's counters. Written by its thread alone, read by the API.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Responses by the first digit of their status.
    by_class: [AtomicU64; 6],
    latency: [AtomicU64; BUCKETS.len()],
    latency_micros: AtomicU64,
    /// Downstream connections accepted.
    pub(crate) accepted: AtomicU64,
    /// Downstream connections open.
    pub(crate) open: AtomicU64,
    /// Connections made to backends.
    pub(crate) connects: AtomicU64,
    /// Requests sent on a connection that had carried others.
    pub(crate) reused: AtomicU64,
    /// Backends that refused a connection or took too long.
    pub(crate) refusals: AtomicU64,
    /// Content bytes to clients and from them.
    bytes_out: AtomicU64,
    bytes_in: AtomicU64,
    /// Access log lines lost because nobody read them.
    pub(crate) log_lost: AtomicU64,
}

impl Metrics {
    pub(crate) fn record(&self, record: &router_core::Record) {
        let class = usize::from(record.status / 100).min(5);
        add(&self.by_class[class], 1);
        add(&self.bytes_out, record.bytes_out);
        add(&self.bytes_in, record.bytes_in);
        let micros = micros(record.service);
        add(&self.latency_micros, micros);
        if let Some(bucket) = BUCKETS.iter().position(|bound| micros <= *bound) {
            add(&self.latency[bucket], 1);
        }
    }

    /// Requests answered.
    pub(crate) fn requests(&self) -> u64 {
        self.by_class.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

/// All workers together, as Prometheus reads it.
pub(crate) fn render(workers: &[&Metrics], routes: usize, backends: usize) -> String {
    let mut out = String::with_capacity(4096);
    let sum = |pick: &dyn Fn(&Metrics) -> &AtomicU64| -> u64 {
        workers.iter().map(|metrics| pick(metrics).load(Ordering::Relaxed)).sum()
    };
    let mut line = |text: std::fmt::Arguments<'_>| {
        out.write_fmt(text).expect("a String takes every write");
        out.push('\n');
    };
    line(format_args!("# TYPE slipway_router_requests_total counter"));
    for class in 1..6 {
        let count = sum(&|metrics| &metrics.by_class[class]);
        line(format_args!("slipway_router_requests_total{{class=\"{class}xx\"}} {count}"));
    }
    line(format_args!("# TYPE slipway_router_request_seconds histogram"));
    let mut below = 0;
    for (bucket, bound) in BUCKETS.iter().enumerate() {
        below += sum(&|metrics| &metrics.latency[bucket]);
        let seconds = Duration::from_micros(*bound).as_secs_f64();
        line(format_args!("slipway_router_request_seconds_bucket{{le=\"{seconds}\"}} {below}"));
    }
    let requests: u64 = workers.iter().map(|metrics| metrics.requests()).sum();
    line(format_args!("slipway_router_request_seconds_bucket{{le=\"+Inf\"}} {requests}"));
    let seconds = Duration::from_micros(sum(&|metrics| &metrics.latency_micros)).as_secs_f64();
    line(format_args!("slipway_router_request_seconds_sum {seconds}"));
    line(format_args!("slipway_router_request_seconds_count {requests}"));
    let counters: [(&str, &str, u64); 10] = [
        ("connections_accepted_total", "counter", sum(&|m| &m.accepted)),
        ("connections_open", "gauge", sum(&|m| &m.open)),
        ("upstream_connects_total", "counter", sum(&|m| &m.connects)),
        ("upstream_reused_total", "counter", sum(&|m| &m.reused)),
        ("upstream_refusals_total", "counter", sum(&|m| &m.refusals)),
        ("sent_bytes_total", "counter", sum(&|m| &m.bytes_out)),
        ("received_bytes_total", "counter", sum(&|m| &m.bytes_in)),
        ("log_lines_lost_total", "counter", sum(&|m| &m.log_lost)),
        ("routes", "gauge", routes as u64),
        ("backends", "gauge", backends as u64),
    ];
    for (name, kind, value) in counters {
        line(format_args!("# TYPE slipway_router_{name} {kind}\nslipway_router_{name} {value}"));
    }
    out
}
