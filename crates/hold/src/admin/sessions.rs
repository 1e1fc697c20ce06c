//! Browsers that are signed in at the admin site.
//!
//! A browser keeps a random token in a cookie; the database has its hash. A session is for one browser in one network: a request with
//! the token from elsewhere ends it. It also ends with its time, and as soon as its account is not the captain any more.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use atcr_atproto::clock::Clock;
use atcr_atproto::syntax::Did;
use atcr_server::client_address::{ClientAddress, client_key};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use super::TableError;

/// How long a browser stays signed in: a day's work.
pub const LIFETIME: TimeDelta = TimeDelta::hours(12);

/// SHA-256 of a token or of a browser's name for itself.
pub type Hash = [u8; 32];

/// What is known of the browser that holds a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Browser {
    /// SHA-256 of its `User-Agent`.
    pub user_agent: Hash,
    /// The IPv4 /24 or IPv6 /64 that it is in; empty if that is not known.
    pub network: String,
}

impl Browser {
    /// The browser that sends `user_agent` from `client`.
    #[must_use]
    pub fn new(user_agent: &[u8], client: &ClientAddress) -> Self {
        Self {
            user_agent: Sha256::digest(user_agent).into(),
            network: client.own.map(network).unwrap_or_default(),
        }
    }
}

fn network(address: IpAddr) -> String {
    match client_key(address) {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(v6) => format!("{v6}/64"),
    }
}

/// A browser that is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The captain.
    pub did: Did,
    /// The handle at sign-in, if there was one that agreed with the DID.
    pub handle: Option<String>,
    /// Where it was signed in.
    pub browser: Browser,
    /// When.
    pub created_at: DateTime<Utc>,
    /// Until when.
    pub expires_at: DateTime<Utc>,
}

/// Port: sessions at rest. Every error is the database's.
#[async_trait]
pub trait SessionTable: fmt::Debug + Send + Sync {
    /// Keeps `session`, and drops those that ended before `now`.
    async fn insert(&self, token: &Hash, session: &Session, now: DateTime<Utc>) -> Result<(), TableError>;

    /// The session of a token that is good at `now`.
    async fn find(&self, token: &Hash, now: DateTime<Utc>) -> Result<Option<Session>, TableError>;

    /// Ends a session.
    async fn delete(&self, token: &Hash) -> Result<(), TableError>;
}

/// Opens, finds and ends sessions.
#[derive(Clone, Debug)]
pub struct AdminSessions {
    table: Arc<dyn SessionTable>,
    clock: Arc<dyn Clock>,
}

impl AdminSessions {
    /// Keeps sessions in `table`.
    #[must_use]
    pub fn new(table: Arc<dyn SessionTable>, clock: Arc<dyn Clock>) -> Self {
        Self { table, clock }
    }

    /// Signs a browser in.
    ///
    /// # Returns
    /// What the browser keeps: always a new value, so that one planted beforehand is worth nothing.
    ///
    /// # Errors
    /// The database's.
    pub async fn open(
        &self,
        did: Did,
        handle: Option<String>,
        browser: Browser,
    ) -> Result<SecretString, TableError> {
        let token = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let now = self.clock.now();
        let session = Session {
            did,
            handle,
            browser,
            created_at: now,
            expires_at: now + LIFETIME,
        };
        self.table.insert(&hash(&token), &session, now).await?;
        Ok(SecretString::from(token))
    }

    /// The session of what `browser` keeps. A token that comes from another browser or network than it was given to ends its
    /// session.
    ///
    /// # Errors
    /// The database's.
    pub async fn find(&self, token: &SecretString, browser: &Browser) -> Result<Option<Session>, TableError> {
        let token = hash(token.expose_secret());
        let Some(session) = self.table.find(&token, self.clock.now()).await? else {
            return Ok(None);
        };
        if session.browser != *browser {
            tracing::warn!(
                did = %session.did, network = browser.network,
                "a session of the admin site was ended: its token came from another browser or network"
            );
            self.table.delete(&token).await?;
            return Ok(None);
        }
        Ok(Some(session))
    }

    /// Signs a browser out.
    ///
    /// # Errors
    /// The database's.
    pub async fn close(&self, token: &SecretString) -> Result<(), TableError> {
        self.table.delete(&hash(token.expose_secret())).await
    }
}

fn hash(token: &str) -> Hash {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_known_by_its_name_and_network() {
        let at = |text: &str| {
            let address = text.parse().expect("an address");
            Browser::new(
                b"browser",
                &ClientAddress {
                    counted: address,
                    own: Some(address),
                },
            )
        };
        assert_eq!(at("192.0.2.7"), at("192.0.2.200"));
        assert_ne!(at("192.0.2.7"), at("192.0.3.7"));
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:0:0:1"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("::ffff:192.0.2.7"), at("192.0.2.9"));
    }
}
