//! Which logins were verified a moment ago, and how often sign-ins of one client may fail.
//!
//! A PDS allows few `createSession` calls (the reference one 30 in five minutes and 300 a day for an account), and a docker
//! client sends its password for every token. So a verified pair of DID and password counts as valid for a while, and a wrong one
//! is refused for a short while without asking again.
//!
//! A sign-in counts as failed from its beginning, so that many at once cannot pass the limits together, and is taken back when it is
//! known to be good.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::clock::Clock;
use atcr_atproto::syntax::Did;
use atcr_server::Rate;
use atcr_server::address_gate::Exempt;
use atcr_server::client_address::ClientAddress;
use atcr_server::rate_limit::{Attempt, FailureLimit, Limited, Now};
use moka::sync::Cache;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};

/// How long a verified password counts as valid: a revoked app password keeps working that long, for tokens only.
const VERIFIED_FOR: Duration = Duration::from_mins(15);

/// How long a wrong password is refused without asking the PDS again.
const REFUSED_FOR: Duration = Duration::from_secs(30);

/// Wrong passwords of one client for one account.
const GUESSES_PER_ACCOUNT: Rate = Rate::new(10, Duration::from_mins(5));

/// Wrong passwords of one client for any accounts.
const GUESSES_PER_CLIENT: Rate = Rate::new(60, Duration::from_mins(5));

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
    guesses_of_account: FailureLimit<(IpAddr, String)>,
    guesses: FailureLimit<IpAddr>,
    failures: FailureLimit<IpAddr>,
    exempt: Exempt,
}

/// How often sign-ins may fail, whatever they fail by: each makes this server ask others.
#[derive(Clone, Debug)]
pub struct FailedSignIns {
    /// Failures per client address.
    pub rate: Rate,
    /// Clients whose failures do not count by this. Wrong passwords count for every client.
    pub exempt: Exempt,
}

/// A sign-in under way. Dropped, it counts as a wrong password.
#[derive(Debug)]
pub struct SignInUnderWay {
    guess_of_account: Attempt<(IpAddr, String)>,
    guess: Attempt<IpAddr>,
    failure: Option<Attempt<IpAddr>>,
}

impl SignInUnderWay {
    /// The password was right.
    pub fn succeeded(self) {
        self.guess_of_account.succeeded();
        self.guess.succeeded();
        if let Some(failure) = self.failure {
            failure.succeeded();
        }
    }

    /// Whether the password is right could not be found out.
    pub fn undecided(self) {
        self.guess_of_account.succeeded();
        self.guess.succeeded();
    }

    /// The name or the password was wrong.
    pub fn wrong(self) {}
}

impl Attempts {
    /// Nothing is remembered yet.
    #[must_use]
    pub fn new(failed: FailedSignIns, clock: &Arc<dyn Clock>) -> Self {
        let now = {
            let clock = Arc::clone(clock);
            Now::new(move || clock.now())
        };
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
            guesses_of_account: FailureLimit::new(
                "password_guesses_of_account",
                GUESSES_PER_ACCOUNT,
                now.clone(),
            ),
            guesses: FailureLimit::new("password_guesses", GUESSES_PER_CLIENT, now.clone()),
            failures: FailureLimit::new("failed_sign_ins", failed.rate, now),
            exempt: failed.exempt,
        }
    }

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
            tracing::error!(%error, "one verified password could not be forgotten alone; all are forgotten");
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

    /// Begins a sign-in of `client` to the account spelled `username`, which counts as failed until it is known to be otherwise.
    ///
    /// # Errors
    /// [`Limited`] after too many that failed.
    pub fn begin(&self, client: &ClientAddress, username: &str) -> Result<SignInUnderWay, Limited> {
        let key = client.key();
        let failure = if self.exempt.covers(client) {
            None
        } else {
            Some(self.failures.begin(key)?)
        };
        let guesses = || {
            let guess = self.guesses.begin(key)?;
            match self.guesses_of_account.begin((key, username.to_owned())) {
                Ok(guess_of_account) => Ok((guess, guess_of_account)),
                Err(limited) => {
                    guess.succeeded();
                    Err(limited)
                }
            }
        };
        match guesses() {
            Ok((guess, guess_of_account)) => Ok(SignInUnderWay {
                guess_of_account,
                guess,
                failure,
            }),
            // It asks no other server, so it is no failure of that kind.
            Err(limited) => {
                if let Some(failure) = failure {
                    failure.succeeded();
                }
                Err(limited)
            }
        }
    }
}
