//! What pages about images read: the index for everything that lists or counts, the owner's PDS for a manifest's bytes, the hold for an
//! image's configuration.

pub mod address;
pub mod build_steps;
pub mod config;
pub mod descriptions;
pub mod diff;
pub mod provenance;
mod stars;

use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::clock::Clock;
use atcr_atproto::identity::{IdentityResolver, ResolvedIdentity};
use atcr_atproto::syntax::{AtIdentifier, Did};
use atcr_auth::principal::{AuthMethod, Principal};
use atcr_index::IndexError;
use atcr_index::ports::{IndexReader, SearchIndex};
use atcr_index::view::{AccountView, RepositoryView};
use atcr_ingest::schedule::{Look, Scheduler};
use atcr_oci::{Digest, Manifest, ManifestError, Reference, RepositoryName};
use atcr_registry::Granted;
use atcr_registry::access::{Action, Caller, Permissions, Pull};
use atcr_registry::account::ports::AccountRecords;
use atcr_registry::blob::Blobs;
use atcr_registry::context::RequestContext;
use atcr_registry::error::{AccountError, RegistryError};
use atcr_registry::manifest::Manifests;
use futures_util::StreamExt as _;
use moka::future::Cache;
use tokio::sync::Semaphore;

use self::config::ImageConfig;
use self::provenance::{ProofSource, Proofs};

/// Longest configuration that is read, in bytes. Docker's are some kilobytes; charts' and models' are larger.
const MAX_CONFIG: u64 = 1024 * 1024;

/// How long a page waits for a hold. What is late is shown the next time, from memory.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long a page waits for an account that the index does not know yet.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// Configurations that are remembered, by their bytes, and how long: a hold may become private.
const REMEMBERED_BYTES: u64 = 32 * 1024 * 1024;
const REMEMBERED: Duration = Duration::from_hours(1);

/// How long it is remembered that a configuration could not be had.
const REMEMBERED_FAILURE: Duration = Duration::from_secs(30);

/// Why a page about images has nothing to show.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BrowseError {
    /// No account has this handle or ID.
    #[error("no account {name}")]
    NoAccount {
        /// As it stands in the address.
        name: String,
    },
    /// The account that had the handle has another one now.
    #[error("the account {name} is {to} now")]
    Moved {
        /// As it stands in the address.
        name: String,
        /// Its handle now, or its ID.
        to: AtIdentifier,
    },
    /// The account's directory or server does not answer.
    #[error("the account {name} cannot be looked up now: {reason}")]
    AccountUnavailable {
        /// As it stands in the address.
        name: String,
        /// Which server did not answer.
        reason: String,
    },
    /// The account is not served.
    #[error("the account {name} is not shown")]
    Hidden {
        /// Its handle or ID.
        name: String,
        /// By the labeler of this registry, which is told apart.
        is_taken_down: bool,
    },
    /// The account has no such repository.
    #[error("no repository {owner}/{repository}")]
    NoRepository {
        /// The owner's handle or ID.
        owner: String,
        /// The repository.
        repository: String,
    },
    /// The repository has no such tag or manifest.
    #[error("{owner}/{repository} has no {} “{reference}”", reference_word(.reference))]
    NoImage {
        /// The owner's handle or ID.
        owner: String,
        /// The repository.
        repository: String,
        /// The tag or digest.
        reference: String,
    },
    /// The index did not answer.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The PDS or a hold did not.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// What the PDS has is no manifest.
    #[error("a manifest cannot be read")]
    Manifest(#[source] Arc<ManifestError>),
}

/// What `reference` is, in a sentence.
#[must_use]
pub fn reference_word(reference: &str) -> &'static str {
    if reference.contains(':') { "digest" } else { "tag" }
}

/// Reads for pages.
pub struct Browse {
    /// Lists and counts.
    pub index: Arc<dyn IndexReader>,
    /// Search.
    pub search: Arc<dyn SearchIndex>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    scheduler: Option<Scheduler>,
    identities: Arc<dyn IdentityResolver>,
    permissions: Permissions,
    manifests: Arc<Manifests>,
    blobs: Arc<Blobs>,
    records: Arc<dyn AccountRecords>,
    configs: Cache<(Option<Did>, Digest), Arc<ImageConfig>>,
    failures: moka::sync::Cache<(Option<Did>, Digest), Arc<RegistryError>>,
    proof_source: Arc<dyn ProofSource>,
    proofs: Proofs,
    proof_checks: Semaphore,
}

/// What [`Browse`] works with.
pub struct BrowseParts {
    /// Lists and counts.
    pub index: Arc<dyn IndexReader>,
    /// Search.
    pub search: Arc<dyn SearchIndex>,
    /// Brings accounts to their heads when a page is about them; `None` when the index is not filled.
    pub scheduler: Option<Scheduler>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Whose account a name is.
    pub identities: Arc<dyn IdentityResolver>,
    /// Who may read.
    pub permissions: Permissions,
    /// Manifests.
    pub manifests: Arc<Manifests>,
    /// Configurations.
    pub blobs: Arc<Blobs>,
    /// Where stars are written.
    pub records: Arc<dyn AccountRecords>,
    /// Where proofs are from.
    pub proofs: Arc<dyn ProofSource>,
}

/// An account that a page is about.
#[derive(Clone, Debug)]
pub struct Owner {
    /// Who.
    pub identity: Arc<ResolvedIdentity>,
    /// What the index knows; `None` when it has never heard of the account.
    pub account: Option<AccountView>,
    /// The account was read, and has nothing to be indexed.
    pub is_empty: bool,
}

impl Owner {
    /// The handle, or else the DID.
    #[must_use]
    pub fn name(&self) -> String {
        let handle = self.identity.handle.as_ref();
        handle.map_or_else(|| self.identity.did.to_string(), ToString::to_string)
    }
}

/// A manifest and what it says.
#[derive(Clone, Debug)]
pub struct ReadManifest {
    /// Its digest.
    pub digest: Digest,
    /// The manifest.
    pub manifest: Manifest,
}

impl Browse {
    /// Puts it together.
    #[must_use]
    pub fn new(parts: BrowseParts) -> Self {
        let configs = Cache::builder()
            .max_capacity(REMEMBERED_BYTES)
            .time_to_live(REMEMBERED)
            .weigher(|_, config: &Arc<ImageConfig>| config.size_bytes);
        let failures = moka::sync::Cache::builder()
            .max_capacity(10_000)
            .time_to_live(REMEMBERED_FAILURE);
        Self {
            index: parts.index,
            search: parts.search,
            scheduler: parts.scheduler,
            clock: parts.clock,
            identities: parts.identities,
            permissions: parts.permissions,
            manifests: parts.manifests,
            blobs: parts.blobs,
            records: parts.records,
            configs: configs.build(),
            failures: failures.build(),
            proof_source: parts.proofs,
            proofs: provenance::remembered(),
            proof_checks: Semaphore::new(provenance::CHECKS_AT_ONCE),
        }
    }

    /// The account that `identifier` stands for.
    ///
    /// # Errors
    /// [`BrowseError::NoAccount`], [`BrowseError::Moved`], [`BrowseError::AccountUnavailable`], [`BrowseError::Hidden`], the index's.
    pub async fn owner(&self, identifier: &AtIdentifier) -> Result<Owner, BrowseError> {
        let name = identifier.as_str().to_owned();
        let resolved = self.identities.resolve(identifier).await;
        let identity = match resolved {
            Ok(identity) => identity,
            Err(error) if error.is_transient() => {
                return Err(BrowseError::AccountUnavailable {
                    name,
                    reason: error.to_string(),
                });
            }
            Err(_) => return Err(self.without_account(identifier).await?),
        };
        let mut account = self.index.account(&identity.did).await?;
        let mut is_empty = false;
        if let Some(scheduler) = &self.scheduler {
            let is_listed = account.as_ref().is_some_and(|account| account.rev.is_some());
            match scheduler.looked_at(&identity.did, is_listed, FIRST_LOOK).await {
                Look::Read => account = self.index.account(&identity.did).await?,
                Look::WithoutRecords => is_empty = account.is_none(),
                Look::AsBefore => {}
            }
        }
        let owner = Owner {
            identity,
            account,
            is_empty,
        };
        match &owner.account {
            Some(account) if !account.is_visible() => Err(BrowseError::Hidden {
                name: owner.name(),
                is_taken_down: account.is_taken_down,
            }),
            _ => Ok(owner),
        }
    }

    /// What to say of a name that nobody has: an account may have had it before.
    async fn without_account(&self, identifier: &AtIdentifier) -> Result<BrowseError, IndexError> {
        let name = identifier.as_str().to_owned();
        let AtIdentifier::Handle(handle) = identifier else {
            return Ok(BrowseError::NoAccount { name });
        };
        let Some(did) = self.index.former_owner(handle).await? else {
            return Ok(BrowseError::NoAccount { name });
        };
        let handle = self
            .index
            .account(&did)
            .await?
            .and_then(|account| account.owner.handle);
        let to = handle.map_or_else(|| did.into(), AtIdentifier::from);
        Ok(BrowseError::Moved { name, to })
    }

    /// The repository `name` of `owner`.
    ///
    /// # Errors
    /// [`BrowseError::NoRepository`], the index's.
    pub async fn repository(&self, owner: &Owner, name: &str) -> Result<RepositoryView, BrowseError> {
        let found = self.index.repository(&owner.identity.did, name).await?;
        found.ok_or_else(|| BrowseError::NoRepository {
            owner: owner.name(),
            repository: name.to_owned(),
        })
    }

    /// The manifest `digest`, from the owner's PDS or from memory. `visitor` is who looks; looking does not count as a pull.
    ///
    /// # Errors
    /// [`BrowseError::Registry`], [`BrowseError::Manifest`].
    pub async fn manifest(
        &self,
        visitor: Option<&Did>,
        owner: &Owner,
        repository: &str,
        digest: &Digest,
    ) -> Result<ReadManifest, BrowseError> {
        let grant = self.grant(visitor, owner, repository).await?;
        let reference = Reference::Digest(digest.clone());
        let served = self.manifests.pull(&grant, &reference, false).await?;
        let manifest = Manifest::parse(served.bytes, Some(&served.media_type));
        Ok(ReadManifest {
            digest: served.digest,
            manifest: manifest.map_err(|error| BrowseError::Manifest(Arc::new(error)))?,
        })
    }

    /// The configuration `digest` of an image, from its hold or from memory.
    ///
    /// # Errors
    /// The registry's; `HoldError::TimedOut` and its like also when a hold has lately not answered.
    pub async fn config(
        &self,
        visitor: Option<&Did>,
        owner: &Owner,
        repository: &str,
        digest: &Digest,
    ) -> Result<Arc<ImageConfig>, RegistryError> {
        let grant = self.grant(visitor, owner, repository).await?;
        // Of a hold that only members may read, each reader is asked for: what one may see is not remembered for another.
        let key = (visitor.cloned(), digest.clone());
        if let Some(failure) = self.failures.get(&key) {
            return Err(failure.as_ref().clone());
        }
        let read = async {
            let read = tokio::time::timeout(PATIENCE, self.read_config(&grant, digest));
            read.await.unwrap_or_else(|_| {
                Err(RegistryError::Internal {
                    what: "the hold took too long for a page".to_owned(),
                })
            })
        };
        let found = self.configs.try_get_with(key.clone(), read).await;
        found.map_err(|error| {
            self.failures.insert(key, Arc::clone(&error));
            error.as_ref().clone()
        })
    }

    async fn read_config(
        &self,
        grant: &Granted<Pull>,
        digest: &Digest,
    ) -> Result<Arc<ImageConfig>, RegistryError> {
        let mut download = self.blobs.open(grant, digest).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = download.bytes.next().await {
            let piece = piece.map_err(|error| RegistryError::BodyInterrupted {
                source: Arc::new(error),
            })?;
            if (bytes.len() + piece.len()) as u64 > MAX_CONFIG {
                return Ok(Arc::new(ImageConfig::too_long()));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(Arc::new(ImageConfig::parse(&bytes)))
    }

    /// Where `visitor` can read the blob `digest` of the repository: a signed address at the hold's store.
    ///
    /// # Errors
    /// The registry's.
    pub async fn blob_url(
        &self,
        visitor: Option<&Did>,
        owner: &Owner,
        repository: &str,
        digest: &Digest,
    ) -> Result<String, RegistryError> {
        let grant = self.grant(visitor, owner, repository).await?;
        let url = self.blobs.url(&grant, digest).await?;
        Ok(url.expose().to_string())
    }

    /// What `visitor` may do with the repository, by a sign-in in a browser.
    pub(crate) async fn grant<A: Action>(
        &self,
        visitor: Option<&Did>,
        owner: &Owner,
        repository: &str,
    ) -> Result<Granted<A>, RegistryError> {
        let principal = visitor.map_or(Principal::Anonymous, |did| Principal::Sailor {
            did: did.clone(),
            auth_method: AuthMethod::OAuth,
        });
        let caller = Caller {
            principal,
            claims: None,
        };
        let identity = &owner.identity;
        let segment = identity.handle.as_ref().map(ToString::to_string);
        let segment = segment
            .or_else(|| identity.did.to_image_segment())
            .unwrap_or_default();
        let name = RepositoryName::new(&segment, repository);
        let context = RequestContext {
            name: name.map_err(|error| {
                RegistryError::Account(AccountError::NameUnknown {
                    name: repository.to_owned(),
                    reason: error.to_string(),
                })
            })?,
            owner: Arc::clone(identity),
            // Visitors who did not sign in are one requester.
            requester: visitor.map_or("pages", Did::as_str).into(),
        };
        self.permissions.grant(&caller, &context).await
    }
}

impl std::fmt::Debug for Browse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Browse").finish_non_exhaustive()
    }
}
