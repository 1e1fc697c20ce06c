//! A confidential client's proof that it is the one whose key is published.

use atcr_atproto::crypto::Curve;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::error::OAuthError;
use super::registration::ClientKey;

/// The kind of assertion that the token endpoint is told of (RFC 7523 §2.2).
pub(super) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Servers refuse an assertion from the future and one older than a minute: dating it back a little allows for a clock that is
/// ahead by as much.
const BACKDATED: TimeDelta = TimeDelta::seconds(10);

/// Life of an assertion.
const LIFETIME: TimeDelta = TimeDelta::seconds(60);

#[derive(Serialize)]
struct Header<'a> {
    typ: &'static str,
    alg: &'static str,
    kid: &'a str,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: String,
    iat: i64,
    exp: i64,
}

/// An assertion of the client `client_id` for the server `issuer`, good once.
pub(super) fn sign(
    key: &ClientKey,
    client_id: &str,
    issuer: &str,
    now: DateTime<Utc>,
) -> Result<String, OAuthError> {
    let header = Header {
        typ: "JWT",
        alg: Curve::P256.jwt_algorithm(),
        kid: &key.kid,
    };
    let iat = now - BACKDATED;
    let claims = Claims {
        iss: client_id,
        sub: client_id,
        aud: issuer,
        jti: Uuid::new_v4().to_string(),
        iat: iat.timestamp(),
        exp: (iat + LIFETIME).timestamp(),
    };
    let unwritable = |_| OAuthError::Internal("a client assertion cannot be written");
    let mut jws = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header).map_err(unwritable)?);
    jws.push('.');
    URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(&claims).map_err(unwritable)?, &mut jws);
    let signature = key.key.sign(jws.as_bytes());
    jws.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut jws);
    Ok(jws)
}
