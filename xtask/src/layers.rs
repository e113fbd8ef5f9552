//! The layer table: which crate may use which.

/// Every crate of the workspace with its layer. A crate uses only crates of lower layers.
pub(crate) const LAYERS: &[(&str, u8)] = &[
    ("stdx", 0),
    ("types", 0),
    ("http1", 0),
    ("testkit", 0),
    ("consensus-core", 1),
    ("scheduler-core", 1),
    ("controller-core", 1),
    ("router-core", 1),
    ("pg-appliance-core", 1),
    ("os", 2),
    ("api", 3),
    ("runtime", 4),
    ("net", 4),
    ("discovery", 4),
    ("consensus", 5),
    ("containerd-lite", 5),
    ("scheduler", 5),
    ("controller", 5),
    ("router", 5),
    ("gitd", 5),
    ("blobs", 5),
    ("buildpack-runner", 5),
    ("pg-appliance", 5),
    ("slipway", 6),
    ("testbed", 6),
    ("xtask", 6),
];

/// Uses within a layer that are meant: L0 crates stand on `stdx`.
pub(crate) const WITHIN: &[(&str, &str)] = &[("testkit", "stdx"), ("types", "stdx"), ("http1", "stdx")];

/// What the test bed may link: it runs the binary from outside.
pub(crate) const TESTBED_MAY: &[&str] = &["types", "stdx", "http1", "testkit", "api", "os"];

/// External crates that only some crates may use, because they bring a runtime or an interface of their own.
pub(crate) const FENCED: &[(&str, &[&str])] = &[
    ("tokio", &["net"]),
    ("rtnetlink", &["net"]),
    ("cgroups-rs", &["runtime"]),
    ("anyhow", &["slipway", "xtask", "testbed"]),
    ("clap", &["slipway", "testbed"]),
];
