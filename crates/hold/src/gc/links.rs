//! Blobs that were deleted from one repository: they are not there any more for whoever asks in its name, while the hold and all
//! other repositories have them.

use std::time::Duration;

use atcr_atproto::lexicon::manifest;
use atcr_atproto::syntax::Did;
use atcr_oci::Digest;

use super::reading::Reading;
use super::{Gc, GcError};
use crate::blobs::{BlobError, BlobService, SessionsError};

/// How long whoever deletes a blob waits for the account to be read.
const READ_WITHIN: Duration = Duration::from_mins(1);
/// Deletions of one account that are remembered, until the blobs are gone or there again.
const MAX_UNLINKED: u32 = 10_000;

/// What came of a deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unlinked {
    /// The repository does not have it any more.
    Yes,
    /// It did not have it.
    Absent,
    /// A manifest of the repository names it.
    Named {
        /// The manifest's digest, or the key of its record.
        manifest: String,
    },
}

/// Why a blob was not deleted from a repository.
#[derive(Debug, thiserror::Error)]
pub enum UnlinkError {
    /// Whether a manifest names it cannot be found out now.
    #[error("the manifests of {did} cannot be read: {reason}")]
    AccountUnread {
        /// Whose they are.
        did: Did,
        /// Why not.
        reason: String,
    },
    /// The account has deleted as many as are remembered.
    #[error(
        "too many blobs were deleted that are still here; those that no manifest names are forgotten when they are removed"
    )]
    TooMany,
    /// The collection failed.
    #[error(transparent)]
    Gc(#[from] GcError),
    /// The store failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

impl From<SessionsError> for UnlinkError {
    fn from(error: SessionsError) -> Self {
        Self::Gc(error.into())
    }
}

impl Gc {
    /// Deletes a blob from a repository of `did`. Its bytes stay until nothing names them.
    ///
    /// # Errors
    /// `AccountUnread`, `Gc`, `Blob`: try again. `TooMany`.
    pub async fn unlink(
        &self,
        blobs: &BlobService,
        did: &Did,
        repository: &str,
        digest: &Digest,
    ) -> Result<Unlinked, UnlinkError> {
        let table = &self.inner.table;
        table.note_accounts(std::slice::from_ref(did)).await?;
        let reading = tokio::time::timeout(READ_WITHIN, self.inner.read_and_note(did)).await;
        let reading = reading.unwrap_or_else(|_| Ok(Reading::not_read("it takes too long".to_owned())));
        if let Reading::NotRead { reason, .. } = reading? {
            return Err(UnlinkError::AccountUnread {
                did: did.clone(),
                reason,
            });
        }
        if let Some(rkey) = table.naming_manifest(did, repository, digest).await? {
            let manifest = manifest::digest_from_rkey(&rkey).unwrap_or(rkey);
            return Ok(Unlinked::Named { manifest });
        }
        let is_there = !table.is_unlinked(did, repository, digest).await?
            && blobs.look(Some(did), digest).await?.is_some();
        if !is_there {
            return Ok(Unlinked::Absent);
        }
        if !table.unlink(did, repository, digest, MAX_UNLINKED).await? {
            return Err(UnlinkError::TooMany);
        }
        Ok(Unlinked::Yes)
    }

    /// Whether the blob was deleted from the repository, and no manifest there names it again.
    ///
    /// # Errors
    /// The table's, as in every method here.
    pub async fn is_unlinked(
        &self,
        did: &Did,
        repository: &str,
        digest: &Digest,
    ) -> Result<bool, SessionsError> {
        let table = &self.inner.table;
        Ok(table.is_unlinked(did, repository, digest).await?
            && table.naming_manifest(did, repository, digest).await?.is_none())
    }

    /// Gives a blob back to a repository of `did`, or to all of them: it was pushed or mounted again.
    ///
    /// # Errors
    /// As above.
    pub async fn link(
        &self,
        did: &Did,
        repository: Option<&str>,
        digest: &Digest,
    ) -> Result<(), SessionsError> {
        self.inner.table.link(did, repository, digest).await
    }
}
