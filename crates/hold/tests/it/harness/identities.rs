//! Accounts whose DID documents are kept in memory, and the service tokens their PDSes would issue.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use atcr_atproto::crypto::{Curve, SigningKey};
use atcr_atproto::identity::{DidDocument, IdentityError, IdentityResolver, ResolvedIdentity};
use atcr_atproto::syntax::{AtIdentifier, Did, Handle};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

/// An account with its key.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) did: Did,
    key: SigningKey,
}

impl Account {
    /// An account that signs with its own key in the name of `other`.
    pub(crate) fn in_the_name_of(self, other: &Self) -> Self {
        Self {
            did: other.did.clone(),
            ..self
        }
    }

    /// A service token of this account for `audience`, valid for a minute from `now`.
    pub(crate) fn token(&self, audience: &Did, lxm: Option<&str>, now: DateTime<Utc>) -> String {
        let mut claims = json!({
            "iss": self.did,
            "aud": audience,
            "iat": now.timestamp(),
            "exp": now.timestamp() + 60,
            "jti": uuid::Uuid::new_v4().simple().to_string(),
        });
        if let Some(lxm) = lxm {
            claims["lxm"] = Value::String(lxm.to_owned());
        }
        self.sign(&claims)
    }

    /// The account under a new key, which its document does not have yet.
    pub(crate) fn rotated(&self) -> Self {
        Self {
            did: self.did.clone(),
            key: SigningKey::generate(self.key.curve()),
        }
    }

    /// The account's key, for tokens of other kinds.
    pub(crate) fn key(&self) -> SigningKey {
        self.key.clone()
    }

    /// An account that is in no memory: a directory has to serve its [`document`](Self::document).
    pub(crate) fn elsewhere(did: &str, curve: Curve) -> Self {
        Self {
            did: did.parse().expect("a DID"),
            key: SigningKey::generate(curve),
        }
    }

    /// The account's DID document.
    pub(crate) fn document(&self) -> Value {
        let did = &self.did;
        json!({
            "id": did,
            "verificationMethod": [{
                "id": format!("{did}#atproto"),
                "type": "Multikey",
                "controller": did,
                "publicKeyMultibase": self.key.public_key().to_multikey(),
            }],
        })
    }

    /// A JWT with exactly these claims.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = json!({ "typ": "JWT", "alg": self.key.curve().jwt_algorithm() });
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

/// The network's identities, as far as a test has made them.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    documents: Mutex<HashMap<Did, Arc<DidDocument>>>,
    handles: Mutex<HashMap<Handle, Did>>,
    lookups: AtomicUsize,
}

impl Identities {
    /// How often a document was looked up.
    pub(crate) fn lookups(&self) -> usize {
        self.lookups.load(Ordering::Relaxed)
    }

    /// A new account `did:web:<name>.test` with a key on `curve`.
    pub(crate) fn account(&self, name: &str, curve: Curve) -> Account {
        let account = Account {
            did: format!("did:web:{name}.test").parse().expect("a DID"),
            key: SigningKey::generate(curve),
        };
        self.publish(&account);
        account
    }

    /// Gives the account a handle that leads to it.
    pub(crate) fn name(&self, account: &Did, handle: &str) {
        let handle = handle.parse().expect("a handle");
        let mut handles = self.handles.lock().expect("not poisoned");
        handles.insert(handle, account.clone());
    }

    /// Puts the account's key into its document.
    pub(crate) fn publish(&self, account: &Account) {
        self.publish_at(account, None);
    }

    /// Puts the account's key and its PDS into its document.
    pub(crate) fn publish_at(&self, account: &Account, pds: Option<&str>) {
        let did = &account.did;
        let mut document = account.document();
        if let Some(pds) = pds {
            document["service"] = json!([{
                "id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": pds,
            }]);
        }
        let bytes = serde_json::to_vec(&document).expect("JSON");
        let document = DidDocument::parse(did, &bytes).expect("a document");
        self.documents
            .lock()
            .expect("not poisoned")
            .insert(did.clone(), Arc::new(document));
    }
}

#[async_trait]
impl IdentityResolver for Identities {
    async fn resolve(&self, identifier: &AtIdentifier) -> Result<Arc<ResolvedIdentity>, IdentityError> {
        match identifier {
            AtIdentifier::Did(did) => self.resolve_did(did).await,
            AtIdentifier::Handle(handle) => {
                let named = self.handles.lock().expect("not poisoned").get(handle).cloned();
                match named {
                    Some(did) => self.resolve_did(&did).await,
                    None => Err(IdentityError::HandleNotFound {
                        handle: handle.clone(),
                    }),
                }
            }
        }
    }

    async fn resolve_did(&self, did: &Did) -> Result<Arc<ResolvedIdentity>, IdentityError> {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        let document = self.documents.lock().expect("not poisoned").get(did).cloned();
        match document {
            Some(document) => {
                let handles = self.handles.lock().expect("not poisoned");
                let named = handles.iter().find(|(_, named)| *named == did);
                let handle = named.map(|(handle, _)| handle.clone());
                Ok(Arc::new(ResolvedIdentity::new(document, handle)))
            }
            None => Err(IdentityError::DidNotFound { did: did.clone() }),
        }
    }

    async fn invalidate_did(&self, _: &Did) {}

    async fn invalidate_handle(&self, _: &Handle) {}
}
