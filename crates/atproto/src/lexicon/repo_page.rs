//! `io.atcr.repo.page`: what an owner says of a repository.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{BlobRef, Record, nsid, record_key};
use crate::syntax::{Datetime, RecordKey, SyntaxError};

/// A repository's page. Fields of newer writers are kept when the record is read and written back.
///
/// # Spec
/// `io.atcr.repo.page`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RepoPageRecord {
    /// The image name without the identity.
    pub repository: String,
    /// Markdown, at most 100,000 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A picture: PNG, JPEG or WebP, at most 3,000,000 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar: Option<BlobRef>,
    /// When the page was made.
    pub created_at: Datetime,
    /// When it was last changed.
    pub updated_at: Datetime,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Record for RepoPageRecord {
    const NSID: &'static str = nsid::REPO_PAGE;
}

impl RepoPageRecord {
    /// An empty page.
    #[must_use]
    pub fn new(repository: impl Into<String>, now: Datetime) -> Self {
        Self {
            repository: repository.into(),
            description: None,
            avatar: None,
            created_at: now.clone(),
            updated_at: now,
            other: Map::new(),
        }
    }
}

/// The key of a page: the repository with every `/` as `~`.
///
/// # Errors
/// [`SyntaxError`] if `repository` has characters that it may not have.
pub fn rkey(repository: &str) -> Result<RecordKey, SyntaxError> {
    record_key::escape(repository).parse()
}
