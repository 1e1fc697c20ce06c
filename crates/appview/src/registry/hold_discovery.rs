//! Which hold a push goes to and which holds may have a blob.
//!
//! Push: the owner's profile, else the hold he announced in the way of old, else this server's default; then the
//! successor of whatever was found. Pull: the hold that the manifest's record names.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::identity::{IdentityError, IdentityResolver, ResolvedIdentity, hold_endpoint};
use atcr_atproto::lexicon::captain::CaptainRecord;
use atcr_atproto::syntax::Did;
use atcr_auth::principal::Principal;
use atcr_oci::Digest;
use moka::sync::Cache;

use super::access::{Granted, Push};
use super::context::RequestContext;
use super::error::RegistryError;
use super::ports::{AccountIndex, HoldDirectory, HoldGateway, HoldRef, HoldTokens, ManifestStore};
use crate::sessions::oauth::ports::Crew;

/// How long an account's choice of hold is believed.
const CHOICE_TTL: Duration = Duration::from_mins(1);

/// How long a captain record is believed.
const CAPTAIN_TTL: Duration = Duration::from_mins(5);

/// How long somebody who became crew is not asked to become it again.
const CREW_TTL: Duration = Duration::from_mins(15);

/// How long a hold that refused somebody as crew is not asked again.
const REFUSED_TTL: Duration = Duration::from_mins(1);

/// Successors followed from one hold to the next.
const MAX_SUCCESSORS: usize = 5;

/// Entries kept at most, per kind.
const CAPACITY: u64 = 20_000;

/// Hold DID → endpoint.
#[derive(Clone)]
pub struct HoldResolver {
    identities: Arc<dyn IdentityResolver>,
}

impl HoldResolver {
    /// Resolves through `identities`, which caches.
    #[must_use]
    pub fn new(identities: Arc<dyn IdentityResolver>) -> Self {
        Self { identities }
    }

    /// Where the hold `did` answers.
    ///
    /// # Errors
    /// [`RegistryError::HoldUnresolvable`] when its document cannot be had or names no endpoint;
    /// [`RegistryError::HoldUnreachable`] when a server that should know does not answer.
    pub async fn resolve(&self, did: &Did) -> Result<HoldRef, RegistryError> {
        let unresolvable = |reason: String| RegistryError::HoldUnresolvable {
            hold: did.clone(),
            reason,
        };
        let document = self
            .identities
            .resolve_document(did)
            .await
            .map_err(|error: IdentityError| {
                if error.is_transient() {
                    RegistryError::HoldUnreachable {
                        hold: did.clone(),
                        reason: error.to_string(),
                    }
                } else {
                    unresolvable(error.to_string())
                }
            })?;
        let identity = ResolvedIdentity::new(document, None);
        let endpoint = hold_endpoint(&identity)
            .ok_or_else(|| unresolvable("its document names no endpoint".to_owned()))?;
        Ok(HoldRef {
            did: did.clone(),
            endpoint,
        })
    }
}

/// What hold discovery needs from outside.
pub struct HoldDiscoveryPorts {
    /// The owners' profiles.
    pub store: Arc<dyn ManifestStore>,
    /// Which holds an account's manifests name.
    pub index: Arc<dyn AccountIndex>,
    /// The holds themselves.
    pub gateway: Arc<dyn HoldGateway>,
    /// Tokens to become crew with.
    pub tokens: Arc<dyn HoldTokens>,
    /// Where holds are.
    pub resolver: HoldResolver,
}

/// The directory of holds.
pub struct HoldDiscovery {
    ports: HoldDiscoveryPorts,
    default_hold: Option<Did>,
    choices: Cache<Did, Option<Did>>,
    captains: Cache<Did, Option<Arc<CaptainRecord>>>,
    crew: Cache<(Did, Did), ()>,
    refused: Cache<(Did, Did), ()>,
}

impl HoldDiscovery {
    /// A directory over `ports`; accounts that chose no hold go to `default_hold`.
    #[must_use]
    pub fn new(ports: HoldDiscoveryPorts, default_hold: Option<Did>) -> Self {
        fn cache<K, V>(ttl: Duration) -> Cache<K, V>
        where
            K: std::hash::Hash + Eq + Send + Sync + 'static,
            V: Clone + Send + Sync + 'static,
        {
            Cache::builder().max_capacity(CAPACITY).time_to_live(ttl).build()
        }
        Self {
            ports,
            default_hold,
            choices: cache(CHOICE_TTL),
            captains: cache(CAPTAIN_TTL),
            crew: cache(CREW_TTL),
            refused: cache(REFUSED_TTL),
        }
    }

    /// The hold the account chose, or is given; `None` when it chose none.
    async fn choice(&self, owner: &ResolvedIdentity) -> Result<Option<Did>, RegistryError> {
        if let Some(choice) = self.choices.get(&owner.did) {
            return Ok(choice);
        }
        let profile = self.ports.store.find_profile(owner).await?;
        let has_profile = profile.is_some();
        let choice = match profile.and_then(|profile| profile.record.default_hold) {
            Some(hold) => Some(hold),
            None => match self.ports.store.find_legacy_hold(owner).await? {
                Some(hold) => Some(hold),
                // A profile without a hold is a decision; no profile is none.
                None if has_profile && self.default_hold.is_some() => None,
                None => self.default_hold.clone(),
            },
        };
        self.choices.insert(owner.did.clone(), choice.clone());
        Ok(choice)
    }

    /// The hold `did`, or what replaced it.
    async fn current(&self, did: Did) -> Result<HoldRef, RegistryError> {
        let mut seen = HashSet::from([did.clone()]);
        let mut hold = self.ports.resolver.resolve(&did).await?;
        while seen.len() <= MAX_SUCCESSORS {
            let successor = self
                .captain(&hold)
                .await
                .and_then(|captain| captain.successor.clone());
            let Some(successor) = successor.filter(|next| !seen.contains(next)) else {
                break;
            };
            match self.ports.resolver.resolve(&successor).await {
                Ok(next) => hold = next,
                Err(error) => {
                    tracing::warn!(hold.did = %hold.did, %error, "the successor of a hold cannot be found");
                    break;
                }
            }
            seen.insert(successor);
        }
        Ok(hold)
    }

    /// The hold's captain record, as far as it can be had: a hold that does not answer shows that in what it is asked next.
    async fn captain(&self, hold: &HoldRef) -> Option<Arc<CaptainRecord>> {
        if let Some(captain) = self.captains.get(&hold.did) {
            return captain;
        }
        match self.ports.gateway.find_captain(hold).await {
            Ok(captain) => {
                let captain = captain.map(Arc::new);
                self.captains.insert(hold.did.clone(), captain.clone());
                captain
            }
            Err(error) => {
                tracing::debug!(hold.did = %hold.did, %error, "a captain record cannot be read");
                None
            }
        }
    }

    /// Makes the pusher crew where anybody may become it. Whether he may write is for the hold to say, also if this fails.
    async fn ensure_crew(&self, principal: &Principal, hold: &HoldRef) {
        let Some(did) = principal.did() else {
            return;
        };
        let key = (hold.did.clone(), did.clone());
        if self.crew.contains_key(&key) || self.refused.contains_key(&key) {
            return;
        }
        match self.captain(hold).await {
            Some(captain) if captain.allow_all_crew && captain.owner != *did => {}
            _ => return,
        }
        match self.request_crew(principal, hold).await {
            Ok(()) => self.crew.insert(key, ()),
            Err(error) => {
                tracing::info!(hold.did = %hold.did, %did, %error, "not accepted as crew");
                self.refused.insert(key, ());
            }
        }
    }

    /// Asks `hold` to take `principal` as crew; once more with another token if it does not take the first.
    async fn request_crew(&self, principal: &Principal, hold: &HoldRef) -> Result<(), RegistryError> {
        let (tokens, gateway) = (&self.ports.tokens, &self.ports.gateway);
        let Some(token) = tokens.token_for(principal, &hold.did).await? else {
            return Ok(());
        };
        match gateway.request_crew(hold, &token).await {
            Err(RegistryError::HoldUnauthorized { .. }) => {
                tokens.invalidate(principal, &hold.did).await;
                let Some(token) = tokens.token_for(principal, &hold.did).await? else {
                    return Ok(());
                };
                gateway.request_crew(hold, &token).await
            }
            outcome => outcome,
        }
    }
}

#[async_trait]
impl HoldDirectory for HoldDiscovery {
    async fn for_push(&self, grant: &Granted<Push>) -> Result<HoldRef, RegistryError> {
        let choice = self
            .choice(&grant.context().owner)
            .await?
            .ok_or(RegistryError::NoHold)?;
        let hold = self.current(choice).await?;
        self.ensure_crew(grant.principal(), &hold).await;
        Ok(hold)
    }

    async fn for_blob(
        &self,
        context: &RequestContext,
        digest: &Digest,
    ) -> Result<Vec<HoldRef>, RegistryError> {
        let owner = &context.owner;
        let mut holds = Vec::new();
        for did in self
            .ports
            .index
            .holds_of_blob(&owner.did, context.repository(), digest)
            .await?
        {
            match self.ports.resolver.resolve(&did).await {
                Ok(hold) => holds.push(hold),
                Err(error) => tracing::debug!(hold.did = %did, %error, "a hold is left out"),
            }
        }
        let chosen = async {
            match self.choice(owner).await? {
                Some(choice) => self.current(choice).await.map(Some),
                None => Ok(None),
            }
        };
        match chosen.await {
            Ok(Some(hold)) if !holds.contains(&hold) => holds.push(hold),
            Ok(_) => {}
            Err(error) if holds.is_empty() => return Err(error),
            Err(error) => tracing::debug!(%error, "the hold of pushes is left out"),
        }
        Ok(holds)
    }
}

#[async_trait]
impl Crew for HoldDiscovery {
    async fn join(&self, principal: &Principal, sailor: &ResolvedIdentity) {
        let hold = async {
            match self.choice(sailor).await? {
                Some(choice) => self.current(choice).await.map(Some),
                None => Ok(None),
            }
        };
        match hold.await {
            Ok(Some(hold)) => self.ensure_crew(principal, &hold).await,
            Ok(None) => {}
            Err(error) => {
                tracing::info!(did = %sailor.did, %error, "no hold was asked to take the sailor as crew");
            }
        }
    }
}

impl std::fmt::Debug for HoldDiscovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HoldDiscovery")
            .field("default_hold", &self.default_hold)
            .finish_non_exhaustive()
    }
}
