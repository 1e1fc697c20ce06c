//! What a caller may do in a hold, decided from the captain and crew records at each call.
//!
//! - [`permission`]: the words of a crew record
//! - [`policy`]: the matrix, and the text of a refusal
//! - [`granted`]: proofs that use cases take as arguments

pub mod granted;
pub mod permission;
pub mod policy;

use atcr_atproto::syntax::Did;

pub use granted::{Action, BlobRead, BlobWrite, CrewAdmin, Granted};
pub use permission::{Permission, Permissions};
pub use policy::{AccessDenied, DenialReason, Membership};

use crate::error::RepoError;
use crate::repo::HoldRepo;

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The policy says no.
    #[error(transparent)]
    Denied(#[from] AccessDenied),
    /// The captain or crew record cannot be read.
    #[error("the captain and crew records cannot be read")]
    Records(#[from] RepoError),
}

/// Turns callers into proofs, with two look-ups in the index at most, regardless of the size of the crew.
#[derive(Clone, Debug)]
pub struct Access {
    repo: HoldRepo,
}

impl Access {
    /// The rules of the hold whose repository is `repo`.
    #[must_use]
    pub fn new(repo: HoldRepo) -> Self {
        Self { repo }
    }

    /// The right to read of an unknown caller: there on a public hold, `None` on a private one.
    ///
    /// # Errors
    /// The repository's.
    pub async fn read_anonymously(&self) -> Result<Option<Granted<BlobRead>>, RepoError> {
        Ok(policy::read_anonymously(self.is_public().await?))
    }

    /// The right to read of a scanner, which has shown the hold's secret for scanners.
    #[must_use]
    pub fn read_as_scanner(&self) -> Granted<BlobRead> {
        policy::read_as_scanner()
    }

    /// The right of `did` to read.
    ///
    /// # Errors
    /// [`AccessError::Denied`] on a private hold for an account that is neither captain nor crew; the repository's.
    pub async fn read(&self, did: &Did) -> Result<Granted<BlobRead>, AccessError> {
        let public = self.is_public().await?;
        let membership = if public {
            Membership::Stranger
        } else {
            self.membership(did).await?
        };
        Ok(policy::read(did, public, membership)?)
    }

    /// The right of `did` to upload.
    ///
    /// # Errors
    /// [`AccessError::Denied`] without `blob:write`, also for other crew; the repository's.
    pub async fn write(&self, did: &Did) -> Result<Granted<BlobWrite>, AccessError> {
        Ok(policy::write(did, self.membership(did).await?)?)
    }

    /// The right of `did` to manage the crew and the hold's records.
    ///
    /// # Errors
    /// [`AccessError::Denied`] without `crew:admin`; the repository's.
    pub async fn crew_admin(&self, did: &Did) -> Result<Granted<CrewAdmin>, AccessError> {
        Ok(policy::crew_admin(did, self.membership(did).await?)?)
    }

    /// What `did` is to the hold.
    ///
    /// # Errors
    /// The repository's.
    pub async fn membership(&self, did: &Did) -> Result<Membership, RepoError> {
        if self
            .repo
            .captain()
            .await?
            .is_some_and(|captain| captain.owner == *did)
        {
            return Ok(Membership::Captain);
        }
        Ok(match self.repo.crew_by_member(did).await? {
            None => Membership::Stranger,
            Some(member) => Membership::Crew(Permissions::from_words(
                member.record.permissions.iter().map(String::as_str),
            )),
        })
    }

    /// A hold without a captain record is not public.
    async fn is_public(&self) -> Result<bool, RepoError> {
        Ok(self.repo.captain().await?.is_some_and(|captain| captain.public))
    }
}

#[cfg(test)]
mod tests;
