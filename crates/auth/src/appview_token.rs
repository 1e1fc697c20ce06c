//! Tokens that an AppView signs with its own key: administrative calls, and vouching for a blob's content.

use atcr_atproto::crypto::{Curve, PublicKey, SigningKey};
use atcr_atproto::identity::{DidDocument, IdentityError, IdentityResolver};
use atcr_atproto::syntax::Did;
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::bounds::{APPVIEW_TOKEN_LIFE, LEEWAY};
use crate::jws::{self, JwsError, UnverifiedJws};

/// The claims of an AppView token. Times are Unix seconds on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppViewClaims {
    /// DID of the AppView.
    pub iss: Did,
    /// DID of the hold.
    pub aud: Did,
    /// DID of the sailor for whom the AppView acts.
    pub sub: Did,
    /// When it was issued.
    #[serde(with = "chrono::serde::ts_seconds")]
    pub iat: DateTime<Utc>,
    /// End of life, exclusive, at most 60 s after `iat`.
    #[serde(with = "chrono::serde::ts_seconds")]
    pub exp: DateTime<Utc>,
    /// Random.
    pub jti: String,
    /// With `digest` and `size`: the upload session whose bytes the AppView has hashed. `uploadId` on the wire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload_id: Option<String>,
    /// What they hash to, `sha256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// How many bytes they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// The statement that the bytes of an upload session have this digest and size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentProof {
    /// The hold's upload session.
    pub upload_id: String,
    /// `sha256:<hex>` or `sha512:<hex>`.
    pub digest: String,
    /// In bytes.
    pub size: u64,
}

impl AppViewClaims {
    /// The statement about content, if the token makes one whole.
    ///
    /// A token that makes one is for the completion of that upload and for nothing else.
    #[must_use]
    pub fn content_proof(&self) -> Option<ContentProof> {
        let upload_id = self.upload_id.clone()?;
        let digest = self.digest.clone()?;
        Some(ContentProof {
            upload_id,
            digest,
            size: self.size?,
        })
    }

    /// Whether the token carries any claim of a content proof, whole or not; administrative calls must refuse it then.
    #[must_use]
    pub fn concerns_content(&self) -> bool {
        self.upload_id.is_some() || self.digest.is_some() || self.size.is_some()
    }
}

/// Why an AppView token is not accepted or cannot be made. No variant carries the token.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppViewTokenError {
    /// The key of an AppView must be on P-256.
    #[error("the AppView's key is not a P-256 key")]
    WrongKeyType,
    /// The claims cannot be written.
    #[error("the AppView token cannot be signed")]
    Sign,
    /// Not a token, or not one of this kind.
    #[error("the AppView token is malformed: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Signed otherwise than with ES256.
    #[error("the AppView token is not signed with ES256")]
    UnsupportedAlgorithm,
    /// Not from the AppView this hold trusts.
    #[error("the AppView token is from an AppView that is not trusted here")]
    UntrustedIssuer,
    /// Meant for another hold.
    #[error("the AppView token is for another hold")]
    WrongAudience,
    /// It expired longer ago than the leeway.
    #[error("the AppView token has expired")]
    Expired,
    /// It was issued in the future.
    #[error("the AppView token is not valid yet")]
    NotYetValid,
    /// It claims to live longer than a minute.
    #[error("the AppView token is valid for too long")]
    LivesTooLong,
    /// The AppView's DID document cannot be resolved.
    #[error("the AppView {did} cannot be resolved")]
    UnresolvedIssuer {
        /// The AppView.
        did: Did,
        /// Why.
        #[source]
        source: IdentityError,
    },
    /// Not signed by a key of the AppView.
    #[error("the signature of the AppView token does not verify")]
    BadSignature,
}

impl AppViewTokenError {
    /// Whether the token may be valid and only the AppView's document could not be reached.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::UnresolvedIssuer { source, .. } if source.is_transient())
    }
}

impl From<JwsError> for AppViewTokenError {
    fn from(error: JwsError) -> Self {
        match error {
            JwsError::Malformed(reason) => Self::Malformed { reason },
            JwsError::UnsupportedAlgorithm => Self::UnsupportedAlgorithm,
        }
    }
}

/// Signs tokens as one AppView.
#[derive(Clone, Debug)]
pub struct AppViewTokenSigner {
    key: SigningKey,
    did: Did,
}

impl AppViewTokenSigner {
    /// A signer for the AppView `did`, whose document must publish the public half of `key`.
    ///
    /// # Errors
    /// `WrongKeyType` unless the key is on P-256.
    pub fn new(key: SigningKey, did: Did) -> Result<Self, AppViewTokenError> {
        if key.curve() == Curve::P256 {
            Ok(Self { key, did })
        } else {
            Err(AppViewTokenError::WrongKeyType)
        }
    }

    /// The AppView's DID.
    #[must_use]
    pub fn did(&self) -> &Did {
        &self.did
    }

    /// The key to publish in the AppView's document, as `#atproto` and as `#atcr_appview`.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.key.public_key()
    }

    /// A token for the hold `aud` on behalf of `sub`, valid for a minute; with `content`, a content proof.
    ///
    /// # Errors
    /// `Sign` if the claims cannot be written.
    pub fn sign(
        &self,
        aud: &Did,
        sub: &Did,
        content: Option<ContentProof>,
        now: DateTime<Utc>,
    ) -> Result<SecretString, AppViewTokenError> {
        let (upload_id, digest, size) = match content {
            Some(proof) => (Some(proof.upload_id), Some(proof.digest), Some(proof.size)),
            None => (None, None, None),
        };
        let claims = AppViewClaims {
            iss: self.did.clone(),
            aud: aud.clone(),
            sub: sub.clone(),
            iat: now,
            exp: now + APPVIEW_TOKEN_LIFE,
            jti: Uuid::new_v4().to_string(),
            upload_id,
            digest,
            size,
        };
        jws::sign(&self.key, &claims)
            .map(SecretString::from)
            .map_err(|_| AppViewTokenError::Sign)
    }
}

/// Checks a token of the AppView `trusted_appview_did` presented to the hold `own_did`.
///
/// Any P-256 key of the AppView's document may have signed it; the document is fetched again once if none did.
///
/// # Errors
/// See [`AppViewTokenError`].
///
/// # Security
/// Only the configured AppView is ever resolved, so a stranger's token costs no look-up.
pub async fn verify_appview_token(
    token: &str,
    own_did: &Did,
    trusted_appview_did: &Did,
    resolver: &dyn IdentityResolver,
    now: DateTime<Utc>,
) -> Result<AppViewClaims, AppViewTokenError> {
    let jws = UnverifiedJws::parse(token)?;
    if jws.curve() != Curve::P256 {
        return Err(AppViewTokenError::UnsupportedAlgorithm);
    }
    let claims: AppViewClaims = jws.claims()?;
    if claims.iss.normalised() != trusted_appview_did.normalised() {
        return Err(AppViewTokenError::UntrustedIssuer);
    }
    if claims.aud.normalised() != own_did.normalised() {
        return Err(AppViewTokenError::WrongAudience);
    }
    check_times(&claims, now)?;
    let unresolved = |source| AppViewTokenError::UnresolvedIssuer {
        did: trusted_appview_did.clone(),
        source,
    };
    let signed_by = |document: &DidDocument| document.keys().any(|key| jws.is_signed_by(key));
    if signed_by(
        &*resolver
            .resolve_document(trusted_appview_did)
            .await
            .map_err(unresolved)?,
    ) || signed_by(
        &*resolver
            .refresh_document(trusted_appview_did)
            .await
            .map_err(unresolved)?,
    ) {
        Ok(claims)
    } else {
        Err(AppViewTokenError::BadSignature)
    }
}

fn check_times(claims: &AppViewClaims, now: DateTime<Utc>) -> Result<(), AppViewTokenError> {
    if claims.exp <= now - LEEWAY {
        return Err(AppViewTokenError::Expired);
    }
    if claims.iat > now + LEEWAY {
        return Err(AppViewTokenError::NotYetValid);
    }
    if claims.exp - claims.iat > APPVIEW_TOKEN_LIFE {
        return Err(AppViewTokenError::LivesTooLong);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
