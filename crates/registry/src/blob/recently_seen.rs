//! Blobs that were seen in a hold a moment ago.
//!
//! A push asks for every layer, and the manifest asks again for all of them; a blob that was just written or found need not be
//! looked for a second time. Content never changes under a digest, so all that can go wrong is that the hold removed it since.

use std::time::Duration;

use atcr_atproto::syntax::Did;
use atcr_oci::Digest;

/// How long a blob counts as seen.
const LIFE: Duration = Duration::from_mins(1);

/// Blobs remembered at once; some 300 bytes each.
const CAPACITY: u64 = 20_000;

/// A bounded memory of (hold, reader, digest) → size in bytes. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct KnownBlobs {
    sizes: moka::sync::Cache<(Did, Option<Did>, Digest), u64>,
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
    /// Notes that `reader` may read `digest` of `size` bytes in `hold`.
    pub(super) fn insert(&self, hold: &Did, reader: Option<&Did>, digest: &Digest, size: u64) {
        self.sizes
            .insert((hold.clone(), reader.cloned(), digest.clone()), size);
    }

    /// The size of a blob that `reader` saw in `hold` a moment ago.
    #[must_use]
    pub(super) fn get(&self, hold: &Did, reader: Option<&Did>, digest: &Digest) -> Option<u64> {
        self.sizes.get(&(hold.clone(), reader.cloned(), digest.clone()))
    }
}
