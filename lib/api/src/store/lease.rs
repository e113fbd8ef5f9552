//! Leases, and the thread that keeps one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use os::signal::Shutdown;

use super::{StoreClient, StoreError};

/// A lease: keys put under it go when it is no longer kept alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaseId(pub i64);

/// Keeps a lease alive for as long as the program lives. When the store lost it, a new one is granted and
/// `renewed` is called with it, so that the owner puts its keys again.
#[derive(Clone, Debug)]
pub struct LeaseKeeper {
    current: Arc<Mutex<LeaseId>>,
}

impl LeaseKeeper {
    /// Grant a lease of `ttl` and keep it until `shutdown`; then it is revoked.
    ///
    /// # Errors
    /// When the first lease cannot be had, or no thread.
    pub fn start(
        store: &StoreClient,
        ttl: Duration,
        shutdown: &Shutdown,
        renewed: impl Fn(LeaseId) + Send + 'static,
    ) -> Result<LeaseKeeper, StoreError> {
        let keeper = LeaseKeeper { current: Arc::new(Mutex::new(store.lease_grant(ttl)?)) };
        let (keep, store, shutdown) = (keeper.clone(), store.clone().patience(ttl), shutdown.clone());
        let started = os::thread::spawn("lease", move || keep.run(&store, ttl, &shutdown, &renewed));
        started.map(|_| keeper).map_err(|source| StoreError::Refused { code: 8, message: source.to_string() })
    }

    /// The lease as it is now.
    #[must_use]
    pub fn id(&self) -> LeaseId {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, store: &StoreClient, ttl: Duration, shutdown: &Shutdown, renewed: &dyn Fn(LeaseId)) {
        let mut wait = ttl / 4;
        while !shutdown.wait_for(wait) {
            match store.lease_keepalive(self.id()) {
                Ok(true) => wait = ttl / 4,
                Ok(false) => {
                    if let Ok(lease) = store.lease_grant(ttl) {
                        log::warn!("the lease was lost; granted anew");
                        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = lease;
                        renewed(lease);
                        wait = ttl / 4;
                    }
                }
                Err(error) => {
                    log::debug!(error:% = os::text::chain(&error); "lease not kept; trying again");
                    wait = Duration::from_millis(200);
                }
            }
        }
        // A store that is gone lets the lease run out by itself.
        let _ = store.clone().patience(Duration::ZERO).lease_revoke(self.id());
    }
}
