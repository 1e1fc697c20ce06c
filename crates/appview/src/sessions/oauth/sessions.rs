//! OAuth sessions at work: found, renewed once at a time, ended.
//!
//! A refresh token is good once. In one process callers queue behind a lock per account; between processes that share the database
//! one of them takes a lease, and the others wait for what it writes. Neither is a lock of the database, which is free while
//! the server is asked.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::clock::Clock;
use atcr_atproto::dpop::DpopProver;
use atcr_atproto::syntax::Did;
use atcr_auth::oauth::{OAuthClient, OAuthError, OAuthSession};
use atcr_config::Shutdown;
use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::oneshot;
use url::Url;

use super::ports::{OAuthSessionStore, VersionedSession};
use crate::registry::error::RegistryError;
use crate::registry::keyed_locks::KeyedLocks;
use crate::sessions::ports::{Authorization, PdsCredential, SessionSource};

/// An access token with less life left than this is renewed before it is used.
const RENEW_BEFORE: TimeDelta = TimeDelta::seconds(60);

/// How long one refresh may take in all.
const REFRESH_WITHIN: Duration = Duration::from_secs(40);

/// How long nobody else tries: longer than a refresh may take.
const LEASE: TimeDelta = TimeDelta::seconds(50);

/// How often a process looks whether another has finished its refresh.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often it looks before it gives up: a little longer than a lease of a process that died.
const LOOKS: u32 = 600;

/// Live sessions kept in memory; the others are read from the database when they are needed.
const LIVE_SESSIONS: u64 = 10_000;

/// OAuth sessions.
#[derive(Clone)]
pub struct OAuthSessions(Arc<Inner>);

struct Inner {
    client: Arc<OAuthClient>,
    store: Arc<dyn OAuthSessionStore>,
    clock: Arc<dyn Clock>,
    shutdown: Shutdown,
    sign_in_url: Url,
    refreshes: KeyedLocks<Did>,
    live: moka::sync::Cache<Did, Arc<Live>>,
}

/// A session and what proves possession of its key.
struct Live {
    session: OAuthSession,
    version: i64,
    prover: DpopProver,
}

/// Why a session needs renewing.
#[derive(Clone, Debug)]
enum Stale {
    /// Its access token is about to expire.
    ExpiresSoon,
    /// The PDS did not take this access token.
    Refused(SecretString),
}

impl OAuthSessions {
    /// Keeps sessions in `store`, renews them through `client`; people whose session is over are sent to `sign_in_url`.
    #[must_use]
    pub fn new(
        client: Arc<OAuthClient>,
        store: Arc<dyn OAuthSessionStore>,
        clock: Arc<dyn Clock>,
        shutdown: Shutdown,
        sign_in_url: Url,
    ) -> Self {
        Self(Arc::new(Inner {
            client,
            store,
            clock,
            shutdown,
            sign_in_url,
            refreshes: KeyedLocks::default(),
            live: moka::sync::Cache::new(LIVE_SESSIONS),
        }))
    }

    /// Keeps a new session; the one before is given back to its server.
    ///
    /// # Errors
    /// The database's.
    pub async fn keep(&self, session: OAuthSession) -> Result<(), RegistryError> {
        let inner = &self.0;
        let before = inner.store.find(&session.did).await?;
        let version = inner.store.put(&session).await?;
        inner.remember(session, version);
        if let Some(before) = before {
            let client = Arc::clone(&inner.client);
            inner
                .shutdown
                .spawn(async move { client.revoke(&before.session).await });
        }
        Ok(())
    }

    /// Ends the session of `did` here and at its server.
    ///
    /// # Errors
    /// The database's.
    pub async fn end(&self, did: &Did) -> Result<(), RegistryError> {
        let inner = &self.0;
        // Nobody may be about to write a newer session over the deletion.
        let _refresh = inner.refreshes.lock(did).await;
        inner.live.invalidate(did);
        let Some(found) = inner.store.find(did).await? else {
            return Ok(());
        };
        inner.store.delete(did, found.version).await?;
        inner.client.revoke(&found.session).await;
        Ok(())
    }

    /// Drops the sessions that this configuration cannot use: of another client, or for other scopes.
    ///
    /// # Errors
    /// The database's.
    pub async fn drop_unfit(&self) -> Result<(), RegistryError> {
        let registration = self.0.client.registration();
        let (client_id, scopes) = (&registration.metadata().client_id, registration.scopes().steps());
        for did in self.0.store.delete_unfit(client_id, scopes).await? {
            tracing::info!(%did, "a session of another configuration was dropped; the user has to sign in again");
        }
        Ok(())
    }

    /// Renews in a task of its own: a client that goes away must not take a half-made refresh with it.
    async fn renewed(&self, did: &Did, stale: Stale) -> Result<Option<Arc<Live>>, RegistryError> {
        let (send, receive) = oneshot::channel();
        let (inner, did) = (Arc::clone(&self.0), did.clone());
        self.0.shutdown.spawn(async move {
            let _ = send.send(inner.renew(&did, &stale).await);
        });
        receive.await.unwrap_or_else(|_| {
            Err(RegistryError::Internal {
                what: "the server is stopping".to_owned(),
            })
        })
    }
}

impl Inner {
    fn remember(&self, session: OAuthSession, version: i64) -> Arc<Live> {
        let live = Arc::new(Live {
            prover: self.client.prover(&session.dpop_key),
            session,
            version,
        });
        self.live.insert(live.session.did.clone(), Arc::clone(&live));
        live
    }

    async fn find(&self, did: &Did) -> Result<Option<Arc<Live>>, RegistryError> {
        if let Some(live) = self.live.get(did) {
            return Ok(Some(live));
        }
        self.find_stored(did).await
    }

    async fn find_stored(&self, did: &Did) -> Result<Option<Arc<Live>>, RegistryError> {
        match self.store.find(did).await? {
            Some(VersionedSession { session, version }) => Ok(Some(self.remember(session, version))),
            None => {
                self.live.invalidate(did);
                Ok(None)
            }
        }
    }

    fn is_stale(&self, session: &OAuthSession, stale: &Stale) -> bool {
        match stale {
            Stale::ExpiresSoon => self.expires_soon(session),
            Stale::Refused(refused) => session.access_token.expose_secret() == refused.expose_secret(),
        }
    }

    fn expires_soon(&self, session: &OAuthSession) -> bool {
        session
            .expires_at
            .is_some_and(|at| at <= self.clock.now() + RENEW_BEFORE)
    }

    async fn renew(&self, did: &Did, stale: &Stale) -> Result<Option<Arc<Live>>, RegistryError> {
        // Held across the server's answer and the write: see the head of this file.
        let _refresh = self.refreshes.lock(did).await;
        if let Some(live) = self.live.get(did)
            && !self.is_stale(&live.session, stale)
        {
            return Ok(Some(live));
        }
        for _ in 0..LOOKS {
            // What is in memory may be older than what another process wrote.
            let Some(live) = self.find_stored(did).await? else {
                return Ok(None);
            };
            if !self.is_stale(&live.session, stale) {
                return Ok(Some(live));
            }
            let now = self.clock.now();
            if self.store.try_lease(did, live.version, now, now + LEASE).await? {
                return self.refresh(&live).await.map(Some);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err(RegistryError::Internal {
            what: format!("the session of {did} is being renewed elsewhere, and that does not end"),
        })
    }

    /// Refreshes `live`, whose lease this process has.
    #[tracing::instrument(name = "oauth.token.refresh", skip_all, fields(did = %live.session.did))]
    async fn refresh(&self, live: &Live) -> Result<Arc<Live>, RegistryError> {
        let did = &live.session.did;
        let refreshed = tokio::time::timeout(REFRESH_WITHIN, self.client.refresh(&live.session)).await;
        let error = match refreshed {
            Ok(Ok(session)) => return self.keep_refreshed(session, live.version).await,
            Ok(Err(OAuthError::Ended { reason })) => {
                return Err(self.ended(live, &reason).await?);
            }
            Ok(Err(error)) => registry_error(error),
            Err(_) => RegistryError::PdsTimeout {
                host: host(&live.session.pds),
            },
        };
        tracing::warn!(%did, %error, "a session could not be renewed now");
        self.store.release(did, live.version).await?;
        Err(error)
    }

    async fn keep_refreshed(&self, session: OAuthSession, version: i64) -> Result<Arc<Live>, RegistryError> {
        let did = session.did.clone();
        match self.store.replace(&session, version).await? {
            Some(version) => Ok(self.remember(session, version)),
            // Somebody signed in anew or out meanwhile; what he did counts.
            None => {
                self.client.revoke(&session).await;
                self.find_stored(&did)
                    .await?
                    .ok_or_else(|| session_ended(&self.sign_in_url, None))
            }
        }
    }

    /// Forgets `live`, which is over for `reason`.
    async fn ended(&self, live: &Live, reason: &str) -> Result<RegistryError, RegistryError> {
        let did = &live.session.did;
        tracing::info!(%did, reason, "a session has ended");
        self.store.delete(did, live.version).await?;
        self.live.invalidate(did);
        Ok(session_ended(&self.sign_in_url, Some(reason)))
    }

    /// Ends `live` if the account has moved away from where it is good.
    async fn check_home(&self, live: &Live) -> Result<(), RegistryError> {
        match self.client.check_home(&live.session).await {
            Err(OAuthError::Ended { reason }) => Err(self.ended(live, &reason).await?),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

#[async_trait]
impl SessionSource for OAuthSessions {
    async fn credential(&self, did: &Did) -> Result<Option<PdsCredential>, RegistryError> {
        let inner = &self.0;
        let Some(live) = inner.find(did).await? else {
            return Ok(None);
        };
        inner.check_home(&live).await?;
        if !inner.expires_soon(&live.session) {
            return Ok(Some(credential(&live)));
        }
        match self.renewed(did, Stale::ExpiresSoon).await {
            Ok(renewed) => Ok(renewed.as_deref().map(credential)),
            // The token is good for some seconds yet, and the server may answer again by then.
            Err(error)
                if !matches!(error, RegistryError::SessionEnded { .. })
                    && live.session.expires_at.is_some_and(|at| at > inner.clock.now()) =>
            {
                Ok(Some(credential(&live)))
            }
            Err(error) => Err(error),
        }
    }

    async fn renew(
        &self,
        did: &Did,
        refused: &PdsCredential,
    ) -> Result<Option<PdsCredential>, RegistryError> {
        let Authorization::Dpop { token, .. } = &refused.authorization else {
            return self.credential(did).await;
        };
        let renewed = self.renewed(did, Stale::Refused(token.clone())).await?;
        Ok(renewed.as_deref().map(credential))
    }

    fn ended(&self) -> RegistryError {
        session_ended(&self.0.sign_in_url, None)
    }
}

fn credential(live: &Live) -> PdsCredential {
    PdsCredential {
        did: live.session.did.clone(),
        pds: live.session.pds.clone(),
        authorization: Authorization::Dpop {
            token: live.session.access_token.clone(),
            prover: live.prover.clone(),
        },
    }
}

fn session_ended(sign_in_url: &Url, reason: Option<&str>) -> RegistryError {
    let sentence = match reason {
        Some(reason) => format!("your session has ended, {reason}; sign in again at {sign_in_url}"),
        None => format!("your session has ended; sign in again at {sign_in_url}"),
    };
    RegistryError::SessionEnded { sentence }
}

fn host(pds: &Url) -> String {
    atcr_auth::oauth::discovery::host(pds)
}

/// What a failed refresh means to a registry request.
fn registry_error(error: OAuthError) -> RegistryError {
    match error {
        OAuthError::Unavailable {
            host,
            retry_after: Some(retry_after),
            ..
        } => RegistryError::PdsRateLimited { host, retry_after },
        OAuthError::Unavailable {
            ref host, ref reason, ..
        } => RegistryError::PdsUnreachable {
            host: host.clone(),
            reason: reason.clone(),
            source: Arc::new(error.clone()),
        },
        OAuthError::Unsuitable { host, reason }
        | OAuthError::Denied { host, reason }
        | OAuthError::Untrusted { host, reason } => failed(host, "InvalidAnswer".to_owned(), reason),
        OAuthError::Refused {
            host,
            error,
            description,
        } => failed(host, error, description.unwrap_or_default()),
        OAuthError::ClockSkew { host, seconds } => failed(
            host,
            "ClockSkew".to_owned(),
            format!(
                "the clock of this registry differs from its own by {seconds} seconds; the operator has to set it"
            ),
        ),
        // Ends the session before it gets here.
        OAuthError::Ended { reason } => RegistryError::Internal { what: reason },
        OAuthError::Internal(what) => RegistryError::Internal {
            what: what.to_owned(),
        },
    }
}

fn failed(host: String, error: String, reason: String) -> RegistryError {
    RegistryError::PdsFailed {
        host,
        status: 400,
        error,
        reason,
    }
}

impl std::fmt::Debug for OAuthSessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OAuthSessions").finish_non_exhaustive()
    }
}
