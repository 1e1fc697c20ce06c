//! The captain record: who owns the hold, and what its configuration says.

use atcr_atproto::lexicon::captain::CaptainRecord;
use atcr_atproto::lexicon::crew::CrewRecord;
use atcr_atproto::syntax::{Datetime, Did, RecordKey};

use super::crew;
use crate::access::Permission;
use crate::error::RepoError;
use crate::repo::HoldRepo;
use crate::writer::RecordWrite;

/// The captain's own crew record says so.
const OWNER_ROLE: &str = "owner";

/// What the operator's configuration says of the hold.
#[derive(Clone, Debug)]
pub struct CaptainSettings {
    /// The captain. Needed when there is no captain record yet; later the record decides.
    pub owner: Option<Did>,
    /// Anybody may read blobs.
    pub public: bool,
    /// Anybody who signs in may join.
    pub allow_all_crew: bool,
    /// Where the blobs are, in words.
    pub region: Option<String>,
    /// The hold that replaces this one.
    pub successor: Option<Did>,
}

/// Why the hold has no captain.
#[derive(Debug, thiserror::Error)]
pub enum CaptainError {
    /// The first start needs to be told whose hold it is.
    #[error("the hold has no captain yet: set registration.owner_did to the DID of its owner")]
    OwnerNeeded,
    /// The repository failed.
    #[error(transparent)]
    Repo(#[from] RepoError),
}

/// Makes the captain record say what `settings` say; at the first start also makes the captain a member of the crew.
///
/// The owner of an existing record stays: a hold is not handed over by a changed setting.
///
/// # Errors
/// [`CaptainError::OwnerNeeded`] when there is no record and no owner is named; the repository's.
pub async fn ensure(
    repo: &HoldRepo,
    settings: &CaptainSettings,
    now: Datetime,
) -> Result<CaptainRecord, CaptainError> {
    let existing = repo.captain().await?;
    let is_new = existing.is_none();
    let mut captain = match &existing {
        Some(captain) => captain.clone(),
        None => {
            let owner = settings.owner.clone().ok_or(CaptainError::OwnerNeeded)?;
            CaptainRecord::new(owner, now.clone())
        }
    };
    if settings
        .owner
        .as_ref()
        .is_some_and(|owner| *owner != captain.owner)
    {
        tracing::warn!(
            captain = %captain.owner,
            "registration.owner_did names somebody else than the captain; the captain record stands"
        );
    }
    captain.public = settings.public;
    captain.allow_all_crew = settings.allow_all_crew;
    captain.region.clone_from(&settings.region);
    captain.successor.clone_from(&settings.successor);

    if existing.as_ref() == Some(&captain) {
        return Ok(captain);
    }
    let mut writes = vec![RecordWrite::put(RecordKey::literal_self(), &captain)?];
    if is_new && repo.crew_by_member(&captain.owner).await?.is_none() {
        let permissions = Permission::ALL.map(Permission::as_str);
        let record = CrewRecord::new(captain.owner.clone(), OWNER_ROLE, permissions, now);
        writes.push(crew::write(&record)?);
    }
    repo.write(writes).await?;
    Ok(captain)
}
