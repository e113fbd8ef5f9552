//! The shape of a datastore.

use std::error::Error;
use std::fmt;
use std::path::Path;

use types::app::Map;

/// What one member of a datastore's cluster can be told. Every verb may be repeated: one that was interrupted is
/// called again, and one that is done already does nothing.
pub trait Appliance {
    /// Why a verb failed.
    type Error: Error + Send + Sync + 'static;
    /// What a member's database can be told to be, e.g. primary with a sync, or standby of somebody.
    type Config: Clone + fmt::Debug + PartialEq;
    /// A position in the stream of changes: what health tells, and what restores go up to.
    type Position: Copy + fmt::Debug + Ord;

    /// Make the volume ready: an empty database, or nothing when there is one.
    ///
    /// # Errors
    /// When it cannot be made.
    fn provision(&mut self, volume: &Path) -> Result<(), Self::Error>;

    /// Give a database and a user of its own to a resource, on the primary. The same name gets the same again, so
    /// that an answer that was lost can be asked for again.
    ///
    /// # Errors
    /// When this member is not the primary, or the database refuses.
    fn credentials(&mut self, resource: &str) -> Result<Credentials, Self::Error>;

    /// Make the database this, starting, restarting, reloading or rewinding as needed. Returns when it is.
    ///
    /// # Errors
    /// When it did not get there; it is then fenced.
    fn configure(&mut self, config: &Self::Config) -> Result<(), Self::Error>;

    /// End following and take writes as this. Returns when it does.
    ///
    /// # Errors
    /// When it did not get there; it is then fenced.
    fn promote(&mut self, config: &Self::Config) -> Result<(), Self::Error>;

    /// Stop the database, so that nothing is acknowledged and nothing received. Returns when that is certain.
    ///
    /// # Errors
    /// Only when not even killing it is possible.
    fn fence(&mut self) -> Result<(), Self::Error>;

    /// What the database is now, and how far it is.
    ///
    /// # Errors
    /// When it does not answer.
    fn health(&mut self) -> Result<Health<Self::Config, Self::Position>, Self::Error>;

    /// Write a base backup that can be restored from, together with the archived changes since.
    ///
    /// # Errors
    /// When it is not whole; what was written of it is then never offered.
    fn backup(&mut self) -> Result<Backup<Self::Position>, Self::Error>;

    /// Fill an empty volume from a backup, up to the target.
    ///
    /// # Errors
    /// When the volume is not empty, or the backup or a change up to the target is missing.
    fn restore(&mut self, backup: &BackupId, target: Target<Self::Position>) -> Result<(), Self::Error>;

    /// Move the volume to the version that this binary brings. Called while the database is stopped.
    ///
    /// # Errors
    /// When it cannot be moved; the volume is then as it was.
    fn upgrade(&mut self, volume: &Path) -> Result<(), Self::Error>;
}

/// What an app gets to reach its database: environment such as `DATABASE_URL`. Its debug form shows names only.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The environment.
    pub env: Map,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.env.keys()).finish()
    }
}

/// How a database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health<C, P> {
    /// What it is.
    pub config: C,
    /// How far its changes are on disk.
    pub position: P,
    /// Whether it receives from its upstream, when it has one.
    pub streams: bool,
}

/// Names a backup for ever.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BackupId(pub String);

/// A finished backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup<P> {
    /// Which.
    pub id: BackupId,
    /// From where on the archived changes are needed.
    pub from: P,
}

/// Up to where a restore goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<P> {
    /// All that was archived.
    Latest,
    /// Not past this position.
    Position(P),
    /// Not past this moment, in milliseconds since 1970.
    Time(u64),
}
