//! `io.atcr.sailor.star`: a star for a repository.

use serde::{Deserialize, Serialize};

use super::{Record, nsid, record_key, repo_page};
use crate::syntax::{AtUri, Datetime, Did, RecordKey, SyntaxError};

/// A star for a repository.
///
/// # Spec
/// `io.atcr.sailor.star`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StarRecord {
    /// The starred repository.
    pub subject: StarSubject,
    /// When it was starred.
    pub created_at: Datetime,
}

/// What a star is for. Written as [`Page`](Self::Page); the older form is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum StarSubject {
    /// The repository's page, which need not exist.
    Page(AtUri),
    /// The older form.
    Repository {
        /// The repository's owner.
        did: Did,
        /// The image name without the identity.
        repository: String,
    },
}

impl Record for StarRecord {
    const NSID: &'static str = nsid::SAILOR_STAR;
}

impl StarRecord {
    /// A star for `owner`'s `repository`.
    ///
    /// # Errors
    /// [`SyntaxError`] if `repository` cannot be a record key.
    pub fn new(owner: &Did, repository: &str, now: Datetime) -> Result<Self, SyntaxError> {
        let page = AtUri::record(owner, nsid::REPO_PAGE, &repo_page::rkey(repository)?)?;
        Ok(Self {
            subject: StarSubject::Page(page),
            created_at: now,
        })
    }

    /// Whose repository, and which, in either form. `None` for a subject that is something else.
    #[must_use]
    pub fn repository(&self) -> Option<(Did, String)> {
        match &self.subject {
            StarSubject::Repository { did, repository } => Some((did.clone(), repository.clone())),
            StarSubject::Page(uri) if uri.collection() == Some(nsid::REPO_PAGE) => {
                Some((uri.did()?, record_key::unescape(uri.rkey()?.as_str())))
            }
            StarSubject::Page(_) => None,
        }
    }
}

/// The key of the star for `owner`'s `repository`: starring twice writes one record, unstarring needs no search.
///
/// # Errors
/// None in practice: a hash is always a record key.
pub fn rkey(owner: &Did, repository: &str) -> Result<RecordKey, SyntaxError> {
    record_key::of_repository(owner, repository)
}
