//! The resolver: methods in order, agreement of handle and document, caches.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{Either, select};
use url::Url;

use super::cache::ExpiringCache;
use super::dns::{SystemDns, TxtLookup, TxtLookupError};
use super::handle_well_known::Answer;
use super::{
    DidDocument, IdentityError, IdentityResolver, ResolvedIdentity, did_plc, did_web, handle_dns,
    handle_well_known, handle_xrpc,
};
use crate::clock::Clock;
use crate::egress::{EgressClient, EgressError};
use crate::syntax::{AtIdentifier, Did, Handle};

/// How long an identity is cached by default (15 minutes; the protocol advises at most an hour).
pub const DEFAULT_TTL: Duration = Duration::from_mins(15);

/// How long a definite "does not exist" is cached by default (1 minute).
pub const DEFAULT_NEGATIVE_TTL: Duration = Duration::from_mins(1);

/// Identities kept at most, per kind of entry.
const CAPACITY: u64 = 20_000;

/// Times the document of one DID is fetched again within [`REFRESH_WINDOW`] because a signature did not verify: enough
/// for a rotated key, too few for forged tokens to make us flood a directory.
const REFRESHES_PER_WINDOW: u32 = 5;
const REFRESH_WINDOW: Duration = Duration::from_mins(1);

/// Where to ask, and how long to cache the answer.
#[derive(Clone, Debug)]
pub struct ResolverConfig {
    /// Base URL of the did:plc directory, named by the operator: any address, http or https.
    pub plc_directory: Url,
    /// Base URL of a service with `com.atproto.identity.resolveHandle`, named by the operator, asked before DNS.
    pub handle_resolver: Option<Url>,
    /// Development only: did:web of this machine is fetched over plain HTTP. The egress client must allow it too.
    pub allow_loopback: bool,
    /// How long documents and handles are cached.
    pub ttl: Duration,
    /// How long a definite "does not exist" is cached.
    pub negative_ttl: Duration,
}

impl ResolverConfig {
    /// A configuration with the default lifetimes, no handle resolver and no allowance.
    #[must_use]
    pub fn new(plc_directory: Url) -> Self {
        Self {
            plc_directory,
            handle_resolver: None,
            allow_loopback: false,
            ttl: DEFAULT_TTL,
            negative_ttl: DEFAULT_NEGATIVE_TTL,
        }
    }
}

/// Resolves over the network, with caches. Failures that say nothing about the identity are never cached.
pub struct Resolver {
    config: ResolverConfig,
    egress: EgressClient,
    configured: EgressClient,
    dns: Arc<dyn TxtLookup>,
    clock: Arc<dyn Clock>,
    handles: ExpiringCache<Handle, Result<Did, IdentityError>>,
    documents: ExpiringCache<Did, Result<Arc<DidDocument>, IdentityError>>,
    identities: ExpiringCache<Did, Arc<ResolvedIdentity>>,
    refreshes: ExpiringCache<Did, Arc<AtomicU32>>,
}

impl Resolver {
    /// A resolver that uses the system's DNS. Hosts named by identities are contacted through `egress`.
    ///
    /// # Errors
    /// `Setup` if the client for the configured hosts cannot be built.
    pub fn new(
        config: ResolverConfig,
        egress: EgressClient,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, EgressError> {
        Self::with_dns(config, egress, clock, Arc::new(SystemDns::new()))
    }

    /// [`Self::new`] with TXT records from `dns`.
    ///
    /// # Errors
    /// `Setup` if the client for the configured hosts cannot be built.
    pub fn with_dns(
        config: ResolverConfig,
        egress: EgressClient,
        clock: Arc<dyn Clock>,
        dns: Arc<dyn TxtLookup>,
    ) -> Result<Self, EgressError> {
        let longest = config.ttl.max(config.negative_ttl);
        Ok(Self {
            handles: ExpiringCache::new(CAPACITY, longest, Arc::clone(&clock)),
            documents: ExpiringCache::new(CAPACITY, longest, Arc::clone(&clock)),
            identities: ExpiringCache::new(CAPACITY, longest, Arc::clone(&clock)),
            refreshes: ExpiringCache::new(CAPACITY, REFRESH_WINDOW, Arc::clone(&clock)),
            configured: EgressClient::for_configured_hosts()?,
            config,
            egress,
            dns,
            clock,
        })
    }

    async fn document(&self, did: &Did) -> Result<Arc<DidDocument>, IdentityError> {
        self.remembered(&self.documents, did, self.fetch_document(did))
            .await
    }

    async fn did_of(&self, handle: &Handle) -> Result<Did, IdentityError> {
        self.remembered(&self.handles, handle, self.fetch_handle(handle))
            .await
    }

    /// A value or a definite "does not exist" from `cache`, else from `fetch`. A transient failure is returned but not cached.
    async fn remembered<K, V>(
        &self,
        cache: &ExpiringCache<K, Result<V, IdentityError>>,
        key: &K,
        fetch: impl Future<Output = Result<V, IdentityError>>,
    ) -> Result<V, IdentityError>
    where
        K: std::hash::Hash + Eq + Clone + Send + Sync + 'static,
        V: Clone + Send + Sync + 'static,
    {
        let fetch = async {
            match fetch.await {
                Err(error) if error.is_transient() => Err(error),
                answer => {
                    let life = if answer.is_ok() {
                        self.config.ttl
                    } else {
                        self.config.negative_ttl
                    };
                    Ok((answer, self.clock.now() + life))
                }
            }
        };
        cache
            .get_or_try_insert(key, fetch)
            .await
            .unwrap_or_else(|error| Err(IdentityError::clone(&error)))
    }

    async fn fetch_document(&self, did: &Did) -> Result<Arc<DidDocument>, IdentityError> {
        let document = match did.method() {
            "plc" => did_plc::resolve(&self.configured, &self.config.plc_directory, did).await?,
            "web" => did_web::resolve(&self.egress, self.config.allow_loopback, did).await?,
            _ => return Err(IdentityError::UnsupportedDid { did: did.clone() }),
        };
        Ok(Arc::new(document))
    }

    async fn fetch_handle(&self, handle: &Handle) -> Result<Did, IdentityError> {
        let not_found = || IdentityError::HandleNotFound {
            handle: handle.clone(),
        };
        if handle.has_disallowed_tld() {
            return Err(not_found());
        }
        let mut unasked = None;
        if let Some(base) = &self.config.handle_resolver {
            match handle_xrpc::resolve(&self.configured, base, handle).await {
                Ok(Some(did)) => return Ok(did),
                // `.test` never exists outside the network the resolver speaks for.
                Ok(None) if handle.as_str().ends_with(".test") => return Err(not_found()),
                Ok(None) => {}
                Err(error) => unasked = Some(error),
            }
        }
        match (self.ask_the_domain(handle).await, unasked) {
            (Ok(Some(did)), _) => Ok(did),
            (Err(error), _) | (Ok(None), Some(error)) => Err(error),
            (Ok(None), None) => Err(not_found()),
        }
    }

    /// DNS and well-known at once; DNS wins if both name a DID.
    async fn ask_the_domain(&self, handle: &Handle) -> Result<Option<Did>, IdentityError> {
        let by_dns = pin!(handle_dns::resolve(self.dns.as_ref(), handle));
        let by_https = pin!(handle_well_known::resolve(&self.egress, handle));
        let (dns, https) = match select(by_dns, by_https).await {
            Either::Left((Ok(Some(did)), _)) => return Ok(Some(did)),
            Either::Left((dns, by_https)) => (dns, by_https.await),
            Either::Right((https, by_dns)) => (by_dns.await, https),
        };
        let dns_failure = match dns {
            Ok(Some(did)) => return Ok(Some(did)),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        match (https, dns_failure) {
            (Ok(Answer::Did(did)), _) => Ok(Some(did)),
            // DNS works and knows no record, so a host without address is really absent.
            (Ok(Answer::None | Answer::NoHost(_)), None) => Ok(None),
            (Ok(Answer::NoHost(error)), Some(_)) => Err(error),
            (Ok(Answer::None), Some(error)) => Err(dns_unreachable(handle, error)),
            // A host that must not be contacted hosts no handle; DNS has the last word if it spoke.
            (Err(IdentityError::Refused { .. }), None) => Ok(None),
            (Err(IdentityError::Refused { .. }), Some(error)) => Err(dns_unreachable(handle, error)),
            (Err(error), _) => Err(error),
        }
    }

    /// The handle of `document` if it resolves back to the DID, and whether that could be checked.
    async fn confirmed_handle(&self, document: &DidDocument) -> (Option<Handle>, bool) {
        let Some(handle) = document.claimed_handle() else {
            return (None, true);
        };
        match self.did_of(&handle).await {
            Ok(did) if did == *document.id() => (Some(handle), true),
            Ok(_) => (None, true),
            Err(error) => (None, !error.is_transient()),
        }
    }

    async fn resolve_handle(&self, handle: &Handle) -> Result<Arc<ResolvedIdentity>, IdentityError> {
        let did = self.did_of(handle).await?.normalised();
        let claims = |document: &DidDocument| document.claimed_handle().as_ref() == Some(handle);
        let mut document = self.document(&did).await?;
        if !claims(&document) {
            // The handle may be newer than the document we remember.
            document = self.refresh_document(&did).await?;
        }
        if !claims(&document) {
            return Err(IdentityError::HandleNotConfirmed {
                handle: handle.clone(),
                did,
            });
        }
        Ok(match self.composed(&document).await {
            Some(known) if known.handle.as_ref() == Some(handle) => known,
            _ => {
                self.compose(document, Some(handle.clone()), self.config.ttl)
                    .await
            }
        })
    }

    /// The cached identity made from exactly this document. It is dropped together with the document.
    async fn composed(&self, document: &Arc<DidDocument>) -> Option<Arc<ResolvedIdentity>> {
        let known = self.identities.get(document.id()).await?;
        Arc::ptr_eq(&known.document, document).then_some(known)
    }

    async fn compose(
        &self,
        document: Arc<DidDocument>,
        handle: Option<Handle>,
        life: Duration,
    ) -> Arc<ResolvedIdentity> {
        let identity = Arc::new(ResolvedIdentity::new(document, handle));
        let expires_at = self.clock.now() + life;
        self.identities
            .insert(identity.did.clone(), Arc::clone(&identity), expires_at)
            .await;
        identity
    }

    /// Whether the document of `did` may be fetched again now.
    async fn may_refresh(&self, did: &Did) -> bool {
        let fresh =
            async { Ok::<_, std::convert::Infallible>((Arc::default(), self.clock.now() + REFRESH_WINDOW)) };
        match self.refreshes.get_or_try_insert(did, fresh).await {
            Ok(count) => count.fetch_add(1, Ordering::Relaxed) < REFRESHES_PER_WINDOW,
            Err(never) => match *never {},
        }
    }
}

#[async_trait]
impl IdentityResolver for Resolver {
    async fn resolve(&self, identifier: &AtIdentifier) -> Result<Arc<ResolvedIdentity>, IdentityError> {
        match identifier {
            AtIdentifier::Did(did) => self.resolve_did(did).await,
            AtIdentifier::Handle(handle) => self.resolve_handle(handle).await,
        }
    }

    async fn resolve_did(&self, did: &Did) -> Result<Arc<ResolvedIdentity>, IdentityError> {
        let document = self.document(&did.normalised()).await?;
        if let Some(known) = self.composed(&document).await {
            return Ok(known);
        }
        let (handle, certain) = self.confirmed_handle(&document).await;
        let life = if certain {
            self.config.ttl
        } else {
            self.config.negative_ttl
        };
        Ok(self.compose(document, handle, life).await)
    }

    async fn resolve_document(&self, did: &Did) -> Result<Arc<DidDocument>, IdentityError> {
        self.document(&did.normalised()).await
    }

    async fn refresh_document(&self, did: &Did) -> Result<Arc<DidDocument>, IdentityError> {
        let did = did.normalised();
        if !self.may_refresh(&did).await {
            return self.document(&did).await;
        }
        // The old document stays until there is a new answer: an outage must not cost what is already known.
        let answer = self.fetch_document(&did).await;
        if answer.as_ref().is_err_and(IdentityError::is_transient) {
            return answer;
        }
        let life = if answer.is_ok() {
            self.config.ttl
        } else {
            self.config.negative_ttl
        };
        self.identities.invalidate(&did).await;
        self.documents
            .insert(did, answer.clone(), self.clock.now() + life)
            .await;
        answer
    }

    async fn invalidate_did(&self, did: &Did) {
        self.documents.invalidate(&did.normalised()).await;
    }

    async fn invalidate_handle(&self, handle: &Handle) {
        if let Some(Ok(did)) = self.handles.get(handle).await {
            self.identities.invalidate(&did).await;
        }
        self.handles.invalidate(handle).await;
    }
}

fn dns_unreachable(handle: &Handle, error: TxtLookupError) -> IdentityError {
    IdentityError::Unreachable {
        subject: handle.to_string(),
        host: "DNS".to_owned(),
        source: Arc::new(error),
    }
}
