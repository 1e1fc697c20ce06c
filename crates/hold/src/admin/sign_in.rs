//! How the captain signs in: at the captain's own server, with the hold as the OAuth client. The hold asks for nothing but who it is, and
//! gives the tokens back at once.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_hold_pds::HoldRepo;
use atcr_hold_pds::access::{Access, CrewAdmin, Granted};
use atcr_server::Rate;
use atcr_server::Shutdown;
use atcr_server::client_address::ClientAddress;
use atcr_server::rate_limit::{Now, RateLimit};
use atcr_server::supervise::Task;
use atcr_sessions::SessionError;
use atcr_sessions::oauth::account_sign_in::AccountSignIn;
use atcr_sessions::oauth::ports::{OAuthRequestStore, StateHash};
use atcr_sessions::oauth::{BrowserBinding, CallbackQuery, FlowStart};
use chrono::{DateTime, Utc};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use secrecy::SecretString;
use url::Url;

use super::AdminError;
use super::sessions::{AdminSessions, Browser, Session};

/// Giving tokens back, in logs and metrics.
const GIVE_BACK: Task = Task::new("give_back_admin_tokens");
/// Sign-ins; label `outcome`.
const SIGN_INS: &str = "hold_admin_sign_ins_total";
/// Sign-ins that begin at one address.
const STARTS: Rate = Rate::new(10, Duration::from_mins(10));
/// How long a sign-in is under way.
const UNDER_WAY_FOR: Duration = Duration::from_mins(15);
/// Sign-ins under way. Everybody may begin the captain's, and one address has at most 25 under way: it takes 400 addresses to push one out.
const MAX_UNDER_WAY: u64 = 10_000;

/// The captain's way in.
#[derive(Debug)]
pub struct CaptainSignIn {
    accounts: Arc<AccountSignIn>,
    sessions: AdminSessions,
    repo: HoldRepo,
    access: Access,
    starts: RateLimit<IpAddr>,
    shutdown: Shutdown,
}

/// The captain, signed in: what changes are made with.
#[derive(Clone, Debug)]
pub struct Captain {
    /// The session.
    pub session: Session,
    grant: Granted<CrewAdmin>,
}

impl Captain {
    /// The right to manage the crew.
    #[must_use]
    pub fn grant(&self) -> &Granted<CrewAdmin> {
        &self.grant
    }

    /// The handle, or else the DID.
    #[must_use]
    pub fn name(&self) -> String {
        self.session
            .handle
            .clone()
            .unwrap_or_else(|| self.session.did.to_string())
    }
}

impl CaptainSignIn {
    /// Signs the captain of `repo` in through `accounts`.
    #[must_use]
    pub fn new(accounts: AccountSignIn, sessions: AdminSessions, repo: HoldRepo, shutdown: Shutdown) -> Self {
        let clock = accounts.clock.clone();
        Self {
            accounts: Arc::new(accounts),
            sessions,
            access: Access::new(repo.clone()),
            repo,
            starts: RateLimit::new("admin_sign_ins", STARTS, Now::new(move || clock.now())),
            shutdown,
        }
    }

    /// Begins the sign-in of `name`, at the account's server. Nobody but the captain is sent there.
    ///
    /// # Returns
    /// Where to send the browser.
    ///
    /// # Errors
    /// [`AdminError::NotCaptain`], [`AdminError::SignIn`], [`AdminError::Limited`]; the repository's.
    pub async fn begin(
        &self,
        name: &str,
        browser: BrowserBinding,
        client: &ClientAddress,
    ) -> Result<Url, AdminError> {
        self.starts.take(&client.key())?;
        let account = self.accounts.resolve(name).await?;
        let handle = account.handle.as_ref().map(ToString::to_string);
        self.require_captain(&account.did, handle).await?;
        let start = FlowStart {
            return_to: "/admin".to_owned(),
            browser,
        };
        Ok(self.accounts.begin(&account, name, start).await?)
    }

    /// Finishes a sign-in that `callback` answers, in `browser`.
    ///
    /// # Returns
    /// What the browser keeps.
    ///
    /// # Errors
    /// As [`begin`](Self::begin). The captain is looked up again: they may have changed meanwhile.
    pub async fn finish(
        &self,
        callback: CallbackQuery,
        binding: &BrowserBinding,
        browser: Browser,
    ) -> Result<SecretString, AdminError> {
        let finished = self.accounts.finish(callback, binding).await;
        let (session, _) = finished.inspect_err(|_| {
            metrics::counter!(SIGN_INS, "outcome" => "failed").increment(1);
        })?;
        let did = session.did.clone();
        // Who it is was all that was asked; the tokens are of no use here.
        let accounts = self.accounts.clone();
        GIVE_BACK.spawn(&self.shutdown, async move { accounts.give_back(&session).await });
        let known = self.accounts.identities.resolve_did(&did).await.ok();
        let handle = known
            .and_then(|account| account.handle.clone())
            .map(|handle| handle.to_string());
        self.require_captain(&did, handle.clone()).await?;
        metrics::counter!(SIGN_INS, "outcome" => "ok").increment(1);
        tracing::info!(%did, "the captain signed in");
        Ok(self.sessions.open(did, handle, browser).await?)
    }

    /// The captain whose `browser` has `token`; `None` for anyone else.
    ///
    /// # Errors
    /// The database's or the repository's.
    pub async fn captain(
        &self,
        token: &SecretString,
        browser: &Browser,
    ) -> Result<Option<Captain>, AdminError> {
        let Some(session) = self.sessions.find(token, browser).await? else {
            return Ok(None);
        };
        if !self.is_captain(&session.did).await? {
            self.sessions.close(token).await?;
            return Ok(None);
        }
        Ok(match self.access.crew_admin(&session.did).await {
            Ok(grant) => Some(Captain { session, grant }),
            Err(atcr_hold_pds::access::AccessError::Denied(_)) => None,
            Err(atcr_hold_pds::access::AccessError::Records(error)) => return Err(error.into()),
        })
    }

    /// Ends the session of `token`.
    ///
    /// # Errors
    /// The database's.
    pub async fn sign_out(&self, token: &SecretString) -> Result<(), AdminError> {
        Ok(self.sessions.close(token).await?)
    }

    /// Refuses anyone but the captain.
    async fn require_captain(&self, did: &Did, handle: Option<String>) -> Result<(), AdminError> {
        if self.is_captain(did).await? {
            return Ok(());
        }
        metrics::counter!(SIGN_INS, "outcome" => "refused").increment(1);
        Err(AdminError::NotCaptain {
            account: handle.unwrap_or_else(|| did.to_string()),
        })
    }

    async fn is_captain(&self, did: &Did) -> Result<bool, AdminError> {
        let captain = self.repo.captain().await?;
        Ok(captain.is_some_and(|captain| captain.owner == *did))
    }
}

/// Sign-ins under way, in memory: one that a restart interrupts begins again. The newest are kept, so that no number of others keeps the
/// captain's out.
#[derive(Debug)]
pub struct SignInsUnderWay(Cache<StateHash, (DateTime<Utc>, Arc<[u8]>)>);

impl Default for SignInsUnderWay {
    fn default() -> Self {
        Self(
            Cache::builder()
                .max_capacity(MAX_UNDER_WAY)
                .time_to_live(UNDER_WAY_FOR)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
        )
    }
}

#[async_trait]
impl OAuthRequestStore for SignInsUnderWay {
    async fn insert(
        &self,
        state: &StateHash,
        request: &[u8],
        expires_at: DateTime<Utc>,
        _: DateTime<Utc>,
    ) -> Result<(), SessionError> {
        self.0.insert(*state, (expires_at, request.into()));
        Ok(())
    }

    async fn take(&self, state: &StateHash, now: DateTime<Utc>) -> Result<Option<Vec<u8>>, SessionError> {
        let found = self.0.remove(state);
        Ok(found
            .filter(|(expires_at, _)| *expires_at > now)
            .map(|(_, request)| request.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sign_in_begins_however_many_are_under_way() {
        let under_way = SignInsUnderWay::default();
        let now = DateTime::UNIX_EPOCH;
        let until = now + UNDER_WAY_FOR;
        let state = |number: u64| {
            let mut state = [0; 32];
            state[..8].copy_from_slice(&number.to_be_bytes());
            state
        };
        for number in 0..MAX_UNDER_WAY {
            under_way
                .insert(&state(number), b"other", until, now)
                .await
                .expect("kept");
        }
        under_way.0.run_pending_tasks();
        let last = state(MAX_UNDER_WAY);
        under_way
            .insert(&last, b"captain", until, now)
            .await
            .expect("kept");
        under_way.0.run_pending_tasks();
        let taken = under_way.take(&last, now).await.expect("read");
        assert_eq!(taken.as_deref(), Some(b"captain".as_slice()));
        let first = under_way.take(&state(0), now).await.expect("read");
        assert_eq!(first, None, "the oldest made room");
    }
}
