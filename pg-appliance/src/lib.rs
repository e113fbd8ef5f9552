//! What every datastore that runs on the platform can do, and the first one: PostgreSQL.
//!
//! Knows no host and no route: an appliance is an app, its members are jobs with volumes, and what they agree on is
//! a record in the store. [`Appliance`] is the shape that each datastore fills; a shell runs it for one member and
//! drives it with the effects of a pure machine. For PostgreSQL that machine is [`pg_appliance_core::Peer`], and
//! its record [`pg_appliance_core::ClusterState`].
//!
//! ```text
//! store: record, presence --> Peer --Reconfigure, Promote, Stop--> Appliance::{configure, promote, fence}
//!                              ^                                                |
//!                              +------------ Appliance::health -----------------+
//! ```
//! Invariant: only the machine's effects change what a database is; operators change the record.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod appliance;

pub use appliance::{Appliance, Backup, BackupId, Credentials, Health, Target};
