//! The controller over its socket, on a real store and the real scheduler, with a host that only pretends.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod apps;
mod deploys;
mod events;
mod host;
mod jobs;
mod restarts;
mod system;
mod world;
