//! What a crew administrator may write into the hold's repository.
//!
//! Crew records may be written and deleted, and what the hold does not keep itself may be deleted. The captain record follows
//! the configuration; layer, stats and scan records are the hold's own: quotas and garbage collection rest on them.

use atcr_atproto::lexicon::crew::{self, CrewRecord};
use atcr_atproto::lexicon::{Record as _, RecordError, nsid};
use atcr_atproto::syntax::{Cid, Nsid, RecordKey};
use atcr_hold_pds::access::{CrewAdmin, Granted};
use atcr_hold_pds::{HoldRepo, Precondition, RecordWrite, RepoError, WriteOutcome};
use serde_json::Value;

use crate::crew::CrewTurns;

/// Bytes of a role or tier.
const MAX_LABEL_LEN: usize = 32;
/// Bytes of one permission.
const MAX_PERMISSION_LEN: usize = 64;
/// Permissions of one member: room for words that later versions know.
const MAX_PERMISSIONS: usize = 16;

/// Collections that only the hold writes.
const KEPT_BY_THE_HOLD: [&str; 4] = [
    nsid::HOLD_CAPTAIN,
    nsid::HOLD_LAYER,
    nsid::HOLD_STATS,
    nsid::HOLD_SCAN,
];

/// Why a record was not written.
#[derive(Debug, thiserror::Error)]
pub enum AdministrationError {
    /// Only crew records can be written, and what the hold keeps cannot be deleted.
    #[error("records of {collection} are not managed by hand")]
    NotManaged {
        /// The collection.
        collection: Nsid,
    },
    /// The value is not a crew record.
    #[error("not a crew record: {0}")]
    NotCrew(#[source] RecordError),
    /// A field is longer than the lexicon allows.
    #[error("{field} is too long")]
    TooLong {
        /// Which.
        field: &'static str,
    },
    /// The member has a record already, or the key is taken.
    #[error("there is a crew record already; put it under its key {rkey} instead")]
    Exists {
        /// Where it is.
        rkey: RecordKey,
    },
    /// What the caller expected to replace is not there.
    #[error("the record or the repository has changed since it was read")]
    Swapped,
    /// The repository failed.
    #[error("the records cannot be read or written")]
    Repo(#[source] RepoError),
}

impl From<RepoError> for AdministrationError {
    fn from(error: RepoError) -> Self {
        match error {
            RepoError::CommitSwapped { .. } | RepoError::RecordSwapped { .. } => Self::Swapped,
            error => Self::Repo(error),
        }
    }
}

/// What must not have changed for a write to happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swap {
    /// The repository's newest commit.
    pub commit: Option<Cid>,
    /// The record.
    pub record: Expected,
}

/// What a record must be for a write to happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Expected {
    /// Any state.
    #[default]
    Anything,
    /// Not there.
    Absent,
    /// This version of it.
    Exactly(Cid),
}

impl Swap {
    fn preconditions(self, collection: &Nsid, rkey: &RecordKey) -> Vec<Precondition> {
        let commit = self.commit.map(Precondition::Commit);
        let demand = |cid| Precondition::Record {
            collection: collection.clone(),
            rkey: rkey.clone(),
            cid,
        };
        let record = match self.record {
            Expected::Anything => None,
            Expected::Absent => Some(demand(None)),
            Expected::Exactly(cid) => Some(demand(Some(cid))),
        };
        commit.into_iter().chain(record).collect()
    }
}

/// The use cases of managing the crew.
#[derive(Clone, Debug)]
pub struct Administration {
    repo: HoldRepo,
    turns: CrewTurns,
}

impl Administration {
    /// Works on the hold's repository, and shares `turns` with everything else that writes crew records.
    #[must_use]
    pub fn new(repo: HoldRepo, turns: CrewTurns) -> Self {
        Self { repo, turns }
    }

    /// Writes a new crew record, under the member's own key unless `rkey` says otherwise.
    ///
    /// # Errors
    /// `Exists` when the member has one; `NotManaged`, `NotCrew`, `TooLong`: it is none · `Swapped` · `Repo`.
    pub async fn create(
        &self,
        _: &Granted<CrewAdmin>,
        collection: &Nsid,
        rkey: Option<RecordKey>,
        value: Value,
        swap: Swap,
    ) -> Result<WriteOutcome, AdministrationError> {
        let record = crew_record(collection, value)?;
        let rkey = match rkey {
            Some(rkey) => rkey,
            None => crew::rkey(&record.member).map_err(RepoError::from)?,
        };
        let _turn = self.turns.take().await;
        if let Some(existing) = self.repo.crew_by_member(&record.member).await? {
            return Err(AdministrationError::Exists { rkey: existing.rkey });
        }
        let write = RecordWrite::create(Some(rkey.clone()), &record)?;
        let preconditions = swap.preconditions(collection, &rkey);
        match self.repo.write_if(vec![write], preconditions).await {
            Err(RepoError::RecordExists { .. }) => Err(AdministrationError::Exists { rkey }),
            outcome => Ok(outcome?),
        }
    }

    /// Writes a crew record under `rkey`, new or not.
    ///
    /// # Errors
    /// `Exists` when the member has a record under another key; the others as for [`create`](Self::create).
    pub async fn put(
        &self,
        _: &Granted<CrewAdmin>,
        collection: &Nsid,
        rkey: RecordKey,
        value: Value,
        swap: Swap,
    ) -> Result<WriteOutcome, AdministrationError> {
        let record = crew_record(collection, value)?;
        let _turn = self.turns.take().await;
        match self.repo.crew_by_member(&record.member).await? {
            Some(existing) if existing.rkey != rkey => {
                return Err(AdministrationError::Exists { rkey: existing.rkey });
            }
            _ => {}
        }
        let preconditions = swap.preconditions(collection, &rkey);
        let write = RecordWrite::put(rkey, &record)?;
        Ok(self.repo.write_if(vec![write], preconditions).await?)
    }

    /// Deletes a record; succeeds if there is none.
    ///
    /// # Errors
    /// `NotManaged` for the captain, layer, stats and scan records · `Swapped` · `Repo`.
    pub async fn delete(
        &self,
        _: &Granted<CrewAdmin>,
        collection: Nsid,
        rkey: RecordKey,
        swap: Swap,
    ) -> Result<WriteOutcome, AdministrationError> {
        if KEPT_BY_THE_HOLD.contains(&collection.as_str()) {
            return Err(AdministrationError::NotManaged { collection });
        }
        let preconditions = swap.preconditions(&collection, &rkey);
        let write = RecordWrite::Delete { collection, rkey };
        Ok(self.repo.write_if(vec![write], preconditions).await?)
    }
}

fn crew_record(collection: &Nsid, value: Value) -> Result<CrewRecord, AdministrationError> {
    if collection.as_str() != nsid::HOLD_CREW {
        return Err(AdministrationError::NotManaged {
            collection: collection.clone(),
        });
    }
    let record = CrewRecord::from_value(value).map_err(AdministrationError::NotCrew)?;
    let too_long = |field| Err(AdministrationError::TooLong { field });
    if record.role.len() > MAX_LABEL_LEN {
        return too_long("role");
    }
    if record
        .tier
        .as_ref()
        .is_some_and(|tier| tier.len() > MAX_LABEL_LEN)
    {
        return too_long("tier");
    }
    let permissions = &record.permissions;
    if permissions.len() > MAX_PERMISSIONS || permissions.iter().any(|word| word.len() > MAX_PERMISSION_LEN) {
        return too_long("permissions");
    }
    Ok(record)
}
