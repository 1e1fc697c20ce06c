//! What a crew administrator may write into the hold's repository.
//!
//! Crew records may be written and deleted, and so may records of other projects, such as a profile, which are not validated.
//! The captain record follows the configuration; layer, stats and scan records are the hold's own: quotas and garbage
//! collection rest on them.

use std::collections::{HashMap, HashSet};

use atcr_atproto::lexicon::crew::{self, CrewRecord};
use atcr_atproto::lexicon::{Record as _, RecordError, nsid};
use atcr_atproto::syntax::{Cid, Did, Nsid, RecordKey};
use atcr_hold_pds::access::{CrewAdmin, Granted};
use atcr_hold_pds::{HoldRepo, Precondition, RecordWrite, RepoError, WriteOutcome};
use serde_json::Value;

use crate::crew::CrewTurns;
use crate::repo_blobs::{RepoBlobError, RepoBlobs};

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
    /// What the hold keeps, and what means something to it, is not written by hand. Crew records are.
    #[error("records of {collection} are not managed by hand")]
    NotManaged {
        /// The collection.
        collection: Nsid,
    },
    /// The value is not a crew record.
    #[error("not a crew record: {0}")]
    NotCrew(#[source] RecordError),
    /// The caller wants records to be validated, and the hold cannot.
    #[error("the lexicon of {collection} is not known here, so its records cannot be validated")]
    NotKnown {
        /// The collection.
        collection: Nsid,
    },
    /// A field is longer than the lexicon allows.
    #[error("{field} is too long")]
    TooLong {
        /// Which.
        field: &'static str,
    },
    /// The member has a crew record already, or the key is taken.
    #[error("there is a record already; put it under its key {rkey} instead")]
    Exists {
        /// Where it is.
        rkey: RecordKey,
    },
    /// A blob that the record refers to is not there.
    #[error(transparent)]
    Blobs(RepoBlobError),
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

/// One change of a record by hand.
#[derive(Clone, Debug)]
pub enum ManualWrite {
    /// A record that must be new.
    Create {
        /// Where.
        collection: Nsid,
        /// Under which key; `None` for the one that the collection has, which is a new TID where it has none.
        rkey: Option<RecordKey>,
        /// The record.
        value: Value,
    },
    /// A record that is new or not.
    Put {
        /// Where.
        collection: Nsid,
        /// Under which key.
        rkey: RecordKey,
        /// The record.
        value: Value,
    },
    /// A record that is deleted, if it is there.
    Delete {
        /// Where.
        collection: Nsid,
        /// Under which key.
        rkey: RecordKey,
    },
}

impl ManualWrite {
    fn collection(&self) -> &Nsid {
        match self {
            Self::Create { collection, .. }
            | Self::Put { collection, .. }
            | Self::Delete { collection, .. } => collection,
        }
    }

    fn value(&self) -> Option<&Value> {
        match self {
            Self::Create { value, .. } | Self::Put { value, .. } => Some(value),
            Self::Delete { .. } => None,
        }
    }
}

/// Whether a record was compared with its lexicon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    /// It is what its lexicon says.
    Valid,
    /// The hold does not know its lexicon.
    Unknown,
}

impl Validation {
    /// `valid` or `unknown`, as `validationStatus` spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Unknown => "unknown",
        }
    }
}

/// What came of writes by hand.
#[derive(Clone, Debug)]
pub struct Written {
    /// The commit they are in.
    pub outcome: WriteOutcome,
    /// One for each record that was created or put, in the order of the call.
    pub validations: Vec<Validation>,
}

/// The use cases of writing records by hand.
#[derive(Clone, Debug)]
pub struct Administration {
    repo: HoldRepo,
    blobs: RepoBlobs,
    turns: CrewTurns,
}

impl Administration {
    /// Works on the hold's repository and its blobs, and shares `turns` with everything else that writes crew records.
    #[must_use]
    pub fn new(repo: HoldRepo, blobs: RepoBlobs, turns: CrewTurns) -> Self {
        Self { repo, blobs, turns }
    }

    /// Does one write; `swap` may name its record too. See [`apply`](Self::apply).
    ///
    /// # Errors
    /// As there.
    pub async fn write(
        &self,
        grant: &Granted<CrewAdmin>,
        write: ManualWrite,
        must_be_known: bool,
        swap: Swap,
    ) -> Result<Written, AdministrationError> {
        let preconditions = match &write {
            ManualWrite::Create { collection, rkey, .. } => match rkey {
                Some(rkey) => swap.preconditions(collection, rkey),
                None => swap.commit.map(Precondition::Commit).into_iter().collect(),
            },
            ManualWrite::Put { collection, rkey, .. } | ManualWrite::Delete { collection, rkey } => {
                swap.preconditions(collection, rkey)
            }
        };
        self.apply(grant, vec![write], must_be_known, preconditions).await
    }

    /// Does all of `writes` in one commit, or none; calls that do not depend on each other may share it. A new crew record stands
    /// under its member's own key unless another one is named. `must_be_known`: records whose lexicon the hold does not know are
    /// refused.
    ///
    /// # Errors
    /// `Exists` when a member has a record; `NotManaged`, `NotCrew`, `TooLong`, `NotKnown`: it is none that may be written ·
    /// `Swapped` · `Repo`.
    pub async fn apply(
        &self,
        _: &Granted<CrewAdmin>,
        writes: Vec<ManualWrite>,
        must_be_known: bool,
        preconditions: Vec<Precondition>,
    ) -> Result<Written, AdministrationError> {
        let records = writes.iter().filter_map(ManualWrite::value);
        let kept = self.blobs.keep(records).await;
        let kept = kept.map_err(AdministrationError::Blobs)?;
        let Checked {
            writes,
            members,
            validations,
        } = Checked::of(writes, must_be_known)?;
        let turns = self.turns.take(members.added.keys()).await;
        members.check(&self.repo).await?;
        let repo = self.repo.clone();
        // The write goes on when its caller leaves, and what it was checked against must stay until it is done.
        let writing = tokio::spawn(async move {
            let outcome = repo.write_if(writes, preconditions).await;
            drop((turns, kept));
            outcome
        });
        match writing.await.unwrap_or(Err(RepoError::Closed)) {
            Err(RepoError::RecordExists { path }) => {
                let rkey = path.rsplit('/').next().unwrap_or_default();
                Err(AdministrationError::Exists {
                    rkey: rkey.parse().map_err(RepoError::from)?,
                })
            }
            outcome => Ok(Written {
                outcome: outcome?,
                validations,
            }),
        }
    }
}

/// The writes of one call, which may be written by hand as far as they tell by themselves.
#[derive(Debug, Default)]
struct Checked {
    writes: Vec<RecordWrite>,
    members: Members,
    validations: Vec<Validation>,
}

impl Checked {
    fn of(writes: Vec<ManualWrite>, must_be_known: bool) -> Result<Self, AdministrationError> {
        let mut checked = Self::default();
        for write in writes {
            let write = checked.take(write, must_be_known)?;
            checked.writes.push(write);
        }
        Ok(checked)
    }

    fn take(&mut self, write: ManualWrite, must_be_known: bool) -> Result<RecordWrite, AdministrationError> {
        let collection = write.collection().clone();
        let is_kept = match &write {
            // What the hold does not keep itself may go.
            ManualWrite::Delete { .. } => KEPT_BY_THE_HOLD.contains(&collection.as_str()),
            _ => collection.as_str() != nsid::HOLD_CREW && is_ours(&collection),
        };
        if is_kept {
            return Err(AdministrationError::NotManaged { collection });
        }
        let is_crew = collection.as_str() == nsid::HOLD_CREW;
        if !matches!(write, ManualWrite::Delete { .. }) {
            if must_be_known && !is_crew {
                return Err(AdministrationError::NotKnown { collection });
            }
            self.validations.push(if is_crew {
                Validation::Valid
            } else {
                Validation::Unknown
            });
        }
        Ok(match write {
            ManualWrite::Create { rkey, value, .. } if is_crew => {
                let (record, value) = crew_record(value)?;
                let rkey = match rkey {
                    Some(rkey) => rkey,
                    None => crew::rkey(&record.member).map_err(RepoError::from)?,
                };
                self.members.add(&record.member, &rkey, true)?;
                RecordWrite::Create {
                    collection,
                    rkey: Some(rkey),
                    value,
                }
            }
            ManualWrite::Put { rkey, value, .. } if is_crew => {
                let (record, value) = crew_record(value)?;
                self.members.add(&record.member, &rkey, false)?;
                RecordWrite::Put {
                    collection,
                    rkey,
                    value,
                }
            }
            ManualWrite::Create { rkey, value, .. } => RecordWrite::Create {
                collection,
                rkey,
                value,
            },
            ManualWrite::Put { rkey, value, .. } => RecordWrite::Put {
                collection,
                rkey,
                value,
            },
            ManualWrite::Delete { rkey, .. } => {
                if is_crew {
                    self.members.deleted.insert(rkey.clone());
                }
                RecordWrite::Delete { collection, rkey }
            }
        })
    }
}

/// The crew records of one call: a member has one.
#[derive(Debug, Default)]
struct Members {
    added: HashMap<Did, Added>,
    deleted: HashSet<RecordKey>,
}

#[derive(Debug)]
struct Added {
    rkey: RecordKey,
    /// The member must have no record at all.
    is_new: bool,
}

impl Members {
    /// Refuses a second record of a member in the call.
    fn add(&mut self, member: &Did, rkey: &RecordKey, is_new: bool) -> Result<(), AdministrationError> {
        let rkey = rkey.clone();
        match self.added.insert(member.clone(), Added { rkey, is_new }) {
            Some(first) => Err(AdministrationError::Exists { rkey: first.rkey }),
            None => Ok(()),
        }
    }

    /// Refuses a record beside one that a member has and that stays. The members' turns are the caller's.
    async fn check(&self, repo: &HoldRepo) -> Result<(), AdministrationError> {
        for (member, Added { rkey, is_new }) in &self.added {
            let stored = repo.crew_by_member(member).await?.map(|member| member.rkey);
            if let Some(stored) = stored
                && !self.deleted.contains(&stored)
                && (*is_new || stored != *rkey)
            {
                return Err(AdministrationError::Exists { rkey: stored });
            }
        }
        Ok(())
    }
}

/// Collections of this project, whose records mean something to holds and AppViews.
fn is_ours(collection: &Nsid) -> bool {
    collection.as_str().starts_with("io.atcr.")
}

/// The record, and the value that is written: with the fields, too, that this version does not know.
fn crew_record(mut value: Value) -> Result<(CrewRecord, Value), AdministrationError> {
    let record = CrewRecord::from_value(value.clone()).map_err(AdministrationError::NotCrew)?;
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
    let known = record.to_value().map_err(AdministrationError::NotCrew)?;
    if let (Value::Object(fields), Value::Object(known)) = (&mut value, known) {
        fields.extend(known);
    }
    Ok((record, value))
}
