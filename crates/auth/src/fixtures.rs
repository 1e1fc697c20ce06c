//! What the tests of several modules share: time, keys, forged tokens, a directory of DID documents.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use atcr_atproto::crypto::{PublicKey, SigningKey};
use atcr_atproto::identity::{DidDocument, IdentityError, IdentityResolver, ResolvedIdentity};
use atcr_atproto::syntax::{AtIdentifier, Did, Handle};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use proptest::prelude::*;
use serde_json::{Value, json};

pub(crate) const ALICE: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";
pub(crate) const MALLORY: &str = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";
pub(crate) const HOLD: &str = "did:web:hold.example.com";
pub(crate) const APPVIEW: &str = "did:web:registry.example.com";

pub(crate) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

/// Unix seconds as a peer may name them: the ends of what fits, of the calendar, and times around now.
pub(crate) fn seconds() -> impl Strategy<Value = i64> {
    let ends = [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC].map(|end| end.timestamp());
    prop_oneof![
        any::<i64>(),
        prop::sample::select(vec![
            i64::MIN,
            i64::MAX,
            ends[0] - 1,
            ends[0],
            ends[1],
            ends[1] + 1
        ]),
        ends[0]..ends[0] + 100,
        ends[1] - 100..=ends[1],
        now().timestamp() - 4000..now().timestamp() + 4000,
    ]
}

pub(crate) fn did(text: &str) -> Did {
    text.parse().unwrap()
}

/// The signing input of a token with any header and claims.
pub(crate) fn signing_input(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(serde_json::to_vec(value).unwrap());
    format!("{}.{}", part(header), part(claims))
}

/// A token with any header and claims, signed by `key` whatever the header says.
pub(crate) fn forge(header: &Value, claims: &Value, key: &SigningKey) -> String {
    let input = signing_input(header, claims);
    let signature = key.sign(input.as_bytes());
    with_signature(&input, &signature)
}

pub(crate) fn with_signature(input: &str, signature: &[u8]) -> String {
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The header that `key` would honestly write.
pub(crate) fn header(key: &SigningKey) -> Value {
    json!({"alg": key.curve().jwt_algorithm(), "typ": "JWT"})
}

/// The other valid signature over the same message: r, n − s.
pub(crate) fn high_s(key: &SigningKey, message: &[u8]) -> Vec<u8> {
    let low = key.sign(message);
    match key {
        SigningKey::K256(_) => {
            let low = k256::ecdsa::Signature::from_slice(&low).unwrap();
            k256::ecdsa::Signature::from_scalars(*low.r(), -*low.s())
                .unwrap()
                .to_vec()
        }
        SigningKey::P256(_) => {
            let low = p256::ecdsa::Signature::from_slice(&low).unwrap();
            p256::ecdsa::Signature::from_scalars(*low.r(), -*low.s())
                .unwrap()
                .to_vec()
        }
    }
}

/// DID documents: what the cache holds, and what the source would say.
#[derive(Default)]
pub(crate) struct Directory {
    known: Mutex<HashMap<Did, Arc<DidDocument>>>,
    current: Mutex<HashMap<Did, Arc<DidDocument>>>,
    down: Mutex<bool>,
    pub(crate) refreshes: AtomicUsize,
    pub(crate) lookups: AtomicUsize,
}

impl Directory {
    pub(crate) fn with(did: &str, keys: &[(&str, &PublicKey)]) -> Self {
        let directory = Self::default();
        directory.publish(did, keys);
        let published = directory.current.lock().unwrap().clone();
        *directory.known.lock().unwrap() = published;
        directory
    }

    /// Changes what the source says; the cache learns of it by refreshing.
    pub(crate) fn publish(&self, text: &str, keys: &[(&str, &PublicKey)]) {
        let keys: Vec<Value> = keys
            .iter()
            .map(|(fragment, key)| {
                json!({"id": format!("#{fragment}"), "type": "Multikey", "publicKeyMultibase": key.to_multikey()})
            })
            .collect();
        let json = json!({"id": text, "verificationMethod": keys});
        let document = DidDocument::parse(&did(text), &serde_json::to_vec(&json).unwrap()).unwrap();
        self.current.lock().unwrap().insert(did(text), Arc::new(document));
    }

    pub(crate) fn set_down(&self) {
        *self.down.lock().unwrap() = true;
    }

    fn find(
        &self,
        documents: &Mutex<HashMap<Did, Arc<DidDocument>>>,
        did: &Did,
    ) -> Result<Arc<DidDocument>, IdentityError> {
        if *self.down.lock().unwrap() {
            return Err(IdentityError::Unreachable {
                subject: did.to_string(),
                host: "plc.example.com".to_owned(),
                source: Arc::new(std::io::Error::other("down")),
            });
        }
        let found = documents.lock().unwrap().get(did).cloned();
        found.ok_or_else(|| IdentityError::DidNotFound { did: did.clone() })
    }
}

#[async_trait]
impl IdentityResolver for Directory {
    async fn resolve(&self, identifier: &AtIdentifier) -> Result<Arc<ResolvedIdentity>, IdentityError> {
        match identifier {
            AtIdentifier::Did(did) => self.resolve_did(did).await,
            AtIdentifier::Handle(handle) => Err(IdentityError::HandleNotFound {
                handle: handle.clone(),
            }),
        }
    }

    async fn resolve_did(&self, did: &Did) -> Result<Arc<ResolvedIdentity>, IdentityError> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        Ok(Arc::new(ResolvedIdentity::new(
            self.find(&self.known, did)?,
            None,
        )))
    }

    async fn refresh_document(&self, did: &Did) -> Result<Arc<DidDocument>, IdentityError> {
        self.refreshes.fetch_add(1, Ordering::SeqCst);
        self.find(&self.current, did)
    }

    async fn invalidate_did(&self, did: &Did) {
        self.known.lock().unwrap().remove(did);
    }

    async fn invalidate_handle(&self, _handle: &Handle) {}
}
