//! Who sends a registry request: a registry token, or a user name and password on the request itself.

use std::sync::Arc;

use atcr_atproto::clock::Clock;
use atcr_auth::registry_token::{RegistryClaims, RegistryTokenError, RegistryTokenVerifier};
use atcr_registry::access::Caller;
use atcr_registry::error::{AccessError, RegistryError};
use atcr_server::client_address::ClientAddress;
use atcr_sessions::{Sessions, SignInAttempt};
use chrono::TimeDelta;
use http::HeaderMap;
use moka::sync::Cache;

use crate::edge::credentials::Credentials;
use crate::edge::error::EdgeError;

/// How long a token may go on with an upload that it began, counted from its issue: as long as an upload may last. A device's
/// ends with the device, which is looked at on every request that writes.
const UPLOAD_TOKEN_AGE: TimeDelta = TimeDelta::hours(24);

/// Tokens whose signature is known to be good. A token is looked at once per blob and manifest, and a signature costs more than
/// all the rest of a cached answer.
const VERIFIED_TOKENS: u64 = 4_000;

/// Longest token that is remembered, in bytes.
const MAX_REMEMBERED_LEN: usize = 4 * 1024;

/// Which life of a token counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenLife {
    /// The five minutes it was issued for.
    Strict,
    /// That of an upload that is under way.
    RunningUpload,
}

/// Finds out who sends a request.
pub struct Authenticator {
    verifier: RegistryTokenVerifier,
    verified: Cache<String, Arc<RegistryClaims>>,
    sessions: Sessions,
    clock: Arc<dyn Clock>,
}

impl Authenticator {
    /// Takes tokens that `verifier` accepts and passwords that `sessions` accepts.
    #[must_use]
    pub fn new(verifier: RegistryTokenVerifier, sessions: Sessions, clock: Arc<dyn Clock>) -> Self {
        Self {
            verifier,
            verified: Cache::new(VERIFIED_TOKENS),
            sessions,
            clock,
        }
    }

    /// The caller of a request with `headers` from `client`.
    ///
    /// # Errors
    /// [`AccessError::SignInRequired`] without credentials; [`EdgeError::InvalidToken`] or a [`atcr_sessions::SessionError`] with
    /// bad ones.
    pub async fn authenticate(
        &self,
        headers: &HeaderMap,
        life: TokenLife,
        client: ClientAddress,
    ) -> Result<Caller, EdgeError> {
        match Credentials::read(headers)? {
            Credentials::None => Err(RegistryError::Access(AccessError::SignInRequired).into()),
            Credentials::Bearer(token) => {
                let claims = self.verify(token, life)?;
                let principal = claims
                    .principal()
                    .ok_or_else(|| EdgeError::invalid_token("the token contradicts itself"))?;
                Ok(Caller {
                    principal,
                    claims: Some(claims.as_ref().clone()),
                })
            }
            Credentials::Basic { username, password } => {
                let attempt = SignInAttempt {
                    username,
                    password,
                    client,
                };
                let principal = self.sessions.sign_in(&attempt).await?.principal;
                Ok(Caller {
                    principal,
                    claims: None,
                })
            }
        }
    }

    fn verify(&self, token: String, life: TokenLife) -> Result<Arc<RegistryClaims>, EdgeError> {
        let now = self.clock.now();
        if let Some(claims) = self.verified.get(&token)
            && claims.exp > now
            && claims.nbf <= now
        {
            return Ok(claims);
        }
        let verified = match life {
            TokenLife::Strict => self.verifier.verify(&token, now),
            TokenLife::RunningUpload => self
                .verifier
                .verify_ignoring_expiry(&token, UPLOAD_TOKEN_AGE, now),
        };
        let claims = Arc::new(verified.map_err(refusal)?);
        if token.len() <= MAX_REMEMBERED_LEN {
            self.verified.insert(token, Arc::clone(&claims));
        }
        Ok(claims)
    }
}

fn refusal(error: RegistryTokenError) -> EdgeError {
    EdgeError::invalid_token(error.to_string())
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authenticator").finish_non_exhaustive()
    }
}
