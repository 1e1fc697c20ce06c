//! The hold's identity: its DID, its name, its key, and the document that ties them together.
//!
//! A `did:web` hold is its public URL: the DID, the handle and the service endpoints all follow from it, so the domain
//! of a hold cannot change. A `did:plc` hold has its DID from a directory, and only its handle and endpoints follow from the URL.

mod document;

use std::sync::{Arc, PoisonError, RwLock};

use atcr_atproto::crypto::{PublicKey, SigningKey};
use atcr_atproto::syntax::{Did, SyntaxError};
use serde_json::Value;
use url::Url;

/// Why the hold has no identity.
#[derive(Debug, thiserror::Error)]
pub enum HoldIdentityError {
    /// No did:web can be made of the public URL.
    #[error("{url} cannot be the URL of a did:web hold")]
    PublicUrl {
        /// The URL.
        url: Url,
        /// What a did:web demands.
        #[source]
        source: SyntaxError,
    },
}

/// The hold as the network knows it. Clones share the key, which may be changed while the hold runs.
#[derive(Clone, Debug)]
pub struct HoldIdentity {
    did: Did,
    handle: String,
    endpoint: String,
    signing_key: Arc<RwLock<SigningKey>>,
}

impl HoldIdentity {
    /// The `did:web` identity of the hold at `public_url`, signing with `signing_key`.
    ///
    /// # Errors
    /// [`HoldIdentityError::PublicUrl`] for a URL with a path, without a host name, or not http(s).
    pub fn did_web(public_url: &Url, signing_key: SigningKey) -> Result<Self, HoldIdentityError> {
        let did = web_did(public_url)?;
        Self::of_did(did, public_url, signing_key)
    }

    /// The identity of the hold at `public_url` whose DID does not follow from the URL, signing with `signing_key`.
    ///
    /// # Errors
    /// As [`did_web`](Self::did_web): the handle is the URL's host.
    pub fn of_did(did: Did, public_url: &Url, signing_key: SigningKey) -> Result<Self, HoldIdentityError> {
        let handle = web_did(public_url)?
            .web_host()
            .ok_or_else(|| HoldIdentityError::PublicUrl {
                url: public_url.clone(),
                source: SyntaxError {
                    kind: "DID",
                    reason: "not a did:web of a plain host",
                },
            })?;
        Ok(Self {
            did,
            handle,
            endpoint: public_url.as_str().trim_end_matches('/').to_owned(),
            signing_key: Arc::new(RwLock::new(signing_key)),
        })
    }

    /// The hold's DID.
    #[must_use]
    pub fn did(&self) -> &Did {
        &self.did
    }

    /// Whether `text` is the hold's DID. A port may be written unescaped, as older files have it, and as it arrives from a
    /// client that does not escape the `%` in a query.
    #[must_use]
    pub fn has_did(&self, text: &str) -> bool {
        let is_unescaped = || text.strip_prefix("did:web:") == Some(self.handle.as_str());
        text == self.did.as_str() || (self.did.method() == "web" && is_unescaped())
    }

    /// The hold's name: its host, and its port if it has one (`172.28.0.3:8080`). Not always a handle in atproto's sense.
    #[must_use]
    pub fn handle(&self) -> &str {
        &self.handle
    }

    /// The public URL without a trailing slash.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The key that signs commits.
    #[must_use]
    pub fn signing_key(&self) -> SigningKey {
        self.signing_key
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The public half of the key that signs commits.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.signing_key().public_key()
    }

    /// Makes `key` the key of this identity and of all its clones: the document names it from now on.
    pub fn change_signing_key(&self, key: SigningKey) {
        *self.signing_key.write().unwrap_or_else(PoisonError::into_inner) = key;
    }

    /// The DID document, as `/.well-known/did.json` serves it.
    #[must_use]
    pub fn document(&self) -> Value {
        document::of(self)
    }
}

fn web_did(public_url: &Url) -> Result<Did, HoldIdentityError> {
    Did::web_from_url(public_url).map_err(|source| HoldIdentityError::PublicUrl {
        url: public_url.clone(),
        source,
    })
}

#[cfg(test)]
mod tests;
