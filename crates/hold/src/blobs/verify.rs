//! What the bytes of an upload really hash to.

use atcr_oci::{Algorithm, Digest, DigestHasher};
use futures_util::TryStreamExt as _;

use super::BlobError;
use super::error::StoreError;
use super::ports::{Assembled, ObjectStore, StoreUpload};

/// Hashing more than this at once goes to a blocking thread's queue for longer than is fair.
const HASH_BATCH: usize = 1024 * 1024;

/// The digest of `assembled`: the store's own, if it took it with this algorithm, else by reading everything once.
pub(super) async fn actual_digest(
    store: &dyn ObjectStore,
    upload: &StoreUpload,
    assembled: &Assembled,
    algorithm: Algorithm,
) -> Result<Digest, BlobError> {
    if let Some(digest) = assembled
        .digest
        .as_ref()
        .filter(|digest| digest.algorithm() == algorithm)
    {
        return Ok(digest.clone());
    }
    let mut bytes = store.read_assembled(upload).await?;
    let mut hasher = DigestHasher::new(algorithm);
    let mut hashing = None;
    let mut batch = Vec::new();
    let mut batched = 0;
    // One batch is hashed while the next one is read.
    while let Some(piece) = bytes.try_next().await? {
        batched += piece.len();
        batch.push(piece);
        if batched >= HASH_BATCH {
            hasher = finish(hashing.take(), hasher).await?;
            let full = std::mem::take(&mut batch);
            let mut running = hasher.clone();
            hashing = Some(tokio::task::spawn_blocking(move || {
                for piece in &full {
                    running.update(piece);
                }
                running
            }));
            batched = 0;
        }
    }
    let mut hasher = finish(hashing, hasher).await?;
    for piece in &batch {
        hasher.update(piece);
    }
    if hasher.len() != assembled.size {
        return Err(StoreError::unavailable("read an upload back whole", "its length differs").into());
    }
    Ok(hasher.finish())
}

async fn finish(
    hashing: Option<tokio::task::JoinHandle<DigestHasher>>,
    before: DigestHasher,
) -> Result<DigestHasher, BlobError> {
    match hashing {
        Some(task) => task.await.map_err(|_| BlobError::Interrupted),
        None => Ok(before),
    }
}
