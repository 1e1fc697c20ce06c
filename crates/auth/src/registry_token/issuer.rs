//! Signs registry tokens.

use chrono::{DateTime, SubsecRound as _, Utc};
use jsonwebtoken::{Algorithm, Header};
use secrecy::SecretString;
use uuid::Uuid;

use super::{AccessEntry, LIFETIME, RegistryClaims, RegistryKey, RegistryTokenError};
use crate::principal::Principal;

/// Issues registry tokens for one service.
#[derive(Clone, Debug)]
pub struct RegistryTokenIssuer {
    key: RegistryKey,
    service: String,
}

/// A token, with what the token response says about it.
#[derive(Debug)]
pub struct IssuedRegistryToken {
    /// The token.
    pub token: SecretString,
    /// When it was issued, in whole seconds.
    pub issued_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

impl RegistryTokenIssuer {
    /// An issuer for `service`, which becomes issuer and audience.
    #[must_use]
    pub fn new(key: RegistryKey, service: impl Into<String>) -> Self {
        Self {
            key,
            service: service.into(),
        }
    }

    /// Issues a token for `principal` with the scopes granted. What may be granted is the caller's decision.
    ///
    /// # Errors
    /// `Sign` if the library cannot sign.
    pub fn issue(
        &self,
        principal: &Principal,
        access: impl IntoIterator<Item = impl Into<AccessEntry>>,
        now: DateTime<Utc>,
    ) -> Result<IssuedRegistryToken, RegistryTokenError> {
        self.issue_to(principal, None, access, now)
    }

    /// The same; with `device`, the public id of the device of `principal` that asks, inside.
    ///
    /// # Errors
    /// As [`Self::issue`].
    pub fn issue_to(
        &self,
        principal: &Principal,
        device: Option<&str>,
        access: impl IntoIterator<Item = impl Into<AccessEntry>>,
        now: DateTime<Utc>,
    ) -> Result<IssuedRegistryToken, RegistryTokenError> {
        let issued_at = now.trunc_subsecs(0);
        let expires_at = issued_at + LIFETIME;
        let claims = RegistryClaims {
            iss: self.service.clone(),
            aud: self.service.clone(),
            sub: principal.did().cloned(),
            exp: expires_at,
            nbf: issued_at,
            iat: issued_at,
            jti: Uuid::new_v4().to_string(),
            access: access.into_iter().map(Into::into).collect(),
            auth_method: principal.auth_method(),
            device: device.map(str::to_owned),
        };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &self.key.encoding)
            .map_err(RegistryTokenError::Sign)?;
        Ok(IssuedRegistryToken {
            token: SecretString::from(token),
            issued_at,
            expires_at,
        })
    }
}
