//! What a service token says.

use atcr_atproto::syntax::Did;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The claims of a service token as they are on the wire; nothing here has been checked.
///
/// # Spec
/// atproto specs "XRPC", inter-service authentication (JWT).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceTokenClaims {
    /// DID of the account, possibly with a `#fragment`.
    pub iss: String,
    /// DID of the service, possibly with a `#fragment`.
    pub aud: String,
    /// The method the token is for; absent means any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lxm: Option<String>,
    /// End of life in Unix seconds, exclusive.
    pub exp: i64,
    /// When it was issued, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<i64>,
    /// Beginning of life in Unix seconds. PDSes do not set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    /// Random. Not checked for reuse: one token serves many calls in its life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// Never set in a service token; what has another subject than its issuer is a token of another kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
}

/// What remains of a service token once every check has passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedServiceToken {
    /// The account that speaks.
    pub did: Did,
    /// The method the token names, if any.
    pub lxm: Option<String>,
    /// Until when the token may be used.
    pub exp: DateTime<Utc>,
}
