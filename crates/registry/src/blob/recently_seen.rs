//! Blobs that were seen in a hold a moment ago.
//!
//! A push asks for every layer, and the manifest asks again for all of them; a blob that was just written or found need not be
//! looked for a second time. Content never changes under a digest, so all that can go wrong is that the hold removed it since.

use std::time::Duration;

use atcr_atproto::syntax::Did;
use atcr_oci::Digest;

use super::ports::Place;

/// How long a blob counts as seen.
const LIFE: Duration = Duration::from_mins(1);

/// Blobs remembered at once; some 300 bytes each.
const CAPACITY: u64 = 20_000;

/// Hold, reader, whose repository and which, blob.
type Key = (Did, Option<Did>, Did, String, Digest);

/// A bounded memory of what readers saw of a repository in a hold → size in bytes. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct KnownBlobs {
    sizes: moka::sync::Cache<Key, u64>,
}

impl Default for KnownBlobs {
    fn default() -> Self {
        Self {
            sizes: moka::sync::Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(LIFE)
                .build(),
        }
    }
}

impl KnownBlobs {
    /// Notes that `reader` may read `digest` of `size` bytes in `hold`, in the name of `place`.
    pub(super) fn insert(
        &self,
        hold: &Did,
        reader: Option<&Did>,
        place: Place<'_>,
        digest: &Digest,
        size: u64,
    ) {
        self.sizes.insert(key(hold, reader, place, digest), size);
    }

    /// The size of a blob that `reader` saw in `hold` a moment ago, in the name of `place`.
    #[must_use]
    pub(super) fn get(
        &self,
        hold: &Did,
        reader: Option<&Did>,
        place: Place<'_>,
        digest: &Digest,
    ) -> Option<u64> {
        self.sizes.get(&key(hold, reader, place, digest))
    }

    /// Forgets what `reader` saw.
    pub(super) fn forget(&self, hold: &Did, reader: Option<&Did>, place: Place<'_>, digest: &Digest) {
        self.sizes.invalidate(&key(hold, reader, place, digest));
    }
}

fn key(hold: &Did, reader: Option<&Did>, place: Place<'_>, digest: &Digest) -> Key {
    (
        hold.clone(),
        reader.cloned(),
        place.owner.clone(),
        place.repository.to_owned(),
        digest.clone(),
    )
}
