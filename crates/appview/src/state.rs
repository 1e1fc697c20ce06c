//! What handlers share.

use std::sync::Arc;

use atcr_atproto::clock::Clock;
use atcr_auth::registry_token::RegistryTokenIssuer;
use atcr_registry::access::scopes::Scopes;
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

use crate::affected::Affected;
use crate::browse::Browse;
use crate::edge::credential_helper::Releases;
use crate::edge::limits::Limits;
use crate::edge::oauth::client_metadata::OAuthDocuments;
use crate::edge::registry::{RegistryParts, TokenRealm};
use crate::manage::Manage;
use crate::scans::Scans;
use atcr_server::client_address::TrustedProxies;

/// The use cases and settings that handlers reach; cloned per request, so every part is shared.
#[derive(Clone)]
pub struct AppState {
    /// What requests under `/v2/` work with.
    pub registry: RegistryParts,
    /// What pages about images read.
    pub browse: Arc<Browse>,
    /// What scans found.
    pub scans: Arc<Scans>,
    /// Which images of an account have what is looked for.
    pub affected: Arc<Affected>,
    /// What owners change on pages.
    pub manage: Arc<Manage>,
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
    /// Where tokens are had.
    pub realm: Arc<TokenRealm>,
    /// The proxies in front of this server.
    pub proxies: Arc<TrustedProxies>,
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

impl FromRef<AppState> for RegistryParts {
    fn from_ref(state: &AppState) -> Self {
        state.registry.clone()
    }
}
