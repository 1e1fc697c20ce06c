//! The hold's identity: its DID, its name, its key, and the document that ties them together.
//!
//! A `did:web` hold is its public URL: the DID, the handle and the service endpoints all follow from it, so the domain
//! of a hold cannot change.

mod document;

use std::path::Path;

use atcr_atproto::crypto::{CryptoError, Curve, SigningKey};
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
    /// The signing key's file cannot be used.
    #[error("the signing key cannot be used")]
    SigningKey(#[source] CryptoError),
}

/// The hold as the network knows it.
#[derive(Clone, Debug)]
pub struct HoldIdentity {
    did: Did,
    handle: String,
    endpoint: String,
    signing_key: SigningKey,
}

impl HoldIdentity {
    /// The `did:web` identity of the hold at `public_url`, signing with `signing_key`.
    ///
    /// # Errors
    /// [`HoldIdentityError::PublicUrl`] for a URL with a path, without a host name, or not http(s).
    pub fn did_web(public_url: &Url, signing_key: SigningKey) -> Result<Self, HoldIdentityError> {
        let refused = |source| HoldIdentityError::PublicUrl {
            url: public_url.clone(),
            source,
        };
        let did = Did::web_from_url(public_url).map_err(refused)?;
        let handle = did
            .web_host()
            .ok_or(SyntaxError {
                kind: "DID",
                reason: "not a did:web of a plain host",
            })
            .map_err(refused)?;
        Ok(Self {
            did,
            handle,
            endpoint: public_url.as_str().trim_end_matches('/').to_owned(),
            signing_key,
        })
    }

    /// The K-256 signing key in the file at `path`, made when there is none. Blocks on the disk.
    ///
    /// # Errors
    /// [`HoldIdentityError::SigningKey`] when the file cannot be read or written, or does not hold a K-256 key.
    pub fn signing_key_file(path: &Path) -> Result<SigningKey, HoldIdentityError> {
        SigningKey::load_or_create(path, Curve::K256).map_err(HoldIdentityError::SigningKey)
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
        text == self.did.as_str() || text.strip_prefix("did:web:") == Some(self.handle.as_str())
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
    pub fn signing_key(&self) -> &SigningKey {
        &self.signing_key
    }

    /// The DID document, as `/.well-known/did.json` serves it.
    #[must_use]
    pub fn document(&self) -> Value {
        document::of(self)
    }
}

#[cfg(test)]
mod tests;
