//! From a PDS to the authorization server that speaks for it.
//!
//! The PDS's own document names the server; the server's document names itself and, if it lists any, the PDS. A server that
//! falsely claims to be in charge is thereby detected.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::egress::{EgressClient, Limits};
use http::{Method, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::error::OAuthError;
use crate::bounds::{MAX_OAUTH_ANSWER_BYTES, MAX_OAUTH_TEXT_BYTES, METADATA_TIMEOUT};

/// Limits of one metadata document.
const LIMITS: Limits = Limits {
    max_bytes: MAX_OAUTH_ANSWER_BYTES,
    timeout: METADATA_TIMEOUT,
};

/// How long a server's documents are cached.
const TTL: Duration = Duration::from_mins(5);

/// Servers remembered.
const CAPACITY: u64 = 2_000;

/// An authorization server that AT Protocol OAuth works with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationServer {
    /// Its identifier, as it spells it: `iss` of its answers is compared with this letter for letter.
    pub issuer: String,
    /// Where browsers are sent.
    pub authorization_endpoint: Url,
    /// Where codes and refresh tokens are traded.
    pub token_endpoint: Url,
    /// Where requests are announced.
    pub par_endpoint: Url,
    /// Where tokens are revoked, if the server supports it.
    pub revocation_endpoint: Option<Url>,
    /// How clients may authenticate: `none`, `private_key_jwt`.
    pub client_authentication: Vec<String>,
}

#[derive(Deserialize)]
struct ResourceDocument {
    resource: String,
    #[serde(default)]
    authorization_servers: Vec<String>,
}

#[derive(Deserialize)]
struct ServerDocument {
    issuer: String,
    authorization_endpoint: Url,
    token_endpoint: Url,
    pushed_authorization_request_endpoint: Option<Url>,
    revocation_endpoint: Option<Url>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
    #[serde(default)]
    code_challenge_methods_supported: Vec<String>,
    #[serde(default)]
    dpop_signing_alg_values_supported: Vec<String>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
    protected_resources: Option<Vec<String>>,
}

/// Finds authorization servers, and remembers them for a while.
#[derive(Clone)]
pub struct AuthorizationServers {
    egress: EgressClient,
    found: moka::sync::Cache<Url, Arc<AuthorizationServer>>,
}

impl AuthorizationServers {
    /// Looks through `egress`.
    #[must_use]
    pub fn new(egress: EgressClient) -> Self {
        Self {
            egress,
            found: moka::sync::Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(TTL)
                .build(),
        }
    }

    /// The server in charge of the PDS at `pds`.
    ///
    /// # Errors
    /// `Unavailable` if one of the two does not answer, `Unsuitable` if their documents contradict each other.
    pub async fn of_pds(&self, pds: &Url) -> Result<Arc<AuthorizationServer>, OAuthError> {
        let mut key = pds.clone();
        key.set_path("/");
        key.set_query(None);
        key.set_fragment(None);
        if let Some(found) = self.found.get(&key) {
            return Ok(found);
        }
        let found = Arc::new(self.look(&key).await?);
        self.found.insert(key, Arc::clone(&found));
        Ok(found)
    }

    async fn look(&self, pds: &Url) -> Result<AuthorizationServer, OAuthError> {
        let host = host(pds);
        let unsuitable = |reason: &str| OAuthError::Unsuitable {
            host: host.clone(),
            reason: reason.to_owned(),
        };
        let resource: ResourceDocument = self.document(pds, "oauth-protected-resource").await?;
        if origin(&resource.resource) != Some(pds.origin()) {
            return Err(unsuitable("its resource document is about another server"));
        }
        let [issuer] = resource.authorization_servers.as_slice() else {
            return Err(unsuitable("it does not name exactly one authorization server"));
        };
        let issuer_url = Url::parse(issuer)
            .ok()
            .filter(is_origin)
            .ok_or_else(|| unsuitable("its authorization server is not named by an origin"))?;
        let server = self.server(&issuer_url, issuer).await?;
        if let Some(resources) = &server.1
            && !resources.iter().any(|text| origin(text) == Some(pds.origin()))
        {
            return Err(unsuitable(
                "the authorization server that it names is not in charge of it",
            ));
        }
        Ok(server.0)
    }

    async fn server(
        &self,
        url: &Url,
        issuer: &str,
    ) -> Result<(AuthorizationServer, Option<Vec<String>>), OAuthError> {
        let unsuitable = |reason: &str| OAuthError::Unsuitable {
            host: host(url),
            reason: reason.to_owned(),
        };
        let document: ServerDocument = self.document(url, "oauth-authorization-server").await?;
        if document.issuer.trim_end_matches('/') != issuer.trim_end_matches('/') {
            return Err(unsuitable("its document is about another issuer"));
        }
        let has = |list: &[String], value: &str| list.iter().any(|item| item == value);
        let rules = [
            (
                document.authorization_response_iss_parameter_supported,
                "it does not name itself in its answers",
            ),
            (
                has(&document.code_challenge_methods_supported, "S256"),
                "it does not support PKCE with S256",
            ),
            (
                has(&document.dpop_signing_alg_values_supported, "ES256"),
                "it does not support DPoP with ES256",
            ),
        ];
        if let Some((_, reason)) = rules.iter().find(|(is_kept, _)| !is_kept) {
            return Err(unsuitable(reason));
        }
        let par_endpoint = document
            .pushed_authorization_request_endpoint
            .ok_or_else(|| unsuitable("it does not support pushed authorization requests"))?;
        let endpoints = [
            Some(&document.authorization_endpoint),
            Some(&document.token_endpoint),
            Some(&par_endpoint),
            document.revocation_endpoint.as_ref(),
        ];
        let texts = endpoints.into_iter().flatten().map(Url::as_str);
        if texts
            .chain([document.issuer.as_str()])
            .any(|text| text.len() > MAX_OAUTH_TEXT_BYTES)
        {
            return Err(unsuitable("its document has a URL that is too long"));
        }
        // The browser is sent to the first of them; the guard's rules (https, no private host) are right for it as well.
        for endpoint in endpoints.into_iter().flatten() {
            self.egress
                .check(endpoint)
                .map_err(|_| unsuitable("one of its endpoints has a URL that is not acceptable"))?;
        }
        let server = AuthorizationServer {
            issuer: document.issuer,
            authorization_endpoint: document.authorization_endpoint,
            token_endpoint: document.token_endpoint,
            par_endpoint,
            revocation_endpoint: document.revocation_endpoint,
            client_authentication: document.token_endpoint_auth_methods_supported,
        };
        Ok((server, document.protected_resources))
    }

    /// A well-known document. No redirect is followed: the specification wants the answer itself.
    async fn document<T: DeserializeOwned>(&self, base: &Url, name: &str) -> Result<T, OAuthError> {
        let host = host(base);
        let mut url = base.clone();
        url.set_path(&format!("/.well-known/{name}"));
        let failed = |error| OAuthError::from_egress(&host, &error);
        let request = self.egress.request(Method::GET, &url).map_err(failed)?;
        let request = request.header(header::ACCEPT, "application/json");
        let answer = self.egress.send_capped(request, LIMITS).await.map_err(failed)?;
        if answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS {
            return Err(OAuthError::Unavailable {
                host,
                reason: format!("it answered {}", answer.status.as_u16()),
                retry_after: None,
            });
        }
        if answer.status != StatusCode::OK {
            return Err(OAuthError::Unsuitable {
                host,
                reason: "it does not support OAuth".to_owned(),
            });
        }
        answer.json().map_err(|_| OAuthError::Unsuitable {
            host,
            reason: format!("its {name} document is malformed"),
        })
    }
}

impl fmt::Debug for AuthorizationServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizationServers").finish_non_exhaustive()
    }
}

/// How a server is named to people: host, and the port if it is not the usual one.
#[must_use]
pub fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn origin(text: &str) -> Option<url::Origin> {
    Url::parse(text).ok().map(|url| url.origin())
}

fn is_origin(url: &Url) -> bool {
    url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty()
}
