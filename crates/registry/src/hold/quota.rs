//! How much a user may store at a hold, asked before a manifest is written.
//!
//! A hold counts the layers of manifests that it was told of, each once, and refuses a notice that goes beyond its limit: by then the
//! manifest is in the account. So the limit is looked at before. A hold that does not say how much it allows stops no push.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::syntax::Did;
use atcr_oci::{Digest, Manifest};
use moka::sync::Cache;

use crate::account::Accounts;
use crate::context::RequestContext;
use crate::error::RegistryError;
use crate::hold::error::HoldError;
use crate::hold::ports::{HoldGateway, HoldRef};
use crate::manifest::pushed_content::blob_children;

/// How long a hold may take to say what a user may store.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a hold that has no limit for a user, or does not say, is not asked again.
const REMEMBER_FREE: Duration = Duration::from_mins(1);

/// Users of holds remembered at once.
const REMEMBERED: u64 = 20_000;

/// What a user has at a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of distinct layers.
    pub used_bytes: u64,
    /// Bytes allowed; `None` without a limit.
    pub limit_bytes: Option<u64>,
}

/// The quotas of holds.
pub(crate) struct Quotas {
    gateway: Arc<dyn HoldGateway>,
    /// Users of holds that need not be asked about.
    free: Cache<(Did, Did), ()>,
}

impl Quotas {
    /// Asks through `gateway`.
    pub(crate) fn new(gateway: Arc<dyn HoldGateway>) -> Self {
        let free = Cache::builder().max_capacity(REMEMBERED);
        Self {
            gateway,
            free: free.time_to_live(REMEMBER_FREE).build(),
        }
    }

    /// Checks that `hold` will take the layers of `manifest` from the owner of the repository.
    ///
    /// Layers that other manifests of the account at that hold name are counted already.
    ///
    /// # Errors
    /// `HoldError::QuotaExceeded` when they would be too much; the database's.
    pub(crate) async fn check(
        &self,
        accounts: &Accounts,
        context: &RequestContext,
        hold: &HoldRef,
        manifest: &Manifest,
    ) -> Result<(), RegistryError> {
        let mut layers = layers(manifest);
        if layers.is_empty() {
            return Ok(());
        }
        let user = &context.owner.did;
        let Some((used, limit)) = self.limit(hold, user).await else {
            return Ok(());
        };
        if used.saturating_add(total(&layers)) <= limit {
            return Ok(());
        }
        if let Err(error) = accounts.ensure_synced(&context.owner, &context.requester).await {
            tracing::info!(did = %user, %error, "a quota is compared with what is known of the account");
        }
        let digests: Vec<Digest> = layers.keys().cloned().collect();
        for counted in accounts.index().blobs_at(user, &hold.did, &digests, &[]).await? {
            layers.remove(&counted);
        }
        let new = total(&layers);
        if new == 0 || used.saturating_add(new) <= limit {
            return Ok(());
        }
        let message = format!(
            "{used} of {limit} bytes are used and this manifest adds {new}; delete images to free space"
        );
        Err(HoldError::QuotaExceeded { message }.at(hold))
    }

    /// Bytes used and allowed, if the hold says both.
    async fn limit(&self, hold: &HoldRef, user: &Did) -> Option<(u64, u64)> {
        let key = (hold.did.clone(), user.clone());
        if self.free.contains_key(&key) {
            return None;
        }
        let asked = tokio::time::timeout(PATIENCE, self.gateway.find_quota(hold, user)).await;
        let limit = match asked {
            Ok(Ok(quota)) => quota.limit_bytes.map(|limit| (quota.used_bytes, limit)),
            Ok(Err(error)) => {
                tracing::info!(hold.did = %hold.did, %error, "a hold does not say what a user may store");
                None
            }
            Err(_) => {
                tracing::info!(hold.did = %hold.did, "a hold does not say in time what a user may store");
                None
            }
        };
        if limit.is_none() {
            self.free.insert(key, ());
        }
        limit
    }
}

/// The layers that a hold counts, with their lengths in bytes, each once.
fn layers(manifest: &Manifest) -> BTreeMap<Digest, u64> {
    let blob_children = blob_children(manifest);
    let children = manifest.manifests().iter();
    let children = children.filter(|child| blob_children.contains(&child.digest));
    let layers = manifest.layers().iter().chain(children);
    layers.map(|layer| (layer.digest.clone(), layer.size)).collect()
}

fn total(layers: &BTreeMap<Digest, u64>) -> u64 {
    layers.values().fold(0, |total, size| total.saturating_add(*size))
}
