//! An image of the network: the manifest from the owner's PDS, its blobs from the hold.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::egress::EgressClient;
use atcr_atproto::identity::IdentityResolver;
use atcr_atproto::lexicon::manifest::{self, ManifestRecord};
use atcr_atproto::lexicon::nsid;
use atcr_atproto::pds::PdsClient;
use atcr_atproto::syntax::{Did, RecordKey};
use atcr_oci::{Digest, MAX_MANIFEST_BYTES, Manifest};
use url::Url;

use super::hold_blobs::HoldBlobs;
use crate::error::ScanError;
use crate::image::source::{ImageSource, Pieces};

/// Times that something is fetched, with these pauses between them.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// Accounts and their records.
#[derive(Clone)]
pub struct Accounts {
    resolver: Arc<dyn IdentityResolver>,
    egress: EgressClient,
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").finish_non_exhaustive()
    }
}

impl Accounts {
    /// Accounts found by `resolver`, read through `egress`.
    #[must_use]
    pub fn new(resolver: Arc<dyn IdentityResolver>, egress: EgressClient) -> Self {
        Self { resolver, egress }
    }

    /// Finds identities.
    #[must_use]
    pub fn resolver(&self) -> &dyn IdentityResolver {
        self.resolver.as_ref()
    }

    /// The client for hosts that others name.
    #[must_use]
    pub fn egress(&self) -> &EgressClient {
        &self.egress
    }

    /// The client of the PDS of `owner`.
    ///
    /// # Errors
    /// `Fetch`.
    pub async fn pds(&self, owner: &Did) -> Result<PdsClient, ScanError> {
        let identity = self
            .resolver
            .resolve_did(owner)
            .await
            .map_err(|error| failed(&error))?;
        let url: Url = identity
            .pds
            .clone()
            .ok_or_else(|| ScanError::Fetch(format!("{owner} has no PDS")))?;
        Ok(PdsClient::new(url, self.egress.clone()))
    }

    /// The record of the manifest with `digest` of `owner`'s `repository`.
    ///
    /// # Errors
    /// `Fetch`, also if there is none.
    pub async fn manifest_record(
        &self,
        pds: &PdsClient,
        owner: &Did,
        repository: &str,
        digest: &Digest,
    ) -> Result<ManifestRecord, ScanError> {
        let keys = [
            manifest::rkey(digest.as_str()),
            manifest::rkey_in_repository(digest.as_str(), repository),
        ];
        for key in keys {
            let key: RecordKey = key.map_err(|error| failed(&error))?;
            let entry = pds
                .get_record(owner, nsid::MANIFEST, &key)
                .await
                .map_err(|error| failed(&error))?;
            let Some(entry) = entry else { continue };
            let record: ManifestRecord = serde_json::from_value(entry.value).map_err(|error| {
                ScanError::Fetch(format!("the manifest's record cannot be read: {error}"))
            })?;
            if record.digest == digest.as_str() {
                return Ok(record);
            }
        }
        Err(ScanError::Fetch(format!("{owner} has no record of {digest}")))
    }
}

fn failed(error: &dyn std::error::Error) -> ScanError {
    ScanError::Fetch(error.to_string())
}

/// An image of one account.
#[derive(Debug)]
pub struct NetworkImage {
    accounts: Accounts,
    hold: HoldBlobs,
    owner: Did,
    repository: String,
}

impl NetworkImage {
    /// Images of `owner`'s `repository` whose blobs `hold` has.
    #[must_use]
    pub fn new(accounts: Accounts, hold: HoldBlobs, owner: Did, repository: String) -> Self {
        Self {
            accounts,
            hold,
            owner,
            repository,
        }
    }

    async fn fetch_manifest(&self, digest: &Digest) -> Result<Manifest, ScanError> {
        let pds = self.accounts.pds(&self.owner).await?;
        let record = self
            .accounts
            .manifest_record(&pds, &self.owner, &self.repository, digest)
            .await?;
        let blob = record
            .manifest_blob
            .ok_or_else(|| ScanError::Fetch("the manifest's record has no bytes".to_owned()))?;
        let bytes = pds
            .get_blob(&self.owner, &blob.cid, MAX_MANIFEST_BYTES as u64)
            .await;
        let bytes = bytes.map_err(|error| failed(&error))?;
        if !digest.matches(&bytes) {
            return Err(ScanError::DigestMismatch(format!(
                "the manifest that {} has for {digest} hashes to something else",
                self.owner
            )));
        }
        Manifest::parse(bytes, Some(&record.media_type))
            .map_err(|error| ScanError::MediaType(format!("the manifest cannot be read: {error}")))
    }
}

#[async_trait]
impl ImageSource for NetworkImage {
    async fn manifest(&self, digest: &Digest) -> Result<Manifest, ScanError> {
        again(|| self.fetch_manifest(digest)).await
    }

    async fn open(&self, digest: &Digest) -> Result<Pieces, ScanError> {
        again(|| self.hold.open(&self.owner, digest)).await
    }
}

/// Fetches again, after a pause, what could not be fetched.
async fn again<T, F>(fetch: impl Fn() -> F) -> Result<T, ScanError>
where
    F: Future<Output = Result<T, ScanError>>,
{
    for pause in PAUSES {
        match fetch().await {
            Err(ScanError::Fetch(why)) => {
                tracing::debug!(why, "fetching again");
                tokio::time::sleep(pause).await;
            }
            outcome => return outcome,
        }
    }
    fetch().await
}
