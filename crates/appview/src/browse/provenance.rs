//! Whether an image is its owner's, checked here for whoever asks, from the owner's own server.
//!
//! The page only repeats what anybody can do: `docker-credential-atcr verify` runs the same checks at the reader's.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::identity::{DidDocument, ResolvedIdentity};
use atcr_atproto::syntax::Did;
use atcr_oci::{Digest, Reference};
use atcr_repo::provenance::{Evidence, Expected, Refusal, Verdict, verify};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use moka::future::Cache;

use super::{Browse, Owner};

/// How long a check may take, all requests together.
const PATIENCE: Duration = Duration::from_secs(8);

/// How long the outcome of a check is shown again.
const REMEMBERED: Duration = Duration::from_mins(1);

/// Checks at the same time. One may hold some megabytes of a stranger's; what waits is late like a slow server.
pub(super) const CHECKS_AT_ONCE: usize = 16;

/// Proofs that are remembered, by their length.
const REMEMBERED_BYTES: u64 = 16 * 1024 * 1024;

/// Why there is no proof to show.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProofError {
    /// The evidence does not prove the image.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The owner's server gave no evidence in time.
    #[error("{0}")]
    Unavailable(String),
}

/// Port: evidence from an account's own server.
#[async_trait]
pub trait ProofSource: Send + Sync {
    /// The evidence for what is `expected` of `owner`, whose document is `document`.
    ///
    /// # Errors
    /// [`ProofError`]
    async fn evidence(
        &self,
        owner: &ResolvedIdentity,
        document: &DidDocument,
        expected: &Expected,
    ) -> Result<Evidence, ProofError>;
}

/// A manifest that is proven.
#[derive(Clone, Debug)]
pub struct Proof {
    /// What is proven.
    pub verdict: Verdict,
    /// The proof of the manifest's record, a CAR as the owner's server gave it.
    pub car: Bytes,
    /// When it was checked.
    pub checked_at: DateTime<Utc>,
}

/// The outcome of a check.
pub type Outcome = Arc<Result<Proof, ProofError>>;

/// Checked images, for a while.
pub(super) type Proofs = Cache<(Did, String, Digest), Outcome>;

pub(super) fn remembered() -> Proofs {
    Cache::builder()
        .max_capacity(REMEMBERED_BYTES)
        .time_to_live(REMEMBERED)
        .weigher(|_, outcome: &Outcome| {
            let length = outcome.as_ref().as_ref().map_or(0, |proof| proof.car.len());
            u32::try_from(length.saturating_add(2048)).unwrap_or(u32::MAX)
        })
        .build()
}

impl Browse {
    /// Checks the manifest `digest` of the owner's `repository`, or tells the outcome of a check less than a minute ago.
    pub async fn proof(&self, owner: &Owner, repository: &str, digest: &Digest) -> Outcome {
        let key = (owner.identity.did.clone(), repository.to_owned(), digest.clone());
        let check = async {
            let late = |_| Err(ProofError::Unavailable("it took too long".to_owned()));
            let checked = tokio::time::timeout(PATIENCE, self.check(&owner.identity, repository, digest));
            Arc::new(checked.await.unwrap_or_else(late))
        };
        self.proofs.get_with(key, check).await
    }

    async fn check(
        &self,
        owner: &ResolvedIdentity,
        repository: &str,
        digest: &Digest,
    ) -> Result<Proof, ProofError> {
        let busy = |_| ProofError::Unavailable("this server is shutting down".to_owned());
        let _permit = self.proof_checks.acquire().await.map_err(busy)?;
        let expected = Expected {
            repository: repository.to_owned(),
            reference: Reference::Digest(digest.clone()),
            not_before: None,
            now: self.clock.now(),
        };
        match self.prove(owner, &owner.document, &expected).await {
            // The key may be newer than the document that is remembered.
            Err(ProofError::Refused(Refusal::BadSignature { .. } | Refusal::NoKey(_))) => {
                let document = self.identities.refresh_document(&owner.did).await;
                let document = document.map_err(|error| ProofError::Unavailable(error.to_string()))?;
                self.prove(owner, &document, &expected).await
            }
            outcome => outcome,
        }
    }

    async fn prove(
        &self,
        owner: &ResolvedIdentity,
        document: &DidDocument,
        expected: &Expected,
    ) -> Result<Proof, ProofError> {
        let evidence = self.proof_source.evidence(owner, document, expected).await?;
        Ok(Proof {
            verdict: verify(document, expected, &evidence)?,
            car: evidence.manifest.proof,
            checked_at: expected.now,
        })
    }
}
