//! How often callers may ask, and how often a client's credentials may fail before they are not looked at.
//!
//! Checking a credential makes the hold ask servers that the caller names, so failures are counted per address before the check. One
//! address is often an AppView's and stands for many accounts: an account whose token was good there lately is checked however many
//! others fail.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::syntax::Did;
use atcr_server::Rate;
use atcr_server::address_gate::AddressGate;
use atcr_server::client_address::ClientAddress;
use atcr_server::rate_limit::{Attempt, FailureLimit, Limited, Now, RateLimit};
use axum::http::request::Parts;
use moka::sync::Cache;

/// Accounts remembered to have had a good token at an address.
const REMEMBERED: u64 = 50_000;

/// How long an account is remembered for that.
const REMEMBERED_FOR: Duration = Duration::from_hours(1);

/// The limits on callers. Clones share the counts.
#[derive(Clone, Debug)]
pub struct CallerLimits {
    /// Requests without a good token, by address. It stands in front of the routes too, for those without any token.
    anonymous: Arc<AddressGate>,
    /// Requests by account.
    account: RateLimit<Did>,
    /// Credentials that are not good, by address.
    failures: FailureLimit<IpAddr>,
    /// Accounts and the addresses at which their tokens were good.
    known: Cache<(IpAddr, Did), ()>,
}

/// A credential that is being checked. Dropped, it counts as a failure.
#[derive(Debug)]
pub(super) struct Check {
    limits: CallerLimits,
    client: IpAddr,
    attempt: Option<Attempt<IpAddr>>,
}

impl CallerLimits {
    /// `account` requests of one account, `failed` failures of one address; `anonymous` counts requests without a good token.
    #[must_use]
    pub fn new(anonymous: Arc<AddressGate>, account: Rate, failed: Rate, now: Now) -> Self {
        Self {
            anonymous,
            account: RateLimit::new("account", account, now.clone()),
            failures: FailureLimit::new("failed_tokens", failed, now),
            known: Cache::builder()
                .max_capacity(REMEMBERED)
                .time_to_live(REMEMBERED_FOR)
                .build(),
        }
    }

    /// The gate that counts requests without a token.
    #[must_use]
    pub fn anonymous(&self) -> Arc<AddressGate> {
        Arc::clone(&self.anonymous)
    }

    /// Begins the check of a credential that claims to be of `claimed`, if it names an account; `None` when the request did not come
    /// over the network or the client is exempt.
    ///
    /// # Errors
    /// [`Limited`]
    pub(super) fn begin(&self, parts: &Parts, claimed: Option<Did>) -> Result<Option<Check>, Limited> {
        let Some(client) = parts.extensions.get::<ClientAddress>() else {
            return Ok(None);
        };
        if self.anonymous.exempt.covers(client) {
            return Ok(None);
        }
        let client = client.key();
        let is_known = claimed.is_some_and(|did| self.known.contains_key(&(client, did.normalised())));
        let attempt = if is_known {
            None
        } else {
            Some(self.failures.begin(client)?)
        };
        Ok(Some(Check {
            limits: self.clone(),
            client,
            attempt,
        }))
    }

    /// Counts a request of `account`.
    ///
    /// # Errors
    /// [`Limited`]
    pub(super) fn accepted(&self, account: &Did) -> Result<(), Limited> {
        self.account.take(account)
    }

    /// Counts a request without a good token.
    ///
    /// # Errors
    /// [`Limited`]
    pub(super) fn refused(&self, parts: &Parts) -> Result<(), Limited> {
        match parts.extensions.get::<ClientAddress>() {
            Some(client) => self.anonymous.admit(client),
            None => Ok(()),
        }
    }
}

impl Check {
    /// The credential is good, and names no account.
    pub(super) fn passed(self) {
        if let Some(attempt) = self.attempt {
            attempt.succeeded();
        }
    }

    /// The credential is good, and of `account`.
    pub(super) fn succeeded(self, account: &Did) {
        self.limits.known.insert((self.client, account.normalised()), ());
        if let Some(attempt) = self.attempt {
            attempt.succeeded();
        }
    }
}
