//! What stands behind the ports: one hold or some, tokens that are counted, proofs and accounts without keys.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use atcr_atproto::clock::{Clock as _, ManualClock};
use atcr_atproto::identity::{DidDocument, IdentityError, IdentityResolver, ResolvedIdentity};
use atcr_atproto::syntax::{AtIdentifier, Did, Handle};
use atcr_auth::principal::{AuthMethod, Principal};
use atcr_auth::registry_token::{AccessEntry, RegistryClaims};
use atcr_oci::Digest;
use atcr_registry::access::{Granted, Push, SignedInDevices};
use atcr_registry::context::RequestContext;
use atcr_registry::error::RegistryError;
use atcr_registry::hold::error::HoldError;
use atcr_registry::hold::ports::{HoldDirectory, HoldRef, HoldTokens};
use atcr_registry::upload::ports::ContentProofs;
use atcr_test_support::fakes::FakeHold;
use chrono::TimeDelta;
use secrecy::SecretString;

use super::{ALICE, BOB};

/// Callers here have no devices.
pub(super) struct EveryDevice;

#[async_trait]
impl SignedInDevices for EveryDevice {
    async fn require(&self, _: &Did, _: &str) -> Result<(), RegistryError> {
        Ok(())
    }
}

pub(crate) fn principal(did: &str) -> Principal {
    Principal::Sailor {
        did: did.parse().unwrap(),
        auth_method: AuthMethod::AppPassword,
    }
}

/// Claims of a registry token for these repositories and actions.
pub(crate) fn claims(did: &str, access: &[(&str, &[&str])]) -> RegistryClaims {
    let now = ManualClock::standing().now();
    RegistryClaims {
        iss: "registry".to_owned(),
        aud: "registry".to_owned(),
        sub: Some(did.parse().unwrap()),
        exp: now + TimeDelta::minutes(5),
        nbf: now,
        iat: now,
        jti: "1".to_owned(),
        access: access
            .iter()
            .map(|(name, actions)| AccessEntry {
                resource_type: "repository".to_owned(),
                name: (*name).to_owned(),
                actions: actions.iter().map(|action| (*action).to_owned()).collect(),
            })
            .collect(),
        auth_method: Some(AuthMethod::AppPassword),
        device: None,
    }
}

pub(crate) fn hold_ref(hold: &FakeHold) -> HoldRef {
    HoldRef {
        did: hold.did().parse().unwrap(),
        endpoint: hold.url().parse().unwrap(),
    }
}

/// Service tokens `<did>#<n>`, a new one after each invalidation.
#[derive(Debug, Default)]
pub(crate) struct CountedTokens {
    generation: Mutex<u32>,
    pub(crate) asked: Mutex<u32>,
}

impl CountedTokens {
    pub(crate) fn current(&self, did: &str) -> String {
        format!("{did}#{}", self.generation.lock().unwrap())
    }
}

#[async_trait]
impl HoldTokens for CountedTokens {
    async fn token_for(
        &self,
        principal: &Principal,
        _hold: &Did,
    ) -> Result<Option<SecretString>, RegistryError> {
        *self.asked.lock().unwrap() += 1;
        Ok(principal
            .did()
            .map(|did| SecretString::from(self.current(did.as_str()))))
    }

    async fn invalidate(&self, _principal: &Principal, _hold: &Did) {
        *self.generation.lock().unwrap() += 1;
    }
}

/// Holds in a fixed order; the first one takes the pushes.
#[derive(Debug)]
pub(crate) struct FixedDirectory {
    pub(crate) holds: Mutex<Vec<HoldRef>>,
    /// Other holds for the blobs of some repositories.
    pub(crate) sources: Mutex<HashMap<String, Vec<HoldRef>>>,
}

#[async_trait]
impl HoldDirectory for FixedDirectory {
    async fn for_push(&self, _grant: &Granted<Push>) -> Result<HoldRef, RegistryError> {
        self.holds
            .lock()
            .unwrap()
            .first()
            .cloned()
            .ok_or(RegistryError::NoHold)
    }

    async fn for_blob(&self, context: &RequestContext, _digest: &Digest) -> Result<Vec<Did>, RegistryError> {
        let special = self
            .sources
            .lock()
            .unwrap()
            .get(&context.name.to_string())
            .cloned();
        let holds = special.unwrap_or_else(|| self.holds.lock().unwrap().clone());
        Ok(holds.into_iter().map(|hold| hold.did).collect())
    }

    async fn resolve(&self, hold: &Did) -> Result<HoldRef, RegistryError> {
        let (holds, sources) = (self.holds.lock().unwrap(), self.sources.lock().unwrap());
        let mut known = holds.iter().chain(sources.values().flatten());
        let found = known.find(|known| known.did == *hold).cloned();
        found.ok_or_else(|| {
            HoldError::Unresolvable {
                reason: "no such hold".to_owned(),
            }
            .of(hold)
        })
    }

    async fn of_pushes(&self, context: &RequestContext) -> Result<Option<HoldRef>, RegistryError> {
        let is_special = self
            .sources
            .lock()
            .unwrap()
            .contains_key(&context.name.to_string());
        let first = self.holds.lock().unwrap().first().cloned();
        Ok(first.filter(|_| !is_special))
    }

    async fn admit(&self, _principal: &Principal, _hold: &HoldRef) -> bool {
        false
    }
}

/// Proofs that show what they are about.
#[derive(Debug)]
pub(super) struct PlainProofs;

impl ContentProofs for PlainProofs {
    fn prove(&self, _: &Did, _: &Did, upload_id: &str, digest: &Digest, size: u64) -> Option<SecretString> {
        Some(format!("{upload_id} is {digest} of {size}").into())
    }
}

/// `alice.test` and `bob.test`.
#[derive(Debug)]
pub(crate) struct Accounts;

impl Accounts {
    pub(super) fn identity(identifier: &AtIdentifier) -> Option<Arc<ResolvedIdentity>> {
        let did = match identifier.to_string().as_str() {
            "alice.test" | ALICE => ALICE,
            "bob.test" | BOB => BOB,
            _ => return None,
        };
        let did: Did = did.parse().unwrap();
        let document = DidDocument::parse(&did, format!(r#"{{"id":"{did}"}}"#).as_bytes()).unwrap();
        Some(Arc::new(ResolvedIdentity::new(Arc::new(document), None)))
    }
}

#[async_trait]
impl IdentityResolver for Accounts {
    async fn resolve(&self, identifier: &AtIdentifier) -> Result<Arc<ResolvedIdentity>, IdentityError> {
        match Self::identity(identifier) {
            Some(identity) => Ok(identity),
            None => Err(IdentityError::HandleNotFound {
                handle: "nobody.test".parse().unwrap(),
            }),
        }
    }

    async fn resolve_did(&self, did: &Did) -> Result<Arc<ResolvedIdentity>, IdentityError> {
        self.resolve(&AtIdentifier::Did(did.clone())).await
    }

    async fn invalidate_did(&self, _did: &Did) {}

    async fn invalidate_handle(&self, _handle: &Handle) {}
}
