//! Joining a hold.

use std::collections::BTreeSet;
use std::sync::Arc;

use atcr_atproto::clock::Clock;
use atcr_atproto::lexicon::crew::CrewRecord;
use atcr_atproto::syntax::Did;
use atcr_hold_pds::access::{Permission, Permissions};
use atcr_hold_pds::records::crew::{self, Ensured};
use atcr_hold_pds::{HoldRepo, RepoError};
use atcr_server::rate_limit::{Limited, Now, RateLimit};
use atcr_server::{KeyedLocks, Rate};
use tokio::sync::OwnedMutexGuard;

use crate::quota::Quotas;

/// The label of a member who did not ask for another.
const DEFAULT_ROLE: &str = "member";

/// The labels a member may choose. `owner` and `admin` would claim what the permissions do not give.
const FREE_ROLES: [&str; 3] = [DEFAULT_ROLE, "read", "write"];

/// The permissions that every account gets on request.
const FREE_PERMISSIONS: [Permission; 2] = [Permission::BlobRead, Permission::BlobWrite];

/// Serialises those who make the same account crew, so that what one of them reads about a member is still true when it writes.
/// Clones share the locks.
#[derive(Clone, Debug, Default)]
pub struct CrewTurns(Arc<KeyedLocks<Did>>);

/// The turns of some members, which last as long as this.
#[derive(Debug, Default)]
pub struct Turns(#[expect(dead_code, reason = "released when dropped")] Vec<OwnedMutexGuard<()>>);

impl CrewTurns {
    /// Waits for the turns of all `members`. Whoever writes crew records of other members does not wait.
    pub async fn take<'a>(&self, members: impl IntoIterator<Item = &'a Did>) -> Turns {
        // In order, so that two callers do not wait for each other.
        let members: BTreeSet<&Did> = members.into_iter().collect();
        let mut turns = Vec::with_capacity(members.len());
        for member in members {
            turns.push(self.0.lock(member).await);
        }
        Turns(turns)
    }
}

/// Why an account could not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The captain decides who joins.
    #[error("this hold does not take new crew by itself; ask its captain")]
    RegistrationDisabled,
    /// None of the requested permissions is granted on request.
    #[error("none of the permissions asked for can be granted; ask for blob:read or blob:write")]
    NothingToGrant,
    /// As many accounts have joined in the last hour as may.
    #[error("many accounts have joined this hold lately; try again later")]
    TooMany(#[from] Limited),
    /// The repository failed.
    #[error("the crew records cannot be read or written")]
    Repo(#[from] RepoError),
}

/// The use case of joining.
#[derive(Clone, Debug)]
pub struct Enlistment {
    repo: HoldRepo,
    quotas: Quotas,
    turns: CrewTurns,
    newcomers: RateLimit<()>,
    clock: Arc<dyn Clock>,
}

impl Enlistment {
    /// Works on the hold's repository, gives newcomers the tier that `quotas` have for them, and shares `turns` with everything else that
    /// writes crew records. At most `newcomers` accounts join by themselves.
    #[must_use]
    pub fn new(
        repo: HoldRepo,
        quotas: Quotas,
        turns: CrewTurns,
        newcomers: Rate,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let time = Arc::clone(&clock);
        Self {
            repo,
            quotas,
            turns,
            newcomers: RateLimit::new("new_members", newcomers, Now::new(move || time.now())),
            clock,
        }
    }

    /// Makes `member` crew, if the captain takes every account, or `member` is the captain.
    ///
    /// `permissions` are the requested ones, `None` for the usual two; `crew:admin` is never granted here. The record of an
    /// existing member does not change.
    ///
    /// # Errors
    /// See [`JoinError`].
    ///
    /// # Security
    /// Every account of the network may call this, and accounts cost nothing: what one call writes is bounded and grants what
    /// `allowAllCrew` means, and how many write in an hour is limited for all together.
    pub async fn join(
        &self,
        member: &Did,
        role: Option<&str>,
        permissions: Option<&[String]>,
    ) -> Result<Ensured, JoinError> {
        // Nothing is written for a member: one who is removed at this moment would be one again.
        if let Some(existing) = crew::find(&self.repo, member).await? {
            return Ok(Ensured::Existed(existing));
        }
        let captain = self.repo.captain().await?;
        let is_captain = captain.as_ref().is_some_and(|captain| captain.owner == *member);
        if !is_captain && !captain.is_some_and(|captain| captain.allow_all_crew) {
            return Err(JoinError::RegistrationDisabled);
        }
        let free = Permissions::from_iter(FREE_PERMISSIONS);
        let granted = match permissions {
            None => free,
            Some(words) => Permissions::from_words(words.iter().map(String::as_str)).intersection(free),
        };
        if granted.is_empty() {
            return Err(JoinError::NothingToGrant);
        }
        let role = role
            .filter(|role| FREE_ROLES.contains(role))
            .unwrap_or(DEFAULT_ROLE);
        let mut record = CrewRecord::new(
            member.clone(),
            role,
            granted.to_words(),
            self.clock.now_datetime(),
        );
        if !is_captain {
            record.tier = self.quotas.tiers().of_newcomer().map(|tier| tier.name.clone());
        }
        let _turn = self.turns.take([member]).await;
        // A call of the same member may have had the turn before.
        if !is_captain && self.repo.crew_by_member(member).await?.is_none() {
            self.newcomers.take(&())?;
        }
        Ok(crew::ensure(&self.repo, &record).await?)
    }
}
