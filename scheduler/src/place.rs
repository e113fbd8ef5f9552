//! Claims on a host that the caller chose, committed as the schedulers commit theirs.

use api::cell::{CLAIMS, LEDGERS, VOLUMES};
use api::store::{StoreClient, StoreError};
use scheduler_core::{Cell, Execution, Mode, Stamp};
use stdx::Instant;
use types::host::Claim;
use types::job::JobSpec;
use types::{HostId, JobId};

use crate::limits::PLACE_ATTEMPTS;
use crate::txn;

/// Why claims were not made.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The store did not do it.
    #[error("commit claims on {host}")]
    Store {
        /// On which host.
        host: HostId,
        /// Why.
        source: StoreError,
    },
    /// Others commit on the host all the time.
    #[error("commit claims on {host}: its ledger changed {PLACE_ATTEMPTS} times in a row")]
    Contended {
        /// On which host.
        host: HostId,
    },
}

/// Have `host` run `specs`, all or none, and give their jobs in the same order.
///
/// Doing it again does nothing again: a claim on the host for the same app, release and process type counts, unless
/// it was told to stop. For bootstrap, before any scheduler runs; the service scheduler later takes such claims as
/// the jobs of their formations.
///
/// # Errors
/// See [`PlaceError`].
pub fn place(store: &StoreClient, host: &HostId, specs: Vec<JobSpec>) -> Result<Vec<JobId>, PlaceError> {
    for _ in 0..PLACE_ATTEMPTS {
        match attempt(store, host, &specs) {
            Ok(Some(jobs)) => return Ok(jobs),
            Ok(None) => {}
            Err(source) => return Err(PlaceError::Store { host: host.clone(), source }),
        }
    }
    Err(PlaceError::Contended { host: host.clone() })
}

fn attempt(store: &StoreClient, host: &HostId, specs: &[JobSpec]) -> Result<Option<Vec<JobId>>, StoreError> {
    let mut cell = Cell::default();
    let (_, claims) = load(store, host, &mut cell)?;
    let mut jobs = Vec::new();
    let mut missing = Vec::new();
    for spec in specs {
        let found = claims.iter().find(|claim| serves(claim, spec) && !jobs.contains(&claim.job));
        let job = found.map_or_else(|| JobId::on(host, &os::entropy::uuid()), |claim| claim.job.clone());
        if found.is_none() {
            missing.push((job.clone(), spec.clone()));
        }
        jobs.push(job);
    }
    if missing.is_empty() {
        return Ok(Some(jobs));
    }
    let stamp = Stamp { wall_ms: os::clock::wall().unix_millis(), leads_since: None };
    let plan = scheduler_core::plan::for_caller(host, missing);
    let mut execution = Execution::new(&cell, plan, Mode::AllOrNothing, stamp);
    txn::execute(store, "", &mut execution)?;
    Ok(execution.refused().is_empty().then_some(jobs))
}

fn serves(claim: &Claim, spec: &JobSpec) -> bool {
    claim.stop.is_none()
        && claim.spec.app == spec.app
        && claim.spec.release == spec.release
        && claim.spec.process_type == spec.process_type
}

/// Add what a commit on `host` needs to know to `cell`: gives the ledger's revision and the claims. The ledger is
/// read first: a claim that changes later makes the commit refuse.
pub(crate) fn load(store: &StoreClient, host: &HostId, cell: &mut Cell) -> Result<(u64, Vec<Claim>), StoreError> {
    let ledger = LEDGERS.get(store, &[host.as_str()])?.map_or(0, |ledger| ledger.revision);
    cell.set_ledger(Instant::START, host, ledger);
    let (claims, _) = CLAIMS.list(store, &[host.as_str()])?;
    for row in &claims {
        cell.put_claim(Instant::START, row.revision, &row.value);
    }
    let (volumes, _) = VOLUMES.list(store, &[])?;
    for row in volumes {
        if let Ok(volume) = row.id.parse() {
            cell.put_volume(volume, row.value.host);
        }
    }
    Ok((ledger, claims.into_iter().map(|row| row.value).collect()))
}
