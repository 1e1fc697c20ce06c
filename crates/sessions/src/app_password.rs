//! Signing in with an app password, and the resulting sessions.

use atcr_atproto::identity::IdentityUnavailable;
use atcr_atproto::pds::PdsFailure;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::clock::Clock;
use atcr_atproto::identity::{IdentityResolver, ResolvedIdentity};
use atcr_atproto::syntax::{AtIdentifier, Did};
use atcr_auth::principal::{AuthMethod, Principal};
use secrecy::{ExposeSecret, SecretString};

use super::password_attempts::{Attempts, FailedSignIns, LoginKey};
use super::ports::{
    Authorization, NoSession, PdsCredential, PdsSession, ServiceTokens, SessionServer, SessionSource,
    SessionStore, SignIn,
};
use super::profile::Profiles;
use super::{SignInAttempt, SignedInAs};
use crate::error::SessionError;
use crate::live_sessions::{LiveSessions, OfAccount};
use atcr_server::KeyedLocks;

/// An access token with less life left than this is renewed before it is used.
const RENEW_BEFORE: Duration = Duration::from_mins(1);

/// App passwords and their sessions.
pub struct AppPasswords {
    identities: Arc<dyn IdentityResolver>,
    server: Arc<dyn SessionServer>,
    store: Arc<dyn SessionStore>,
    profiles: Arc<Profiles>,
    service_tokens: Arc<dyn ServiceTokens>,
    clock: Arc<dyn Clock>,
    attempts: Attempts,
    logins: KeyedLocks<LoginKey>,
    refreshes: KeyedLocks<Did>,
    live: LiveSessions<PdsSession>,
}

impl AppPasswords {
    /// Verifies at the PDS that `identities` finds, keeps sessions in `store`, sees to the sailor's profile. Sign-ins may fail as often as
    /// `failed` says.
    #[must_use]
    pub fn new(
        identities: Arc<dyn IdentityResolver>,
        server: Arc<dyn SessionServer>,
        store: Arc<dyn SessionStore>,
        profiles: Arc<Profiles>,
        service_tokens: Arc<dyn ServiceTokens>,
        failed: FailedSignIns,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            identities,
            server,
            store,
            profiles,
            service_tokens,
            attempts: Attempts::new(failed, &clock),
            clock,
            logins: KeyedLocks::default(),
            refreshes: KeyedLocks::default(),
            live: LiveSessions::default(),
        }
    }

    async fn verify(&self, attempt: &SignInAttempt) -> Result<Principal, SessionError> {
        let username = attempt.username.trim().trim_start_matches('@');
        let spelling = self.attempts.key(username, &attempt.password);
        // A pair that was verified a moment ago stays good while others guess, and needs no look-up.
        if let Some(did) = self.known(&spelling, &attempt.password).await? {
            return Ok(principal(&did));
        }
        // Ten layers ask for ten tokens at once: one of them asks the PDS, the others wait for its answer.
        let _login = self.logins.lock(&spelling).await;
        if let Some(did) = self.known(&spelling, &attempt.password).await? {
            return Ok(principal(&did));
        }
        let under_way = self
            .attempts
            .begin(&attempt.client, username)
            .map_err(|limited| SessionError::TooManyAttempts {
                retry_after: limited.retry_after,
            })?;
        match self.ask(username, &attempt.password).await {
            Ok(did) => {
                under_way.succeeded();
                self.attempts.spells(spelling, did.clone());
                Ok(principal(&did))
            }
            Err(NoSession::Refused(reason)) => {
                under_way.wrong();
                Err(SessionError::rejected(reason))
            }
            Err(NoSession::Unavailable(error)) => {
                under_way.undecided();
                Err(error)
            }
        }
    }

    /// Whose account a pair was lately found to be, if it is still good.
    async fn known(&self, spelling: &LoginKey, password: &SecretString) -> Result<Option<Did>, SessionError> {
        let Some(did) = self.attempts.spelled(spelling) else {
            return Ok(None);
        };
        let key = self.attempts.key(did.as_str(), password);
        Ok(self.is_good(&did, &key).await?.then_some(did))
    }

    /// Finds the account spelled `username` and sees to it that there is a session that `password` gave.
    async fn ask(&self, username: &str, password: &SecretString) -> Result<Did, NoSession> {
        let Ok(identifier) = AtIdentifier::from_image_segment(username) else {
            return Err(NoSession::Refused(
                "the user name must be a handle or a DID".to_owned(),
            ));
        };
        let identity = match self.identities.resolve(&identifier).await {
            Ok(identity) => identity,
            Err(error) if error.is_transient() => {
                return Err(NoSession::Unavailable(
                    IdentityUnavailable::new(identifier.to_string(), error).into(),
                ));
            }
            Err(error) => return Err(NoSession::Refused(error.to_string())),
        };
        self.log_in(&identity, password).await?;
        Ok(identity.did.clone())
    }

    /// Sees to it that there is a session that `password` gave, asking the PDS only if no other request did lately.
    async fn log_in(&self, sailor: &ResolvedIdentity, password: &SecretString) -> Result<(), NoSession> {
        let did = &sailor.did;
        let key = self.attempts.key(did.as_str(), password);
        if let Some(reason) = self.attempts.refusal(&key) {
            return Err(NoSession::Refused(reason.to_string()));
        }
        if self.is_good(did, &key).await? {
            return Ok(());
        }
        let Some(pds) = &sailor.pds else {
            return Err(SessionError::Pds(PdsFailure::Missing { did: did.clone() }).into());
        };
        match self.server.create(pds, did, password).await {
            Ok(session) => {
                self.store.save(&session).await?;
                let session = self.live.remember(session);
                self.attempts.verified(key, did.clone());
                self.profiles.ensure(&credential(&session), sailor).await;
                Ok(())
            }
            Err(NoSession::Refused(reason)) => {
                self.attempts.refused(key, &reason);
                Err(NoSession::Refused(reason))
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the pair of `key` was verified lately and its session is still there.
    async fn is_good(&self, did: &Did, key: &LoginKey) -> Result<bool, SessionError> {
        if !self.attempts.is_verified(key) {
            return Ok(false);
        }
        let has_session = self.session(did).await?.is_some();
        if !has_session {
            self.attempts.forget(key);
        }
        Ok(has_session)
    }

    async fn session(&self, did: &Did) -> Result<Option<Arc<PdsSession>>, SessionError> {
        if let Some(session) = self.live.get(did) {
            return Ok(Some(session));
        }
        let since = self.live.generation();
        let Some(session) = self.store.find(did).await? else {
            return Ok(None);
        };
        let session = Arc::new(session);
        self.live.remember_read(&session, since);
        Ok(Some(session))
    }

    /// Ends the session of `did` here, and then at its PDS as far as that can be reached. Ending what is not there is no error.
    ///
    /// # Errors
    /// The database's; the session goes on then.
    pub async fn end(&self, did: &Did) -> Result<(), SessionError> {
        // A renewal that is under way would write the session again.
        let refresh = self.refreshes.lock(did).await;
        let session = self.session(did).await?;
        self.store.delete(did).await?;
        self.live.forget(did);
        self.attempts.forget_account(did);
        self.service_tokens.forget(did);
        drop(refresh);
        if let Some(session) = session {
            self.server.end(&session).await;
        }
        Ok(())
    }

    /// Renews the session of `did` unless `is_stale` no longer holds once it is this caller's turn.
    ///
    /// The lock is held across the PDS's answer and the write to the database: a refresh token works once, so no other caller
    /// may use it meanwhile, and the new one must be on disk before it is used. If the write fails, the new one is used from
    /// memory, since the one on disk is spent.
    async fn renewed(
        &self,
        did: &Did,
        is_stale: impl Fn(&PdsSession) -> bool + Send,
    ) -> Result<Option<Arc<PdsSession>>, SessionError> {
        let _refresh = self.refreshes.lock(did).await;
        let Some(session) = self.session(did).await? else {
            return Ok(None);
        };
        if !is_stale(&session) {
            return Ok(Some(session));
        }
        match self.server.refresh(&session).await {
            Ok(renewed) => {
                if let Err(error) = self.store.save(&renewed).await {
                    tracing::error!(%did, %error, "a renewed session could not be written; it is used from memory");
                }
                Ok(Some(self.live.remember(renewed)))
            }
            Err(NoSession::Refused(reason)) => {
                tracing::info!(%did, reason, "the PDS ended a session");
                self.live.forget(did);
                self.service_tokens.forget(did);
                self.store.delete(did).await?;
                Ok(None)
            }
            Err(NoSession::Unavailable(error)) => Err(error),
        }
    }

    fn expires_soon(&self, session: &PdsSession) -> bool {
        session
            .access_expires_at
            .is_some_and(|at| at <= self.clock.now() + RENEW_BEFORE)
    }
}

#[async_trait]
impl SignIn for AppPasswords {
    async fn sign_in(&self, attempt: &SignInAttempt) -> Result<Option<SignedInAs>, SessionError> {
        let principal = self.verify(attempt).await?;
        Ok(Some(principal.into()))
    }
}

#[async_trait]
impl SessionSource for AppPasswords {
    async fn credential(&self, did: &Did) -> Result<Option<PdsCredential>, SessionError> {
        let Some(session) = self.session(did).await? else {
            return Ok(None);
        };
        if !self.expires_soon(&session) {
            return Ok(Some(credential(&session)));
        }
        Ok(self
            .renewed(did, |session| self.expires_soon(session))
            .await?
            .as_deref()
            .map(credential))
    }

    async fn renew(&self, did: &Did, refused: &PdsCredential) -> Result<Option<PdsCredential>, SessionError> {
        let Authorization::Bearer(refused) = &refused.authorization else {
            return self.credential(did).await;
        };
        let is_refused = |session: &PdsSession| session.access.expose_secret() == refused.expose_secret();
        Ok(self.renewed(did, is_refused).await?.as_deref().map(credential))
    }
}

impl OfAccount for PdsSession {
    fn did(&self) -> &Did {
        &self.did
    }
}

fn principal(did: &Did) -> Principal {
    Principal::Sailor {
        did: did.clone(),
        auth_method: AuthMethod::AppPassword,
    }
}

fn credential(session: &PdsSession) -> PdsCredential {
    PdsCredential {
        did: session.did.clone(),
        pds: session.pds.clone(),
        authorization: Authorization::Bearer(session.access.clone()),
    }
}

impl std::fmt::Debug for AppPasswords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppPasswords").finish_non_exhaustive()
    }
}
