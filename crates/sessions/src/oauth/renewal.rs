//! Look-up, renewal (one at a time) and end of OAuth sessions.
//!
//! A refresh token works once. Within one process, callers queue for a lock per account; between processes that share
//! the database, one of them takes a lease and the others wait for its result. Neither is a database lock, so the
//! database stays free during the request to the server.
//!
//! If the result of a refresh cannot be written, it is used from memory and the write is repeated: the database still
//! has the spent token.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::clock::Clock;
use atcr_atproto::pds::PdsFailure;
use atcr_atproto::syntax::Did;
use atcr_auth::oauth::{OAuthClient, OAuthError, OAuthSession};
use atcr_server::Shutdown;
use atcr_server::host_calls::{HostCallBounds, call_hosts};
use atcr_server::supervise::Task;
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::oneshot;
use url::Url;

use super::failures::{being_renewed, session_ended, session_error};
use super::live::Live;
use super::ports::{OAuthSessionStore, Taken, VersionedSession};
use crate::error::SessionError;
use crate::live_sessions::LiveSessions;
use crate::ports::{Authorization, PdsCredential, ServiceTokens, SessionSource};
use atcr_server::KeyedLocks;

/// What is done in the background, in logs and metrics.
const CHANGE: Task = Task::new("change_oauth_session");
const REVOKE: Task = Task::new("revoke_oauth_session");

/// An access token with less life left than this is renewed before it is used.
const RENEW_BEFORE: TimeDelta = TimeDelta::seconds(60);

/// Added to the longest time of a refresh: for the lease, during which no other process tries; and again for callers that wait for
/// another process.
const LEASE_MARGIN: Duration = Duration::from_secs(10);

/// How often a process looks whether another has finished its refresh.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long a session stays after its sign-in although no browser and no device uses it: the browser is about to get its cookie.
const UNUSED_FOR: TimeDelta = TimeDelta::minutes(10);

/// Unused sessions that are taken out at once.
const BATCH: u32 = 100;

/// Sessions that servers are told of in one sweep, at most; the others end there by themselves.
const MAX_REVOCATIONS: usize = 1_000;

/// OAuth sessions.
#[derive(Clone)]
pub struct OAuthSessions(Arc<Inner>);

pub(super) struct Inner {
    pub(super) client: Arc<OAuthClient>,
    pub(super) store: Arc<dyn OAuthSessionStore>,
    clock: Arc<dyn Clock>,
    pub(super) shutdown: Shutdown,
    pub(super) sign_in_url: Url,
    service_tokens: Arc<dyn ServiceTokens>,
    /// How long no other process tries to refresh.
    pub(super) lease: Duration,
    /// One caller at a time changes a session: renews, replaces or ends it.
    pub(super) changes: KeyedLocks<Did>,
    pub(super) live: LiveSessions<Live>,
}

/// What came of waiting for a session.
enum Found {
    /// There is none.
    Nothing,
    /// It needs no renewal any more.
    Renewed(Arc<Live>),
    /// It does, and only this process may do it now.
    Leased(Arc<Live>),
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
        service_tokens: Arc<dyn ServiceTokens>,
    ) -> Self {
        Self(Arc::new(Inner {
            lease: client.longest_refresh().saturating_add(LEASE_MARGIN),
            client,
            store,
            clock,
            shutdown,
            sign_in_url,
            service_tokens,
            changes: KeyedLocks::default(),
            live: LiveSessions::default(),
        }))
    }

    /// Keeps a new session; the one before is revoked at its server.
    ///
    /// # Errors
    /// The database's. The new session is then revoked, and the one before stays.
    pub async fn keep(&self, session: OAuthSession) -> Result<(), SessionError> {
        let inner = Arc::clone(&self.0);
        self.whole(async move { inner.keep(session).await }).await
    }

    /// Ends the session of `did` here and at its server, whichever process refreshed it last.
    ///
    /// # Errors
    /// The database's; nothing is ended then.
    pub async fn end(&self, did: &Did) -> Result<(), SessionError> {
        let (inner, did) = (Arc::clone(&self.0), did.clone());
        self.whole(async move { inner.end(&did).await }).await
    }

    /// Ends the sessions that no browser and no device uses.
    ///
    /// # Returns
    /// How many there were.
    ///
    /// # Errors
    /// The database's.
    pub async fn end_unused(&self) -> Result<usize, SessionError> {
        let inner = &self.0;
        let (mut ended, mut revocations) = (0, Vec::new());
        loop {
            let now = inner.clock.now();
            let taken = inner.store.take_unused(now - UNUSED_FOR, now, BATCH).await?;
            let is_last = taken.len() < BATCH as usize;
            ended += taken.len();
            for Taken { did, session } in taken {
                tracing::info!(%did, "a session that is not in use was ended");
                // A refresh in progress finds its session gone, and revokes the tokens that it received.
                let unwritten = inner.live.unwritten(&did);
                inner.forget(&did);
                let of_memory = unwritten.as_ref().map(|live| &live.session);
                let server = session
                    .as_ref()
                    .or(of_memory)
                    .map(|session| session.issuer.clone());
                if let Some(server) = server
                    && revocations.len() < MAX_REVOCATIONS
                {
                    revocations.push((server, async move { inner.revoke(session, unwritten).await }));
                }
            }
            if is_last {
                break;
            }
        }
        // All are forgotten here by now: a server that does not answer holds up nothing but its own sessions' end.
        let told = call_hosts(revocations, HostCallBounds::default()).await;
        if told.given_up > 0 {
            tracing::info!(
                told.given_up,
                "some servers were not told of ended sessions in time"
            );
        }
        Ok(ended)
    }

    /// Drops the sessions that this configuration cannot use: of another client or client key, or for other scopes.
    ///
    /// # Errors
    /// The database's.
    pub async fn drop_unfit(&self) -> Result<(), SessionError> {
        let registration = self.0.client.registration();
        let (client_id, scopes) = (&registration.metadata().client_id, registration.scopes().steps());
        let key = registration.key_id();
        for did in self.0.store.delete_unfit(client_id, key, scopes).await? {
            tracing::info!(%did, "a session of another configuration was dropped; the user has to sign in again");
        }
        Ok(())
    }

    async fn renewed(&self, did: &Did, stale: Stale) -> Result<Option<Arc<Live>>, SessionError> {
        let (inner, did) = (Arc::clone(&self.0), did.clone());
        self.whole(async move { inner.renew(&did, &stale).await }).await
    }

    /// Does `change` in a task of its own: a client that goes away must not take half of it with it.
    async fn whole<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, SessionError>> + Send + 'static,
    ) -> Result<T, SessionError> {
        let (send, receive) = oneshot::channel();
        CHANGE.spawn(&self.0.shutdown, async move {
            let _ = send.send(change.await);
        });
        receive.await.unwrap_or_else(|_| {
            Err(SessionError::Internal {
                what: "the change of a session was interrupted".to_owned(),
            })
        })
    }
}

impl Inner {
    pub(super) fn live(&self, session: OAuthSession, version: i64) -> Live {
        Live {
            prover: self.client.prover(&session.dpop_key),
            session,
            version,
            is_written: true,
        }
    }

    /// Remembers what was written just now.
    pub(super) fn remember(&self, session: OAuthSession, version: i64) -> Arc<Live> {
        self.live.remember(self.live(session, version))
    }

    /// Forgets what is in memory of `did`, whose session is over.
    fn forget(&self, did: &Did) {
        self.live.forget(did);
        self.service_tokens.forget(did);
    }

    async fn keep(self: &Arc<Self>, session: OAuthSession) -> Result<(), SessionError> {
        let _change = self.changes.lock(&session.did).await;
        let unwritten = self.live.unwritten(&session.did);
        let (given_back, outcome) = match self.store.put(&session, self.clock.now()).await {
            Ok(put) => {
                self.remember(session, put.version);
                ((put.before, unwritten), Ok(()))
            }
            Err(error) => ((Some(session), None), Err(error)),
        };
        let inner = Arc::clone(self);
        REVOKE.spawn(&self.shutdown, async move {
            inner.revoke(given_back.0, given_back.1).await;
        });
        outcome
    }

    async fn end(&self, did: &Did) -> Result<(), SessionError> {
        let change = self.changes.lock(did).await;
        let unwritten = self.live.unwritten(did);
        let taken = self.store.take(did).await?;
        self.forget(did);
        drop(change);
        self.revoke(taken.and_then(|taken| taken.session), unwritten)
            .await;
        Ok(())
    }

    /// Gives back what the database had of an account, and what was in memory only.
    async fn revoke(&self, stored: Option<OAuthSession>, unwritten: Option<Arc<Live>>) {
        let unwritten = unwritten.as_ref().map(|live| &live.session);
        for session in stored.iter().chain(unwritten) {
            self.client.revoke(session).await;
        }
    }

    async fn find(&self, did: &Did) -> Result<Option<Arc<Live>>, SessionError> {
        if let Some(live) = self.live.get(did) {
            return Ok(Some(live));
        }
        self.find_stored(did).await
    }

    pub(super) async fn find_stored(&self, did: &Did) -> Result<Option<Arc<Live>>, SessionError> {
        let since = self.live.generation();
        match self.store.find(did).await? {
            Some(VersionedSession { session, version }) => {
                let live = Arc::new(self.live(session, version));
                self.live.remember_read(&live, since);
                Ok(Some(live))
            }
            None => {
                self.live.forget(did);
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

    async fn renew(self: &Arc<Self>, did: &Did, stale: &Stale) -> Result<Option<Arc<Live>>, SessionError> {
        // Held across the server's answer and the write: see the head of this file.
        let _change = self.changes.lock(did).await;
        if let Some(live) = self.live.get(did)
            && !self.is_stale(&live.session, stale)
        {
            return Ok(Some(live));
        }
        // What the database has is spent: it must not be read before it is replaced.
        self.write(did).await?;
        let patience = self.lease.saturating_add(LEASE_MARGIN);
        let waited = tokio::time::timeout(patience, self.leased_or_renewed(did, stale)).await;
        match waited.unwrap_or_else(|_| Err(being_renewed(did)))? {
            Found::Nothing => Ok(None),
            Found::Renewed(live) => Ok(Some(live)),
            Found::Leased(live) => self.refresh(&live).await.map(Some),
        }
    }

    /// Waits until the session needs no renewal any more, or until this process has the lease.
    async fn leased_or_renewed(&self, did: &Did, stale: &Stale) -> Result<Found, SessionError> {
        loop {
            // What is in memory may be older than what another process wrote.
            let Some(live) = self.find_stored(did).await? else {
                return Ok(Found::Nothing);
            };
            if !self.is_stale(&live.session, stale) {
                return Ok(Found::Renewed(live));
            }
            let now = self.clock.now();
            let lease = TimeDelta::from_std(self.lease).unwrap_or(TimeDelta::MAX);
            let until = now.checked_add_signed(lease).unwrap_or(DateTime::<Utc>::MAX_UTC);
            if self.store.try_lease(did, live.version, now, until).await? {
                return Ok(Found::Leased(live));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Refreshes `live`, whose lease this process has.
    #[tracing::instrument(name = "oauth.token.refresh", skip_all, fields(did = %live.session.did))]
    async fn refresh(self: &Arc<Self>, live: &Live) -> Result<Arc<Live>, SessionError> {
        let did = &live.session.did;
        let within = self.client.longest_refresh();
        let error = match tokio::time::timeout(within, self.client.refresh(&live.session)).await {
            Ok(Ok(session)) => return self.keep_refreshed(session, live.version).await,
            Ok(Err(OAuthError::Ended { reason })) => return self.ended(live, &reason).await,
            Ok(Err(error)) => session_error(error),
            Err(_) => SessionError::Pds(PdsFailure::Timeout {
                host: atcr_auth::oauth::discovery::host(&live.session.pds),
            }),
        };
        tracing::warn!(%did, %error, "a session could not be renewed now");
        self.store.release(did, live.version).await?;
        Err(error)
    }

    /// Forgets `live`, which is over for `reason`.
    ///
    /// # Returns
    /// The session that took its place meanwhile, if one did.
    async fn ended(&self, live: &Live, reason: &str) -> Result<Arc<Live>, SessionError> {
        let did = &live.session.did;
        let is_gone = self.store.delete(did, live.version).await?;
        self.forget(did);
        if is_gone {
            tracing::info!(%did, reason, "a session has ended");
            return Err(session_ended(&self.sign_in_url, Some(reason)));
        }
        self.find_stored(did)
            .await?
            .ok_or_else(|| session_ended(&self.sign_in_url, None))
    }

    /// Ends `live` if the account has moved away from where it is good; what counts then is the session that took its place.
    async fn at_home(&self, live: Arc<Live>) -> Result<Arc<Live>, SessionError> {
        match self.client.check_home(&live.session).await {
            Err(OAuthError::Ended { reason }) => self.ended(&live, &reason).await,
            Ok(()) | Err(_) => Ok(live),
        }
    }
}

#[async_trait]
impl SessionSource for OAuthSessions {
    async fn credential(&self, did: &Did) -> Result<Option<PdsCredential>, SessionError> {
        let inner = &self.0;
        let Some(live) = inner.find(did).await? else {
            return Ok(None);
        };
        let live = inner.at_home(live).await?;
        if !inner.expires_soon(&live.session) {
            return Ok(Some(credential(&live)));
        }
        match self.renewed(did, Stale::ExpiresSoon).await {
            Ok(renewed) => Ok(renewed.as_deref().map(credential)),
            // The token is good for some seconds yet, and the server may answer again by then.
            Err(error)
                if !matches!(error, SessionError::Ended { .. })
                    && live.session.expires_at.is_some_and(|at| at > inner.clock.now()) =>
            {
                Ok(Some(credential(&live)))
            }
            Err(error) => Err(error),
        }
    }

    async fn renew(&self, did: &Did, refused: &PdsCredential) -> Result<Option<PdsCredential>, SessionError> {
        let Authorization::Dpop { token, .. } = &refused.authorization else {
            return self.credential(did).await;
        };
        let renewed = self.renewed(did, Stale::Refused(token.clone())).await?;
        Ok(renewed.as_deref().map(credential))
    }

    fn ended(&self) -> SessionError {
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

impl std::fmt::Debug for OAuthSessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OAuthSessions").finish_non_exhaustive()
    }
}
