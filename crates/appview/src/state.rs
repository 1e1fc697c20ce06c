//! What handlers share.

use std::sync::Arc;

use atcr_atproto::clock::Clock;
use atcr_atproto::identity::IdentityResolver;
use atcr_auth::registry_token::RegistryTokenIssuer;
use atcr_registry::access::scopes::Scopes;
use atcr_registry::account::catalog::Catalog;
use atcr_registry::blob::Blobs;
use atcr_registry::manifest::Manifests;
use atcr_registry::upload::Uploads;
use atcr_server::health::Readiness;
use atcr_sessions::Sessions;
use atcr_sessions::devices::Devices;
use atcr_sessions::oauth::SignInFlow;
use atcr_sessions::refresh_token::RefreshTokens;
use atcr_sessions::sign_out::SignOut;
use atcr_sessions::web_session::WebSessions;
use atcr_web::site::Site;
use axum::extract::FromRef;
use serde_json::Value;

use crate::edge::client_ip::TrustedProxies;
use crate::edge::credential_helper::Releases;
use crate::edge::limits::Limits;
use crate::edge::oauth::client_metadata::OAuthDocuments;
use crate::edge::registry::TokenRealm;
use crate::edge::registry::principal::Authenticator;

/// The use cases and settings that handlers reach; cloned per request, so every part is shared.
#[derive(Clone)]
pub struct AppState {
    /// Reading blobs.
    pub blobs: Arc<Blobs>,
    /// Writing blobs.
    pub uploads: Arc<Uploads>,
    /// Manifests, tags, referrers.
    pub manifests: Arc<Manifests>,
    /// Listing repositories.
    pub catalog: Arc<Catalog>,
    /// Signing in.
    pub sessions: Sessions,
    /// Signing in through the account's own server.
    pub sign_in: Arc<dyn SignInFlow>,
    /// Browsers that are signed in.
    pub browsers: WebSessions,
    /// Devices that are signed in, or want to be.
    pub devices: Arc<Devices>,
    /// Signing out.
    pub sign_out: SignOut,
    /// How often one client may do what costs others something.
    pub limits: Arc<Limits>,
    /// What pages know of this server.
    pub site: Arc<Site>,
    /// Releases of the credential helper.
    pub releases: Arc<Releases>,
    /// Who this server is as an OAuth client.
    pub oauth_documents: Arc<OAuthDocuments>,
    /// The token endpoint's refresh tokens.
    pub refresh_tokens: Arc<RefreshTokens>,
    /// Which scopes a caller gets.
    pub scopes: Scopes,
    /// Makes registry tokens.
    pub issuer: Arc<RegistryTokenIssuer>,
    /// Finds out who sends a request.
    pub authenticator: Arc<Authenticator>,
    /// Where tokens are had.
    pub realm: Arc<TokenRealm>,
    /// The proxies in front of this server.
    pub proxies: Arc<TrustedProxies>,
    /// Whose repository a name is.
    pub identities: Arc<dyn IdentityResolver>,
    /// This server's own DID document.
    pub did_document: Arc<Value>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Whether this server can work.
    pub readiness: Readiness,
}

impl FromRef<AppState> for Arc<Site> {
    fn from_ref(state: &AppState) -> Self {
        Arc::clone(&state.site)
    }
}

impl FromRef<AppState> for Readiness {
    fn from_ref(state: &AppState) -> Self {
        state.readiness.clone()
    }
}
