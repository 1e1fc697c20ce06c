//! Which hold a push goes to and which holds may have a blob.
//!
//! Push: the owner's profile, else the hold announced by the owner's legacy record, else this server's default; then the
//! successor of whatever was found. Pull: the hold that the manifest's record names; the hold of pushes is asked only for what that
//! one does not have.

use std::collections::HashSet;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::identity::{IdentityError, IdentityResolver, ResolvedIdentity, hold_endpoint};
use atcr_atproto::lexicon::captain::CaptainRecord;
use atcr_atproto::syntax::Did;
use atcr_auth::principal::Principal;
use atcr_oci::Digest;
use moka::sync::Cache;
use tokio::time::Instant;

use crate::access::{Granted, Push};
use crate::account::ports::AccountIndex;
use crate::account::ports::AccountSettings;
use crate::context::RequestContext;
use crate::error::RegistryError;
use crate::hold::credentials::HoldAccess;
use crate::hold::error::HoldError;
use crate::hold::ports::{HoldDirectory, HoldGateway, HoldRef, HoldTokens};

/// How long an account's choice of hold is believed.
const CHOICE_TTL: Duration = Duration::from_mins(1);

/// How long a captain record is believed.
const CAPTAIN_TTL: Duration = Duration::from_mins(5);

/// How long an account that became crew is not asked to become it again.
const CREW_TTL: Duration = Duration::from_mins(15);

/// How long a hold that refused an account as crew is not asked again.
const REFUSED_TTL: Duration = Duration::from_mins(1);

/// How long a hold that failed is not asked again: long enough for what one client asks for at once.
const FAILURE_TTL: Duration = Duration::from_secs(5);

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
    /// [`HoldError::Unresolvable`] when its document cannot be had or names no endpoint;
    /// [`HoldError::Unreachable`] when a server that should know does not answer.
    pub async fn resolve(&self, did: &Did) -> Result<HoldRef, RegistryError> {
        let unresolvable = |reason: String| HoldError::Unresolvable { reason }.of(did);
        let document = self
            .identities
            .resolve_document(did)
            .await
            .map_err(|error: IdentityError| {
                if error.is_transient() {
                    HoldError::Unreachable {
                        reason: error.to_string(),
                    }
                    .of(did)
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
    pub settings: Arc<dyn AccountSettings>,
    /// Which holds an account's manifests name.
    pub index: Arc<dyn AccountIndex>,
    /// The holds themselves.
    pub gateway: Arc<dyn HoldGateway>,
    /// Tokens to become crew with.
    pub tokens: Arc<dyn HoldTokens>,
    /// Where holds are.
    pub resolver: HoldResolver,
}

/// What came of making a caller crew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Membership {
    /// The hold took them, or says that it had before.
    New,
    /// The hold was not asked, or refused.
    Unchanged,
}

/// The directory of holds.
pub struct HoldDiscovery {
    ports: HoldDiscoveryPorts,
    access: HoldAccess,
    default_hold: Option<Did>,
    timeout: Duration,
    choices: Cache<Did, Option<Did>>,
    captains: Cache<Did, Option<Arc<CaptainRecord>>>,
    failures: Cache<Did, RegistryError>,
    crew: Cache<(Did, Did), ()>,
    refused: Cache<(Did, Did), ()>,
}

impl HoldDiscovery {
    /// A directory over `ports`; accounts that chose no hold go to `default_hold`. What is asked of holds for one answer takes
    /// `timeout` at most.
    #[must_use]
    pub fn new(ports: HoldDiscoveryPorts, default_hold: Option<Did>, timeout: Duration) -> Self {
        fn cache<K, V>(ttl: Duration) -> Cache<K, V>
        where
            K: std::hash::Hash + Eq + Send + Sync + 'static,
            V: Clone + Send + Sync + 'static,
        {
            Cache::builder().max_capacity(CAPACITY).time_to_live(ttl).build()
        }
        Self {
            access: HoldAccess::new(Arc::clone(&ports.tokens)),
            ports,
            default_hold,
            timeout,
            choices: cache(CHOICE_TTL),
            captains: cache(CAPTAIN_TTL),
            failures: cache(FAILURE_TTL),
            crew: cache(CREW_TTL),
            refused: cache(REFUSED_TTL),
        }
    }

    /// The hold the account chose, or is given; `None` when it chose none.
    async fn choice(&self, owner: &ResolvedIdentity) -> Result<Option<Did>, RegistryError> {
        if let Some(choice) = self.choices.get(&owner.did) {
            return Ok(choice);
        }
        let profile = self.ports.settings.find_profile(owner).await?;
        let has_profile = profile.is_some();
        let choice = match profile.and_then(|profile| profile.default_hold) {
            Some(hold) => Some(hold),
            None => match self.ports.settings.find_legacy_hold(owner).await? {
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
    async fn current(&self, did: Did, patience: &Patience) -> Result<HoldRef, RegistryError> {
        let mut seen = HashSet::from([did.clone()]);
        let mut hold = patience.wait(&did, self.ports.resolver.resolve(&did)).await?;
        while seen.len() <= MAX_SUCCESSORS {
            let captain = self.captain(&hold, patience).await?;
            let successor = captain.and_then(|captain| captain.successor.clone());
            let Some(successor) = successor.filter(|next| !seen.contains(next)) else {
                break;
            };
            let resolved = self.ports.resolver.resolve(&successor);
            match patience.wait(&successor, resolved).await {
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

    /// The hold's captain record, as far as the hold gives one.
    ///
    /// # Errors
    /// That the hold is down.
    async fn captain(
        &self,
        hold: &HoldRef,
        patience: &Patience,
    ) -> Result<Option<Arc<CaptainRecord>>, RegistryError> {
        let asked = match (self.failures.get(&hold.did), self.captains.get(&hold.did)) {
            (Some(error), _) => Err(error),
            (None, Some(captain)) => return Ok(captain),
            (None, None) => {
                let asked = async {
                    let found = self.ports.gateway.find_captain(hold).await;
                    found.map_err(|error| error.at(hold))
                };
                let asked = patience.wait(&hold.did, asked).await;
                asked.inspect_err(|error| self.note_failure(hold, error))
            }
        };
        match asked {
            Ok(captain) => {
                let captain = captain.map(Arc::new);
                self.captains.insert(hold.did.clone(), captain.clone());
                Ok(captain)
            }
            Err(error) if is_down(&error) => Err(error),
            Err(_) => Ok(None),
        }
    }

    fn note_failure(&self, hold: &HoldRef, error: &RegistryError) {
        tracing::debug!(hold.did = %hold.did, %error, "a hold does not do what it is asked");
        // Finding out that no process listens takes no time, and a hold that is just starting should not have to wait.
        if !matches!(error.as_hold(), Some(HoldError::Unreachable { .. })) {
            self.failures.insert(hold.did.clone(), error.clone());
        }
    }

    /// Makes the pusher crew where every account may join. The hold decides whether the pusher may write, even if this fails.
    ///
    /// # Errors
    /// That the hold is down.
    async fn ensure_crew(
        &self,
        principal: &Principal,
        hold: &HoldRef,
        patience: &Patience,
    ) -> Result<Membership, RegistryError> {
        let Some(did) = principal.did() else {
            return Ok(Membership::Unchanged);
        };
        let key = (hold.did.clone(), did.clone());
        if self.crew.contains_key(&key) || self.refused.contains_key(&key) {
            return Ok(Membership::Unchanged);
        }
        match self.captain(hold, patience).await? {
            Some(captain) if captain.allow_all_crew && captain.owner != *did => {}
            _ => return Ok(Membership::Unchanged),
        }
        match self.request_crew(principal, hold, patience).await {
            Ok(()) => {
                self.crew.insert(key, ());
                return Ok(Membership::New);
            }
            Err(error) if is_down(&error) => {
                self.note_failure(hold, &error);
                return Err(error);
            }
            Err(error) => {
                tracing::info!(hold.did = %hold.did, %did, %error, "not accepted as crew");
                self.refused.insert(key, ());
            }
        }
        Ok(Membership::Unchanged)
    }

    /// Asks `hold` to take `principal` as crew; once more with another token if it does not take the first. Only the hold's own
    /// answers are taken from its `patience`.
    async fn request_crew(
        &self,
        principal: &Principal,
        hold: &HoldRef,
        patience: &Patience,
    ) -> Result<(), RegistryError> {
        self.access
            .as_user(principal, hold, |token| {
                let asked = async move { self.ports.gateway.request_crew(hold, &token).await };
                patience.within(asked, || HoldError::TimedOut)
            })
            .await
            .map_err(|error| error.at(hold))
    }

    async fn chosen(
        &self,
        owner: &ResolvedIdentity,
        patience: &Patience,
    ) -> Result<Option<HoldRef>, RegistryError> {
        match self.choice(owner).await? {
            Some(choice) => self.current(choice, patience).await.map(Some),
            None => Ok(None),
        }
    }
}

/// What is left of the time that holds may take for one answer, whichever of them and however often they are asked for it.
struct Patience {
    left: Mutex<Duration>,
}

impl Patience {
    fn new(left: Duration) -> Self {
        Self {
            left: Mutex::new(left),
        }
    }

    /// What `asked` brings about `hold`, or that it did not come while there was time.
    async fn wait<T>(
        &self,
        hold: &Did,
        asked: impl Future<Output = Result<T, RegistryError>>,
    ) -> Result<T, RegistryError> {
        self.within(asked, || HoldError::TimedOut.of(hold)).await
    }

    /// What `asked` brings, or else `late` when it did not come while there was time.
    async fn within<T, E>(
        &self,
        asked: impl Future<Output = Result<T, E>>,
        late: impl FnOnce() -> E,
    ) -> Result<T, E> {
        let began = Instant::now();
        let left = *self.left();
        let answer = tokio::time::timeout(left, asked).await;
        let mut left = self.left();
        *left = left.saturating_sub(began.elapsed());
        drop(left);
        answer.unwrap_or_else(|_| Err(late()))
    }

    fn left(&self) -> MutexGuard<'_, Duration> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a hold does not answer at all, so that nothing else need be asked of it.
fn is_down(error: &RegistryError) -> bool {
    matches!(
        error.as_hold(),
        Some(HoldError::TimedOut | HoldError::Unreachable { .. })
    )
}

#[async_trait]
impl HoldDirectory for HoldDiscovery {
    async fn for_push(&self, grant: &Granted<Push>) -> Result<HoldRef, RegistryError> {
        let patience = Patience::new(self.timeout);
        let hold = self
            .chosen(&grant.context().owner, &patience)
            .await?
            .ok_or(RegistryError::NoHold)?;
        self.ensure_crew(grant.principal(), &hold, &patience).await?;
        Ok(hold)
    }

    async fn for_blob(&self, context: &RequestContext, digest: &Digest) -> Result<Vec<Did>, RegistryError> {
        let (did, repository) = (&context.owner.did, context.repository());
        self.ports.index.holds_of_blob(did, repository, digest).await
    }

    async fn resolve(&self, hold: &Did) -> Result<HoldRef, RegistryError> {
        self.ports.resolver.resolve(hold).await
    }

    async fn of_pushes(&self, context: &RequestContext) -> Result<Option<HoldRef>, RegistryError> {
        let patience = Patience::new(self.timeout);
        self.chosen(&context.owner, &patience).await
    }

    async fn admit(&self, principal: &Principal, hold: &HoldRef) -> bool {
        let patience = Patience::new(self.timeout);
        match self.ensure_crew(principal, hold, &patience).await {
            Ok(membership) => membership == Membership::New,
            Err(error) => {
                tracing::info!(hold.did = %hold.did, %error, "a hold was not asked to take a reader as crew");
                false
            }
        }
    }
}

impl HoldDiscovery {
    /// Forgets which hold the account chose: it may have chosen another one.
    pub fn forget_choice(&self, did: &Did) {
        self.choices.invalidate(did);
    }

    /// Asks the hold that `sailor`'s pushes go to, if it takes every account. Failing is no matter: the push asks again.
    pub async fn join(&self, principal: &Principal, sailor: &ResolvedIdentity) {
        let patience = Patience::new(self.timeout);
        let joined = async {
            match self.chosen(sailor, &patience).await? {
                Some(hold) => self.ensure_crew(principal, &hold, &patience).await.map(drop),
                None => Ok(()),
            }
        };
        if let Err(error) = joined.await {
            tracing::info!(did = %sailor.did, %error, "no hold was asked to take the sailor as crew");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_that_is_asked_of_holds_takes_the_time_of_one_answer() {
        let (quick, silent): (Did, Did) = (
            "did:web:quick.example".parse().unwrap(),
            "did:web:silent.example".parse().unwrap(),
        );
        let began = Instant::now();
        let patience = Patience::new(Duration::from_secs(30));
        let slow = async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            Ok(1)
        };
        assert_eq!(patience.wait(&quick, slow).await.unwrap(), 1);
        for _ in 0..3 {
            let nothing = std::future::pending::<Result<(), _>>();
            let error = patience.wait(&silent, nothing).await.unwrap_err();
            assert!(
                matches!(&error, RegistryError::Hold { hold, error: HoldError::TimedOut } if *hold == silent),
                "{error:?}"
            );
        }
        assert_eq!(began.elapsed(), Duration::from_secs(30));
    }
}
