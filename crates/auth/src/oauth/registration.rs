//! Who we are to an authorization server.
//!
//! A server on this machine is a *public* client, whose identifier says all there is to know. Any other is a *confidential*
//! client: its identifier is the URL of its metadata document, and it signs an assertion with the key published there.

use atcr_atproto::crypto::{Curve, SigningKey};
use atcr_atproto::dpop::public_jwk;
use serde::Serialize;
use serde_json::{Value, json};
use url::{Host, Url, form_urlencoded};

use super::error::OAuthError;
use super::scopes::ScopePlan;

/// Where the metadata document of a confidential client is, below its base URL.
pub const METADATA_PATH: &str = "/oauth-client-metadata.json";

/// How the client presents itself on the consent page.
#[derive(Clone, Debug, Default)]
pub struct Branding {
    /// Its name.
    pub name: Option<String>,
    /// Its logo.
    pub logo_uri: Option<String>,
    /// Its terms of service.
    pub tos_uri: Option<String>,
    /// Its privacy policy.
    pub policy_uri: Option<String>,
}

/// The client's metadata document.
///
/// # Spec
/// RFC 7591 §2; OAuth Client ID Metadata Document; atproto OAuth profile.
#[derive(Clone, Debug, Serialize)]
pub struct ClientMetadata {
    /// The identifier: this document's URL, or the loopback form.
    pub client_id: String,
    /// `web`, or `native` on loopback.
    pub application_type: &'static str,
    /// The name on the consent page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// The home page; same origin as the identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_uri: Option<String>,
    /// The logo on the consent page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logo_uri: Option<String>,
    /// Terms of service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tos_uri: Option<String>,
    /// Privacy policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_uri: Option<String>,
    /// Where browsers come back to.
    pub redirect_uris: Vec<String>,
    /// `authorization_code` and `refresh_token`.
    pub grant_types: [&'static str; 2],
    /// `code`.
    pub response_types: [&'static str; 1],
    /// Everything that may be asked for.
    pub scope: String,
    /// True.
    pub dpop_bound_access_tokens: bool,
    /// `private_key_jwt`, or `none` on loopback.
    pub token_endpoint_auth_method: &'static str,
    /// `ES256` of a confidential client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_endpoint_auth_signing_alg: Option<&'static str>,
    /// The public key of a confidential client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks: Option<Value>,
}

/// The key of a confidential client.
#[derive(Clone, Debug)]
pub(super) struct ClientKey {
    pub(super) key: SigningKey,
    /// Its public half as did:key.
    pub(super) kid: String,
}

/// A client as servers know it.
#[derive(Clone, Debug)]
pub struct Registration {
    metadata: ClientMetadata,
    key: Option<ClientKey>,
    scopes: ScopePlan,
}

impl Registration {
    /// Whether a server under `base_url` is a public client, which has no key.
    #[must_use]
    pub fn is_public(base_url: &Url) -> bool {
        match base_url.host() {
            Some(Host::Domain(domain)) => domain == "localhost",
            Some(Host::Ipv4(v4)) => v4.is_loopback(),
            Some(Host::Ipv6(v6)) => v6.is_loopback(),
            None => false,
        }
    }

    /// The redirect URI of a loopback client: servers take the address there, not the name.
    #[must_use]
    pub fn loopback_redirect(port: Option<u16>, path: &str) -> String {
        match port {
            Some(port) => format!("http://127.0.0.1:{port}{path}"),
            None => format!("http://127.0.0.1{path}"),
        }
    }

    /// A public client that is called back at `redirect_uri`, on loopback.
    #[must_use]
    pub fn public(redirect_uri: String, scopes: ScopePlan) -> Self {
        let scope = scopes.declared();
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("redirect_uri", &redirect_uri)
            .append_pair("scope", &scope)
            .finish();
        let metadata = ClientMetadata {
            client_id: format!("http://localhost?{query}"),
            application_type: "native",
            client_name: None,
            client_uri: None,
            logo_uri: None,
            tos_uri: None,
            policy_uri: None,
            redirect_uris: vec![redirect_uri],
            grant_types: ["authorization_code", "refresh_token"],
            response_types: ["code"],
            scope,
            dpop_bound_access_tokens: true,
            token_endpoint_auth_method: "none",
            token_endpoint_auth_signing_alg: None,
            jwks: None,
        };
        Self {
            metadata,
            key: None,
            scopes,
        }
    }

    /// A confidential client at `base_url` that signs with `key` and is called back at `callback_path`.
    ///
    /// # Errors
    /// [`OAuthError::Internal`] unless the key is on P-256.
    pub fn confidential(
        base_url: &Url,
        callback_path: &str,
        key: SigningKey,
        branding: Branding,
        scopes: ScopePlan,
    ) -> Result<Self, OAuthError> {
        let public = key.public_key();
        let kid = public.to_did_key();
        let mut jwk: Value = public_jwk(&public)
            .and_then(|jwk| serde_json::from_str(&jwk).ok())
            .ok_or(OAuthError::Internal("the client's key is not a P-256 key"))?;
        for (name, value) in [
            ("kid", kid.as_str()),
            ("use", "sig"),
            ("alg", Curve::P256.jwt_algorithm()),
        ] {
            jwk[name] = value.into();
        }
        let base = base_url.origin().ascii_serialization();
        let metadata = ClientMetadata {
            client_id: format!("{base}{METADATA_PATH}"),
            application_type: "web",
            client_name: branding.name,
            client_uri: Some(base.clone()),
            logo_uri: branding.logo_uri,
            tos_uri: branding.tos_uri,
            policy_uri: branding.policy_uri,
            redirect_uris: vec![format!("{base}{callback_path}")],
            grant_types: ["authorization_code", "refresh_token"],
            response_types: ["code"],
            scope: scopes.declared(),
            dpop_bound_access_tokens: true,
            token_endpoint_auth_method: "private_key_jwt",
            token_endpoint_auth_signing_alg: Some(Curve::P256.jwt_algorithm()),
            jwks: Some(json!({ "keys": [jwk] })),
        };
        Ok(Self {
            metadata,
            key: Some(ClientKey { key, kid }),
            scopes,
        })
    }

    /// The metadata document.
    #[must_use]
    pub fn metadata(&self) -> &ClientMetadata {
        &self.metadata
    }

    /// The key set; empty for a public client.
    #[must_use]
    pub fn jwks(&self) -> Value {
        self.metadata
            .jwks
            .clone()
            .unwrap_or_else(|| json!({ "keys": [] }))
    }

    /// What is asked for.
    #[must_use]
    pub fn scopes(&self) -> &ScopePlan {
        &self.scopes
    }

    /// Names the key that a confidential client signs with: its public half as did:key. Servers hold a session against it.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.key.as_ref().map(|key| key.kid.as_str())
    }

    pub(super) fn key(&self) -> Option<&ClientKey> {
        self.key.as_ref()
    }

    pub(super) fn redirect_uri(&self) -> &str {
        self.metadata.redirect_uris.first().map_or("", String::as_str)
    }
}
