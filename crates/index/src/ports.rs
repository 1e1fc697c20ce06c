//! The ports of the index. One adapter per database implements all of them; a suite of tests holds for each.
//!
//! | For | Port |
//! |---|---|
//! | pages, feeds, badges, the JSON API | [`IndexReader`], [`SearchIndex`] |
//! | pulls | [`PullIndex`] |
//! | ingest, our own writes | [`IndexWriter`], [`WorkQueue`], [`DiscoveryLog`], [`ConfigLog`], [`Leases`] |
//! | `index verify`, `index stats`, tests | [`IndexAudit`] |
//!
//! # Pages from it
//! A page asks [`IndexReader::account`] for the owner and [`IndexReader::repository`] for the repository, and everything else by the
//! [`RepositoryId`] that it got. What is hidden (an account that is not active, what the labeler took down) is `None` in both, and in no list;
//! [`IndexReader::account`] alone shows an account that is hidden, so that a page can say why.
//! Lists are pages by key: [`PageRequest`]. Each query costs what it returns, at any depth and at any size of the table, but for a
//! tag filter with a text, which reads the tags of one repository.
//!
//! `None` and an empty list mean "does not exist" only where the owner's [`Coverage`](crate::change::Coverage) is whole. Else the answer is
//! "not known yet": ask the owner's PDS, and queue the account ([`WorkQueue::enqueue`], lane `Asked`).

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::syntax::{Cid, Did, Handle, RecordKey, Tid};
use atcr_oci::Digest;
use chrono::{DateTime, NaiveDate, Utc};

use crate::change::{Applied, Batch, Fence, Lane, QueuedWork};
use crate::collection::Collection;
use crate::dump::DumpLine;
use crate::error::IndexError;
use crate::fact::{ConfigFact, Kind};
use crate::page::{Page, PageRequest};
use crate::search::{Candidate, Query};
use crate::turn::ConfigTurn;
use crate::view::{
    AccountView, HoldView, IndexStats, ListedManifest, ManifestView, MembershipView, PullDay, PulledManifest,
    RepositoryCard, RepositoryHold, RepositoryId, RepositoryView, ScanView, Standing, StarView, TagFilter,
    TagMove, TagView,
};

/// Reads for pages. Every answer is of one moment.
#[async_trait]
pub trait IndexReader: Send + Sync {
    // Accounts.

    /// The account, hidden or not; `None` when the index has never heard of it.
    async fn account(&self, did: &Did) -> Result<Option<AccountView>, IndexError>;

    /// The account that has the handle now, as far as the index knows. Identity resolution is the authority; this is for lists and
    /// redirects.
    async fn account_by_handle(&self, handle: &Handle) -> Result<Option<AccountView>, IndexError>;

    /// The account that had the handle last and has another one now: pages redirect there.
    async fn former_owner(&self, handle: &Handle) -> Result<Option<Did>, IndexError>;

    /// Whether the labeler took down the account or its repository. It holds for what is not indexed, too.
    async fn is_taken_down(&self, did: &Did, repository: &str) -> Result<bool, IndexError>;

    // Lists of repositories.

    /// Repositories of all accounts, the one pushed to last first. For the home page.
    async fn recently_pushed(&self, page: &PageRequest) -> Result<Page<RepositoryCard>, IndexError>;

    /// Repositories of all accounts that have stars, the one with the most first. For the home page.
    async fn most_starred(&self, page: &PageRequest) -> Result<Page<RepositoryCard>, IndexError>;

    /// The account's repositories, the one pushed to last first. Empty for a hidden account.
    async fn repositories_of(
        &self,
        did: &Did,
        page: &PageRequest,
    ) -> Result<Page<RepositoryCard>, IndexError>;

    /// The repositories that the account starred, the last one first. Those that do not exist (any more) or are hidden are left out, so
    /// a page may be shorter than asked for.
    async fn starred_by(&self, did: &Did, page: &PageRequest) -> Result<Page<RepositoryCard>, IndexError>;

    /// At most `limit` repositories of all accounts behind `after`, in the order of their numbers. For site maps.
    async fn all_repositories(
        &self,
        after: RepositoryId,
        limit: u32,
    ) -> Result<Vec<RepositoryCard>, IndexError>;

    /// At most `limit` repositories that are named exactly so, of any account, most pulled first. For a missing page's suggestions.
    async fn repositories_named(&self, name: &str, limit: u32) -> Result<Vec<RepositoryCard>, IndexError>;

    // One repository.

    /// The repository; `None` when it is hidden or has neither manifests nor tags.
    async fn repository(&self, did: &Did, name: &str) -> Result<Option<RepositoryView>, IndexError>;

    /// Tags of the repository, in the order of `filter`.
    async fn tags(
        &self,
        repository: RepositoryId,
        filter: &TagFilter,
        page: &PageRequest,
    ) -> Result<Page<TagView>, IndexError>;

    /// How many tags `filter` lets through.
    async fn count_tags(&self, repository: RepositoryId, filter: &TagFilter) -> Result<u64, IndexError>;

    /// One tag. Of several records for one tag the one moved last counts.
    async fn tag(&self, repository: RepositoryId, name: &str) -> Result<Option<TagView>, IndexError>;

    /// Moves of the repository's tags as the index saw them, the last one first; of one tag only with `tag`.
    async fn tag_moves(
        &self,
        repository: RepositoryId,
        tag: Option<&str>,
        page: &PageRequest,
    ) -> Result<Page<TagMove>, IndexError>;

    /// Manifests of the repository, the newest record first; of one kind only with `kind`.
    async fn manifests(
        &self,
        repository: RepositoryId,
        kind: Option<Kind>,
        page: &PageRequest,
    ) -> Result<Page<ListedManifest>, IndexError>;

    /// One manifest of the repository, with children, parents and tags.
    async fn manifest(
        &self,
        repository: RepositoryId,
        digest: &Digest,
    ) -> Result<Option<ManifestView>, IndexError>;

    /// Manifests of the repository that are about `subject`, in the order of their digests.
    async fn referrers(
        &self,
        repository: RepositoryId,
        subject: &Digest,
        page: &PageRequest,
    ) -> Result<Page<ListedManifest>, IndexError>;

    /// All manifests of the repository that are about another one, in the order of subjects and digests.
    async fn all_referrers(
        &self,
        repository: RepositoryId,
        page: &PageRequest,
    ) -> Result<Page<ListedManifest>, IndexError>;

    /// The holds that the repository's manifests name, the one with the most manifests first, at most 32.
    async fn holds_of(&self, repository: RepositoryId) -> Result<Vec<RepositoryHold>, IndexError>;

    /// Pulls by day, from `from` to `to`, both included, growing; days without pulls are left out. At most 400.
    async fn pulls_by_day(
        &self,
        repository: RepositoryId,
        from: NaiveDate,
        to: NaiveDate,
    ) -> Result<Vec<PullDay>, IndexError>;

    // Stars.

    /// Who starred the repository, the last star first. One row per account.
    async fn stars_of(
        &self,
        did: &Did,
        repository: &str,
        page: &PageRequest,
    ) -> Result<Page<StarView>, IndexError>;

    /// The keys of the star records that `starrer` has for the repository: empty when it is not starred. Keys are free, so there may be
    /// several; removing the star deletes all.
    async fn stars_given(
        &self,
        starrer: &Did,
        did: &Did,
        repository: &str,
    ) -> Result<Vec<RecordKey>, IndexError>;

    // Holds and scans.

    /// The hold, when it has a captain record.
    async fn hold(&self, did: &Did) -> Result<Option<HoldView>, IndexError>;

    /// Holds that every account may join, the oldest first, at most `limit`.
    async fn open_holds(&self, limit: u32) -> Result<Vec<HoldView>, IndexError>;

    /// Holds where the account is captain or member, at most 100.
    async fn memberships(&self, did: &Did) -> Result<Vec<MembershipView>, IndexError>;

    /// Results of scans of the account's manifest, the last one first, at most 8. A hold's word counts only if a manifest of the account
    /// with this digest names the hold.
    async fn scans(&self, did: &Did, digest: &Digest) -> Result<Vec<ScanView>, IndexError>;
}

/// Reads for pulls: few columns, by keys alone. What is hidden is not left out: [`Standing`] says it.
#[async_trait]
pub trait PullIndex: Send + Sync {
    /// The account; `None` before its first listing. Rows read after it are of its revision or of a later one.
    async fn standing(&self, did: &Did) -> Result<Option<Standing>, IndexError>;

    /// What the tag points at. Of several records for one tag the one under its own key counts, else the one moved last.
    async fn tag_target(&self, did: &Did, repository: &str, tag: &str) -> Result<Option<Digest>, IndexError>;

    /// The manifest of the repository. Of several records for one digest the one that all repositories share counts first.
    async fn pulled_manifest(
        &self,
        did: &Did,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<PulledManifest>, IndexError>;
}

/// Search.
#[async_trait]
pub trait SearchIndex: Send + Sync {
    /// At most some hundreds of repositories that may be meant by `query`, in no order. [`crate::search::ranked`] orders them.
    ///
    /// # Errors
    /// [`IndexError::Busy`] when too many searches are running.
    async fn candidates(&self, query: &Query) -> Result<Vec<Candidate>, IndexError>;
}

/// A record that the index has, by its CID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownRecord {
    /// Its collection.
    pub collection: Collection,
    /// Its key.
    pub rkey: RecordKey,
    /// The CID of its value.
    pub cid: Cid,
}

/// Writes.
#[async_trait]
pub trait IndexWriter: Send + Sync {
    /// Writes a batch in one transaction: rows, totals, search text, history, queued work and the cursor. Returns one answer for each
    /// step, in order. `now` bounds the times that records claim.
    ///
    /// When it returns, every reader of this process sees the new state.
    ///
    /// # Errors
    /// [`IndexError::Fenced`] when another process has taken the source over. Nothing is written after any error.
    ///
    /// # Cancel safety
    /// Dropped, the batch is written as a whole or not at all.
    async fn apply(&self, batch: &Batch, now: DateTime<Utc>) -> Result<Vec<Applied>, IndexError>;

    /// All records of the account in one collection that the index has, in the order of their keys. A catch-up compares them with what
    /// the PDS lists. It costs what it returns: about 100 bytes a record.
    async fn known_records(&self, did: &Did, collection: Collection) -> Result<Vec<KnownRecord>, IndexError>;

    /// The revisions of those of `dids` that are indexed.
    async fn revisions(&self, dids: &[Did]) -> Result<HashMap<Did, Tid>, IndexError>;

    /// Begins a new term for a source and returns it with the source's cursor (`None`: it was never followed). The process that held it
    /// before can write nothing more in its own term.
    async fn take_source(&self, source: &str) -> Result<(i64, Option<i64>), IndexError>;
}

/// A queued account, claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedWork {
    /// The account.
    pub did: Did,
    /// Why.
    pub lane: Lane,
    /// Attempts that failed.
    pub attempts: u32,
}

/// Accounts that have to be caught up with. It survives a crash.
#[async_trait]
pub trait WorkQueue: Send + Sync {
    /// Queues accounts; see [`QueuedWork`]. An account that is claimed meanwhile is due again after it.
    async fn enqueue(&self, work: &[QueuedWork]) -> Result<(), IndexError>;

    /// At most `limit` accounts of `lanes` that are due, first lane first, claimed until `until`: no other caller gets them before that.
    async fn claim(
        &self,
        lanes: &[Lane],
        limit: u32,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Vec<ClaimedWork>, IndexError>;

    /// The account is done, unless it was queued again since it was claimed.
    async fn finish(&self, did: &Did) -> Result<(), IndexError>;

    /// The account failed; it is due again at `due`.
    async fn retry(&self, did: &Did, due: DateTime<Utc>) -> Result<(), IndexError>;

    /// Queues every account that is indexed in `lane`: something may have been missed of any of them. Returns how many there are. It
    /// costs a row each.
    async fn enqueue_all(&self, lane: Lane, due: DateTime<Utc>) -> Result<u64, IndexError>;
}

/// How far a list of the network's accounts has been read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiscoveryProgress {
    /// Where its next page begins, as its server named it; `None` at the start of the list.
    pub cursor: Option<String>,
    /// When its end was reached last.
    pub finished_at: Option<DateTime<Utc>>,
    /// Accounts of the pages since its start.
    pub accounts: u64,
}

/// An account in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundAccount {
    /// The account.
    pub did: Did,
    /// Its revision, where the list says it.
    pub rev: Option<Tid>,
}

/// Lists of the network's accounts that are read in parts. It survives a crash.
#[async_trait]
pub trait DiscoveryLog: Send + Sync {
    /// How far `list` has been read.
    async fn discovery(&self, list: &str) -> Result<DiscoveryProgress, IndexError>;

    /// Queues the accounts of a page of `list`, and moves its position to `next` (`None`: the page was the last one), both or nothing.
    /// Those that are not indexed go to the lane `Discovered`, those that are to `Audit`, unless they are at the revision that the list
    /// has. Returns how many are not indexed.
    ///
    /// # Errors
    /// [`IndexError::Fenced`] when the term of `fence` is over. Nothing is written after any error.
    async fn discovered(
        &self,
        list: &str,
        accounts: &[FoundAccount],
        next: Option<&str>,
        fence: Option<&Fence>,
        now: DateTime<Utc>,
    ) -> Result<u64, IndexError>;
}

/// A configuration that a repository's card waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedConfig {
    /// The repository.
    pub repository: RepositoryId,
    /// Whose it is.
    pub did: Did,
    /// Its name.
    pub name: String,
    /// The configuration.
    pub digest: Digest,
    /// Attempts that failed.
    pub attempts: u32,
    /// The hold of the image that the card shows.
    pub hold: Option<Did>,
    /// That hold says that it shows its images to its members only.
    pub is_private: bool,
}

/// What configurations of images say. They are blobs in holds, so they are read after the manifests that name them, and only for the
/// images that cards show.
#[async_trait]
pub trait ConfigLog: Send + Sync {
    /// Configurations that cards wait for and that are due, [a few](crate::turn::OF_ACCOUNT) of each account behind `turn`: at most `limit` that were never tried,
    /// then at most a quarter as many that could not be read. Returns with them whose turn it is then.
    async fn wanted_configs(
        &self,
        turn: ConfigTurn,
        limit: u32,
        now: DateTime<Utc>,
    ) -> Result<(Vec<WantedConfig>, ConfigTurn), IndexError>;

    /// Keeps what a configuration says. The cards that wait for it show it.
    async fn configured(
        &self,
        digest: &Digest,
        says: &ConfigFact,
        now: DateTime<Utc>,
    ) -> Result<(), IndexError>;

    /// It could not be read. It is due again at `due`, unless the repository's card shows another image by now.
    async fn put_off_config(&self, wanted: &WantedConfig, due: DateTime<Utc>) -> Result<(), IndexError>;

    /// Looks through at most `limit` configurations behind `after` and forgets those that no card shows, or only cards of images in holds
    /// that say by now that they are private. Returns the last one that it looked at; `None` at the end.
    async fn forget_configs(&self, after: Option<&Digest>, limit: u32) -> Result<Option<Digest>, IndexError>;

    /// Makes at most `limit` cards anew that show what was forgotten, or were made before configurations were read. Returns how many.
    async fn renew_cards(&self, limit: u32, now: DateTime<Utc>) -> Result<u64, IndexError>;
}

/// Which of several processes on one database does what only one has to.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Takes the lease, or renews it, for `time` from now; false when another holder has it. Nobody gets it before its time is over, so
    /// who does not renew it in time has lost it, whether it heard of that or not.
    async fn hold_lease(&self, name: &str, holder: &str, time: Duration) -> Result<bool, IndexError>;

    /// Leaves the lease to others at once, if `holder` has it.
    async fn give_up_lease(&self, name: &str, holder: &str) -> Result<(), IndexError>;
}

/// A total that does not agree with the rows it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// `repository`, `account`, …
    pub table: &'static str,
    /// The row's number.
    pub id: i64,
    /// The column.
    pub column: &'static str,
    /// What is stored.
    pub stored: i64,
    /// What the rows give.
    pub counted: i64,
}

/// Checks of the whole index. Each reads all of it, but [`IndexAudit::queued`].
#[async_trait]
pub trait IndexAudit: Send + Sync {
    /// Hands every line of the canonical dump to `line`, sorted as [`DumpLine`]s are.
    async fn dump(&self, line: &mut (dyn FnMut(DumpLine) + Send)) -> Result<(), IndexError>;

    /// Every total that does not agree with its rows, at most 1,000.
    async fn recount(&self) -> Result<Vec<Mismatch>, IndexError>;

    /// At most `limit` accounts that are known, behind `after`, in the order of their DIDs.
    async fn dids(&self, after: Option<&Did>, limit: u32) -> Result<Vec<Did>, IndexError>;

    /// How many accounts are queued, counted up to `most`.
    async fn queued(&self, most: u32) -> Result<u64, IndexError>;

    /// How much is indexed.
    async fn stats(&self) -> Result<IndexStats, IndexError>;
}
