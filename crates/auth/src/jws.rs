//! Compact JWS with the two algorithms of AT Protocol, ES256 and ES256K.
//!
//! The header is trusted for one thing only: which of the two algorithms was used. Keys named or carried in it (`kid`,
//! `jwk`, `jku`, `x5c`) are ignored.

use atcr_atproto::crypto::{Curve, PublicKey, SigningKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::bounds::MAX_TOKEN_BYTES;

/// A token whose form is right and whose signature has not been checked.
pub(crate) struct UnverifiedJws<'a> {
    curve: Curve,
    signing_input: &'a str,
    claims: Vec<u8>,
    signature: Vec<u8>,
}

/// Why something is not a token at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JwsError {
    Malformed(&'static str),
    UnsupportedAlgorithm,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: Option<String>,
    crit: Option<serde_json::Value>,
}

#[derive(Serialize)]
struct OwnHeader {
    alg: &'static str,
    typ: &'static str,
}

impl<'a> UnverifiedJws<'a> {
    pub(crate) fn parse(token: &'a str) -> Result<Self, JwsError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(JwsError::Malformed("it is too long"));
        }
        let (signing_input, signature) = token
            .rsplit_once('.')
            .ok_or(JwsError::Malformed("it has not three parts"))?;
        let (header, claims) = signing_input
            .split_once('.')
            .ok_or(JwsError::Malformed("it has not three parts"))?;
        let header: Header = serde_json::from_slice(&decode(header)?)
            .map_err(|_| JwsError::Malformed("its header is not a JWS header"))?;
        let curve = match header.alg.as_str() {
            "ES256" => Curve::P256,
            "ES256K" => Curve::K256,
            _ => return Err(JwsError::UnsupportedAlgorithm),
        };
        // OAuth access tokens, refresh tokens and DPoP proofs are signed with the same algorithms and say so here.
        if header.typ.is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
            return Err(JwsError::Malformed("it is a token of another type"));
        }
        if header.crit.is_some() {
            return Err(JwsError::Malformed("it demands an extension"));
        }
        Ok(Self {
            curve,
            signing_input,
            claims: decode(claims)?,
            signature: decode(signature)?,
        })
    }

    pub(crate) fn curve(&self) -> Curve {
        self.curve
    }

    pub(crate) fn claims<C: DeserializeOwned>(&self) -> Result<C, JwsError> {
        serde_json::from_slice(&self.claims)
            .map_err(|_| JwsError::Malformed("its claims are not of the expected form"))
    }

    /// Whether `key` made the signature, with the algorithm that the header names.
    pub(crate) fn is_signed_by(&self, key: &PublicKey) -> bool {
        key.curve() == self.curve && key.verify(self.signing_input.as_bytes(), &self.signature).is_ok()
    }
}

/// Strict base64url: no padding, no stray bits, so that a token has one spelling.
fn decode(part: &str) -> Result<Vec<u8>, JwsError> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| JwsError::Malformed("a part is not base64url"))
}

/// A compact JWS over `claims`.
pub(crate) fn sign<C: Serialize>(key: &SigningKey, claims: &C) -> Result<String, serde_json::Error> {
    let header = OwnHeader {
        alg: key.curve().jwt_algorithm(),
        typ: "JWT",
    };
    let mut token = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header)?);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(claims)?, &mut token);
    let signature = key.sign(token.as_bytes());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}
