//! Why a service token is not accepted.

use atcr_atproto::identity::IdentityError;
use atcr_atproto::syntax::Did;

use crate::jws::JwsError;

/// Why a service token is not accepted. No variant carries the token.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ServiceTokenError {
    /// Not a token, or not one of this kind.
    #[error("the service token is malformed: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Signed otherwise than with ES256 or ES256K.
    #[error("the service token is not signed with ES256 or ES256K")]
    UnsupportedAlgorithm,
    /// The issuer is not a DID.
    #[error("the issuer of the service token is not a DID")]
    InvalidIssuer,
    /// Meant for another service.
    #[error("the service token is for another service")]
    WrongAudience,
    /// Its life is over, by more than the leeway.
    #[error("the service token has expired")]
    Expired,
    /// Its life has not begun.
    #[error("the service token is not valid yet")]
    NotYetValid,
    /// It claims to live longer than five minutes.
    #[error("the service token is valid for too long")]
    LivesTooLong,
    /// Meant for another method.
    #[error("the service token is for the method {lxm}")]
    WrongMethod {
        /// The method it names.
        lxm: String,
    },
    /// The issuer's DID document cannot be had. [`IdentityError::is_transient`] tells whether to answer "later" or "no".
    #[error("the issuer of the service token cannot be resolved")]
    UnresolvedIssuer {
        /// The issuer.
        did: Did,
        /// Why.
        #[source]
        source: IdentityError,
    },
    /// The issuer's document has no usable `#atproto` key.
    #[error("{did} publishes no signing key")]
    NoSigningKey {
        /// The issuer.
        did: Did,
    },
    /// Not signed by the issuer's current key.
    #[error("the signature of the service token does not verify")]
    BadSignature,
}

impl ServiceTokenError {
    /// Whether the token may be good and the issuer's document is merely out of reach: 502 or 503, not 401.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::UnresolvedIssuer { source, .. } if source.is_transient())
    }
}

impl From<JwsError> for ServiceTokenError {
    fn from(error: JwsError) -> Self {
        match error {
            JwsError::Malformed(reason) => Self::Malformed { reason },
            JwsError::UnsupportedAlgorithm => Self::UnsupportedAlgorithm,
        }
    }
}
