//! How much each user may keep here.
//!
//! - [`Tiers`]: the tiers of the configuration, in order of rank, and which of them a member has
//! - [`Quotas`]: what a user keeps, and the limit
//! - [`Promotion`]: another tier for a member
//! - [`bytes`]: sizes as people write them

pub mod bytes;
mod promotion;
mod tiers;

use std::collections::HashMap;
use std::sync::Arc;

use atcr_atproto::lexicon::layer::LayerRecord;
use atcr_atproto::syntax::Did;
use atcr_hold_pds::access::{Access, Membership};
use atcr_hold_pds::{HoldRepo, RepoError, Usage};

pub use promotion::{Promotion, PromotionError};
pub use tiers::{Tier, Tiers};

/// What a user keeps and may keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What there is, every blob once.
    pub usage: Usage,
    /// Bytes allowed; `None`: as many as there is room for.
    pub limit: Option<u64>,
    /// The tier that sets the limit.
    pub tier: Option<String>,
}

/// A push that would take its owner beyond the limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "quota exceeded: current={current} bytes, limit={limit} bytes, this push adds {added} bytes. Delete images to free space."
)]
pub struct QuotaExceeded {
    /// Bytes that are kept already.
    pub current: u64,
    /// Bytes that the push would add.
    pub added: u64,
    /// Bytes allowed.
    pub limit: u64,
}

/// Quotas of a hold. Clones share everything.
#[derive(Clone, Debug)]
pub struct Quotas {
    repo: HoldRepo,
    access: Access,
    tiers: Arc<Tiers>,
}

impl Quotas {
    /// The quotas that `tiers` set for the users of `repo`.
    #[must_use]
    pub fn new(repo: HoldRepo, tiers: Tiers) -> Self {
        Self {
            access: Access::new(repo.clone()),
            repo,
            tiers: Arc::new(tiers),
        }
    }

    /// The tiers.
    #[must_use]
    pub fn tiers(&self) -> &Tiers {
        &self.tiers
    }

    /// What `user` keeps and may keep. Costs the same however much it is.
    ///
    /// # Errors
    /// The repository's.
    pub async fn standing(&self, user: &Did) -> Result<Standing, RepoError> {
        let usage = self.repo.usage_of(user).await?;
        let tier = self.tier_of(user).await?;
        Ok(Standing {
            usage,
            limit: tier.map(|tier| tier.quota_bytes),
            tier: tier.map(|tier| tier.name.clone()),
        })
    }

    /// The tier that limits `user`: none for the captain, and none without tiers. An account that is not crew has the tier that it would
    /// join with.
    async fn tier_of(&self, user: &Did) -> Result<Option<&Tier>, RepoError> {
        if self.tiers.is_empty() || self.access.membership(user).await? == Membership::Captain {
            return Ok(None);
        }
        Ok(match self.repo.crew_by_member(user).await? {
            Some(member) => self.tiers.of_member(member.record.tier.as_deref()),
            None => self.tiers.of_newcomer(),
        })
    }

    /// Whether `user` may add `new`, layer records of one push, while `planned` are about to be written. Blobs that the user keeps already
    /// add nothing: a push of known layers passes at any time.
    ///
    /// # Errors
    /// [`QuotaExceeded`] inside; the repository's outside.
    pub async fn check(
        &self,
        user: &Did,
        new: &[LayerRecord],
        planned: &[LayerRecord],
    ) -> Result<Result<(), QuotaExceeded>, RepoError> {
        let Some(limit) = self.tier_of(user).await?.map(|tier| tier.quota_bytes) else {
            return Ok(Ok(()));
        };
        let sizes = |layers: &[LayerRecord]| -> HashMap<String, u64> {
            let own = layers.iter().filter(|layer| layer.user_did == *user);
            own.map(|layer| (layer.digest.clone(), layer.size)).collect()
        };
        let (mut new, planned) = (sizes(new), sizes(planned));
        new.retain(|digest, _| !planned.contains_key(digest));
        let added = self.unseen_bytes(user, &new).await?;
        if added == 0 {
            return Ok(Ok(()));
        }
        let kept = self.repo.usage_of(user).await?.total_bytes;
        let current = kept.saturating_add(self.unseen_bytes(user, &planned).await?);
        if current.saturating_add(added) <= limit {
            return Ok(Ok(()));
        }
        Ok(Err(QuotaExceeded {
            current,
            added,
            limit,
        }))
    }

    /// The bytes of those of `sizes` that the user does not keep yet.
    async fn unseen_bytes(&self, user: &Did, sizes: &HashMap<String, u64>) -> Result<u64, RepoError> {
        let digests: Vec<String> = sizes.keys().cloned().collect();
        let unseen = self.repo.unseen_layers(user, &digests).await?;
        let sizes = unseen.iter().filter_map(|digest| sizes.get(digest));
        Ok(sizes.fold(0, |sum: u64, size| sum.saturating_add(*size)))
    }
}
