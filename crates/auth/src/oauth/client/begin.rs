//! How a sign-in begins: the request is announced, and the browser gets the address to go to.

use std::sync::Arc;

use atcr_atproto::dpop::DpopKey;
use atcr_atproto::identity::ResolvedIdentity;
use atcr_atproto::syntax::Did;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::OAuthClient;
use crate::bounds::MAX_OAUTH_TEXT_BYTES;
use crate::oauth::discovery::host;
use crate::oauth::error::OAuthError;
use crate::oauth::session::PendingSignIn;

#[derive(Deserialize)]
struct ParAnswer {
    request_uri: String,
}

impl OAuthClient {
    /// Announces a sign-in of `sailor` at the account's authorization server.
    ///
    /// # Returns
    /// Where to send the browser, and what is needed when it comes back.
    ///
    /// # Errors
    /// `Unavailable`, `Unsuitable`, `Refused`, `ClockSkew`.
    pub async fn begin(
        &self,
        sailor: &ResolvedIdentity,
        login_hint: &str,
    ) -> Result<(Url, PendingSignIn), OAuthError> {
        let pds = sailor.pds.as_ref().ok_or_else(|| OAuthError::Unsuitable {
            host: sailor.did.to_string(),
            reason: "the account names no PDS".to_owned(),
        })?;
        self.announce(pds, Some(&sailor.did), Some(login_hint)).await
    }

    /// Announces a sign-in at `pds` of any account there; [`OAuthClient::finish`] returns which account it was.
    ///
    /// # Returns
    /// As [`OAuthClient::begin`].
    ///
    /// # Errors
    /// As [`OAuthClient::begin`].
    ///
    /// # Spec
    /// atproto OAuth, Identity Authentication: a flow may start from a server, and the account is then verified afterwards.
    pub async fn begin_at(&self, pds: &Url) -> Result<(Url, PendingSignIn), OAuthError> {
        self.announce(pds, None, None).await
    }

    async fn announce(
        &self,
        pds: &Url,
        did: Option<&Did>,
        login_hint: Option<&str>,
    ) -> Result<(Url, PendingSignIn), OAuthError> {
        let server = self.servers.of_pds(pds).await?;
        let registration = &self.parts.registration;
        let method = registration.metadata().token_endpoint_auth_method;
        if !server.client_authentication.iter().any(|known| known == method) {
            return Err(OAuthError::Unsuitable {
                host: host(&server.par_endpoint),
                reason: format!("it does not support client authentication by {method}"),
            });
        }
        let key = Arc::new(DpopKey::generate().map_err(|_| OAuthError::Internal("no DPoP key"))?);
        let prover = self.prover(&key);
        let code_verifier = random_text();
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(code_verifier.expose_secret()));
        let state = random_text();
        let steps = registration.scopes().steps();
        let in_vain = self.steps_in_vain.get(&server.issuer).unwrap_or(0);
        let first = in_vain.min(steps.len().saturating_sub(1));
        for (index, scope) in steps.iter().enumerate().skip(first) {
            let mut form = vec![
                ("response_type", "code"),
                ("response_mode", "query"),
                ("redirect_uri", registration.redirect_uri()),
                ("scope", scope.as_str()),
                ("state", state.expose_secret()),
                ("code_challenge", challenge.as_str()),
                ("code_challenge_method", "S256"),
            ];
            form.extend(login_hint.map(|hint| ("login_hint", hint)));
            let endpoint = &server.par_endpoint;
            match self
                .at(&server, &prover)
                .post_for::<ParAnswer>(endpoint, &form)
                .await
            {
                Ok(answer) if answer.request_uri.len() > MAX_OAUTH_TEXT_BYTES => {
                    return Err(OAuthError::Unsuitable {
                        host: host(endpoint),
                        reason: "its request URI is too long".to_owned(),
                    });
                }
                Ok(answer) => {
                    let mut url = server.authorization_endpoint.clone();
                    url.query_pairs_mut()
                        .append_pair("client_id", &registration.metadata().client_id)
                        .append_pair("request_uri", &answer.request_uri);
                    let pending = PendingSignIn {
                        state,
                        did: did.cloned(),
                        pds: pds.clone(),
                        issuer: server.issuer.clone(),
                        requested_scope: scope.clone(),
                        code_verifier,
                        dpop_key: key,
                    };
                    return Ok((url, pending));
                }
                Err(OAuthError::Refused { error, .. })
                    if error == "invalid_scope" && index + 1 < steps.len() =>
                {
                    self.steps_in_vain.insert(server.issuer.clone(), index + 1);
                }
                Err(error) => return Err(error),
            }
        }
        Err(OAuthError::Internal("nothing is asked for"))
    }
}

/// 256 random bits as text.
fn random_text() -> SecretString {
    SecretString::from(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))
}
