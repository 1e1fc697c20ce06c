//! What is written to the index: batches of steps.
//!
//! A step either fits the state that the index has, or is told apart from it: known already, or behind a gap. So steps may come twice, in
//! any order, and after a crash: what is not written is found by the next catch-up.

use atcr_atproto::syntax::{Cid, Did, Handle, RecordKey, Tid};
use chrono::{DateTime, Utc};
use url::Url;

use crate::collection::Collection;
use crate::fact::RecordFact;

/// How it is known that the rows of an account are what the account says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proof {
    /// Read from the PDS that the account's DID document names.
    Owner,
    /// The commit's signature and the records' place in its tree were checked.
    Signed,
}

/// How much of an account is indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// Nothing: the account is known by name only.
    Unlisted,
    /// A part: it has more than is listed of one account, or its catch-up is under way. What is not found may exist all the same.
    Cut,
    /// All.
    Whole,
}

/// Whether an account is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is.
    Active,
    /// Its owner switched it off.
    Deactivated,
    /// Its server suspended it.
    Suspended,
    /// Its server took it down.
    TakenDown,
    /// It is gone.
    Deleted,
    /// Not served for another reason.
    Inactive,
}

impl Status {
    /// The status that a server names in `#account` and `getRepoStatus`.
    #[must_use]
    pub fn of(active: bool, status: Option<&str>) -> Self {
        match (active, status) {
            (true, _) => Self::Active,
            (false, Some("deactivated")) => Self::Deactivated,
            (false, Some("suspended")) => Self::Suspended,
            (false, Some("takendown")) => Self::TakenDown,
            (false, Some("deleted")) => Self::Deleted,
            (false, _) => Self::Inactive,
        }
    }
}

/// A change to one record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly every change is the large one")]
pub enum Change {
    /// The record is new or has a new value.
    Put(RecordFact),
    /// The record is gone.
    Delete {
        /// Its collection.
        collection: Collection,
        /// Its key.
        rkey: RecordKey,
    },
}

impl Change {
    /// The record that changes.
    #[must_use]
    pub fn record(&self) -> (Collection, &RecordKey) {
        match self {
            Self::Put(record) => (record.collection, &record.rkey),
            Self::Delete { collection, rkey } => (*collection, rkey),
        }
    }
}

/// An account's records, brought from one revision to a later one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordsStep {
    /// The account.
    pub did: Did,
    /// The revision that the rows must be of; `None`: the account must not be listed yet.
    pub base: Option<Tid>,
    /// The root of the account's tree at `base`, where the source says it: rows of another tree are behind a gap.
    pub base_data: Option<Cid>,
    /// The revision that they are of afterwards.
    pub rev: Tid,
    /// The root of the account's tree at `rev`, where it is known.
    pub data: Option<Cid>,
    /// How `changes` are known.
    pub proof: Proof,
    /// How much of the account is indexed afterwards: [`Coverage::Cut`] while further parts of the same catch-up follow, each with this
    /// revision as base. `None` leaves it as it is.
    pub coverage: Option<Coverage>,
    /// Every difference between the two revisions, in any order; of several for one record the last holds.
    pub changes: Vec<Change>,
}

/// An account's identity, as it was resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityStep {
    /// The account.
    pub did: Did,
    /// Its handle, confirmed in both directions.
    pub handle: Option<Handle>,
    /// Its PDS.
    pub pds: Option<Url>,
    /// The key that signs its commits, as multikey.
    pub signing_key: Option<String>,
}

/// An account's status, as its own PDS confirmed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusStep {
    /// The account.
    pub did: Did,
    /// Its status.
    pub status: Status,
    /// Since when. A step older than the last one is dropped.
    pub at: DateTime<Utc>,
}

/// A takedown by the labeler that this server trusts, or its reversal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakedownStep {
    /// The labeler.
    pub source: Did,
    /// The account.
    pub did: Did,
    /// One repository of it; `None` for the whole account.
    pub repository: Option<String>,
    /// False for the reversal.
    pub applies: bool,
    /// When it was labelled. A step older than the last one on the same subject is dropped.
    pub at: DateTime<Utc>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Records of an account change.
    Records(RecordsStep),
    /// An account's identity is known anew.
    Identity(IdentityStep),
    /// An account's status changes.
    Status(StatusStep),
    /// A subject is taken down, or no longer.
    Takedown(TakedownStep),
    /// The account's rows may be wrong: they count as cut until a catch-up has compared all of them.
    Distrust {
        /// The account.
        did: Did,
    },
    /// The account has reached this revision, says a source that proves nothing: the rows are not current until they reach it.
    HeadSeen {
        /// The account.
        did: Did,
        /// The revision.
        rev: Tid,
    },
}

/// The term of the process that follows a source: what is written in it is refused once another process has begun the next term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The source's name.
    pub source: String,
    /// The term; see [`crate::ports::IndexWriter::take_source`].
    pub epoch: i64,
    /// Where the source's cursor moves: everything up to here is in the index or in the work queue. `None` leaves it where it is.
    pub cursor: Option<i64>,
}

/// Steps that become visible together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// In the order in which they hold.
    pub steps: Vec<Step>,
    /// Accounts to work on, queued in the same transaction.
    pub work: Vec<QueuedWork>,
    /// The term in which it is written; `None` for what every process may write.
    pub fence: Option<Fence>,
}

impl Batch {
    /// A batch of one step.
    #[must_use]
    pub fn of(step: Step) -> Self {
        Self {
            steps: vec![step],
            ..Self::default()
        }
    }
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is written.
    Done,
    /// The index was at it or past it. Nothing is written.
    Known,
    /// The rows are not of the step's base: the account has to be caught up with. Nothing is written.
    Gap {
        /// The revision that the rows are of.
        rev: Option<Tid>,
    },
}

/// Why an account is worked on. The first lane goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// A person waits: a first look at the account, or a sign-in.
    Asked,
    /// Events were missed or hinted at.
    Gap,
    /// The account was found in the network.
    Discovered,
    /// Nothing is known to be wrong; it is compared all the same.
    Audit,
}

impl Lane {
    /// All lanes, the first one first.
    pub const ALL: [Self; 4] = [Self::Asked, Self::Gap, Self::Discovered, Self::Audit];
}

/// An account to work on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedWork {
    /// The account.
    pub did: Did,
    /// Why. An account that is queued keeps the lane that goes first.
    pub lane: Lane,
    /// Not before this. An account that is queued keeps the earlier time; one that waits after a failure keeps that time, unless it is
    /// [`Lane::Asked`] for.
    pub due: DateTime<Utc>,
}
