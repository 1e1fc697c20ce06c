//! What records of people's accounts say beside manifests: tags, pages of repositories, settings, stars.

use atcr_atproto::lexicon::repo_page::{self, RepoPageRecord};
use atcr_atproto::lexicon::sailor_profile::SailorProfileRecord;
use atcr_atproto::lexicon::star::StarRecord;
use atcr_atproto::lexicon::tag::TagRecord;
use atcr_atproto::syntax::{Cid, Did, RecordKey};
use atcr_oci::{Digest, Tag};
use chrono::{DateTime, Utc};

use super::is_self;
use super::text::{cut, first_words, instant, is_repository};

/// Longest text of a page, in bytes: the lexicon's bound.
const MAX_DESCRIPTION: usize = 100_000;

/// A tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagFact {
    /// The repository, without the owner.
    pub repository: String,
    /// The tag.
    pub tag: Tag,
    /// What it points at; `None` when the record does not say so in a usable form.
    pub digest: Option<Digest>,
    /// When the record says that it was last moved; the epoch when it does not. Not checked: it may be in the future.
    pub claimed_at: DateTime<Utc>,
}

impl TagFact {
    /// What `record` says; `None` for one whose tag or repository is none.
    #[must_use]
    pub fn of(record: &TagRecord) -> Option<Self> {
        Some(Self {
            repository: Some(&record.repository)
                .filter(|name| is_repository(name))?
                .clone(),
            tag: record.tag.parse().ok()?,
            digest: record.digest().and_then(|digest| digest.parse().ok()),
            claimed_at: record.moved_at().map(instant).unwrap_or_default(),
        })
    }
}

/// What an owner says of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageFact {
    /// The repository, without the owner.
    pub repository: String,
    /// The README, Markdown; at most 100,000 bytes. Empty when there is none.
    pub description: String,
    /// Its first words as plain text, at most 300 characters.
    pub summary: String,
    /// The picture, a blob at the owner's PDS, and its media type.
    pub avatar: Option<(Cid, String)>,
    /// When the record says that it was last changed.
    pub updated_at: DateTime<Utc>,
}

impl PageFact {
    /// What `record` says; `None` for one whose key is not that of its repository.
    #[must_use]
    pub fn of(rkey: &RecordKey, record: RepoPageRecord) -> Option<Self> {
        if !is_repository(&record.repository) || repo_page::rkey(&record.repository).ok()? != *rkey {
            return None;
        }
        let description = record.description.as_deref().unwrap_or_default();
        Some(Self {
            summary: first_words(description),
            description: cut(description, MAX_DESCRIPTION).to_owned(),
            avatar: record
                .avatar
                .map(|avatar| (avatar.cid, cut(&avatar.mime_type, 64).to_owned())),
            updated_at: instant(&record.updated_at),
            repository: record.repository,
        })
    }
}

/// An account's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileFact {
    /// Where its pushes go.
    pub default_hold: Option<Did>,
    /// Whether a manifest goes with its last tag.
    pub auto_remove_untagged: bool,
}

impl ProfileFact {
    /// What `record` says; `None` under another key than `self`.
    #[must_use]
    pub fn of(rkey: &RecordKey, record: &SailorProfileRecord) -> Option<Self> {
        is_self(rkey).then(|| Self {
            default_hold: record.default_hold.clone(),
            auto_remove_untagged: record.auto_remove_untagged.unwrap_or_default(),
        })
    }
}

/// A star.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StarFact {
    /// Whose repository has it.
    pub owner: Did,
    /// The repository, without the owner.
    pub repository: String,
    /// When the record says that it was given.
    pub claimed_at: DateTime<Utc>,
}

impl StarFact {
    /// What `record` says; `None` for one that names no repository.
    #[must_use]
    pub fn of(record: &StarRecord) -> Option<Self> {
        let (owner, repository) = record.repository()?;
        is_repository(&repository).then(|| Self {
            owner,
            repository,
            claimed_at: instant(&record.created_at),
        })
    }
}
