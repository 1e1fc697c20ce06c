//! What the layers of a notice weigh: the sizes of the hold's own objects in place of those that a pusher claims.

use std::collections::{HashMap, HashSet};

use atcr_atproto::syntax::Did;
use atcr_oci::Digest;
use futures_util::{StreamExt as _, stream};

use super::notice::Notice;
use crate::blobs::{BlobError, BlobService};

/// Layers looked for in the store at once.
const LOOKS_AT_ONCE: usize = 16;

/// Counts layers that were recorded with a size that nothing has checked.
const UNWEIGHED: &str = "atcr_hold_unweighed_layers_total";

impl Notice {
    /// Gives every layer the size of its object in place of the one that was claimed, and drops the layers that the store does
    /// not have: they keep nothing. A layer that cannot be looked for now keeps the claim, since without its record nothing
    /// would keep the blob.
    pub(super) async fn weigh(&mut self, blobs: &BlobService) {
        let mut sizes = HashMap::new();
        for (digest, found) in self.look_for_layers(blobs, None).await {
            match found {
                Ok(size) => {
                    sizes.insert(digest, size);
                }
                Err(error) => {
                    metrics::counter!(UNWEIGHED).increment(1);
                    tracing::error!(
                        %digest, %error,
                        "a layer is recorded with the size that its pusher claimed: the store cannot be asked"
                    );
                }
            }
        }
        self.keep_found(&sizes);
    }

    /// As [`weigh`](Self::weigh), but takes no claim: layers that were promised may be missing.
    ///
    /// # Errors
    /// A layer cannot be looked for.
    pub(super) async fn weigh_all(&mut self, blobs: &BlobService) -> Result<(), BlobError> {
        let sizes = self.sizes(None, blobs).await?;
        self.keep_found(&sizes);
        Ok(())
    }

    /// Gives every layer its size, also those that are promised to the owner, which are as long as what was sent. One that is not there
    /// stays, since it may be there when the push is recorded; until then it weighs nothing.
    ///
    /// # Errors
    /// A layer cannot be looked for.
    pub(super) async fn weigh_promised(&mut self, blobs: &BlobService) -> Result<(), BlobError> {
        let owner = self.owner.clone();
        let sizes = self.sizes(Some(&owner), blobs).await?;
        for layer in &mut self.layers {
            layer.size = sizes.get(&layer.digest).copied().flatten().unwrap_or(0);
        }
        Ok(())
    }

    async fn sizes(
        &self,
        caller: Option<&Did>,
        blobs: &BlobService,
    ) -> Result<HashMap<Digest, Option<u64>>, BlobError> {
        let found = self.look_for_layers(blobs, caller).await;
        found
            .into_iter()
            .map(|(digest, found)| Ok((digest, found?)))
            .collect()
    }

    /// The size of each distinct layer that `caller` may count on, or everyone.
    async fn look_for_layers(
        &self,
        blobs: &BlobService,
        caller: Option<&Did>,
    ) -> Vec<(Digest, Result<Option<u64>, BlobError>)> {
        let distinct: HashSet<Digest> = self.layers.iter().map(|layer| layer.digest.clone()).collect();
        stream::iter(distinct)
            .map(async |digest: Digest| {
                let found = blobs.stat_named(caller, &digest).await;
                (digest, found.map(|found| found.map(|found| found.size)))
            })
            .buffer_unordered(LOOKS_AT_ONCE)
            .collect()
            .await
    }

    /// Gives the layers their `sizes`, and drops those that have none there. What is not in `sizes` stays as it is.
    fn keep_found(&mut self, sizes: &HashMap<Digest, Option<u64>>) {
        let before = self.layers.len();
        self.layers.retain_mut(|layer| match sizes.get(&layer.digest) {
            None => true,
            Some(Some(size)) => {
                layer.size = *size;
                true
            }
            Some(None) => false,
        });
        let dropped = before - self.layers.len();
        if dropped > 0 {
            tracing::info!(manifest = %self.manifest, dropped, "layers that the store does not have are not recorded");
        }
    }
}
