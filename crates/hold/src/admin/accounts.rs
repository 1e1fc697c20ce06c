//! Names of accounts: a page shows the handles that are known, and has the others looked up for the next time. An account that is about to
//! become a member is looked up at once, with the name that it gives itself.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::clock::Clock;
use atcr_atproto::egress::EgressClient;
use atcr_atproto::identity::{IdentityResolver, ResolvedIdentity};
use atcr_atproto::pds::PdsClient;
use atcr_atproto::syntax::{AtIdentifier, Did, Handle, RecordKey};
use atcr_server::Shutdown;
use atcr_server::supervise::Task;
use atcr_sessions::oauth::account_sign_in::bare_name;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt as _;
use tokio::sync::Semaphore;
use url::Url;

use super::{AdminError, TableError};

/// Looking handles up, in logs and metrics.
const LOOK_UP: Task = Task::new("look_up_handles");
/// How long a handle is believed.
const FRESH_FOR: TimeDelta = TimeDelta::days(1);
/// Accounts that are asked at once, in the background.
const AT_ONCE: usize = 4;
/// How long an account's server may take for the name.
const NAME_WITHIN: Duration = Duration::from_secs(3);
/// Bytes of a profile that is read.
const MAX_PROFILE: usize = 64 * 1024;
/// Characters of a name that is shown.
const MAX_NAME: usize = 100;
/// Longest search or name that a form takes, in bytes.
const MAX_TYPED: usize = 512;
/// Where accounts of the network keep their names.
const PROFILE: &str = "app.bsky.actor.profile";

/// Port: handles at rest. Every error is the database's.
#[async_trait]
pub trait HandleTable: fmt::Debug + Send + Sync {
    /// What is known of `accounts`: the handle if there is one, and when it was looked up.
    async fn handles(
        &self,
        accounts: &[String],
    ) -> Result<HashMap<String, (Option<String>, DateTime<Utc>)>, TableError>;

    /// Accounts beyond `after` whose handle has `text`, in order, at most `limit`.
    async fn find(&self, text: &str, after: &str, limit: u32) -> Result<Vec<String>, TableError>;

    /// Keeps a handle.
    async fn keep(&self, account: &str, handle: Option<&str>, now: DateTime<Utc>) -> Result<(), TableError>;
}

/// An account that was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The permanent ID.
    pub did: Did,
    /// The handle, if it agrees with the DID in both directions.
    pub handle: Option<String>,
    /// The name that it gives itself, if its server said in time.
    pub name: Option<String>,
    /// The host of its server.
    pub server: Option<String>,
}

/// Looks accounts up.
#[derive(Clone)]
pub struct Accounts {
    identities: Arc<dyn IdentityResolver>,
    table: Arc<dyn HandleTable>,
    egress: EgressClient,
    clock: Arc<dyn Clock>,
    shutdown: Shutdown,
    /// One page's handles are looked up at a time; the others come with the next page.
    turn: Arc<Semaphore>,
}

impl Accounts {
    /// Asks `identities`, and servers through `egress`; keeps handles in `table`.
    #[must_use]
    pub fn new(
        identities: Arc<dyn IdentityResolver>,
        table: Arc<dyn HandleTable>,
        egress: EgressClient,
        clock: Arc<dyn Clock>,
        shutdown: Shutdown,
    ) -> Self {
        Self {
            identities,
            table,
            egress,
            clock,
            shutdown,
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// The handles that are known of `accounts`. The others, and old ones, are looked up in the background.
    ///
    /// # Errors
    /// The database's.
    pub async fn handles(&self, accounts: &[String]) -> Result<HashMap<String, String>, TableError> {
        let known = self.table.handles(accounts).await?;
        let stale_before = self.clock.now() - FRESH_FOR;
        let missing: Vec<Did> = accounts
            .iter()
            .filter(|account| known.get(*account).is_none_or(|(_, at)| *at < stale_before))
            .filter_map(|account| account.parse().ok())
            .collect();
        if !missing.is_empty()
            && let Ok(turn) = self.turn.clone().try_acquire_owned()
        {
            let accounts = self.clone();
            LOOK_UP.spawn(&self.shutdown, async move {
                accounts.look_up(missing).await;
                drop(turn);
            });
        }
        Ok(known
            .into_iter()
            .filter_map(|(account, (handle, _))| Some((account, handle?)))
            .collect())
    }

    /// The handles that are known of `accounts`, and nothing more is done.
    ///
    /// # Errors
    /// The database's.
    pub async fn known(&self, accounts: &[String]) -> Result<HashMap<String, String>, TableError> {
        let known = self.table.handles(accounts).await?;
        Ok(known
            .into_iter()
            .filter_map(|(account, (handle, _))| Some((account, handle?)))
            .collect())
    }

    /// Accounts beyond `after` whose known handle has `text`, in order of their DIDs, at most `limit`.
    ///
    /// # Errors
    /// The database's.
    pub async fn with_handle(&self, text: &str, after: &str, limit: u32) -> Result<Vec<String>, TableError> {
        self.table.find(text, after, limit).await
    }

    /// The account behind a typed handle or DID, as its own server describes it.
    ///
    /// # Errors
    /// [`AdminError::Refused`]: the sentence says why there is none.
    pub async fn find(&self, typed: &str) -> Result<Found, AdminError> {
        let account = self.resolve(typed).await.map_err(AdminError::Refused)?;
        let handle = account.handle.as_ref().map(ToString::to_string);
        let name = match &account.pds {
            Some(pds) => self.name_of(&account.did, pds).await,
            None => None,
        };
        Ok(Found {
            did: account.did.clone(),
            handle,
            name,
            server: account.pds.as_ref().and_then(Url::host_str).map(str::to_owned),
        })
    }

    /// Who is behind what was typed, or a sentence. The handle is known from then on.
    ///
    /// # Errors
    /// The sentence.
    pub async fn resolve(&self, typed: &str) -> Result<Arc<ResolvedIdentity>, String> {
        let name = bare_name(typed);
        let shown: String = name.chars().take(80).collect();
        let identifier: AtIdentifier = Some(name)
            .filter(|name| name.len() <= MAX_TYPED)
            .and_then(|name| name.parse().ok())
            .ok_or_else(|| format!("“{shown}” is no handle, like alice.example.com, and no DID."))?;
        let resolved = self.identities.resolve(&identifier).await;
        let account = resolved.map_err(|error| {
            if error.is_transient() {
                format!("{shown} cannot be looked up now: {error}. Try again later.")
            } else {
                format!("No account has the name {shown}: {error}.")
            }
        })?;
        self.keep(&account.did, account.handle.as_ref()).await;
        Ok(account)
    }

    async fn keep(&self, did: &Did, handle: Option<&Handle>) {
        let handle = handle.map(Handle::as_str);
        if let Err(error) = self.table.keep(did.as_str(), handle, self.clock.now()).await {
            tracing::warn!(%did, %error, "a handle is not kept");
        }
    }

    async fn look_up(&self, accounts: Vec<Did>) {
        let look_ups = accounts.into_iter().map(|did| async move {
            match self.identities.resolve_did(&did).await {
                Ok(account) => self.keep(&did, account.handle.as_ref()).await,
                // Known to be none, until it is looked up again.
                Err(error) if !error.is_transient() => self.keep(&did, None).await,
                Err(_) => {}
            }
        });
        futures_util::stream::iter(look_ups)
            .buffer_unordered(AT_ONCE)
            .collect::<()>()
            .await;
    }

    async fn name_of(&self, did: &Did, pds: &Url) -> Option<String> {
        let collection = PROFILE;
        let rkey = RecordKey::literal_self();
        let client = PdsClient::new(pds.clone(), self.egress.clone())
            .with_timeout(NAME_WITHIN)
            .with_max_answer(MAX_PROFILE);
        let record = client.get_record(did, collection, &rkey).await.ok()??;
        let name = record.value.get("displayName")?.as_str()?.trim();
        let name: String = name
            .chars()
            .filter(|character| !character.is_control())
            .take(MAX_NAME)
            .collect();
        (!name.is_empty()).then_some(name)
    }
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").finish_non_exhaustive()
    }
}
