//! Pulling blobs: where one is, how large it is, and its bytes.
//!
//! The directory names the holds that may have a blob; they are asked in order. Whether the caller may read is the hold's
//! decision: most are public, and a private one knows its crew.

pub mod hold_access;
mod known;
pub mod ports;
mod verified;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_auth::principal::Principal;
use atcr_oci::Digest;

use self::hold_access::{CallError, HoldAccess};
use self::known::KnownBlobs;
use self::ports::{BlobDownload, BlobGateway, DownloadExtent, HoldError, SignedUrl};
use self::verified::verified;
use super::access::{Granted, Pull};
use super::error::RegistryError;
use super::ports::{BlobPresence, HoldDirectory, HoldRef, HoldTokens};

/// How long a signed URL is handed out again. Holds sign for 15 minutes, so at least 13 are left to the client.
const REUSE_URL: Duration = Duration::from_mins(2);

/// Signed URLs remembered at once; some 700 bytes each.
const REMEMBERED_URLS: u64 = 10_000;

/// Whose URL for which blob of which hold.
type UrlKey = (Did, Option<Did>, Digest);

/// What [`Blobs`] works with.
pub struct BlobParts {
    /// Which holds may have a blob.
    pub directory: Arc<dyn HoldDirectory>,
    /// Service tokens of users.
    pub tokens: Arc<dyn HoldTokens>,
    /// The holds.
    pub gateway: Arc<dyn BlobGateway>,
    /// Beginnings of `User-Agent` values of clients that cannot follow a redirect: they get the bytes from here.
    pub proxied_user_agents: Vec<String>,
}

/// The blob use cases.
pub struct Blobs {
    directory: Arc<dyn HoldDirectory>,
    gateway: Arc<dyn BlobGateway>,
    access: HoldAccess,
    known: KnownBlobs,
    urls: moka::sync::Cache<UrlKey, SignedUrl>,
    proxied_user_agents: Vec<String>,
}

impl Blobs {
    /// Puts the use cases together.
    #[must_use]
    pub fn new(parts: BlobParts) -> Self {
        let urls = moka::sync::Cache::builder()
            .max_capacity(REMEMBERED_URLS)
            .time_to_live(REUSE_URL);
        Self {
            directory: parts.directory,
            gateway: parts.gateway,
            access: HoldAccess::new(parts.tokens),
            known: KnownBlobs::default(),
            urls: urls.build(),
            proxied_user_agents: parts.proxied_user_agents,
        }
    }

    /// Whether a client that calls itself `user_agent` is known not to cope with a redirect.
    #[must_use]
    pub fn wants_proxy(&self, user_agent: &str) -> bool {
        self.proxied_user_agents
            .iter()
            .any(|known| user_agent.starts_with(known.as_str()))
    }

    /// The size of a blob in bytes.
    ///
    /// # Errors
    /// - `BlobUnknown`: no hold of the repository has it.
    /// - `HoldUnauthorized`, `HoldForbidden`: a hold may have it and does not serve this caller.
    /// - the other errors of a hold, when none of the remaining ones has the blob either.
    ///
    /// # Spec
    /// distribution-spec v1.1, end-2 (HEAD).
    pub async fn size(&self, grant: &Granted<Pull>, digest: &Digest) -> Result<u64, RegistryError> {
        let owner = &grant.context().owner.did;
        let (_, size) = self
            .first_of(grant, digest, |hold| async move {
                self.find(grant.principal(), &hold, owner, digest).await
            })
            .await?;
        Ok(size)
    }

    /// A signed URL from which the client itself can read the blob.
    ///
    /// # Errors
    /// As [`Blobs::size`].
    ///
    /// # Spec
    /// distribution-spec v1.1, end-2 (GET); redirects.
    pub async fn url(&self, grant: &Granted<Pull>, digest: &Digest) -> Result<SignedUrl, RegistryError> {
        Ok(self.locate(grant, digest).await?.1)
    }

    /// The bytes of a blob, for clients that cannot follow a redirect. `range` is a `Range` header, passed on as it is. A whole
    /// blob is hashed on the way and ends in an error if it is not what the digest names.
    ///
    /// # Errors
    /// As [`Blobs::size`].
    pub async fn open(
        &self,
        grant: &Granted<Pull>,
        digest: &Digest,
        range: Option<&str>,
    ) -> Result<BlobDownload, RegistryError> {
        let (hold, url) = self.locate(grant, digest).await?;
        let opened = match self.gateway.open(&url, range).await {
            // The remembered URL may have run out or lead to bytes that were moved.
            Err(HoldError::UrlRefused | HoldError::BlobNotFound) => {
                self.urls.invalidate(&url_key(grant.principal(), &hold, digest));
                let (_, url) = self.locate(grant, digest).await?;
                self.gateway.open(&url, range).await
            }
            opened => opened,
        };
        let mut download = opened.map_err(|error| match error {
            HoldError::BlobNotFound => RegistryError::BlobUnknown {
                digest: digest.clone(),
            },
            other => other.at(&hold),
        })?;
        if download.extent == DownloadExtent::Whole {
            download.bytes = verified(download.bytes, digest.clone());
        }
        Ok(download)
    }

    /// The size of `digest` in one hold, `None` when it does not have it. `owner` is whose repository it is about.
    ///
    /// # Errors
    /// The hold's.
    pub async fn find(
        &self,
        principal: &Principal,
        hold: &HoldRef,
        owner: &Did,
        digest: &Digest,
    ) -> Result<Option<u64>, RegistryError> {
        let reader = reader(principal);
        if let Some(size) = self.known.get(&hold.did, reader, digest) {
            return Ok(Some(size));
        }
        let asked = self
            .access
            .read(principal, hold, |token| async move {
                self.gateway.stat(hold, owner, digest, token.as_ref()).await
            })
            .await;
        let size = absent_is_none(asked).map_err(|error| error.at(hold))?;
        if let Some(size) = size {
            self.known.insert(&hold.did, reader, digest, size);
        }
        Ok(size)
    }

    /// Notes that `user` has just written `digest` to `hold`.
    pub fn remember(&self, hold: &HoldRef, user: &Did, digest: &Digest, size: u64) {
        self.known.insert(&hold.did, Some(user), digest, size);
    }

    async fn locate(
        &self,
        grant: &Granted<Pull>,
        digest: &Digest,
    ) -> Result<(HoldRef, SignedUrl), RegistryError> {
        let owner = &grant.context().owner.did;
        self.first_of(grant, digest, |hold| async move {
            let key = url_key(grant.principal(), &hold, digest);
            if let Some(url) = self.urls.get(&key) {
                return Ok(Some(url));
            }
            let asked = self
                .access
                .read(grant.principal(), &hold, |token| {
                    let hold = &hold;
                    async move {
                        self.gateway
                            .download_url(hold, owner, digest, token.as_ref())
                            .await
                    }
                })
                .await;
            let url = absent_is_none(asked).map_err(|error| error.at(&hold))?;
            if let Some(url) = &url {
                self.urls.insert(key, url.clone());
            }
            Ok(url)
        })
        .await
    }

    /// Asks the candidate holds in order. When none has the blob the gravest refusal is the answer: "you may not" says more than
    /// "it cannot be reached", and that more than "not here".
    async fn first_of<T, F, Fut>(
        &self,
        grant: &Granted<Pull>,
        digest: &Digest,
        ask: F,
    ) -> Result<(HoldRef, T), RegistryError>
    where
        F: Fn(HoldRef) -> Fut,
        Fut: Future<Output = Result<Option<T>, RegistryError>>,
    {
        let mut gravest = RegistryError::BlobUnknown {
            digest: digest.clone(),
        };
        for hold in self.directory.for_blob(grant.context(), digest).await? {
            match ask(hold.clone()).await {
                Ok(Some(found)) => return Ok((hold, found)),
                Ok(None) => {}
                Err(error) if gravity(&error) > gravity(&gravest) => gravest = error,
                Err(_) => {}
            }
        }
        Err(gravest)
    }
}

#[async_trait]
impl BlobPresence for Blobs {
    async fn find_blob(
        &self,
        principal: &Principal,
        hold: &HoldRef,
        digest: &Digest,
    ) -> Result<Option<u64>, RegistryError> {
        let owner = reader(principal).unwrap_or(&hold.did);
        self.find(principal, hold, owner, digest).await
    }
}

fn reader(principal: &Principal) -> Option<&Did> {
    match principal {
        Principal::Anonymous => None,
        Principal::Sailor { did, .. } => Some(did),
    }
}

fn url_key(principal: &Principal, hold: &HoldRef, digest: &Digest) -> UrlKey {
    (hold.did.clone(), reader(principal).cloned(), digest.clone())
}

fn absent_is_none<T>(asked: Result<Option<T>, CallError>) -> Result<Option<T>, CallError> {
    match asked {
        Err(CallError::Hold(HoldError::BlobNotFound)) => Ok(None),
        other => other,
    }
}

fn gravity(error: &RegistryError) -> u8 {
    match error {
        RegistryError::BlobUnknown { .. } => 0,
        RegistryError::HoldForbidden { .. } => 2,
        RegistryError::HoldUnauthorized { .. } | RegistryError::Unauthenticated { .. } => 3,
        _ => 1,
    }
}
