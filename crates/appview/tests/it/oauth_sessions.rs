//! OAuth sessions where the database fails, several callers meet, or another process died: the real use case, adapter and client,
//! with a store in between that stops or fails where a test wants it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use atcr_appview::adapters::sqlite::Database;
use atcr_appview::adapters::sqlite::oauth_sessions::SqliteOAuthSessions;
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
use atcr_sessions::oauth::sessions::OAuthSessions;
use atcr_sessions::ports::SessionSource as _;
use atcr_test_support::fakes::FakePds;
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use tempfile::TempDir;
use tokio::sync::{Notify, oneshot};
use url::Url;

/// A call that waits, between what the database answered and whoever asked it.
struct HeldCall {
    reached: oneshot::Sender<()>,
    go_on: oneshot::Receiver<()>,
}

/// The other end of it.
struct Held {
    reached: oneshot::Receiver<()>,
    go_on: oneshot::Sender<()>,
}

/// The real store; it fails and waits on request, and tells what happened.
struct HookedStore {
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
    fn fail_replaces(&self, times: u32) {
        self.failing_replaces.store(times, Ordering::SeqCst);
    }

    /// The next read waits.
    fn hold_next_read(&self) -> Held {
        hold(&self.held_read)
    }

    /// The next session that is taken out waits, and is gone meanwhile.
    fn hold_next_take(&self) -> Held {
        hold(&self.held_take)
    }
}

fn hold(next: &Mutex<Option<HeldCall>>) -> Held {
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

async fn wait_if_held(call: &Mutex<Option<HeldCall>>) {
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
struct Place {
    pds: FakePds,
    alice: Did,
    clock: Arc<ManualClock>,
    vault: Arc<Vault>,
    data: TempDir,
}

/// What one process has.
struct Process {
    client: Arc<OAuthClient>,
    identities: Arc<dyn IdentityResolver>,
    store: Arc<HookedStore>,
    sessions: OAuthSessions,
    shutdown: Shutdown,
}

impl Place {
    async fn new() -> Self {
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

    async fn process(&self) -> Process {
        self.process_that_waits(Duration::from_secs(20)).await
    }

    /// A process that waits for one answer as long as `timeout`.
    async fn process_that_waits(&self, timeout: Duration) -> Process {
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
        let database = Database::open(&self.data.path().join("ui.db")).await.unwrap();
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
    async fn session(&self, process: &Process) -> OAuthSession {
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

    async fn sign_in(&self, process: &Process) {
        let session = self.session(process).await;
        process.sessions.keep(session).await.unwrap();
        self.pds.forget_calls();
    }

    async fn is_live(&self, process: &Process) -> bool {
        process.sessions.credential(&self.alice).await.unwrap().is_some()
    }

    fn refreshes(&self) -> usize {
        self.pds.count("oauth/refresh")
    }
}

impl Process {
    /// Ends it; what it does behind its callers' backs is done then.
    async fn stop(&self) {
        self.shutdown.begin();
        self.shutdown.drain(Duration::from_secs(20)).await;
    }
}

#[tokio::test]
async fn a_refresh_that_cannot_be_written_is_used_and_written_later() {
    let place = Place::new().await;
    let process = place.process().await;
    place.sign_in(&process).await;
    place.clock.advance(TimeDelta::hours(2));
    process.store.fail_replaces(1);
    for _ in 0..3 {
        assert!(place.is_live(&process).await);
    }
    assert_eq!(place.refreshes(), 1);
    process.store.replaced.notified().await;
    // What comes after finds it: another process, and the next refresh.
    let next = place.process().await;
    assert!(place.is_live(&next).await);
    assert_eq!(place.refreshes(), 1);
    place.clock.advance(TimeDelta::hours(2));
    assert!(place.is_live(&next).await);
    assert_eq!((place.refreshes(), place.pds.oauth_sessions()), (2, 1));
}

#[tokio::test]
async fn a_session_that_is_only_in_memory_is_written_before_its_next_refresh() {
    let place = Place::new().await;
    let process = place.process().await;
    place.sign_in(&process).await;
    place.clock.advance(TimeDelta::hours(2));
    process.store.fail_replaces(u32::MAX);
    assert!(place.is_live(&process).await);
    place.clock.advance(TimeDelta::hours(2));
    // The spent token is not tried again.
    assert!(process.sessions.credential(&place.alice).await.is_err());
    assert_eq!(place.refreshes(), 1);
    process.store.fail_replaces(0);
    assert!(place.is_live(&process).await);
    assert_eq!((place.refreshes(), place.pds.oauth_sessions()), (2, 1));
}

#[tokio::test]
async fn signing_out_revokes_a_session_that_is_only_in_memory() {
    let place = Place::new().await;
    let process = place.process().await;
    place.sign_in(&process).await;
    place.clock.advance(TimeDelta::hours(2));
    process.store.fail_replaces(u32::MAX);
    assert!(place.is_live(&process).await);
    assert_eq!(place.pds.oauth_sessions(), 1);
    process.sessions.end(&place.alice).await.unwrap();
    assert_eq!(place.pds.oauth_sessions(), 0);
    assert!(!place.is_live(&process).await);
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_interrupt_a_sign_out() {
    let place = Place::new().await;
    let process = place.process().await;
    place.sign_in(&process).await;
    let held = process.store.hold_next_take();
    tokio::select! {
        _ = process.sessions.end(&place.alice) => panic!("it waits"),
        reached = held.reached => reached.unwrap(),
    }
    held.go_on.send(()).unwrap();
    process.stop().await;
    assert_eq!(place.pds.oauth_sessions(), 0);
    assert!(!place.is_live(&process).await);
}

#[tokio::test]
async fn a_read_that_a_sign_out_overtakes_is_not_remembered() {
    let place = Place::new().await;
    let first = place.process().await;
    place.sign_in(&first).await;
    // It has nothing in memory.
    let process = place.process().await;
    let held = process.store.hold_next_read();
    let reading = async {
        process.sessions.credential(&place.alice).await.unwrap();
    };
    let signing_out = async {
        held.reached.await.unwrap();
        process.sessions.end(&place.alice).await.unwrap();
        held.go_on.send(()).unwrap();
    };
    tokio::join!(reading, signing_out);
    assert!(!place.is_live(&process).await);
    assert_eq!(place.pds.oauth_sessions(), 0);
}

#[tokio::test]
async fn signing_out_ends_the_session_that_another_process_has_renewed_meanwhile() {
    let place = Place::new().await;
    let (one, other) = (place.process().await, place.process().await);
    place.sign_in(&one).await;
    assert!(place.is_live(&other).await);
    place.clock.advance(TimeDelta::hours(2));
    let held = one.store.hold_next_read();
    let signing_out = one.sessions.end(&place.alice);
    tokio::pin!(signing_out);
    // Whatever it reads first is old by the time it goes on.
    let is_over = tokio::select! {
        ended = &mut signing_out => {
            ended.unwrap();
            true
        }
        reached = held.reached => {
            reached.unwrap();
            assert!(place.is_live(&other).await);
            held.go_on.send(()).unwrap();
            false
        }
    };
    if !is_over {
        signing_out.await.unwrap();
    }
    assert_eq!(place.pds.oauth_sessions(), 0);
    let next = place.process().await;
    assert!(!place.is_live(&next).await);
}

#[tokio::test]
async fn a_refresh_that_a_sign_out_elsewhere_overtakes_is_given_back() {
    let place = Place::new().await;
    let (one, other) = (place.process().await, place.process().await);
    place.sign_in(&one).await;
    place.clock.advance(TimeDelta::hours(2));
    // The refresh is made by hand: the other process signs out between the server's answer and the write.
    let stored = one.store.find(&place.alice).await.unwrap().unwrap();
    let now = place.clock.now();
    let until = now + TimeDelta::minutes(1);
    assert!(
        one.store
            .try_lease(&place.alice, stored.version, now, until)
            .await
            .unwrap()
    );
    let renewed = one.client.refresh(&stored.session).await.unwrap();
    other.sessions.end(&place.alice).await.unwrap();
    let replaced = one.store.replace(&renewed, stored.version).await.unwrap();
    assert_eq!(replaced, None, "what was ended does not come back");
}

#[tokio::test]
async fn of_sign_ins_at_once_one_stays_and_the_others_are_revoked() {
    let place = Place::new().await;
    let process = place.process().await;
    let sessions = [
        place.session(&process).await,
        place.session(&process).await,
        place.session(&process).await,
        place.session(&process).await,
    ];
    assert_eq!(place.pds.oauth_sessions(), 4);
    let kept = sessions.map(|session| process.sessions.keep(session));
    for outcome in futures_util::future::join_all(kept).await {
        outcome.unwrap();
    }
    process.stop().await;
    assert_eq!(place.pds.oauth_sessions(), 1);
    // It is the one that is kept, here and on disk.
    let next = place.process().await;
    place.clock.advance(TimeDelta::hours(2));
    assert!(place.is_live(&next).await);
}

#[tokio::test]
async fn the_lease_of_a_process_that_died_ends() {
    let place = Place::new().await;
    let process = place.process().await;
    place.sign_in(&process).await;
    place.clock.advance(TimeDelta::hours(2));
    let stored = process.store.find(&place.alice).await.unwrap().unwrap();
    let now = place.clock.now();
    let until = now + TimeDelta::seconds(60);
    let leased = process
        .store
        .try_lease(&place.alice, stored.version, now, until)
        .await;
    assert!(leased.unwrap());
    let died = async {
        process.store.leases_refused.notified().await;
        assert_eq!(place.refreshes(), 0);
        place.clock.advance(TimeDelta::seconds(60));
    };
    let (is_live, ()) = tokio::join!(place.is_live(&process), died);
    assert!(is_live);
    assert_eq!(place.refreshes(), 1);
}

#[tokio::test]
async fn a_token_that_a_process_spent_before_it_died_ends_the_session_clearly() {
    let place = Place::new().await;
    let process = place.process().await;
    place.sign_in(&process).await;
    place.clock.advance(TimeDelta::hours(2));
    let stored = process.store.find(&place.alice).await.unwrap().unwrap();
    process.client.refresh(&stored.session).await.unwrap();
    let error = process.sessions.credential(&place.alice).await.unwrap_err();
    let SessionError::Ended { sentence } = error else {
        panic!("{error}");
    };
    assert!(
        sentence.ends_with("sign in again at https://registry.example/auth/oauth/login"),
        "{sentence}"
    );
    assert!(process.store.find(&place.alice).await.unwrap().is_none());
    assert!(!place.is_live(&process).await);
}

#[tokio::test]
async fn the_lease_outlasts_what_a_refresh_may_take() {
    let place = Place::new().await;
    for seconds in [1, 15, 300] {
        let process = place.process_that_waits(Duration::from_secs(seconds)).await;
        place.sign_in(&process).await;
        place.clock.advance(TimeDelta::hours(2));
        assert!(place.is_live(&process).await);
        let lease = process.store.leases.lock().unwrap().pop().unwrap();
        let longest = process.client.longest_refresh();
        // Twice, since a server may want its nonce first.
        assert!(longest > 2 * Duration::from_secs(seconds), "{longest:?}");
        assert!(lease.to_std().unwrap() > longest, "{lease} {longest:?}");
    }
}
