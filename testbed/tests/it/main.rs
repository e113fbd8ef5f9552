//! Whole clusters, driven from outside. Needs root and the package registries.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod bad_input;
mod disk_full;
mod journey;
mod survive;

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use testbed::cluster::{Cluster, Options};

/// How long an app may take from its push to its answer.
const ANSWER: Duration = Duration::from_secs(30);

/// One cluster for the tests that leave it as it is: starting one is most of a short test's time.
/// Tests take turns, so that what one measures is not another's doing.
fn shared() -> MutexGuard<'static, Cluster> {
    static CLUSTER: OnceLock<Mutex<Cluster>> = OnceLock::new();
    let cluster = CLUSTER.get_or_init(|| Mutex::new(Cluster::start(Options::default())));
    cluster.lock().unwrap_or_else(PoisonError::into_inner)
}
