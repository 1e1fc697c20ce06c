//! Giving a member another tier.

use atcr_atproto::lexicon::nsid;
use atcr_atproto::syntax::Did;
use atcr_hold_pds::{HoldRepo, Precondition, RecordWrite, RepoError};
use serde_json::Value;

use super::Quotas;
use crate::crew::CrewTurns;

/// How often a record that changes meanwhile is read again.
const TRIES: u32 = 4;

/// Why a member has no other tier.
#[derive(Debug, thiserror::Error)]
pub enum PromotionError {
    /// The account is not crew.
    #[error("the account is not a member of this hold's crew")]
    NotCrew,
    /// The hold has no tiers.
    #[error("this hold has no tiers: quota.tiers is empty")]
    NoTiers,
    /// The repository failed.
    #[error("the crew records cannot be read or written")]
    Repo(#[from] RepoError),
}

/// The use case. Clones share everything.
#[derive(Clone, Debug)]
pub struct Promotion {
    repo: HoldRepo,
    quotas: Quotas,
    turns: CrewTurns,
}

impl Promotion {
    /// Works on the hold's repository with the tiers of `quotas`, and shares `turns` with everything else that writes crew records.
    #[must_use]
    pub fn new(repo: HoldRepo, quotas: Quotas, turns: CrewTurns) -> Self {
        Self { repo, quotas, turns }
    }

    /// Gives `member` the tier of `rank`, counted from 0; beyond the end, the last one. Returns its name. The rest of the member's record
    /// stays, fields included that this version does not know.
    ///
    /// # Errors
    /// See [`PromotionError`].
    pub async fn promote(&self, member: &Did, rank: usize) -> Result<String, PromotionError> {
        let tier = self.quotas.tiers().of_rank(rank).ok_or(PromotionError::NoTiers)?;
        let _turn = self.turns.take([member]).await;
        let mut tries = 0;
        loop {
            tries += 1;
            let found = self.repo.crew_by_member(member).await?;
            let found = found.ok_or(PromotionError::NotCrew)?;
            let stored = self.repo.get_record(nsid::HOLD_CREW, found.rkey.as_str()).await?;
            let mut stored = stored.ok_or(PromotionError::NotCrew)?;
            if found.record.tier.as_ref() == Some(&tier.name) {
                return Ok(tier.name.clone());
            }
            if let Value::Object(fields) = &mut stored.value {
                fields.insert("tier".to_owned(), tier.name.as_str().into());
            }
            let collection = nsid::HOLD_CREW.parse().map_err(RepoError::from)?;
            let unchanged = Precondition::Record {
                collection: nsid::HOLD_CREW.parse().map_err(RepoError::from)?,
                rkey: found.rkey.clone(),
                cid: Some(stored.cid),
            };
            let write = RecordWrite::Put {
                collection,
                rkey: found.rkey,
                value: stored.value,
            };
            match self.repo.write_if(vec![write], vec![unchanged]).await {
                Ok(_) => return Ok(tier.name.clone()),
                // Deletions take no turn.
                Err(RepoError::RecordSwapped { .. }) if tries < TRIES => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
