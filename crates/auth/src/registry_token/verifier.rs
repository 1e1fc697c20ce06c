//! Verifies registry tokens.

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, Validation};

use super::{RegistryClaims, RegistryKey, RegistryTokenError};
use crate::bounds::{LEEWAY, MAX_REGISTRY_TOKEN_BYTES};

/// Verifies the tokens of one service.
#[derive(Clone, Debug)]
pub struct RegistryTokenVerifier {
    key: RegistryKey,
    validation: Validation,
}

impl RegistryTokenVerifier {
    /// A verifier of the tokens that an issuer with this key and service makes.
    #[must_use]
    pub fn new(key: RegistryKey, service: &str) -> Self {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_issuer(&[service]);
        validation.set_audience(&[service]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud"]);
        // Times are judged here, against the caller's `now`.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Self { key, validation }
    }

    /// The claims of a token that is valid at `now`.
    ///
    /// # Errors
    /// `Expired` and `NotYetValid` for a token of this registry at another time, `Invalid` for what is none.
    ///
    /// # Security
    /// One algorithm, one key; nothing in the token's header chooses either.
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<RegistryClaims, RegistryTokenError> {
        let claims = self.authentic(token, now)?;
        if claims.exp <= now {
            Err(RegistryTokenError::Expired)
        } else {
            Ok(claims)
        }
    }

    /// As [`Self::verify`], for an upload session that a valid token began: an expired token still says who its bearer
    /// is for `max_age` after it was issued. Grant it nothing but the continuation of that session.
    ///
    /// # Errors
    /// `Expired` beyond `max_age`, else as [`Self::verify`].
    pub fn verify_ignoring_expiry(
        &self,
        token: &str,
        max_age: TimeDelta,
        now: DateTime<Utc>,
    ) -> Result<RegistryClaims, RegistryTokenError> {
        let claims = self.authentic(token, now)?;
        if now - claims.iat > max_age {
            Err(RegistryTokenError::Expired)
        } else {
            Ok(claims)
        }
    }

    fn authentic(&self, token: &str, now: DateTime<Utc>) -> Result<RegistryClaims, RegistryTokenError> {
        use jsonwebtoken::errors::{ErrorKind, new_error};
        if token.len() > MAX_REGISTRY_TOKEN_BYTES {
            return Err(RegistryTokenError::Invalid(new_error(ErrorKind::InvalidToken)));
        }
        let claims = jsonwebtoken::decode::<RegistryClaims>(token, &self.key.decoding, &self.validation)
            .map_err(RegistryTokenError::Invalid)?
            .claims;
        if claims.principal().is_none() {
            return Err(RegistryTokenError::Inconsistent);
        }
        // Issuer and verifier may be two machines behind one name, with clocks a little apart.
        if claims.nbf > now + LEEWAY {
            return Err(RegistryTokenError::NotYetValid);
        }
        Ok(claims)
    }
}
