//! From keys of the store to changes of the view.

use api::cell;
use api::store::{Change as KeyChange, Record, StoreError};
use api::table::Table;
use scheduler_core::Change;
use scheduler_core::cell::Presence;
use serde::Serialize;
use serde::de::DeserializeOwned;
use types::cell::OneOff;
use types::{HostId, JobId};

/// Everything the schedulers look at is below this.
pub(crate) const PREFIX: &str = "cell/";

/// What a record says; nothing for keys that decisions do not need. One that cannot be read is reported and left out.
pub(crate) fn put(record: &Record) -> Option<Change> {
    match written(record) {
        Ok(change) => change,
        Err(error) => {
            log::error!(key:% = record.key, error:% = os::text::chain(&error); "record not readable");
            None
        }
    }
}

fn written(record: &Record) -> Result<Option<Change>, StoreError> {
    let revision = record.revision;
    let key = record.key.as_str();
    let parts: Vec<&str> = key.split('/').skip(2).collect();
    Ok(Some(if let Some(host) = row(&cell::HOSTS, record)? {
        Change::Host(Box::new(host))
    } else if key.starts_with(cell::PRESENCE.prefix()) {
        let Some(host) = host(&parts) else { return Ok(None) };
        Change::Presence { host, presence: Presence::Here }
    } else if key.starts_with(cell::LEDGERS.prefix()) {
        let Some(host) = host(&parts) else { return Ok(None) };
        Change::Ledger { host, revision }
    } else if let Some(claim) = row(&cell::CLAIMS, record)? {
        Change::Claim { revision, claim: Box::new(claim) }
    } else if let Some(status) = row(&cell::STATUS, record)? {
        let Some(host) = host(&parts) else { return Ok(None) };
        Change::Status { host, status: Box::new(status) }
    } else if let Some(spec) = row(&cell::FORMATIONS, record)? {
        Change::Formation { revision, spec: Box::new(spec) }
    } else if let Some(one_off) = row(&cell::ONEOFFS, record)? {
        Change::OneOff { revision, one_off: Box::new(one_off) }
    } else if let Some(record) = row(&cell::ENDED, record)? {
        Change::Ended(Box::new(record))
    } else if let Some(trouble) = row(&cell::TROUBLE, record)? {
        Change::Trouble(Box::new(trouble))
    } else if let Some(home) = row(&cell::VOLUMES, record)? {
        let Some(volume) = parts.first().and_then(|text| text.parse().ok()) else { return Ok(None) };
        Change::Volume { volume, host: home.host }
    } else {
        return Ok(None);
    }))
}

fn row<T: Serialize + DeserializeOwned>(table: &Table<T>, record: &Record) -> Result<Option<T>, StoreError> {
    if !record.key.starts_with(table.prefix()) {
        return Ok(None);
    }
    table.decode(record).map(|row| Some(row.value))
}

fn host(parts: &[&str]) -> Option<HostId> {
    HostId::parse(parts.first()?).ok()
}

/// What the deletion of a key says.
pub(crate) fn deleted(key: &str) -> Option<Change> {
    let parts: Vec<&str> = key.split('/').skip(2).collect();
    let job = || JobId::parse(parts.last()?).ok();
    let of = |prefix: &str| key.starts_with(prefix);
    Some(if of(cell::HOSTS.prefix()) {
        Change::HostGone(host(&parts)?)
    } else if of(cell::PRESENCE.prefix()) {
        Change::Presence { host: host(&parts)?, presence: Presence::Gone }
    } else if of(cell::LEDGERS.prefix()) {
        Change::Ledger { host: host(&parts)?, revision: 0 }
    } else if of(cell::CLAIMS.prefix()) {
        Change::ClaimGone(job()?)
    } else if of(cell::STATUS.prefix()) {
        Change::StatusGone(job()?)
    } else if of(cell::FORMATIONS.prefix()) {
        Change::FormationGone { app: parts.first()?.parse().ok()?, release: parts.last()?.parse().ok()? }
    } else if of(cell::ONEOFFS.prefix()) {
        Change::OneOffGone(OneOff::request_id(parts.last()?))
    } else if of(cell::ENDED.prefix()) {
        Change::EndedGone { app: parts.first()?.parse().ok()?, job: job()? }
    } else if of(cell::TROUBLE.prefix()) {
        Change::TroubleGone { app: parts.first()?.parse().ok()?, release: parts.last()?.parse().ok()? }
    } else if of(cell::VOLUMES.prefix()) {
        Change::VolumeGone(parts.first()?.parse().ok()?)
    } else {
        return None;
    })
}

/// What a change of a key says.
pub(crate) fn changed(change: &KeyChange) -> Option<Change> {
    match change {
        KeyChange::Put(record) => put(record),
        KeyChange::Deleted { key, .. } => deleted(key),
    }
}
