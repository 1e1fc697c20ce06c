//! Layer records: which blobs a pushed manifest keeps, for quotas and garbage collection.

use std::collections::HashMap;

use atcr_atproto::lexicon::layer::LayerRecord;
use atcr_atproto::lexicon::{Record as _, nsid};
use atcr_atproto::syntax::AtUri;

use crate::error::RepoError;
use crate::repo::HoldRepo;

/// Those of `wanted`, the records of all layers of `manifest`, that the repository does not have yet.
///
/// A manifest may name the same layer twice and then has two records of it. After a push that was interrupted between two
/// commits, only the missing ones are returned.
///
/// # Errors
/// The repository's.
pub async fn missing(
    repo: &HoldRepo,
    manifest: &AtUri,
    wanted: Vec<LayerRecord>,
) -> Result<Vec<LayerRecord>, RepoError> {
    let keys = repo.layers_of_manifest(manifest).await?;
    if keys.is_empty() {
        return Ok(wanted);
    }
    if keys.len() >= wanted.len() {
        return Ok(Vec::new());
    }
    let mut existing: HashMap<String, usize> = HashMap::new();
    for key in keys {
        if let Some(stored) = repo.get_record(nsid::HOLD_LAYER, key.as_str()).await? {
            let layer = LayerRecord::from_value(stored.value)?;
            *existing.entry(layer.digest).or_default() += 1;
        }
    }
    let is_missing = |layer: &LayerRecord| match existing.get_mut(&layer.digest) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    };
    Ok(wanted.into_iter().filter(is_missing).collect())
}
