//! Clients of PDSes, and calls in the name of a sailor.

use std::future::Future;
use std::time::Duration;

use atcr_atproto::egress::EgressClient;
use atcr_atproto::identity::ResolvedIdentity;
use atcr_atproto::pds::{PdsAuth, PdsClient, PdsError};
use atcr_auth::principal::Principal;
use url::Url;

use super::pds_error::{is_token_refused, registry_error};
use crate::registry::error::RegistryError;
use crate::sessions::Sessions;
use crate::sessions::ports::{Authorization, PdsCredential};

/// Makes clients: every PDS through the one egress client, every call within the configured time.
#[derive(Clone, Debug)]
pub struct PdsClients {
    egress: EgressClient,
    timeout: Duration,
}

impl PdsClients {
    /// Clients that go through `egress` and wait for `timeout`.
    #[must_use]
    pub fn new(egress: EgressClient, timeout: Duration) -> Self {
        Self { egress, timeout }
    }

    /// A client of the server at `base`.
    #[must_use]
    pub fn at(&self, base: &Url) -> PdsClient {
        PdsClient::new(base.clone(), self.egress.clone()).with_timeout(self.timeout)
    }

    /// A client of the account's PDS.
    ///
    /// # Errors
    /// [`RegistryError::PdsMissing`] when the account's document names none.
    pub fn of(&self, owner: &ResolvedIdentity) -> Result<PdsClient, RegistryError> {
        let pds = owner.pds.as_ref().ok_or_else(|| RegistryError::PdsMissing {
            did: owner.did.clone(),
        })?;
        Ok(self.at(pds))
    }

    /// Calls the PDS of `principal` in his name; a token that has expired meanwhile is renewed, and the call made once more.
    ///
    /// # Errors
    /// [`RegistryError::SessionEnded`] when there is no session to renew; the PDS's.
    pub async fn as_sailor<T, F, Fut>(
        &self,
        sessions: &Sessions,
        principal: &Principal,
        call: F,
    ) -> Result<T, RegistryError>
    where
        F: Fn(PdsClient, PdsCredential) -> Fut,
        Fut: Future<Output = Result<T, PdsError>>,
    {
        let credential = sessions.credential(principal).await?;
        match call(self.at(&credential.pds), credential.clone()).await {
            Ok(output) => Ok(output),
            Err(error) if is_token_refused(&error) => {
                let renewed = sessions.renew(principal, &credential).await?;
                call(self.at(&renewed.pds), renewed.clone())
                    .await
                    .map_err(|error| {
                        if is_token_refused(&error) {
                            // Two tokens in a row: the session is of no use, whatever its server says of it.
                            sessions.ended(principal)
                        } else {
                            registry_error(&renewed.pds, error)
                        }
                    })
            }
            Err(error) => Err(registry_error(&credential.pds, error)),
        }
    }
}

impl Authorization {
    /// The same in the client's words.
    #[must_use]
    pub fn as_pds_auth(&self) -> PdsAuth<'_> {
        match self {
            Self::Bearer(token) => PdsAuth::Bearer(token),
            Self::Dpop { token, prover } => PdsAuth::Dpop { token, prover },
        }
    }
}
