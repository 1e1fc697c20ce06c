//! DPoP (RFC 9449): proofs that the sender of a token holds the key that the token is bound to.
//!
//! A [`DpopProver`] uses one key: it signs a proof for each request, remembers each server's newest nonce, and repeats a
//! request once when the server refused it only for its nonce.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::bounds::MAX_NONCE_BYTES;
use crate::clock::Clock;
use crate::crypto::{CryptoError, Curve, PublicKey, SigningKey};
use crate::egress::{CappedBody, EgressClient, EgressError, Limits};

/// Servers whose nonce is remembered.
const NONCES: u64 = 10_000;

/// A P-256 key that tokens are bound to. Prints as its thumbprint.
#[derive(Clone)]
pub struct DpopKey {
    key: SigningKey,
    jwk: Box<RawValue>,
}

#[derive(Serialize)]
struct Header<'a> {
    typ: &'static str,
    alg: &'static str,
    jwk: &'a RawValue,
}

#[derive(Serialize)]
struct Claims<'a> {
    jti: String,
    htm: &'a str,
    htu: &'a str,
    iat: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ath: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
}

impl DpopKey {
    /// A new key.
    ///
    /// # Errors
    /// Never in practice: those of [`DpopKey::from_key`].
    pub fn generate() -> Result<Self, CryptoError> {
        Self::from_key(SigningKey::generate(Curve::P256))
    }

    /// The key that [`DpopKey::to_multikey`] wrote.
    ///
    /// # Errors
    /// Why the text is not a P-256 private key.
    pub fn from_multikey(text: &SecretString) -> Result<Self, CryptoError> {
        Self::from_key(SigningKey::from_multikey(text.expose_secret())?)
    }

    /// `key`, as a DPoP key.
    ///
    /// # Errors
    /// [`CryptoError::UnknownCurve`] unless it is on P-256: servers need accept no other.
    pub fn from_key(key: SigningKey) -> Result<Self, CryptoError> {
        let jwk = public_jwk(&key.public_key()).ok_or(CryptoError::UnknownCurve)?;
        let jwk = RawValue::from_string(jwk).map_err(|_| CryptoError::UnknownCurve)?;
        Ok(Self { key, jwk })
    }

    /// The private key as text, to be sealed.
    #[must_use]
    pub fn to_multikey(&self) -> SecretString {
        self.key.to_multikey()
    }

    /// The key's thumbprint (`jkt`, RFC 7638), which names it without showing anything.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        // The text is in the thumbprint's canonical form already: required members only, in order, without spaces.
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.jwk.get()))
    }

    /// A proof for one request. `url` loses its query and fragment, as the specification wants.
    ///
    /// # Errors
    /// Never in practice: a claim that cannot be written.
    pub fn proof(
        &self,
        method: &Method,
        url: &Url,
        token: Option<&SecretString>,
        nonce: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<String, serde_json::Error> {
        let mut htu = url.clone();
        htu.set_query(None);
        htu.set_fragment(None);
        let header = Header {
            typ: "dpop+jwt",
            alg: Curve::P256.jwt_algorithm(),
            jwk: &self.jwk,
        };
        let claims = Claims {
            jti: URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>()),
            htm: method.as_str(),
            htu: htu.as_str(),
            iat: now.timestamp(),
            ath: token.map(|token| URL_SAFE_NO_PAD.encode(Sha256::digest(token.expose_secret()))),
            nonce,
        };
        let mut jws = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header)?);
        jws.push('.');
        URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(&claims)?, &mut jws);
        let signature = self.key.sign(jws.as_bytes());
        jws.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut jws);
        Ok(jws)
    }
}

impl fmt::Debug for DpopKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DpopKey({})", self.thumbprint())
    }
}

/// A P-256 key as a JWK with its required members only, in lexical order; `None` for another curve.
#[must_use]
pub fn public_jwk(key: &PublicKey) -> Option<String> {
    let PublicKey::P256(key) = key else { return None };
    let point = key.to_encoded_point(false);
    let (x, y) = (
        URL_SAFE_NO_PAD.encode(point.x()?),
        URL_SAFE_NO_PAD.encode(point.y()?),
    );
    Some(format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#))
}

/// The newest nonce of each server, by origin. Clones share what they know.
#[derive(Clone, Debug)]
pub struct DpopNonces(moka::sync::Cache<String, Arc<str>>);

impl Default for DpopNonces {
    fn default() -> Self {
        Self(moka::sync::Cache::new(NONCES))
    }
}

impl DpopNonces {
    fn get(&self, url: &Url) -> Option<Arc<str>> {
        self.0.get(&url.origin().ascii_serialization())
    }

    /// Remembers the nonce that an answer of the server of `url` carries.
    fn learn(&self, url: &Url, headers: &HeaderMap) {
        let nonce = headers.get("dpop-nonce").and_then(|value| value.to_str().ok());
        if let Some(nonce) = nonce.filter(|nonce| !nonce.is_empty() && nonce.len() <= MAX_NONCE_BYTES) {
            self.0
                .insert(url.origin().ascii_serialization(), Arc::from(nonce));
        }
    }
}

/// Makes proofs with one key. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DpopProver {
    key: Arc<DpopKey>,
    nonces: DpopNonces,
    clock: Arc<dyn Clock>,
}

#[derive(Deserialize)]
struct ErrorBody {
    error: String,
}

impl DpopProver {
    /// Proves possession of `key`, with the nonces that `nonces` knows.
    #[must_use]
    pub fn new(key: Arc<DpopKey>, nonces: DpopNonces, clock: Arc<dyn Clock>) -> Self {
        Self { key, nonces, clock }
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &DpopKey {
        &self.key
    }

    /// A proof for one request, with the server's newest nonce if that is known.
    ///
    /// # Errors
    /// Never in practice: a claim that cannot be written.
    pub fn proof(
        &self,
        method: &Method,
        url: &Url,
        token: Option<&SecretString>,
    ) -> Result<String, serde_json::Error> {
        let nonce = self.nonces.get(url);
        self.key
            .proof(method, url, token, nonce.as_deref(), self.clock.now())
    }

    /// Sends `request` with a proof, and with `token` if there is one; once more if the server asks for another nonce.
    /// The body must be in memory to be sent twice, otherwise the first answer stands.
    ///
    /// # Errors
    /// The client's; every status is an answer.
    pub async fn send(
        &self,
        egress: &EgressClient,
        request: reqwest::RequestBuilder,
        token: Option<&SecretString>,
        limits: Limits,
    ) -> Result<CappedBody, EgressError> {
        let again = request.try_clone();
        match (self.send_once(egress, request, token, limits).await?, again) {
            (Answered::WithNonce(_), Some(again)) => {
                let answer = self.send_once(egress, again, token, limits).await?;
                Ok(answer.into_body())
            }
            (answer, _) => Ok(answer.into_body()),
        }
    }

    /// Sends `request` with a proof, and with `token` if there is one, once.
    ///
    /// # Errors
    /// As [`DpopProver::send`].
    pub async fn send_once(
        &self,
        egress: &EgressClient,
        request: reqwest::RequestBuilder,
        token: Option<&SecretString>,
        limits: Limits,
    ) -> Result<Answered, EgressError> {
        let (client, request) = request.build_split();
        let mut request = request.map_err(EgressError::from_transport)?;
        let url = request.url().clone();
        let used = self.nonces.get(&url);
        let proof = self.proof(request.method(), &url, token).unwrap_or_default();
        let headers = request.headers_mut();
        headers.insert("dpop", secret_header(&proof));
        if let Some(token) = token {
            let value = secret_header(&format!("DPoP {}", token.expose_secret()));
            headers.insert(header::AUTHORIZATION, value);
        }
        let request = reqwest::RequestBuilder::from_parts(client, request);
        let answer = egress.send_capped(request, limits).await?;
        self.nonces.learn(&url, &answer.headers);
        Ok(if asks_for_nonce(&answer) && self.nonces.get(&url) != used {
            Answered::WithNonce(answer)
        } else {
            Answered::Finally(answer)
        })
    }
}

/// A server's answer to a request.
#[derive(Debug)]
pub enum Answered {
    /// The server only asks for its new nonce, which is now remembered: a repetition of the request may be accepted.
    WithNonce(CappedBody),
    /// Anything else.
    Finally(CappedBody),
}

impl Answered {
    /// The answer itself.
    #[must_use]
    pub fn into_body(self) -> CappedBody {
        match self {
            Self::WithNonce(body) | Self::Finally(body) => body,
        }
    }
}

/// A header value that is not printed. Text that no header can carry becomes an empty value, which servers refuse.
fn secret_header(text: &str) -> HeaderValue {
    let mut value = HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

/// Whether the server refused the request only because it lacked the nonce that the answer carries.
///
/// # Spec
/// RFC 9449 §8 (authorization servers say so in the body) and §9 (resource servers in `WWW-Authenticate`).
fn asks_for_nonce(answer: &CappedBody) -> bool {
    if !matches!(answer.status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED) {
        return false;
    }
    let challenged = answer
        .headers
        .get_all(header::WWW_AUTHENTICATE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains(r#"error="use_dpop_nonce""#));
    challenged
        || serde_json::from_slice::<ErrorBody>(&answer.bytes).is_ok_and(|body| body.error == "use_dpop_nonce")
}

#[cfg(test)]
mod tests;
