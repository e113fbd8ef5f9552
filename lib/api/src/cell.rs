//! The cell state: hosts, what is committed on them, and what they say of it.
//!
//! A host's ledger row guards every commit on it: whoever adds or removes a claim compares the revision at
//! which it saw the ledger, and writes the ledger again in the same transaction. A stop order is put into a
//! claim without the ledger: it changes nothing that others count.

use serde::{Deserialize, Serialize};
use types::cell::{FormationSpec, FormationTrouble, OneOff, VolumeHome};
use types::host::{Claim, EndedJob, Host, Ledger};
use types::job::JobStatus;
use types::{HostId, JobId};

use crate::table::Table;

/// Hosts, by id.
pub const HOSTS: Table<Host> = Table::new("cell/hosts/");
/// Hosts that are there, by id, each under its lease.
pub const PRESENCE: Table<Presence> = Table::new("cell/presence/");
/// What each host's claims hold, by host id.
pub const LEDGERS: Table<Ledger> = Table::new("cell/ledger/");
/// Claims, by host id and job id.
pub const CLAIMS: Table<Claim> = Table::new("cell/claims/");
/// What hosts say of jobs, by host id and job id.
pub const STATUS: Table<JobStatus> = Table::new("cell/status/");
/// What must be kept running, by app id and release id.
pub const FORMATIONS: Table<FormationSpec> = Table::new("cell/formations/");
/// Jobs to run once, by job uuid.
pub const ONEOFFS: Table<OneOff> = Table::new("cell/oneoffs/");
/// What keeps formations from being what they should be, by app id and release id.
pub const TROUBLE: Table<FormationTrouble> = Table::new("cell/trouble/");
/// On which host each volume is, by volume name.
pub const VOLUMES: Table<VolumeHome> = Table::new("cell/volumes/");
/// What was left of jobs, by app id and job id.
pub const ENDED: Table<EndedJob> = Table::new("cell/ended/");
/// Who acts as scheduler, under its lease, by the scheduler's name.
pub const LEADERS: Table<Leader> = Table::new("cell/leaders/");

/// A host is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Which host.
    pub host: HostId,
    /// A number that is new each time its daemon starts.
    #[serde(default)]
    pub run: u64,
}

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// The job that acts.
    pub job: JobId,
}
