//! From the core's transactions to the store's.

use api::cell;
use api::store::{Repeat, StoreClient, StoreError, Txn};
use scheduler_core::{Execution, Guard, Outcome, Transaction, Write};
use types::cell::VolumeHome;
use types::host::StopOrder;
use types::{HostId, JobId};

/// Run a whole execution. Refusals are left in it.
pub(crate) fn execute(store: &StoreClient, leader: &str, execution: &mut Execution) -> Result<(), StoreError> {
    while let Some(transaction) = execution.next_transaction() {
        let outcome = commit(store, leader, &transaction)?;
        execution.done(outcome);
    }
    Ok(())
}

fn commit(store: &StoreClient, leader: &str, transaction: &Transaction) -> Result<Outcome, StoreError> {
    let mut txn = Txn::new();
    for guard in &transaction.guards {
        txn = guarded(txn, leader, guard);
    }
    for write in &transaction.writes {
        txn = match write {
            Write::Stop { host, job, order } => match stopped(store, transaction, host, job, *order)? {
                Some(value) => txn.put(&cell::CLAIMS.key(&[host.as_str(), job.as_str()]), value),
                None => return Ok(Outcome::Refused),
            },
            write => written(txn, write),
        };
    }
    // Done twice, it is refused the second time: a guard moved, or what it writes is the same again.
    let outcome = store.txn(txn, Repeat::Harmless)?;
    Ok(if outcome.succeeded { Outcome::Committed { revision: outcome.revision } } else { Outcome::Refused })
}

fn guarded(txn: Txn, leader: &str, guard: &Guard) -> Txn {
    match guard {
        Guard::Leads { since } => txn.if_unchanged(&cell::LEADERS.key(&[leader]), *since),
        Guard::Ledger { host, revision } => txn.if_unchanged(&cell::LEDGERS.key(&[host.as_str()]), *revision),
        Guard::Formation { app, release, revision } => {
            txn.if_unchanged(&cell::FORMATIONS.key(&[app.as_str(), release.as_str()]), *revision)
        }
        Guard::Request { id, revision } => txn.if_unchanged(&cell::ONEOFFS.key(&[id.uuid()]), *revision),
        Guard::Claim { host, job, revision } => {
            txn.if_unchanged(&cell::CLAIMS.key(&[host.as_str(), job.as_str()]), *revision)
        }
        Guard::NoClaim { host, job } => txn.if_absent(&cell::CLAIMS.key(&[host.as_str(), job.as_str()])),
        Guard::Absent { host } => txn.if_absent(&cell::PRESENCE.key(&[host.as_str()])),
        Guard::Homeless { volume } => txn.if_absent(&cell::VOLUMES.key(&[volume.as_str()])),
    }
}

fn written(txn: Txn, write: &Write) -> Txn {
    match write {
        Write::Ledger { host, ledger } => cell::LEDGERS.put_in(txn, &[host.as_str()], ledger),
        Write::Claim(claim) => cell::CLAIMS.put_in(txn, &[claim.host.as_str(), claim.job.as_str()], claim),
        Write::Stop { .. } => txn, // Needs the claim as it is; see `stopped`.
        Write::ClaimGone { host, job } => txn.delete(&cell::CLAIMS.key(&[host.as_str(), job.as_str()])),
        Write::StatusGone { host, job } => txn.delete(&cell::STATUS.key(&[host.as_str(), job.as_str()])),
        Write::Volume { volume, host } => {
            cell::VOLUMES.put_in(txn, &[volume.as_str()], &VolumeHome { host: host.clone() })
        }
        Write::Request(one_off) => cell::ONEOFFS.put_in(txn, &[one_off.id.uuid()], one_off),
        Write::RequestGone(id) => txn.delete(&cell::ONEOFFS.key(&[id.uuid()])),
        Write::Ended(ended) => cell::ENDED.put_in(txn, &[ended.app.as_str(), ended.job.as_str()], ended),
        Write::EndedGone { app, job } => txn.delete(&cell::ENDED.key(&[app.as_str(), job.as_str()])),
        Write::Trouble(trouble) => {
            cell::TROUBLE.put_in(txn, &[trouble.app.as_str(), trouble.release.as_str()], trouble)
        }
        Write::TroubleGone { app, release } => txn.delete(&cell::TROUBLE.key(&[app.as_str(), release.as_str()])),
    }
}

/// The claim with the order in it, if it still is what the guard says. The core keeps no specifications.
fn stopped(
    store: &StoreClient,
    transaction: &Transaction,
    host: &HostId,
    job: &JobId,
    order: StopOrder,
) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(mut row) = cell::CLAIMS.get(store, &[host.as_str(), job.as_str()])? else { return Ok(None) };
    let guard = Guard::Claim { host: host.clone(), job: job.clone(), revision: row.revision };
    if !transaction.guards.contains(&guard) {
        return Ok(None);
    }
    row.value.stop = Some(order);
    Ok(Some(cell::CLAIMS.encode(&row.value)))
}
