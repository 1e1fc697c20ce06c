//! Crew records: who may read and write, beside the captain.

use atcr_atproto::lexicon::crew::{self, CrewRecord};
use atcr_atproto::lexicon::nsid;
use atcr_atproto::syntax::Did;

use crate::error::RepoError;
use crate::repo::HoldRepo;
use crate::writer::limits::MAX_OPS;
use crate::writer::{RecordRef, RecordWrite};

/// Members looked at together by [`keep_one_each`].
const MEMBERS_AT_ONCE: u32 = 200;

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
    if let Some(existing) = find(repo, &record.member).await? {
        return Ok(Ensured::Existed(existing));
    }
    let path_taken = match repo.write(vec![write(record)?]).await {
        Ok(outcome) => return created(outcome.records),
        Err(error @ RepoError::RecordExists { .. }) => error,
        Err(error) => return Err(error),
    };
    match find(repo, &record.member).await? {
        Some(existing) => Ok(Ensured::Existed(existing)),
        None => Err(path_taken),
    }
}

/// Deletes the surplus crew records of members that have several, as a repository of another implementation may. The record that counts
/// stays; with the others left, a member who is removed would still be one. Returns how many there were.
///
/// # Errors
/// The repository's; what was deleted by then is gone.
pub async fn keep_one_each(repo: &HoldRepo) -> Result<u64, RepoError> {
    let mut deleted = 0;
    loop {
        let keys = repo.needless_crew_keys(MEMBERS_AT_ONCE).await?;
        if keys.is_empty() {
            return Ok(deleted);
        }
        for lot in keys.chunks(MAX_OPS) {
            let mut writes = Vec::with_capacity(lot.len());
            for rkey in lot {
                writes.push(RecordWrite::Delete {
                    collection: nsid::HOLD_CREW.parse()?,
                    rkey: rkey.clone(),
                });
            }
            repo.write(writes).await?;
            deleted += lot.len() as u64;
        }
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

/// The record of `member` that counts. Older holds chose other keys, so the member decides, not the key.
///
/// # Errors
/// The repository's.
pub async fn find(repo: &HoldRepo, member: &Did) -> Result<Option<RecordRef>, RepoError> {
    let Some(member) = repo.crew_by_member(member).await? else {
        return Ok(None);
    };
    let stored = repo.get_record(nsid::HOLD_CREW, member.rkey.as_str()).await?;
    Ok(stored.map(|stored| RecordRef {
        uri: stored.uri,
        cid: stored.cid,
    }))
}
