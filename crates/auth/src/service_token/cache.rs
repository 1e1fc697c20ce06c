//! Reuse of service tokens for most of their minute.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use atcr_atproto::clock::{self, Clock};
use atcr_atproto::identity::cache::ExpiringCache;
use atcr_atproto::syntax::Did;
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};

use super::ServiceTokenClaims;
use crate::bounds::{SERVICE_TOKEN_MARGIN, SERVICE_TOKEN_REUSE};
use crate::jws::UnverifiedJws;

/// Tokens kept at most.
const CAPACITY: u64 = 10_000;

/// How long it is remembered that an account's tokens were forgotten: longer than one that was asked for before that is kept.
const FORGOTTEN_FOR: Duration = Duration::from_mins(5);

/// Account, service, and how often the account's tokens were forgotten before.
type Key = (Did, Did, u64);

/// Service tokens by account and service. Callers that need the same token at once wait for one request to the PDS.
pub struct ServiceTokenCache {
    tokens: ExpiringCache<Key, SecretString>,
    forgotten: moka::sync::Cache<Did, u64>,
    forgettings: AtomicU64,
    clock: Arc<dyn Clock>,
}

impl ServiceTokenCache {
    /// An empty cache.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let longest = Duration::from_secs(SERVICE_TOKEN_REUSE.num_seconds().unsigned_abs());
        Self {
            tokens: ExpiringCache::new(CAPACITY, longest, Arc::clone(&clock)),
            forgotten: moka::sync::Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(FORGOTTEN_FOR)
                .build(),
            forgettings: AtomicU64::new(0),
            clock,
        }
    }

    /// The token with which `did` may be spoken for at the service `aud`; asked for by `mint` unless one is at hand.
    ///
    /// A token is handed out for at most 50 s, and not within its last 10 s.
    ///
    /// # Errors
    /// The error of `mint`, shared by all who waited for it; nothing is kept.
    pub async fn get_or_mint<E>(
        &self,
        did: &Did,
        aud: &Did,
        mint: impl Future<Output = Result<SecretString, E>>,
    ) -> Result<SecretString, Arc<E>>
    where
        E: Send + Sync + 'static,
    {
        let mint = async {
            let token = mint.await?;
            let reuse_until = reuse_until(token.expose_secret(), self.clock.now());
            Ok((token, reuse_until))
        };
        self.tokens.get_or_try_insert(&self.key(did, aud), mint).await
    }

    /// Forgets the token, for instance because the service refused it.
    pub async fn invalidate(&self, did: &Did, aud: &Did) {
        self.tokens.invalidate(&self.key(did, aud)).await;
    }

    /// Forgets every token of `did`, those included that are being asked for: the session they come from is over.
    pub fn forget(&self, did: &Did) {
        // The key changes with this count: the old tokens are not found again, and they expire within a minute.
        let nth = self.forgettings.fetch_add(1, Ordering::Relaxed) + 1;
        self.forgotten.insert(did.clone(), nth);
    }

    fn key(&self, did: &Did, aud: &Did) -> Key {
        (did.clone(), aud.clone(), self.forgotten.get(did).unwrap_or(0))
    }
}

impl fmt::Debug for ServiceTokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceTokenCache").finish_non_exhaustive()
    }
}

/// The token is ours to use, not to judge: what cannot be read is used like any other.
fn reuse_until(token: &str, now: DateTime<Utc>) -> DateTime<Utc> {
    let longest = now + SERVICE_TOKEN_REUSE;
    UnverifiedJws::parse(token)
        .and_then(|jws| jws.claims::<ServiceTokenClaims>())
        .map_or(longest, |claims| {
            longest.min(clock::moved(clock::instant(claims.exp), -SERVICE_TOKEN_MARGIN))
        })
}

#[cfg(test)]
mod tests;
