//! What OAuth sessions need from outside.

use async_trait::async_trait;
use atcr_atproto::identity::ResolvedIdentity;
use atcr_atproto::syntax::Did;
use atcr_auth::oauth::OAuthSession;
use atcr_auth::principal::Principal;
use chrono::{DateTime, Utc};

use crate::error::SessionError;

/// SHA-256 of a state parameter.
pub type StateHash = [u8; 32];

/// A session as it is kept, and which of its account's it is.
#[derive(Clone, Debug)]
pub struct VersionedSession {
    /// The session.
    pub session: OAuthSession,
    /// Changes with every change.
    pub version: i64,
}

/// What came of keeping a new session.
#[derive(Clone, Debug)]
pub struct Put {
    /// The version of the new one.
    pub version: i64,
    /// The one whose place it took, if that can be opened.
    pub before: Option<OAuthSession>,
}

/// A session that was taken out.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Whose it was.
    pub did: Did,
    /// The session; `None` if it cannot be opened.
    pub session: Option<OAuthSession>,
}

/// OAuth sessions at rest, possibly shared by several servers; the adapter seals them.
///
/// No method holds a lock beyond its own statement: what must not happen twice is guarded by the version and the lease.
#[async_trait]
pub trait OAuthSessionStore: Send + Sync {
    /// The session of `did`.
    ///
    /// # Errors
    /// The database's. A session that cannot be opened (another key) counts as none.
    async fn find(&self, did: &Did) -> Result<Option<VersionedSession>, SessionError>;

    /// Keeps `session`, of a sign-in at `now`, and replaces an existing one; durable when it returns.
    ///
    /// # Returns
    /// Its version and what was there, each given to one caller.
    ///
    /// # Errors
    /// The database's.
    async fn put(&self, session: &OAuthSession, now: DateTime<Utc>) -> Result<Put, SessionError>;

    /// Keeps `session` if its account's is still at `version`, and gives the lease back; durable when it returns.
    ///
    /// # Returns
    /// Its version; `None` if the account's session is another one by now, or gone.
    ///
    /// # Errors
    /// The database's.
    async fn replace(&self, session: &OAuthSession, version: i64) -> Result<Option<i64>, SessionError>;

    /// Forgets the session of `did`, if it is still at `version`.
    ///
    /// # Returns
    /// Whether it was.
    ///
    /// # Errors
    /// The database's.
    async fn delete(&self, did: &Did, version: i64) -> Result<bool, SessionError>;

    /// Takes the session of `did` out, whichever it is by now.
    ///
    /// # Returns
    /// What was taken out: of several callers one gets it.
    ///
    /// # Errors
    /// The database's.
    async fn take(&self, did: &Did) -> Result<Option<Taken>, SessionError>;

    /// Takes out at most `limit` sessions of sign-ins before `signed_in_before` whose accounts have, at `now`, no browser that is
    /// signed in, no device, and none that was approved and may still fetch its secret.
    ///
    /// # Errors
    /// The database's.
    async fn take_unused(
        &self,
        signed_in_before: DateTime<Utc>,
        now: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<Taken>, SessionError>;

    /// Takes the right to refresh until `until`, if the session is still at `version` and no process has that right `now`.
    ///
    /// # Errors
    /// The database's.
    async fn try_lease(
        &self,
        did: &Did,
        version: i64,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<bool, SessionError>;

    /// Gives that right back, with the session at `version` still.
    ///
    /// # Errors
    /// The database's.
    async fn release(&self, did: &Did, version: i64) -> Result<(), SessionError>;

    /// Forgets sessions that were given to another client than `client_id`, or to one with another key than `client_key`, or for
    /// other scopes than one of `scopes`. Of sessions from before keys were noted the key is not known, and they stay.
    ///
    /// # Returns
    /// Whose they were.
    ///
    /// # Errors
    /// The database's.
    async fn delete_unfit(
        &self,
        client_id: &str,
        client_key: Option<&str>,
        scopes: &[String],
    ) -> Result<Vec<Did>, SessionError>;
}

/// Sign-ins under way, at rest; the adapter seals them.
#[async_trait]
pub trait OAuthRequestStore: Send + Sync {
    /// Keeps `request` until `expires_at`, and drops those that expired before `now`.
    ///
    /// # Errors
    /// The database's.
    async fn insert(
        &self,
        state: &StateHash,
        request: &[u8],
        expires_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<(), SessionError>;

    /// Takes the request of `state` out, if it is good at `now`: of several callers one gets it.
    ///
    /// # Errors
    /// The database's.
    async fn take(&self, state: &StateHash, now: DateTime<Utc>) -> Result<Option<Vec<u8>>, SessionError>;
}

/// Joins a hold's crew before the first push to it.
#[async_trait]
pub trait Crew: Send + Sync {
    /// Asks the hold that `sailor`'s pushes go to, if every account may join it. A failure has no effect: the push asks again.
    async fn join(&self, principal: &Principal, sailor: &ResolvedIdentity);
}
