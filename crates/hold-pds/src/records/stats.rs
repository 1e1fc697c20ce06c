//! Stats records: how often a repository was pushed to and pulled from this hold.

use atcr_atproto::lexicon::stats::{self, StatsRecord};
use atcr_atproto::lexicon::{Record as _, nsid};
use atcr_atproto::syntax::Did;

use crate::error::RepoError;
use crate::repo::HoldRepo;
use crate::writer::RecordWrite;

/// The counts of `owner`'s `repository`, if anything was counted yet.
///
/// # Errors
/// The repository's.
pub async fn get(repo: &HoldRepo, owner: &Did, repository: &str) -> Result<Option<StatsRecord>, RepoError> {
    let key = stats::rkey(owner, repository)?;
    match repo.get_record(nsid::HOLD_STATS, key.as_str()).await? {
        None => Ok(None),
        Some(stored) => Ok(Some(StatsRecord::from_value(stored.value)?)),
    }
}

/// The write that puts `record` under its own key.
///
/// # Errors
/// None in practice.
pub fn write(record: &StatsRecord) -> Result<RecordWrite, RepoError> {
    RecordWrite::put(stats::rkey(&record.owner_did, &record.repository)?, record)
}
