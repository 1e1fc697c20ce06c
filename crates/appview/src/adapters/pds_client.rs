//! Clients of PDSes, and calls in the name of a sailor.

use std::future::Future;
use std::time::Duration;

use atcr_atproto::egress::EgressClient;
use atcr_atproto::identity::ResolvedIdentity;
use atcr_atproto::pds::{PdsClient, PdsError, PdsFailure};
use atcr_auth::principal::Principal;
use atcr_registry::error::{AccessError, RegistryError};
use atcr_server::port_call::{Outcome, PortCall};
use atcr_sessions::ports::PdsCredential;
use atcr_sessions::{SessionError, Sessions};
use url::Url;

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
    /// [`PdsFailure::Missing`] when the account's document names none.
    pub fn of(&self, owner: &ResolvedIdentity) -> Result<PdsClient, PdsFailure> {
        match &owner.pds {
            Some(pds) => Ok(self.at(pds)),
            None => Err(PdsFailure::Missing {
                did: owner.did.clone(),
            }),
        }
    }

    /// Calls the PDS of `principal` on behalf of the account. If the token has expired, renews it and repeats the call once.
    ///
    /// # Errors
    /// [`RegistryError::Access`] when there is no session to renew; the PDS's.
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
        let credential = sessions.credential(principal).await.map_err(no_session)?;
        match call(self.at(&credential.pds), credential.clone()).await {
            Ok(output) => Ok(output),
            Err(error) if error.is_unauthorized() => {
                let renewed = sessions.renew(principal, &credential).await.map_err(no_session)?;
                call(self.at(&renewed.pds), renewed.clone())
                    .await
                    .map_err(|error| {
                        if error.is_unauthorized() {
                            // Two tokens in a row: the session is of no use, whatever its server says of it.
                            no_session(sessions.ended(principal))
                        } else {
                            PdsFailure::at(&renewed.pds, error).into()
                        }
                    })
            }
            Err(error) => Err(PdsFailure::at(&credential.pds, error).into()),
        }
    }
}

/// What it means to the registry that a caller's session cannot be used.
pub(super) fn no_session(error: SessionError) -> RegistryError {
    match error {
        SessionError::SignInRequired => AccessError::SignInRequired.into(),
        SessionError::Rejected { reason } => AccessError::SignedOut { reason }.into(),
        SessionError::Ended { sentence } => AccessError::SessionEnded { sentence }.into(),
        SessionError::TooManyAttempts { retry_after } => RegistryError::TooManyRequests { retry_after },
        SessionError::Identity(unavailable) => unavailable.into(),
        SessionError::Pds(failure) => failure.into(),
        SessionError::Database(source) => RegistryError::Database(source),
        SessionError::Internal { what } => RegistryError::Internal { what },
    }
}

/// Makes `call`, which is the `operation` of the PDS at `base`, and shows it to log and metrics. A PDS that refuses works.
pub async fn seen<T>(
    operation: &'static str,
    base: &Url,
    call: impl Future<Output = Result<T, PdsError>>,
) -> Result<T, PdsError> {
    // Boxed, since a call's state is large and would be part of each caller's several times over.
    let call = Box::pin(call);
    PortCall::new("pds", operation)
        .peer(base.host_str().unwrap_or_default())
        .run_with(call, |error| match error.as_xrpc() {
            Some(refusal) if refusal.status.is_client_error() => Outcome::Refused,
            _ => Outcome::Failed,
        })
        .await
}
