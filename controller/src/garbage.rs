//! What nothing refers to any more: artifacts, slugs, old events, old deployments, the rest of deleted apps.
//!
//! Only what an artifact once referred to is ever removed from the blob store, so that what others keep there
//! is safe; and only after a time, so that a push under way loses nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api::blobs::BlobClient;
use api::cell::LEADERS;
use api::objects::{ARTIFACTS, DELETING, DEPLOYMENTS, EVENTS, GARBAGE, RELEASES};
use api::store::{Repeat, StoreClient, Txn};
use os::clock::WallTime;
use types::app::{Artifact, ArtifactKind};
use types::{ApiError, AppId, Digest};

use crate::deployer::LEADER;
use crate::limits::{DEPLOYMENTS_MAX, EVENTS_MAX, EVENTS_SLACK, GARBAGE_EVERY, GARBAGE_GRACE};
use crate::persist::Change;
use crate::state::Controller;

/// How often the number of events is looked at, and what is left of deleted apps.
const TRIM_EVERY: Duration = Duration::from_secs(30);

/// An artifact without a release is kept this long: its release may be about to be made.
const ARTIFACT_GRACE: Duration = Duration::from_secs(3600);

/// How often the thread looks whether it is to end.
const LOOK: Duration = Duration::from_millis(250);

/// Keys removed in one transaction.
const KEYS_PER_TXN: usize = 100;

/// Collect until the shutdown, while this controller leads.
pub(crate) fn run(controller: &Controller) {
    let mut trim_at = os::clock::now().after(TRIM_EVERY);
    let mut sweep_at = os::clock::now().after(GARBAGE_EVERY);
    while !controller.shutdown.asked() {
        os::clock::pause(LOOK);
        let now = os::clock::now();
        if now >= trim_at {
            trim_at = now.after(TRIM_EVERY);
            told(leading(controller).and_then(|leads| if leads { often(controller) } else { Ok(()) }));
        }
        if now >= sweep_at {
            sweep_at = now.after(GARBAGE_EVERY);
            told(leading(controller).and_then(|leads| if leads { sweep(controller) } else { Ok(()) }));
        }
    }
}

fn told(result: Result<(), ApiError>) {
    if let Err(error) = result {
        log::warn!(error:% = error; "garbage not collected; trying again later");
    }
}

fn leading(controller: &Controller) -> Result<bool, ApiError> {
    Ok(LEADERS.get(&controller.store, &[LEADER])?.is_some_and(|row| row.value.job == controller.job))
}

fn delete_keys(store: &StoreClient, keys: &[String]) -> Result<(), ApiError> {
    for part in keys.chunks(KEYS_PER_TXN) {
        let txn = part.iter().fold(Txn::new(), |txn, key| txn.delete(key));
        store.txn(txn, Repeat::Harmless)?;
    }
    Ok(())
}

/// Keep the newest events.
pub(crate) fn trim_events(store: &StoreClient) -> Result<(), ApiError> {
    let (rows, _) = EVENTS.list(store, &[])?;
    if rows.len() <= EVENTS_MAX + EVENTS_SLACK {
        return Ok(());
    }
    let old = rows.len() - EVENTS_MAX;
    let keys: Vec<String> = rows.iter().take(old).map(|row| EVENTS.key(&[&row.id])).collect();
    delete_keys(store, &keys)
}

fn often(controller: &Controller) -> Result<(), ApiError> {
    trim_events(&controller.store)?;
    end_removals(controller)
}

fn sweep(controller: &Controller) -> Result<(), ApiError> {
    trim_deployments(&controller.store)?;
    mark(controller)?;
    remove_slugs(controller)
}

fn trim_deployments(store: &StoreClient) -> Result<(), ApiError> {
    let mut of_app: BTreeMap<AppId, Vec<(u64, String)>> = BTreeMap::new();
    for row in DEPLOYMENTS.list(store, &[])?.0 {
        if row.value.status.is_final() {
            of_app.entry(row.value.app).or_default().push((row.created, row.id));
        }
    }
    let mut keys = Vec::new();
    for mut ended in of_app.into_values() {
        ended.sort_by_key(|(created, _)| std::cmp::Reverse(*created));
        keys.extend(ended.into_iter().skip(DEPLOYMENTS_MAX).map(|(_, id)| DEPLOYMENTS.key(&[&id])));
    }
    delete_keys(store, &keys)
}

/// A controller may have died between the parts of an app's removal.
pub(crate) fn end_removals(controller: &Controller) -> Result<(), ApiError> {
    let (rows, _) = DELETING.list(&controller.store, &[])?;
    rows.iter().try_for_each(|row| crate::apps::remove_rest(controller, &row.value))
}

fn own_layer(artifact: &Artifact) -> Option<&Digest> {
    // A slug lies on layers of the stack, which others use.
    (artifact.kind == ArtifactKind::Slug).then(|| artifact.layers.last()).flatten()
}

/// Remove artifacts that no release has, and remember their slugs as garbage.
pub(crate) fn mark(controller: &Controller) -> Result<(), ApiError> {
    let now = os::clock::wall();
    let old = |artifact: &Artifact| {
        let made = artifact.created_at.as_deref().and_then(WallTime::parse);
        made.is_none_or(|made| now.since(made) >= ARTIFACT_GRACE)
    };
    controller.writer.commit(|| {
        let releases = RELEASES.list(&controller.store, &[])?.0;
        let used: BTreeSet<&str> =
            releases.iter().flat_map(|row| &row.value.artifacts).map(types::ArtifactId::as_str).collect();
        let artifacts = ARTIFACTS.list(&controller.store, &[])?.0;
        let (kept, unused): (Vec<_>, Vec<_>) =
            artifacts.iter().partition(|row| used.contains(row.id.as_str()) || !old(&row.value));
        let needed: BTreeSet<&Digest> = kept.iter().flat_map(|row| &row.value.layers).collect();
        let mut change = Change::new();
        for row in unused.iter().take(KEYS_PER_TXN / 2) {
            change = change.with(|txn| txn.delete(&ARTIFACTS.key(&[&row.id])));
            if let Some(slug) = own_layer(&row.value).filter(|slug| !needed.contains(slug)) {
                change = change.with(|txn| GARBAGE.put_in(txn, &[slug.as_str()], &now.unix_millis()));
            }
        }
        Ok((change, ()))
    })?;
    Ok(())
}

fn remove_slugs(controller: &Controller) -> Result<(), ApiError> {
    let blobs = BlobClient::service(&controller.run_dir);
    let grace = u64::try_from(GARBAGE_GRACE.as_millis()).unwrap_or(u64::MAX);
    let limit = os::clock::wall().unix_millis().saturating_sub(grace);
    for row in GARBAGE.list(&controller.store, &[])?.0.into_iter().filter(|row| row.value <= limit) {
        let Ok(digest) = Digest::parse(&row.id) else { continue };
        // One stored again since was pushed again: its artifact has taken it off this list or soon will.
        if blobs.delete(&digest, Some(limit))? {
            log::info!(slug:% = digest; "unused slug removed");
        }
        let txn = Txn::new().if_unchanged(&GARBAGE.key(&[&row.id]), row.revision).delete(&GARBAGE.key(&[&row.id]));
        controller.store.txn(txn, Repeat::Harmless)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
