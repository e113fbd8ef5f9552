//! The role: the API, the deployer, the event stream and the garbage collection of one process.

use std::path::PathBuf;
use std::sync::Arc;

use api::serve::ListenError;
use api::store::StoreClient;
use os::signal::Shutdown;
use types::{ApiError, JobId};

use crate::events::Hub;
use crate::persist::Writer;
use crate::state::Controller;
use crate::{deployer, garbage, serve};

/// What the role is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the platform's sockets are: the store's, the host's, and our own.
    pub run_dir: PathBuf,
    /// The job this is.
    pub job: JobId,
    /// The domain under which apps get their default routes.
    pub domain: String,
}

/// Why the role ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The domain is none.
    #[error("use the domain {domain:?}")]
    Domain {
        /// What was given.
        domain: String,
        /// What is wrong with it.
        source: controller_core::validate::Invalid,
    },
    /// The socket cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The deployer could not begin.
    #[error("start the deployer")]
    Deployer(#[source] ApiError),
    /// The kernel refused a thread.
    #[error("start a thread")]
    Thread(#[source] std::io::Error),
}

/// Serve until the shutdown is asked for.
///
/// # Errors
/// See [`RunError`].
pub fn run(options: Options, shutdown: &Shutdown) -> Result<(), RunError> {
    let domain = controller_core::validate::domain(&options.domain)
        .map_err(|source| RunError::Domain { domain: options.domain.clone(), source })?;
    let store = StoreClient::new(&api::paths::store_socket(&options.run_dir));
    let socket = api::paths::service_socket(&options.run_dir, api::controller::SERVICE, &options.job);
    let controller = Arc::new(Controller {
        writer: Arc::new(Writer::new(store.clone())),
        hub: Arc::new(Hub::default()),
        store,
        run_dir: options.run_dir,
        domain,
        job: options.job,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        shutdown: shutdown.clone(),
    });
    let follower = Arc::clone(&controller);
    os::thread::spawn("events", move || follower.hub.follow(&follower.store, &follower.shutdown))
        .map_err(RunError::Thread)?;
    let collector = Arc::clone(&controller);
    os::thread::spawn("garbage", move || garbage::run(&collector)).map_err(RunError::Thread)?;
    let listening = serve::service(Arc::clone(&controller)).listen(&socket, shutdown)?;
    log::info!(socket:% = socket.display(), domain:% = controller.domain; "controller serves");
    let ended = deployer::run(&controller);
    // Without a deployer the rest is of no use: the role ends and is started again.
    shutdown.ask();
    listening.finish();
    ended.map_err(RunError::Deployer)
}
