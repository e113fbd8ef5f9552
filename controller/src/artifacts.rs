//! Artifacts: immutable content by digest.

use api::controller::NewArtifact;
use api::objects::{ARTIFACTS, GARBAGE};
use api::serve::Call;
use controller_core::validate;
use types::app::{Artifact, ArtifactKind};
use types::{ApiError, ArtifactId};

use crate::persist::{Change, json, now_text};
use crate::state::Controller;

pub(crate) fn create(controller: &Controller, new: &NewArtifact) -> Result<Artifact, ApiError> {
    validate::meta("meta", &new.meta)?;
    validate::layers(new.layers.len())?;
    if new.layers.is_empty() && new.kind != ArtifactKind::System {
        return Err(ApiError::invalid("layers", "is empty: an artifact of this type has at least one layer"));
    }
    let artifact = Artifact {
        id: ArtifactId::parse(&os::entropy::uuid()).expect("a UUID is an id"),
        kind: new.kind,
        layers: new.layers.clone(),
        size: new.size,
        meta: new.meta.clone(),
        created_at: Some(now_text()),
    };
    controller.writer.commit(|| {
        let mut change = Change::new().with(|txn| ARTIFACTS.put_in(txn, &[artifact.id.as_str()], &artifact));
        for layer in &artifact.layers {
            // What is referred to again is no garbage any more.
            change = change.with(|txn| txn.delete(&GARBAGE.key(&[layer.as_str()])));
        }
        Ok((change.tell(None, "artifact", artifact.id.as_str(), json(&artifact)), ()))
    })?;
    Ok(artifact)
}

pub(crate) fn list(controller: &Controller) -> Result<Vec<Artifact>, ApiError> {
    let (mut rows, _) = ARTIFACTS.list(&controller.store, &[])?;
    rows.sort_by_key(|row| std::cmp::Reverse(row.created));
    Ok(rows.into_iter().map(|row| row.value).collect())
}

pub(crate) fn one(controller: &Controller, call: &Call) -> Result<Artifact, ApiError> {
    let row = ARTIFACTS.get(&controller.store, &[call.param(0)])?;
    Ok(row.ok_or_else(|| ApiError::not_found("artifact", call.param(0)))?.value)
}
