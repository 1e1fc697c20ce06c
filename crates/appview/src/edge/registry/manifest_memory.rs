//! Memory for manifests on their way through this server: pushed ones until they are written, served ones until the client has them.
//!
//! Half is for bytes, half for what is made of pushed ones, and one caller (an account, or the address of an anonymous client) has a
//! quarter of each at most. What several clients read at once is in memory once and counts once. Bytes of other servers' answers and
//! the cache of manifests are counted elsewhere.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use atcr_atproto::bounds::MAX_JSON_COST_FACTOR;
use atcr_atproto::egress::{SharePermit, SharedBudget};
use atcr_oci::Digest;
use atcr_registry::error::RegistryError;
use axum::body::Body;
use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::time::Instant;

/// Manifests up to this length are served without a part of the budget, 8 KiB: about what their connection costs anyway.
const FREE_BYTES: usize = 8 * 1024;

/// Bytes handed to the connection at once.
const PIECE_BYTES: usize = 64 * 1024;

/// How long a caller waits for memory.
const PATIENCE: Duration = Duration::from_secs(10);

/// When a caller that found none is to try again.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// How long a client may take for one manifest.
const LONGEST: Duration = Duration::from_mins(2);

/// The budget. Clones share it.
#[derive(Clone, Debug)]
pub struct ManifestMemory {
    bytes: SharedBudget,
    parsed: SharedBudget,
    served: Arc<Mutex<HashMap<Digest, Weak<Served>>>>,
}

/// Bytes that are being served to one client or several.
#[derive(Debug)]
struct Served {
    bytes: Bytes,
    _room: SharePermit,
    digest: Digest,
    memory: ManifestMemory,
}

/// Makes [`Bytes`] that keep what is served in memory, and counted, until the last of them is dropped.
struct Shared(Arc<Served>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let mut served = self.memory.served.lock().unwrap_or_else(PoisonError::into_inner);
        // Another may have taken the place meanwhile.
        if served
            .get(&self.digest)
            .is_some_and(|entry| entry.strong_count() == 0)
        {
            served.remove(&self.digest);
        }
    }
}

impl ManifestMemory {
    /// A budget of `total_bytes`.
    #[must_use]
    pub fn new(total_bytes: usize) -> Self {
        Self {
            bytes: SharedBudget::new(total_bytes / 2),
            parsed: SharedBudget::new(total_bytes / 2),
            served: Arc::default(),
        }
    }

    /// Waits for room for `bytes` of `caller`.
    ///
    /// # Errors
    /// [`RegistryError::TooManyRequests`] when others take it up for too long.
    pub(super) async fn room(&self, caller: &str, bytes: usize) -> Result<SharePermit, RegistryError> {
        let room = self.bytes.acquire(caller, bytes, PATIENCE).await;
        room.map_err(|_| full())
    }

    /// Waits for room for what is made of a pushed manifest of `bytes`. The caller holds the room of the bytes.
    ///
    /// # Errors
    /// As [`Self::room`].
    pub(super) async fn parsed_room(&self, caller: &str, bytes: usize) -> Result<SharePermit, RegistryError> {
        let cost = bytes.saturating_mul(MAX_JSON_COST_FACTOR);
        let room = self.parsed.acquire(caller, cost, PATIENCE).await;
        room.map_err(|_| full())
    }

    /// Counts `bytes`, which hash to `digest`, for `caller` until the last of the returned ones is dropped; `None` if there is no room
    /// now.
    pub(super) fn try_serve(&self, caller: &str, digest: &Digest, bytes: &Bytes) -> Option<Bytes> {
        if bytes.len() <= FREE_BYTES {
            return Some(bytes.clone());
        }
        if let Some(shared) = self.find(digest) {
            return Some(shared);
        }
        let room = self.bytes.try_acquire(caller, bytes.len()).ok()?;
        Some(self.serve(room, digest, bytes.clone()))
    }

    /// Counts `bytes` in `room`, which was taken for them.
    pub(super) fn serve(&self, room: SharePermit, digest: &Digest, bytes: Bytes) -> Bytes {
        let served = Arc::new(Served {
            bytes,
            _room: room,
            digest: digest.clone(),
            memory: self.clone(),
        });
        let mut table = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        table.insert(digest.clone(), Arc::downgrade(&served));
        drop(table);
        Bytes::from_owner(Shared(served))
    }

    fn find(&self, digest: &Digest) -> Option<Bytes> {
        let table = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        let served = table.get(digest)?.upgrade();
        // Dropping the last one takes the lock.
        drop(table);
        Some(Bytes::from_owner(Shared(served?)))
    }
}

/// A body of `bytes` that lets go of them as they are sent. After [`LONGEST`] it ends with an error, so that the client does not take
/// a part for the whole.
pub(super) fn body(bytes: Bytes) -> Body {
    if bytes.len() <= FREE_BYTES {
        return Body::from(bytes);
    }
    Body::from_stream(pieces(bytes, Instant::now() + LONGEST))
}

fn pieces(bytes: Bytes, until: Instant) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::unfold(bytes, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        if Instant::now() >= until {
            tracing::info!("a manifest was cut off: its client took too long");
            return Some((Err(io::ErrorKind::TimedOut.into()), Bytes::new()));
        }
        let piece = rest.split_to(rest.len().min(PIECE_BYTES));
        Some((Ok(piece), rest))
    })
}

fn full() -> RegistryError {
    RegistryError::TooManyRequests {
        retry_after: AGAIN_AFTER,
    }
}

#[cfg(test)]
mod tests {
    use atcr_oci::Algorithm;
    use futures_util::StreamExt as _;

    use super::*;

    const KIB: usize = 1024;

    fn manifest(fill: u8, len: usize) -> (Digest, Bytes) {
        let bytes = Bytes::from(vec![fill; len]);
        (Digest::of(Algorithm::Sha256, &bytes), bytes)
    }

    #[tokio::test]
    async fn what_many_read_counts_once_and_until_the_last_has_it() {
        let memory = ManifestMemory::new(2 * 64 * KIB);
        let (digest, bytes) = manifest(1, 16 * KIB);
        let first = memory.try_serve("one", &digest, &bytes).unwrap();
        let second = memory.try_serve("two", &digest, &bytes).unwrap();
        assert_eq!(first.as_ptr(), second.as_ptr());
        assert_eq!(memory.bytes.in_flight(), 16 * KIB);
        let mut sending = Box::pin(pieces(first, Instant::now() + LONGEST));
        drop(second);
        let piece = sending.next().await.unwrap().unwrap();
        assert_eq!(memory.bytes.in_flight(), 16 * KIB);
        drop((piece, sending));
        assert_eq!(memory.bytes.in_flight(), 0);
        assert!(memory.served.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn one_caller_has_a_quarter_and_short_manifests_need_nothing() {
        let memory = ManifestMemory::new(2 * 64 * KIB);
        let (digest, bytes) = manifest(1, 16 * KIB);
        let _slow = memory.try_serve("slow", &digest, &bytes).unwrap();
        let (other, bytes) = manifest(2, 16 * KIB);
        assert!(memory.try_serve("slow", &other, &bytes).is_none());
        assert!(memory.try_serve("good", &other, &bytes).is_some());
        let (short, bytes) = manifest(3, FREE_BYTES);
        assert!(memory.try_serve("slow", &short, &bytes).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_too_long_is_cut_off() {
        let (_, bytes) = manifest(1, 3 * PIECE_BYTES);
        let mut sending = Box::pin(pieces(bytes, Instant::now() + LONGEST));
        assert_eq!(sending.next().await.unwrap().unwrap().len(), PIECE_BYTES);
        tokio::time::advance(LONGEST).await;
        let error = sending.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(sending.next().await.is_none());
    }
}
