//! Pulling blobs: where one is, how large it is, and its bytes.
//!
//! The directory names the holds that may have a blob; they are asked in order. Whether the caller may read is the hold's
//! decision: most are public, and a private one knows its crew.

pub mod error;
pub mod ports;
mod recently_seen;
mod search;
mod verifying_stream;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_auth::principal::Principal;
use atcr_oci::Digest;
use atcr_server::shared_places::SharedPlaces;
use secrecy::SecretString;

use crate::access::{Delete, Granted, Pull, Push};
use crate::blob::ports::BlobPresence;
use crate::blob::ports::{BlobDeletion, BlobDownload, BlobGateway, Place, SignedUrl};
use crate::blob::recently_seen::KnownBlobs;
use crate::blob::search::{HOLDS_FOR_ANYBODY, HOLDS_FOR_SAILORS, Search};
use crate::blob::verifying_stream::{verified, while_held};
use crate::error::{BlobError, RegistryError};
use crate::hold::credentials::{CallError, HoldAccess};
use crate::hold::error::HoldError;
use crate::hold::ports::{HoldDirectory, HoldRef, HoldTokens};

/// How long a signed URL is handed out again. Holds sign for 15 minutes, so at least 13 are left to the client.
const REUSE_URL: Duration = Duration::from_mins(2);

/// When a client that found no place to get a blob through this server is to try again.
const PROXY_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// One requester has this part of those places at most.
const PROXY_PARTIES: usize = 4;

/// Signed URLs remembered at once; some 900 bytes each.
const REMEMBERED_URLS: u64 = 10_000;

/// Whose URL for which blob of which account's repository.
type UrlKey = (Option<Did>, Did, String, Digest);

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
    /// Blobs that go through this server at once, for all those clients together.
    pub proxied_at_once: usize,
    /// How long all the holds that may have a blob are given to say so.
    pub patience: Duration,
}

/// The blob use cases.
pub struct Blobs {
    directory: Arc<dyn HoldDirectory>,
    gateway: Arc<dyn BlobGateway>,
    access: HoldAccess,
    known: KnownBlobs,
    urls: moka::sync::Cache<UrlKey, (HoldRef, SignedUrl)>,
    proxied_user_agents: Vec<String>,
    proxies: SharedPlaces,
    patience: Duration,
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
            proxies: SharedPlaces::new(parts.proxied_at_once, parts.proxied_at_once / PROXY_PARTIES),
            patience: parts.patience,
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
        let place = Place::of(grant.context());
        let (_, size) = self
            .first_of(grant, digest, |hold| async move {
                self.find(grant.principal(), &hold, place, digest).await
            })
            .await?;
        Ok(size)
    }

    /// The size in bytes of a blob in the hold that the caller's push goes to. What other holds have does not count: it has to be
    /// sent before a manifest can name it there.
    ///
    /// # Errors
    /// `BlobUnknown` when that hold does not have it; the hold's; those of [`HoldDirectory::for_push`], except that where no push
    /// can go the answer is that of [`Blobs::size`].
    ///
    /// # Spec
    /// distribution-spec v1.1, end-2 (HEAD); Checking if content exists in the registry.
    pub async fn size_for_push(&self, grant: &Granted<Push>, digest: &Digest) -> Result<u64, RegistryError> {
        let hold = match self.directory.for_push(grant).await {
            Err(RegistryError::NoHold) => return self.size(&grant.as_pull(), digest).await,
            found => found?,
        };
        let place = Place::of(grant.context());
        let size = self.find(grant.principal(), &hold, place, digest).await?;
        size.ok_or_else(|| {
            RegistryError::Blob(BlobError::Unknown {
                digest: digest.clone(),
            })
        })
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

    /// The whole of a blob, for clients that cannot follow a redirect. It is hashed on the way and ends in an error if it is not what
    /// the digest names, which is why no part of a blob can be had like this.
    ///
    /// # Errors
    /// As [`Blobs::size`]; `TooManyRequests` when too many others get theirs like this, or too many of the same requester.
    pub async fn open(&self, grant: &Granted<Pull>, digest: &Digest) -> Result<BlobDownload, RegistryError> {
        let place = self.proxies.try_acquire(&grant.context().requester);
        let place = place.ok_or(RegistryError::TooManyRequests {
            retry_after: PROXY_AGAIN_AFTER,
        })?;
        let (mut hold, url) = self.locate(grant, digest).await?;
        let opened = match self.gateway.open(&url).await {
            // The remembered URL may have run out or lead to bytes that were moved.
            Err(HoldError::UrlRefused | HoldError::BlobNotFound) => {
                self.urls.invalidate(&url_key(grant, digest));
                let (other, url) = self.locate(grant, digest).await?;
                hold = other;
                self.gateway.open(&url).await
            }
            opened => opened,
        };
        let mut download = opened.map_err(|error| match error {
            HoldError::BlobNotFound => RegistryError::Blob(BlobError::Unknown {
                digest: digest.clone(),
            }),
            other => other.at(&hold),
        })?;
        download.bytes = while_held(place, verified(download.bytes, digest.clone()));
        Ok(download)
    }

    /// The size of `digest` in one hold, `None` when it does not have it, or `place` does not any more.
    ///
    /// # Errors
    /// The hold's.
    pub async fn find(
        &self,
        principal: &Principal,
        hold: &HoldRef,
        place: Place<'_>,
        digest: &Digest,
    ) -> Result<Option<u64>, RegistryError> {
        let reader = reader(principal);
        if let Some(size) = self.known.get(&hold.did, reader, place, digest) {
            return Ok(Some(size));
        }
        let asked = self
            .read(principal, hold, |token| async move {
                self.gateway.stat(hold, place, digest, token.as_ref()).await
            })
            .await;
        let size = absent_is_none(asked).map_err(|error| error.at(hold))?;
        if let Some(size) = size {
            self.known.insert(&hold.did, reader, place, digest, size);
        }
        Ok(size)
    }

    /// Notes that `user` has just written `digest` to `hold`, for the repository `place`.
    pub fn remember(&self, hold: &HoldRef, user: &Did, place: Place<'_>, digest: &Digest, size: u64) {
        self.known.insert(&hold.did, Some(user), place, digest, size);
    }

    /// Deletes a blob from the repository. Its bytes stay in the hold until nothing names them; other repositories keep it. What other
    /// readers heard of it within the last two minutes may still be answered.
    ///
    /// # Errors
    /// `BlobUnknown`: the repository does not have it · `BlobInUse`: one of its manifests names it · `Unsupported`: the hold
    /// cannot do it · the hold's.
    ///
    /// # Spec
    /// distribution-spec v1.1, end-10.
    pub async fn delete(&self, grant: &Granted<Delete>, digest: &Digest) -> Result<(), RegistryError> {
        let context = grant.context();
        let unknown = || {
            RegistryError::Blob(BlobError::Unknown {
                digest: digest.clone(),
            })
        };
        let mut holds = self.directory.for_blob(context, digest).await?;
        holds.truncate(HOLDS_FOR_SAILORS);
        match self.directory.of_pushes(context).await {
            Ok(Some(hold)) if !holds.contains(&hold.did) => holds.push(hold.did),
            Ok(_) => {}
            // The holds that are known to have it may do without.
            Err(error) if holds.is_empty() => return Err(error),
            Err(_) => {}
        }
        let (mut is_deleted, mut refused) = (false, None);
        for hold in holds {
            match self.delete_at(grant, &hold, digest).await {
                Ok(BlobDeletion::Deleted) => is_deleted = true,
                Ok(BlobDeletion::Absent) => {}
                Ok(BlobDeletion::InUse { message }) => {
                    return Err(RegistryError::Blob(BlobError::InUse { message }));
                }
                Ok(BlobDeletion::Unsupported) => {
                    let reason = format!("the hold {hold} cannot delete a single blob");
                    refused.get_or_insert(RegistryError::Unsupported { reason });
                }
                Err(error) => {
                    refused.get_or_insert(error);
                }
            }
        }
        // A hold that did not delete it may have it still.
        match refused {
            Some(error) => Err(error),
            None if is_deleted => Ok(()),
            None => Err(unknown()),
        }
    }

    async fn delete_at(
        &self,
        grant: &Granted<Delete>,
        hold: &Did,
        digest: &Digest,
    ) -> Result<BlobDeletion, RegistryError> {
        let context = grant.context();
        let hold = self.directory.resolve(hold).await?;
        let deleted = self
            .access
            .as_user(grant.principal(), &hold, |token| {
                let hold = &hold;
                async move {
                    self.gateway
                        .delete_blob(hold, &token, context.repository(), digest)
                        .await
                }
            })
            .await
            .map_err(|error| error.at(&hold))?;
        if matches!(deleted, BlobDeletion::Deleted) {
            let place = Place::of(context);
            for reader in [None, reader(grant.principal())] {
                self.known.forget(&hold.did, reader, place, digest);
                let key = (
                    reader.cloned(),
                    place.owner.clone(),
                    place.repository.to_owned(),
                    digest.clone(),
                );
                self.urls.invalidate(&key);
            }
        }
        Ok(deleted)
    }

    async fn locate(
        &self,
        grant: &Granted<Pull>,
        digest: &Digest,
    ) -> Result<(HoldRef, SignedUrl), RegistryError> {
        let key = url_key(grant, digest);
        if let Some(found) = self.urls.get(&key) {
            return Ok(found);
        }
        let place = Place::of(grant.context());
        let found = self
            .first_of(grant, digest, |hold| async move {
                let asked = self
                    .read(grant.principal(), &hold, |token| {
                        let hold = &hold;
                        async move {
                            self.gateway
                                .download_url(hold, place, digest, token.as_ref())
                                .await
                        }
                    })
                    .await;
                absent_is_none(asked).map_err(|error| error.at(&hold))
            })
            .await?;
        self.urls.insert(key, found.clone());
        Ok(found)
    }

    /// Reads from `hold`. A signed-in reader whom it refuses is first made crew, where the hold takes every account.
    async fn read<T, F, Fut>(&self, principal: &Principal, hold: &HoldRef, call: F) -> Result<T, CallError>
    where
        F: Fn(Option<SecretString>) -> Fut,
        Fut: Future<Output = Result<T, HoldError>>,
    {
        match self.access.read(principal, hold, &call).await {
            Err(CallError::Hold(HoldError::Forbidden { .. }))
                if self.directory.admit(principal, hold).await =>
            {
                self.access.read(principal, hold, &call).await
            }
            outcome => outcome,
        }
    }

    /// Asks the candidate holds, and the hold of pushes only when none of those that are known has the blob: then a pull does not fail
    /// because it is down. When no hold has the blob, the gravest refusal is the answer.
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
        let (directory, ask) = (&self.directory, &ask);
        let ask = |did: Did| async move {
            let hold = directory.resolve(&did).await?;
            let found = ask(hold.clone()).await?;
            Ok(found.map(|found| (hold, found)))
        };
        let mut known = directory.for_blob(grant.context(), digest).await?;
        known.truncate(match grant.principal() {
            Principal::Anonymous => HOLDS_FOR_ANYBODY,
            Principal::Sailor { .. } => HOLDS_FOR_SAILORS,
        });
        let not_found = RegistryError::Blob(BlobError::Unknown {
            digest: digest.clone(),
        });
        let mut search = Search::new(self.patience, not_found);
        if let Some(found) = search.first(known.clone(), ask).await {
            return Ok(found);
        }
        let of_pushes = directory.of_pushes(grant.context()).await;
        let of_pushes = of_pushes.unwrap_or_else(|error| {
            search.weigh(error);
            None
        });
        let others = of_pushes
            .map(|hold| hold.did)
            .filter(|hold| !known.contains(hold));
        match search.first(others.into_iter().collect(), ask).await {
            Some(found) => Ok(found),
            None => Err(search.into_error()),
        }
    }
}

#[async_trait]
impl BlobPresence for Blobs {
    async fn find_blob(
        &self,
        principal: &Principal,
        hold: &HoldRef,
        place: Place<'_>,
        digest: &Digest,
    ) -> Result<Option<u64>, RegistryError> {
        self.find(principal, hold, place, digest).await
    }
}

fn reader(principal: &Principal) -> Option<&Did> {
    match principal {
        Principal::Anonymous => None,
        Principal::Sailor { did, .. } => Some(did),
    }
}

fn url_key(grant: &Granted<Pull>, digest: &Digest) -> UrlKey {
    let context = grant.context();
    (
        reader(grant.principal()).cloned(),
        context.owner.did.clone(),
        context.repository().to_owned(),
        digest.clone(),
    )
}

fn absent_is_none<T>(asked: Result<Option<T>, CallError>) -> Result<Option<T>, CallError> {
    match asked {
        Err(CallError::Hold(HoldError::BlobNotFound)) => Ok(None),
        other => other,
    }
}
