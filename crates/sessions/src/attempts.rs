//! Which logins were verified a moment ago, and who fails too often.
//!
//! A PDS allows few `createSession` calls (the reference one 30 in five minutes and 300 a day for an account), and a docker
//! client sends its password for every token. So a verified pair of DID and password counts as valid for a while, and a wrong one
//! is refused for a short while without asking again.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use atcr_atproto::syntax::Did;
use moka::sync::Cache;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};

/// How long a verified password counts as valid: a revoked app password keeps working that long, for tokens only.
const VERIFIED_FOR: Duration = Duration::from_mins(15);

/// How long a wrong password is refused without asking the PDS again.
const REFUSED_FOR: Duration = Duration::from_secs(30);

/// Failures of one client for one account within [`WINDOW`] before it has to wait.
const FAILURES_PER_ACCOUNT: u32 = 10;

/// Failures of one client for any accounts within [`WINDOW`].
const FAILURES_PER_CLIENT: u32 = 60;

/// The window in which failures are counted.
const WINDOW: Duration = Duration::from_mins(5);

/// Entries kept at most, per kind.
const CAPACITY: u64 = 50_000;

/// A DID and password, as a hash that is of no use outside this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LoginKey([u8; 32]);

/// What is remembered of recent logins.
#[derive(Debug)]
pub struct Attempts {
    salt: [u8; 32],
    /// Whose account each pair is.
    verified: Cache<LoginKey, Did>,
    spellings: Cache<LoginKey, Did>,
    refused: Cache<LoginKey, Arc<str>>,
    by_account: Cache<(IpAddr, String), Arc<AtomicU32>>,
    by_client: Cache<IpAddr, Arc<AtomicU32>>,
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            salt: rand::random(),
            verified: Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(VERIFIED_FOR)
                .support_invalidation_closures()
                .build(),
            spellings: Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(VERIFIED_FOR)
                .build(),
            refused: Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(REFUSED_FOR)
                .build(),
            by_account: Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(WINDOW)
                .build(),
            by_client: Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(WINDOW)
                .build(),
        }
    }
}

impl Attempts {
    /// The key of an account, by DID or as a client spells it, and password.
    #[must_use]
    pub fn key(&self, account: &str, password: &SecretString) -> LoginKey {
        let mut hash = Sha256::new();
        hash.update(self.salt);
        hash.update(account);
        hash.update([0]);
        hash.update(password.expose_secret());
        LoginKey(hash.finalize().into())
    }

    /// Whether the pair was verified lately.
    #[must_use]
    pub fn is_verified(&self, key: &LoginKey) -> bool {
        self.verified.contains_key(key)
    }

    /// Why the pair was refused lately.
    #[must_use]
    pub fn refusal(&self, key: &LoginKey) -> Option<Arc<str>> {
        self.refused.get(key)
    }

    /// Whose account a user name and password were lately found to be.
    #[must_use]
    pub fn spelled(&self, spelling: &LoginKey) -> Option<Did> {
        self.spellings.get(spelling)
    }

    /// Notes whose account a user name and password are.
    pub fn spells(&self, spelling: LoginKey, did: Did) {
        self.spellings.insert(spelling, did);
    }

    /// Notes that the PDS of `did` accepted the pair.
    pub fn verified(&self, key: LoginKey, did: Did) {
        self.refused.invalidate(&key);
        self.verified.insert(key, did);
    }

    /// Forgets every pair of `did` that was verified: each password is asked about again.
    pub fn forget_account(&self, did: &Did) {
        let did = did.clone();
        if let Err(error) = self.verified.invalidate_entries_if(move |_, known| *known == did) {
            tracing::error!(%error, "verified passwords could not be forgotten one by one; all are");
            self.verified.invalidate_all();
        }
    }

    /// Forgets that the pair was verified: its session is gone.
    pub fn forget(&self, key: &LoginKey) {
        self.verified.invalidate(key);
    }

    /// Notes that the PDS refused the pair.
    pub fn refused(&self, key: LoginKey, reason: &str) {
        self.verified.invalidate(&key);
        self.refused.insert(key, reason.into());
    }

    /// Counts a failure of `client` for the account spelled `username`.
    pub fn count_failure(&self, client: IpAddr, username: &str) {
        let count = |counter: Arc<AtomicU32>| counter.fetch_add(1, Ordering::Relaxed);
        count(
            self.by_account
                .get_with((client, username.to_owned()), Arc::default),
        );
        count(self.by_client.get_with(client, Arc::default));
    }

    /// How long `client` has to wait before it may try `username` again; `None` when it need not.
    #[must_use]
    pub fn must_wait(&self, client: IpAddr, username: &str) -> Option<Duration> {
        let reached = |counter: Option<Arc<AtomicU32>>, limit| {
            counter.is_some_and(|counter| counter.load(Ordering::Relaxed) >= limit)
        };
        let account = self.by_account.get(&(client, username.to_owned()));
        (reached(account, FAILURES_PER_ACCOUNT) || reached(self.by_client.get(&client), FAILURES_PER_CLIENT))
            .then_some(WINDOW)
    }
}
