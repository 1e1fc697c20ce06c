//! Crew records: who may read and write, beside the captain.

use atcr_atproto::lexicon::crew::{self, CrewRecord};
use atcr_atproto::lexicon::nsid;

use crate::error::RepoError;
use crate::repo::HoldRepo;
use crate::writer::{RecordRef, RecordWrite};

/// What [`ensure`] found or did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ensured {
    /// The member is new.
    Created(RecordRef),
    /// There was a record, which stays as it is.
    Existed(RecordRef),
}

/// Makes sure that `record.member` has a crew record; one that exists is not changed.
///
/// Of two callers at once, one creates the record and the other finds it.
///
/// # Errors
/// The repository's.
pub async fn ensure(repo: &HoldRepo, record: &CrewRecord) -> Result<Ensured, RepoError> {
    if let Some(existing) = find(repo, record).await? {
        return Ok(Ensured::Existed(existing));
    }
    let path_taken = match repo.write(vec![write(record)?]).await {
        Ok(outcome) => return created(outcome.records),
        Err(error @ RepoError::RecordExists { .. }) => error,
        Err(error) => return Err(error),
    };
    match find(repo, record).await? {
        Some(existing) => Ok(Ensured::Existed(existing)),
        None => Err(path_taken),
    }
}

/// The write that creates `record` under its own key.
pub(super) fn write(record: &CrewRecord) -> Result<RecordWrite, RepoError> {
    RecordWrite::create(Some(crew::rkey(&record.member)?), record)
}

fn created(records: Vec<RecordRef>) -> Result<Ensured, RepoError> {
    match records.into_iter().next() {
        Some(record) => Ok(Ensured::Created(record)),
        None => Err(RepoError::corrupt("a create answered without a record")),
    }
}

/// Older holds chose other keys, so the member decides, not the key.
async fn find(repo: &HoldRepo, record: &CrewRecord) -> Result<Option<RecordRef>, RepoError> {
    let Some(member) = repo.crew_by_member(&record.member).await? else {
        return Ok(None);
    };
    let stored = repo.get_record(nsid::HOLD_CREW, member.rkey.as_str()).await?;
    Ok(stored.map(|stored| RecordRef {
        uri: stored.uri,
        cid: stored.cid,
    }))
}
