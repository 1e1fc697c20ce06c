//! What the collection asks of its tables, of the accounts that name blobs, and of the time that passes.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::time::Instant;

use async_trait::async_trait;
use atcr_atproto::syntax::{Cid, Did, Tid};
use atcr_oci::Digest;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::report::{Report, RunState};
use crate::blobs::{SessionsError, StoreError};

/// Time that passes while the process runs, whatever becomes of the host's clock.
pub trait Ticks: fmt::Debug + Send + Sync {
    /// Seconds since some beginning.
    fn seconds(&self) -> u64;
}

/// [`Ticks`] of the host's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct ProcessTicks(Instant);

impl ProcessTicks {
    /// Ticks that begin now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Ticks for ProcessTicks {
    fn seconds(&self) -> u64 {
        self.0.elapsed().as_secs()
    }
}

/// A word beside the database that changes with each save of the uptime: it shows that the database alone was put back from a copy.
#[async_trait]
pub trait SaveMark: fmt::Debug + Send + Sync {
    /// The word; `None` if there is none.
    ///
    /// # Errors
    /// The place's, as below.
    async fn read(&self) -> io::Result<Option<String>>;

    /// Another word. Survives a power failure.
    async fn write(&self, mark: &str) -> io::Result<()>;
}

/// Whose the store is. Two holds that collect in one store would remove each other's blobs.
#[async_trait]
pub trait StoreOwner: fmt::Debug + Send + Sync {
    /// Makes the store this hold's if it is nobody's; the DID of another hold if it is that one's.
    ///
    /// # Errors
    /// The store's.
    async fn claim(&self) -> Result<Option<String>, StoreError>;
}

/// A store that nobody else can have.
#[async_trait]
impl StoreOwner for () {
    async fn claim(&self) -> Result<Option<String>, StoreError> {
        Ok(None)
    }
}

/// Why the manifests of an account could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unreadable {
    /// Its server, or the directory, says that the account is not there: deleted, deactivated or taken down.
    #[error("the account is not there: {0}")]
    Gone(String),
    /// No usable answer.
    #[error("{0}")]
    Failed(String),
}

/// A manifest as its account's list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedManifest {
    /// The record's key.
    pub rkey: String,
    /// The image name without the owner; empty if the record does not say it.
    pub repository: String,
    /// The hash of the record: as long as it is the same, so is what it and its bytes name.
    pub record: Digest,
    /// Every digest in the record.
    pub digests: Vec<Digest>,
    /// Where the manifest's bytes are, if the record says it.
    pub bytes: Option<Cid>,
}

/// Some manifests of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManifestPage {
    /// The manifests.
    pub manifests: Vec<ListedManifest>,
    /// Asks for the next page; `None` at the end.
    pub cursor: Option<String>,
}

/// The accounts of the network, whose records say what is needed.
#[async_trait]
pub trait AccountReader: fmt::Debug + Send + Sync {
    /// The revision that the account is at.
    ///
    /// # Errors
    /// [`Unreadable`], as in every method here.
    async fn rev(&self, did: &Did) -> Result<Tid, Unreadable>;

    /// A page of its manifests.
    async fn page(&self, did: &Did, cursor: Option<&str>) -> Result<ManifestPage, Unreadable>;

    /// The bytes of a manifest, which hash to `cid`.
    async fn bytes(&self, did: &Did, cid: &Cid) -> Result<Bytes, Unreadable>;

    /// Whether the account proves, with its signature, that it has no manifest `rkey` at the revision `not_before` or a later one.
    async fn is_absent(&self, did: &Did, rkey: &str, not_before: &Tid) -> Result<bool, Unreadable>;
}

/// What is known of an account that may name blobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its row.
    pub id: i64,
    /// The account.
    pub did: Did,
    /// The revision at which all its manifests were read last.
    pub rev: Option<Tid>,
    /// The uptime when that reading, or the last one that found it unchanged, began.
    pub read_since: Option<u64>,
    /// How the last reading went.
    pub state: AccountState,
    /// The uptime since which it is said not to be there.
    pub gone_since: Option<u64>,
    /// Why it was not read.
    pub reason: Option<String>,
    /// It is a member, or was one, and was not read whole since it could have named what was promised to it.
    pub may_push: bool,
    /// It sent a blob, told of a manifest, was promised a blob, or has layer records: it may name something.
    pub pushed: bool,
    /// It asked to be erased, and did not come again.
    pub erased: bool,
    /// The captain said that it needs nothing any more.
    pub released: bool,
    /// The captain said that what it lacks is really gone.
    pub accepted: bool,
}

/// What is known of a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownManifest {
    /// The hash of the record all of whose names are known.
    pub record: Option<Digest>,
    /// Of which repository it is, as far as the account's list or else a notice said.
    pub repository: String,
}

/// How the last reading of an account went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountState {
    /// None was tried; what its layer records name was not noted either.
    New,
    /// None was tried.
    Unread,
    /// All its manifests were read.
    Read,
    /// It gave no usable answer.
    Unreadable,
    /// It is said not to be there.
    Gone,
    /// It went back to an older state, or lost so much that the captain has to say that this is true.
    Frozen,
}

/// The uptime as it was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedClock {
    /// Seconds.
    pub uptime: u64,
    /// The machine's boot.
    pub boot: String,
    /// The repository's head.
    pub head: String,
    /// The word that is beside the database as well.
    pub mark: String,
}

/// What is to become of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// It is condemned, and something names it.
    Lift,
    /// It is condemned, and it is too early to remove it.
    Wait,
    /// Nothing names it.
    Condemn,
    /// It was condemned long enough ago.
    Delete,
}

impl Action {
    /// As it is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lift => "lift",
            Self::Wait => "wait",
            Self::Condemn => "condemn",
            Self::Delete => "delete",
        }
    }
}

/// A blob in a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Which.
    pub digest: Digest,
    /// What is to become of it.
    pub action: Action,
    /// Length in bytes, both layouts together.
    pub bytes: u64,
    /// Since when it is condemned.
    pub since: Option<u64>,
    /// Who named it last, if that is known.
    pub owner: Option<Did>,
    /// What became of it.
    pub outcome: Option<String>,
}

/// A run as it is kept.
#[derive(Clone, Debug)]
pub struct StoredRun {
    /// Its number.
    pub id: i64,
    /// When it began.
    pub began_at: DateTime<Utc>,
    /// The uptime when it began to read accounts.
    pub since: u64,
    /// How far it is.
    pub state: RunState,
    /// What it has done.
    pub report: Report,
}

/// The table of accounts, and of what their manifests name. Every method fails with the table's error.
#[async_trait]
#[expect(
    missing_docs,
    reason = "names of errors in every method would repeat the line above"
)]
pub trait AccountTable: fmt::Debug + Send + Sync {
    /// Makes sure that the accounts are known.
    async fn note_accounts(&self, dids: &[Did]) -> Result<(), SessionsError>;
    /// Notes that the accounts may push: no erasure of before counts any more, and no release either if they have come `anew`. Survives a
    /// power failure.
    async fn note_members(&self, dids: &[Did], anew: bool) -> Result<(), SessionsError>;
    /// Notes that an account, if it is known, has pushed, or was promised something.
    async fn mark_pushed(&self, did: &Did) -> Result<bool, SessionsError>;
    /// Notes the uptime `now` for accounts that might push and are not among `members`, unless they were seen to have left before.
    async fn note_leavers(&self, members: &[Did], now: u64) -> Result<(), SessionsError>;
    /// An account that was seen to have left before the uptime `left_before` may not push any more.
    async fn settle_leaver(&self, id: i64, left_before: u64) -> Result<(), SessionsError>;
    /// Notes who asked to be erased and did not come again: what only they name may go.
    async fn note_erased(&self, members: &[Did]) -> Result<(), SessionsError>;
    async fn accounts(&self) -> Result<Vec<Account>, SessionsError>;
    async fn account(&self, did: &Did) -> Result<Option<Account>, SessionsError>;
    /// Notes how a reading went; with `read_since` all manifests were listed, with `rev` they are all that the account has.
    async fn account_outcome(
        &self,
        id: i64,
        state: AccountState,
        rev: Option<&Tid>,
        read_since: Option<u64>,
        gone_since: Option<u64>,
        reason: Option<&str>,
    ) -> Result<(), SessionsError>;
    /// What the captain says of an account.
    async fn judge_account(&self, did: &Did, released: bool, accepted: bool) -> Result<bool, SessionsError>;

    /// The manifests of an account by key.
    async fn manifests(&self, account: i64) -> Result<HashMap<String, KnownManifest>, SessionsError>;
    /// How much the manifests of an account name.
    async fn count_names(&self, account: i64) -> Result<u64, SessionsError>;
    /// Writes down of which repositories the account's list says that manifests are.
    async fn set_repositories(&self, account: i64, said: &[(String, String)]) -> Result<(), SessionsError>;
    /// Adds names to a manifest, which is made when it is missing. With `record` they are all of that record, and the repository is the
    /// account's word; else a manifest that is there keeps the one that it has. One that was erased counts again if there is no record or
    /// another one than before: it was pushed again. Without `record` its account has come again as well.
    async fn add_names(
        &self,
        account: i64,
        rkey: &str,
        repository: &str,
        digests: &[Digest],
        record: Option<&Digest>,
    ) -> Result<(), SessionsError>;
    /// Forgets a manifest and its names.
    async fn drop_manifest(&self, account: i64, did: &Did, rkey: &str) -> Result<(), SessionsError>;
    /// Those of `digests` that a manifest of an account names which is neither released nor erased.
    async fn named(&self, digests: &[Digest]) -> Result<HashSet<Digest>, SessionsError>;
    /// Those of `digests` that an upload which is remembered has brought or will bring.
    async fn uploaded(&self, digests: &[Digest]) -> Result<HashSet<Digest>, SessionsError>;
    /// Who named each last.
    async fn former_owners(&self, digests: &[Digest]) -> Result<HashMap<Digest, Did>, SessionsError>;
    /// The key of a manifest in a repository of an account that names the digest.
    async fn naming_manifest(
        &self,
        did: &Did,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<String>, SessionsError>;
}

/// The collection's other tables. Every method fails with the table's error.
#[async_trait]
#[expect(
    missing_docs,
    reason = "names of errors in every method would repeat the line above"
)]
pub trait GcTable: AccountTable {
    async fn clock(&self) -> Result<Option<SavedClock>, SessionsError>;
    async fn save_clock(&self, clock: &SavedClock) -> Result<(), SessionsError>;
    /// Makes nothing younger than `uptime`: a process that was killed may have written down times that were not saved.
    async fn bound_ages(&self, uptime: u64) -> Result<(), SessionsError>;
    /// Makes every condemnation and every reading as young as can be.
    async fn restart_ages(&self, uptime: u64) -> Result<(), SessionsError>;

    async fn begin_run(&self, now: DateTime<Utc>, since: u64) -> Result<i64, SessionsError>;
    async fn save_run(&self, id: i64, state: RunState, report: &Report) -> Result<(), SessionsError>;
    async fn find_run(&self, id: i64) -> Result<Option<StoredRun>, SessionsError>;
    /// The newest runs first.
    async fn runs(&self, limit: u32) -> Result<Vec<StoredRun>, SessionsError>;
    /// Forgets the plans of all runs but the newest `keep`.
    async fn forget_plans(&self, keep: u32) -> Result<(), SessionsError>;

    /// Forgets who named blobs that are not in the plan of the run and not about to be.
    async fn forget_former_owners(&self, run: i64) -> Result<(), SessionsError>;

    async fn clear_plan(&self, run: i64) -> Result<(), SessionsError>;
    /// Adds items; one that is there grows by the bytes.
    async fn add_items(&self, run: i64, items: &[Item]) -> Result<(), SessionsError>;
    /// Items in the order of their digests, from after `after`; with `open`, only those without an outcome.
    async fn items(
        &self,
        run: i64,
        action: Option<Action>,
        open: bool,
        after: Option<&Digest>,
        limit: u32,
    ) -> Result<Vec<Item>, SessionsError>;
    async fn set_outcomes(&self, run: i64, outcomes: &[(Digest, String)]) -> Result<(), SessionsError>;
    /// Those of `digests` that are in the plan.
    async fn planned(&self, run: i64, digests: &[Digest]) -> Result<HashSet<Digest>, SessionsError>;

    /// Takes a blob away from a repository. Survives a power failure.
    /// False if `limit` of the account's are taken away already.
    async fn unlink(
        &self,
        did: &Did,
        repository: &str,
        digest: &Digest,
        limit: u32,
    ) -> Result<bool, SessionsError>;
    /// Gives it back; without `repository`, to all of the account's.
    async fn link(&self, did: &Did, repository: Option<&str>, digest: &Digest) -> Result<(), SessionsError>;
    async fn is_unlinked(&self, did: &Did, repository: &str, digest: &Digest) -> Result<bool, SessionsError>;
    /// Forgets what was said of blobs that are gone.
    async fn forget_links(&self, digests: &[Digest]) -> Result<(), SessionsError>;
}
