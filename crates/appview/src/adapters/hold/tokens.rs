//! `HoldTokens`: service tokens of the caller's PDS, each used for most of its minute.

use std::sync::Arc;

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_auth::principal::Principal;
use atcr_auth::service_token::{ServiceTokenCache, UNIVERSAL_METHOD};
use atcr_registry::error::RegistryError;
use atcr_registry::hold::ports::HoldTokens;
use atcr_sessions::Sessions;
use secrecy::SecretString;

use crate::adapters::pds_client::{PdsClients, seen};

/// Service tokens from PDSes.
#[derive(Debug)]
pub struct PdsHoldTokens {
    clients: PdsClients,
    sessions: Sessions,
    cache: Arc<ServiceTokenCache>,
}

impl PdsHoldTokens {
    /// Asks through `clients` with the sessions in `sessions`, and keeps what it gets in `cache`: a caller that ends a session has the
    /// tokens forgotten there.
    #[must_use]
    pub fn new(clients: PdsClients, sessions: Sessions, cache: Arc<ServiceTokenCache>) -> Self {
        Self {
            clients,
            sessions,
            cache,
        }
    }
}

#[async_trait]
impl HoldTokens for PdsHoldTokens {
    async fn token_for(
        &self,
        principal: &Principal,
        hold: &Did,
    ) -> Result<Option<SecretString>, RegistryError> {
        let Some(did) = principal.did() else {
            return Ok(None);
        };
        let mint = async {
            self.clients
                .as_sailor(&self.sessions, principal, |client, credential| {
                    let hold = hold.clone();
                    async move {
                        let auth = credential.authorization.as_pds_auth();
                        let call = client.get_service_auth(auth, hold.as_str(), Some(UNIVERSAL_METHOD), None);
                        seen("get_service_auth", &credential.pds, call).await
                    }
                })
                .await
        };
        match self.cache.get_or_mint(did, hold, mint).await {
            Ok(token) => Ok(Some(token)),
            Err(error) => Err(error.as_ref().clone()),
        }
    }

    async fn invalidate(&self, principal: &Principal, hold: &Did) {
        if let Some(did) = principal.did() {
            self.cache.invalidate(did, hold).await;
        }
    }
}
