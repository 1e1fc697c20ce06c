//! OAuth sessions where the database fails, several callers meet, or another process died: the real use case, adapter and client,
//! with a store in between that stops or fails where a test wants it.

mod renewal;
mod sign_out;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use atcr_appview::adapters::sqlite::oauth_sessions::SqliteOAuthSessions;
use atcr_appview::adapters::sqlite::open_durable;
use atcr_atproto::clock::{Clock, ManualClock};
use atcr_atproto::egress::{EgressClient, EgressPolicy};
use atcr_atproto::identity::{IdentityResolver, Resolver, ResolverConfig};
use atcr_atproto::syntax::Did;
use atcr_auth::oauth::{Answer, OAuthClient, OAuthClientParts, OAuthSession, Registration, ScopePlan};
use atcr_auth::service_token::ServiceTokenCache;
use atcr_auth::vault::Vault;
use atcr_server::Shutdown;
use atcr_sessions::SessionError;
use atcr_sessions::oauth::ports::{OAuthSessionStore, Put, Taken, VersionedSession};
use atcr_sessions::oauth::renewal::OAuthSessions;
use atcr_sessions::ports::SessionSource as _;
use atcr_test_support::fakes::FakePds;
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use tempfile::TempDir;
use tokio::sync::{Notify, oneshot};
use url::Url;

/// A call that waits between the database's answer and the caller.
pub(super) struct HeldCall {
    reached: oneshot::Sender<()>,
    go_on: oneshot::Receiver<()>,
}

/// The other end of it.
pub(super) struct Held {
    reached: oneshot::Receiver<()>,
    go_on: oneshot::Sender<()>,
}

/// The real store; it fails and waits on request, and tells what happened.
pub(super) struct HookedStore {
    store: SqliteOAuthSessions,
    failing_replaces: AtomicU32,
    replaced: Notify,
    leases_refused: Notify,
    leases: Mutex<Vec<TimeDelta>>,
    held_read: Mutex<Option<HeldCall>>,
    held_take: Mutex<Option<HeldCall>>,
}

impl HookedStore {
    /// The next `times` renewed sessions cannot be written.
    pub(super) fn fail_replaces(&self, times: u32) {
        self.failing_replaces.store(times, Ordering::SeqCst);
    }

    /// The next read waits.
    pub(super) fn hold_next_read(&self) -> Held {
        hold(&self.held_read)
    }

    /// The next session that is taken out waits, and is gone meanwhile.
    pub(super) fn hold_next_take(&self) -> Held {
        hold(&self.held_take)
    }
}

pub(super) fn hold(next: &Mutex<Option<HeldCall>>) -> Held {
    let ((reached, is_reached), (go_on, may_go_on)) = (oneshot::channel(), oneshot::channel());
    *next.lock().unwrap() = Some(HeldCall {
        reached,
        go_on: may_go_on,
    });
    Held {
        reached: is_reached,
        go_on,
    }
}

pub(super) async fn wait_if_held(call: &Mutex<Option<HeldCall>>) {
    let held = call.lock().unwrap().take();
    if let Some(held) = held {
        held.reached.send(()).unwrap();
        let _ = held.go_on.await;
    }
}

#[async_trait]
impl OAuthSessionStore for HookedStore {
    async fn find(&self, did: &Did) -> Result<Option<VersionedSession>, SessionError> {
        let found = self.store.find(did).await;
        wait_if_held(&self.held_read).await;
        found
    }

    async fn put(&self, session: &OAuthSession, now: DateTime<Utc>) -> Result<Put, SessionError> {
        self.store.put(session, now).await
    }

    async fn replace(&self, session: &OAuthSession, version: i64) -> Result<Option<i64>, SessionError> {
        let failing = &self.failing_replaces;
        if failing
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
            .is_ok()
        {
            return Err(SessionError::Internal {
                what: "the disk is full".to_owned(),
            });
        }
        let replaced = self.store.replace(session, version).await;
        self.replaced.notify_one();
        replaced
    }

    async fn delete(&self, did: &Did, version: i64) -> Result<bool, SessionError> {
        self.store.delete(did, version).await
    }

    async fn take(&self, did: &Did) -> Result<Option<Taken>, SessionError> {
        let taken = self.store.take(did).await;
        wait_if_held(&self.held_take).await;
        taken
    }

    async fn take_unused(
        &self,
        signed_in_before: DateTime<Utc>,
        now: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<Taken>, SessionError> {
        self.store.take_unused(signed_in_before, now, limit).await
    }

    async fn try_lease(
        &self,
        did: &Did,
        version: i64,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<bool, SessionError> {
        let is_taken = self.store.try_lease(did, version, now, until).await?;
        if is_taken {
            self.leases.lock().unwrap().push(until - now);
        } else {
            self.leases_refused.notify_one();
        }
        Ok(is_taken)
    }

    async fn release(&self, did: &Did, version: i64) -> Result<(), SessionError> {
        self.store.release(did, version).await
    }

    async fn delete_unfit(
        &self,
        client_id: &str,
        client_key: Option<&str>,
        scopes: &[String],
    ) -> Result<Vec<Did>, SessionError> {
        self.store.delete_unfit(client_id, client_key, scopes).await
    }
}

/// A PDS with alice, and a database that processes share.
pub(super) struct Place {
    pds: FakePds,
    alice: Did,
    clock: Arc<ManualClock>,
    vault: Arc<Vault>,
    data: TempDir,
}

/// What one process has.
pub(super) struct Process {
    client: Arc<OAuthClient>,
    identities: Arc<dyn IdentityResolver>,
    store: Arc<HookedStore>,
    sessions: OAuthSessions,
    shutdown: Shutdown,
}

impl Place {
    pub(super) async fn new() -> Self {
        let pds = FakePds::start().await.unwrap();
        let alice = pds
            .add_account("alice.test", "abcd-efgh-ijkl-mnop")
            .parse()
            .unwrap();
        let data = tempfile::tempdir().unwrap();
        Self {
            pds,
            alice,
            clock: ManualClock::host(),
            vault: Arc::new(Vault::load_or_create(&data.path().join("vault.key")).unwrap()),
            data,
        }
    }

    pub(super) async fn process(&self) -> Process {
        self.process_that_waits(Duration::from_secs(20)).await
    }

    /// A process that waits for one answer as long as `timeout`.
    pub(super) async fn process_that_waits(&self, timeout: Duration) -> Process {
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        let egress = EgressClient::new(EgressPolicy::of_server(true)).unwrap();
        let mut settings = ResolverConfig::new(Url::parse(&self.pds.url()).unwrap());
        settings.handle_resolver = Some(Url::parse(&self.pds.url()).unwrap());
        settings.allow_loopback = true;
        let identities: Arc<dyn IdentityResolver> =
            Arc::new(Resolver::new(settings, egress.clone(), Arc::clone(&clock)).unwrap());
        let redirect = "http://127.0.0.1:1/callback".to_owned();
        let client = Arc::new(OAuthClient::new(OAuthClientParts {
            registration: Registration::public(redirect, ScopePlan::registry(None)),
            egress,
            identities: Arc::clone(&identities),
            clock: Arc::clone(&clock),
            timeout,
        }));
        let database = open_durable(&self.data.path().join("ui.db")).await.unwrap();
        let store = Arc::new(HookedStore {
            store: SqliteOAuthSessions::new(database, Arc::clone(&self.vault)),
            failing_replaces: AtomicU32::new(0),
            replaced: Notify::new(),
            leases_refused: Notify::new(),
            leases: Mutex::default(),
            held_read: Mutex::default(),
            held_take: Mutex::default(),
        });
        let shutdown = Shutdown::new();
        let sessions = OAuthSessions::new(
            Arc::clone(&client),
            Arc::clone(&store) as _,
            Arc::clone(&clock),
            shutdown.clone(),
            Url::parse("https://registry.example/auth/oauth/login").unwrap(),
            Arc::new(ServiceTokenCache::new(clock)),
        );
        Process {
            client,
            identities,
            store,
            sessions,
            shutdown,
        }
    }

    /// A session that alice's server gave.
    pub(super) async fn session(&self, process: &Process) -> OAuthSession {
        let sailor = process.identities.resolve_did(&self.alice).await.unwrap();
        let (url, pending) = process.client.begin(&sailor, "alice.test").await.unwrap();
        let answer = self.pds.approve(url.as_str(), self.alice.as_str()).unwrap();
        let code = SecretString::from(answer["code"].clone());
        let answer = Answer {
            iss: Some(&answer["iss"]),
            code: Some(&code),
            error: None,
            error_description: None,
        };
        process.client.finish(&pending, answer).await.unwrap()
    }

    pub(super) async fn sign_in(&self, process: &Process) {
        let session = self.session(process).await;
        process.sessions.keep(session).await.unwrap();
        self.pds.forget_calls();
    }

    pub(super) async fn is_live(&self, process: &Process) -> bool {
        process.sessions.credential(&self.alice).await.unwrap().is_some()
    }

    pub(super) fn refreshes(&self) -> usize {
        self.pds.count("oauth/refresh")
    }
}

impl Process {
    /// Ends it; what it does behind its callers' backs is done then.
    pub(super) async fn stop(&self) {
        self.shutdown.begin();
        self.shutdown.drain(Duration::from_secs(20)).await;
    }
}
