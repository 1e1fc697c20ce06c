//! What readers of the index get. All of it may be shown to everyone: accounts and repositories that are hidden are not found.

use std::collections::BTreeMap;

use atcr_atproto::syntax::{Cid, Did, Handle, RecordKey, Tid};
use atcr_oci::Digest;
use chrono::{DateTime, NaiveDate, Utc};

use crate::change::{Coverage, Proof, Status};
use crate::fact::{Kind, PlatformFact, Severities};

/// Most tags that a row of a list has of what it is about: more than a page names, so that it can say how many more there are.
pub const MAX_TAGS_IN_LISTS: usize = 100;

/// Most tags that one manifest has in its view.
pub const MAX_TAGS_OF_MANIFEST: usize = 250;

/// A repository's number in this database. It stays the same for as long as the database lives, rebuilt or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryId(pub i64);

/// A manifest record's number in this database, good for one chain of queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ManifestId(pub i64);

/// An account, as a card or a row names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerView {
    /// Its DID.
    pub did: Did,
    /// Its handle; `None` while none is confirmed: show the DID.
    pub handle: Option<Handle>,
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountView {
    /// Who.
    pub owner: OwnerView,
    /// Its PDS.
    pub pds: Option<String>,
    /// Whether it is served. Anything but active hides its repositories.
    pub status: Status,
    /// The whole account was taken down by the labeler.
    pub is_taken_down: bool,
    /// The revision that its rows are of; `None` before the first listing.
    pub rev: Option<Tid>,
    /// Whether its rows are all there is. Only of a whole account may a page say that something does not exist.
    pub coverage: Coverage,
    /// Repositories that are shown.
    pub repositories: u64,
    /// Stars that it gave.
    pub stars_given: u64,
    /// The hold of its pushes, from its own settings.
    pub default_hold: Option<Did>,
}

impl AccountView {
    /// Whether its repositories are shown and pullable.
    #[must_use]
    pub fn is_visible(&self) -> bool {
        self.status == Status::Active && !self.is_taken_down
    }
}

/// What a pull has to know of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The revision that its rows are of.
    pub rev: Tid,
    /// A later revision was heard of, and the rows have not reached it.
    pub is_behind: bool,
    /// Whether it is served.
    pub status: Status,
    /// The whole account was taken down by the labeler.
    pub is_taken_down: bool,
}

impl Standing {
    /// Whether its repositories are shown and pullable.
    #[must_use]
    pub fn is_visible(&self) -> bool {
        self.status == Status::Active && !self.is_taken_down
    }
}

/// A manifest of a repository, as a pull needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PulledManifest {
    /// Its media type.
    pub media_type: String,
    /// Its bytes at the owner's PDS; `None` when the record does not name them.
    pub blob: Option<Cid>,
    /// The hold that has its blobs.
    pub hold: Option<Did>,
    /// The key of its record, where that does not follow from the digest.
    pub odd_rkey: Option<RecordKey>,
}

/// A picture: a blob at the owner's PDS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// The blob.
    pub cid: Cid,
    /// The media type that the record claims.
    pub media_type: String,
}

/// A repository as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryCard {
    /// Its number, for further queries.
    pub id: RepositoryId,
    /// Whose it is.
    pub owner: OwnerView,
    /// Its name, without the owner.
    pub name: String,
    /// The title in the annotations of what was tagged last; empty when there is none.
    pub title: String,
    /// One line about it, at most 300 characters: the description in the annotations, else the first words of the page. May be empty.
    pub summary: String,
    /// The licence that the annotations claim, as SPDX expression; empty when there is none.
    pub licence: String,
    /// The owner's picture for it.
    pub picture: Option<Picture>,
    /// What was tagged last; `None` when only untagged manifests are there and none is for pulling.
    pub kind: Option<Kind>,
    /// The tag that was moved last, without fallback tags.
    pub newest_tag: Option<String>,
    /// Platforms of what was tagged last, `linux/amd64` first; empty for what is no index.
    pub platforms: Vec<String>,
    /// When a tag or a manifest last came: as claimed, but never later than we saw it.
    pub pushed_at: DateTime<Utc>,
    /// Tags, without fallback tags.
    pub tags: u64,
    /// Stars of active accounts.
    pub stars: u64,
    /// Pulls that the holds of its manifests counted.
    pub pulls: u64,
}

/// A repository as its own page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryView {
    /// What its card shows.
    pub card: RepositoryCard,
    /// The owner's text, Markdown, untrusted; `None` without a page record.
    pub readme: Option<String>,
    /// Annotations of what was tagged last, untrusted (`org.opencontainers.image.source`, …).
    pub annotations: BTreeMap<String, String>,
    /// Manifest records.
    pub manifests: u64,
    /// Tags that stand for a list of referrers (`sha256-…`), left out of every list of tags.
    pub fallback_tags: u64,
    /// Manifests that name another one of the repository as their subject.
    pub referrers: u64,
    /// Pushes that the holds counted.
    pub pushes: u64,
    /// The last pull that a hold counted.
    pub last_pull: Option<DateTime<Utc>>,
    /// The tag for the pull command: `latest` if there is one, else the highest release, else the one moved last.
    pub pull_tag: Option<String>,
    /// The owner's coverage: a list of a cut account may be incomplete.
    pub coverage: Coverage,
    /// The revision that the rows are of.
    pub rev: Option<Tid>,
}

/// A child of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildView {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Length of its own bytes.
    pub size: u64,
    /// What it runs on.
    pub platform: Option<PlatformFact>,
    /// It says how another child was made, and is no image.
    pub is_attestation: bool,
    /// Bytes of its config and layers; `None` when the account has no record of it.
    pub content_size: Option<u64>,
}

/// A manifest as a row shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestSummary {
    /// Its number, for further queries.
    pub id: ManifestId,
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its artifact type, where the record names one.
    pub artifact_type: Option<String>,
    /// What it is.
    pub kind: Kind,
    /// Length of its own bytes, where known.
    pub size: Option<u64>,
    /// Bytes of its config and layers. 0 for an index: see its children.
    pub content_size: u64,
    /// Number of layers.
    pub layers: u32,
    /// When its record was written: as claimed, but never later than we saw it.
    pub pushed_at: DateTime<Utc>,
    /// The children of an index, in its order: linux/amd64, linux/arm64, then by name is the page's to do. At most 256.
    pub children: Vec<ChildView>,
}

/// A tag as a row shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagView {
    /// The tag.
    pub name: String,
    /// What it points at; `None` when its record does not say so in a usable form.
    pub digest: Option<Digest>,
    /// When it was last moved: as claimed, but never later than we saw it.
    pub moved_at: DateTime<Utc>,
    /// The manifest; `None` when the account has no record of it (a tag may outlive it).
    pub manifest: Option<ManifestSummary>,
    /// Other tags of the repository that point at the same digest, at most [`MAX_TAGS_IN_LISTS`], by name.
    pub aliases: Vec<String>,
}

/// The order of a list of tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TagOrder {
    /// The tag moved last first.
    #[default]
    Newest,
    /// The highest version first, names that are no versions last.
    Version,
}

/// Which tags of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagFilter {
    /// Only tags with this text in their name; empty for all. Upper and lower case are one.
    pub text: String,
    /// Fallback tags (`sha256-…`) instead of all others.
    pub fallback: bool,
    /// The order.
    pub order: TagOrder,
}

/// A manifest as its own page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestView {
    /// What its row shows.
    pub summary: ManifestSummary,
    /// The key of its record.
    pub rkey: RecordKey,
    /// The CID of its record's value.
    pub cid: Cid,
    /// Its bytes at the owner's PDS.
    pub blob: Option<Cid>,
    /// The hold that has its blobs.
    pub hold: Option<Did>,
    /// The manifest that it is about.
    pub subject: Option<Digest>,
    /// Its config.
    pub config: Option<Digest>,
    /// The annotations that are kept (8 KiB), untrusted.
    pub annotations: BTreeMap<String, String>,
    /// Tags that point at it, the one moved last first, at most [`MAX_TAGS_OF_MANIFEST`].
    pub tags: Vec<String>,
    /// Indexes of the same repository that name it as their child, at most 20.
    pub parents: Vec<Digest>,
    /// Manifests of the same repository whose subject it is.
    pub referrers: u64,
    /// How the account's rows are known.
    pub proof: Proof,
    /// The revision that the account's rows are of.
    pub rev: Option<Tid>,
}

/// A manifest as a list of manifests shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedManifest {
    /// What its row shows.
    pub summary: ManifestSummary,
    /// Tags that keep it, at most [`MAX_TAGS_IN_LISTS`], by name.
    pub tags: Vec<String>,
    /// Indexes of the same repository that name it as their child, the newest first, at most 20.
    pub parents: Vec<Digest>,
    /// The manifest that it is about.
    pub subject: Option<Digest>,
}

/// A move of a tag, as the index saw it. Not from the network: it is lost with the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagMove {
    /// The repository.
    pub repository: RepositoryId,
    /// The tag.
    pub tag: String,
    /// What it pointed at before; `None`: it was new.
    pub from: Option<Digest>,
    /// What it points at since; `None`: it was deleted, or points nowhere.
    pub to: Option<Digest>,
    /// When the index saw it.
    pub at: DateTime<Utc>,
    /// The account's revision that brought it.
    pub rev: String,
}

/// A star, and who gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StarView {
    /// Who gave it.
    pub starrer: OwnerView,
    /// When: as claimed, but never later than we saw it.
    pub at: DateTime<Utc>,
}

/// A hold, from its own records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldView {
    /// The hold.
    pub hold: OwnerView,
    /// Its captain.
    pub captain: Did,
    /// Everyone may read its blobs.
    pub is_public: bool,
    /// Every account may become a member.
    pub allow_all_crew: bool,
    /// Where it stores; empty when it does not say.
    pub region: String,
    /// The hold that replaces it.
    pub successor: Option<Did>,
    /// When it was set up.
    pub deployed_at: DateTime<Utc>,
}

/// A membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembershipView {
    /// The hold.
    pub hold: HoldView,
    /// What the member may do there; empty for a captain without a crew record.
    pub permissions: Vec<String>,
    /// The member's tier there; empty for the default.
    pub tier: String,
}

/// A hold that has blobs of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryHold {
    /// The hold.
    pub hold: Did,
    /// Manifest records that name it.
    pub manifests: u64,
}

/// The result of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanView {
    /// The hold that scanned.
    pub hold: Did,
    /// What was found.
    pub severities: Severities,
    /// The scanner and its version.
    pub scanner: String,
    /// When.
    pub scanned_at: DateTime<Utc>,
    /// The bill of materials, a blob at the hold.
    pub sbom: Option<Cid>,
    /// The vulnerabilities, a blob at the hold.
    pub report: Option<Cid>,
}

/// Pulls of one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PullDay {
    /// The day, in UTC.
    pub day: NaiveDate,
    /// Pulls that holds reported on it.
    pub pulls: u64,
}

/// How much is indexed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexStats {
    /// Accounts known.
    pub accounts: u64,
    /// Accounts whose rows are all there is.
    pub whole_accounts: u64,
    /// Repositories that are shown.
    pub repositories: u64,
    /// Manifest records.
    pub manifests: u64,
    /// Tag records.
    pub tags: u64,
    /// Stars.
    pub stars: u64,
    /// Accounts in the work queue.
    pub queued: u64,
}
