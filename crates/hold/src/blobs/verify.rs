//! What the bytes of an upload really hash to.
//!
//! A digest is computed from the first byte to the last, on one core. The store is the bottleneck: one stream gets a tenth of its
//! throughput, so several ranges are read at once and hashed in order. The ranges in flight bound the memory of all completions
//! together.

use std::ops::Range;
use std::sync::Arc;

use atcr_oci::{Algorithm, Digest, DigestHasher};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::BlobError;
use super::error::StoreError;
use super::ports::{Assembled, ObjectStore, StoreUpload};

/// Bytes read by one request.
const RANGE: u64 = 8 * 1024 * 1024;
/// Ranges of one upload that are read ahead of the hashing.
const READ_AHEAD: usize = 8;
/// Ranges in memory, of all uploads: 128 MiB.
const RANGES_IN_MEMORY: usize = 16;

/// Reads uploads back. Clones share the memory.
#[derive(Clone, Debug)]
pub(super) struct Verifier {
    memory: Arc<Semaphore>,
}

impl Default for Verifier {
    fn default() -> Self {
        Self {
            memory: Arc::new(Semaphore::new(RANGES_IN_MEMORY)),
        }
    }
}

impl Verifier {
    /// The digest of `assembled`: the store's own, if it took it with this algorithm, else by reading everything once.
    pub(super) async fn actual_digest(
        &self,
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
        let reads = ranges(assembled.size).map(|range| self.read(store, upload, assembled, range));
        // Boxed, or the compiler cannot see through the borrows.
        let mut read = stream::iter(reads).buffered(READ_AHEAD).boxed();
        let mut hasher = DigestHasher::new(algorithm);
        // The next ranges are read while one is hashed.
        let mut hashing = None;
        while let Some(in_memory) = read.try_next().await? {
            let mut running = finish(hashing.take(), hasher).await?;
            hasher = running.clone();
            hashing = Some(tokio::task::spawn_blocking(move || {
                in_memory.pieces.iter().for_each(|piece| running.update(piece));
                running
            }));
        }
        let hasher = finish(hashing, hasher).await?;
        if hasher.len() != assembled.size {
            return Err(StoreError::unavailable("read an upload back whole", "its length differs").into());
        }
        Ok(hasher.finish())
    }

    async fn read(
        &self,
        store: &dyn ObjectStore,
        upload: &StoreUpload,
        assembled: &Assembled,
        range: Range<u64>,
    ) -> Result<InMemory, StoreError> {
        let action = "read an upload back whole";
        // Handed out in the order of asking, so that of every upload the range that is hashed next has its place.
        let place = self.memory.clone().acquire_owned().await;
        let place = place.map_err(|closed| StoreError::unavailable(action, closed))?;
        let wanted = range.end - range.start;
        let mut bytes = store.read_assembled(upload, assembled, range).await?;
        let mut pieces = Vec::new();
        let mut len = 0;
        while let Some(piece) = bytes.try_next().await? {
            len += piece.len() as u64;
            if len > wanted {
                break;
            }
            pieces.push(piece);
        }
        if len != wanted {
            return Err(StoreError::unavailable(
                action,
                "the store sent another number of bytes",
            ));
        }
        Ok(InMemory {
            pieces,
            _place: place,
        })
    }
}

/// One range, whole.
struct InMemory {
    pieces: Vec<Bytes>,
    _place: OwnedSemaphorePermit,
}

fn ranges(size: u64) -> impl Iterator<Item = Range<u64>> {
    (0..size.div_ceil(RANGE)).map(move |index| index * RANGE..((index + 1) * RANGE).min(size))
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
