//! From a request under `/v2/` to the use case that answers it: parsed once, authenticated, its repository's owner resolved.

pub mod blobs;
mod catalog;
mod manifests;
pub mod principal;
mod referrers;
mod tags;
pub mod uploads;

use std::net::SocketAddr;
use std::sync::Arc;

use atcr_atproto::identity::IdentityResolver;
use atcr_atproto::syntax::AtIdentifier;
use atcr_auth::principal::Principal;
use atcr_auth::registry_token::RegistryClaims;
use atcr_oci::{AccessScope, BearerChallenge, RegistryRequest, RepositoryName, header};
use atcr_registry::access::{Action, Granted};
use atcr_registry::context::RequestContext;
use atcr_registry::error::RegistryError;
use atcr_server::request_log::RoutePattern;
use atcr_sessions::ClientAddress;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use http::header::{CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, StatusCode};

use self::principal::{Caller, TokenLife};
use crate::edge::dialect::oci;
use crate::edge::error::EdgeError;
use crate::edge::response::json;
use crate::state::AppState;

/// A registry request that is parsed and authenticated and whose repository's owner is resolved.
#[derive(Debug)]
pub struct RegistryCall {
    /// What is asked for.
    pub request: RegistryRequest,
    /// Who asks.
    pub principal: Principal,
    /// The registry token's claims; `None` when the caller signed in on the request itself.
    pub claims: Option<RegistryClaims>,
    /// The repository.
    pub context: RequestContext,
    /// The request's headers.
    pub headers: HeaderMap,
    /// The request's body, unread.
    pub body: Body,
}

impl RegistryCall {
    /// Checks that the caller may do `A` here.
    ///
    /// # Errors
    /// See [`Granted::check`].
    pub fn grant<A: Action>(&self) -> Result<Granted<A>, RegistryError> {
        Granted::check(&self.principal, self.claims.as_ref(), &self.context)
    }
}

/// Where clients get tokens, for challenges.
#[derive(Clone, Debug)]
pub struct TokenRealm {
    /// URL of the token endpoint.
    pub realm: String,
    /// Name of this registry.
    pub service: String,
}

impl TokenRealm {
    /// The challenge for `request`; without one, for signing in as such.
    #[must_use]
    pub fn challenge(&self, request: Option<&RegistryRequest>) -> BearerChallenge {
        let scope = match request {
            Some(RegistryRequest::Catalog { .. }) => Some(AccessScope {
                resource_type: "registry".to_owned(),
                name: "catalog".to_owned(),
                actions: vec!["*".to_owned()],
            }),
            Some(request) => request
                .name()
                .map(|name| AccessScope::repository(name, request.actions())),
            None => None,
        };
        BearerChallenge::new(&self.realm, &self.service).with_scopes(&scope)
    }
}

/// What browsers may do with an answer: a manifest has the media type that its pusher chose, `text/html` for example.
const NOT_A_PAGE: &str = "default-src 'none'; sandbox";

/// Answers every request under `/v2/`.
pub async fn serve(
    State(state): State<AppState>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let parsed = RegistryRequest::parse(parts.method.as_str(), parts.uri.path(), parts.uri.query());
    let mut response = match parsed {
        Ok(request) => {
            let challenge = state.realm.challenge(Some(&request));
            let incoming = Incoming {
                body,
                client: state.proxies.client(peer, &parts.headers),
                headers: parts.headers,
            };
            match dispatch(&state, request, incoming).await {
                Ok(response) => response,
                Err(error) => oci::response(&error, Some(challenge)),
            }
        }
        Err(error) => oci::response(&error.into(), None),
    };
    let headers = response.headers_mut();
    headers.insert(
        header::DOCKER_DISTRIBUTION_API_VERSION,
        HeaderValue::from_static(header::API_VERSION),
    );
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(NOT_A_PAGE));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
        .extensions_mut()
        .insert(RoutePattern(pattern(parts.uri.path())));
    response
}

/// The endpoint of `path`, for log and metrics: names are many, and the id of an upload session is the right to write to it.
fn pattern(path: &str) -> &'static str {
    if path.contains("/blobs/uploads/") {
        "/v2/{name}/blobs/uploads/{session}"
    } else if path.contains("/blobs/") {
        "/v2/{name}/blobs/{digest}"
    } else if path.contains("/manifests/") {
        "/v2/{name}/manifests/{reference}"
    } else if path.contains("/referrers/") {
        "/v2/{name}/referrers/{digest}"
    } else if path.ends_with("/tags/list") {
        "/v2/{name}/tags/list"
    } else if path == "/v2/_catalog" {
        "/v2/_catalog"
    } else if matches!(path, "/v2" | "/v2/") {
        "/v2/"
    } else {
        "/v2/{*rest}"
    }
}

struct Incoming {
    headers: HeaderMap,
    body: Body,
    client: ClientAddress,
}

async fn dispatch(
    state: &AppState,
    request: RegistryRequest,
    incoming: Incoming,
) -> Result<Response, EdgeError> {
    let life = token_life(&request);
    let authenticated = state
        .authenticator
        .authenticate(&incoming.headers, life, incoming.client)
        .await;
    // A request without good credentials counts as anonymous, whatever it is answered.
    let principal = authenticated
        .as_ref()
        .map_or(&Principal::Anonymous, |caller| &caller.principal);
    state.limits.registry_request(principal, &incoming.client)?;
    let caller = authenticated?;
    if writes(&request)
        && let Some((did, device)) = caller.device_of_token()
    {
        state.devices.require(did, device).await?;
    }
    let name = match &request {
        RegistryRequest::Ping => return Ok(json(StatusCode::OK, &serde_json::json!({}))),
        RegistryRequest::Catalog { page } => return Ok(catalog::handle(state, &caller, page).await?),
        request => request.name().cloned(),
    };
    let name = name.ok_or(RegistryError::Internal {
        what: "an endpoint without a repository".to_owned(),
    })?;
    let Caller { principal, claims } = caller;
    let owner = resolve(state.identities.as_ref(), &name).await?;
    let context = RequestContext { name, owner };
    let call = RegistryCall {
        request,
        principal,
        claims,
        context,
        headers: incoming.headers,
        body: incoming.body,
    };
    let answered = match &call.request {
        RegistryRequest::Ping | RegistryRequest::Catalog { .. } => Err(RegistryError::Internal {
            what: "an endpoint was answered twice".to_owned(),
        }),
        RegistryRequest::ManifestGet { .. }
        | RegistryRequest::ManifestHead { .. }
        | RegistryRequest::ManifestPut { .. }
        | RegistryRequest::ManifestDelete { .. } => manifests::handle(state, call).await,
        RegistryRequest::BlobGet { .. }
        | RegistryRequest::BlobHead { .. }
        | RegistryRequest::BlobDelete { .. } => blobs::handle(state, call).await,
        RegistryRequest::UploadStart { .. }
        | RegistryRequest::UploadPatch { .. }
        | RegistryRequest::UploadComplete { .. }
        | RegistryRequest::UploadStatus { .. }
        | RegistryRequest::UploadCancel { .. } => uploads::handle(state, call).await,
        RegistryRequest::Tags { .. } => tags::handle(state, call).await,
        RegistryRequest::Referrers { .. } => referrers::handle(state, call).await,
    };
    Ok(answered?)
}

/// Whether `request` may change something: what a device that was revoked must not do, whatever token it has still.
fn writes(request: &RegistryRequest) -> bool {
    match request {
        RegistryRequest::ManifestPut { .. }
        | RegistryRequest::ManifestDelete { .. }
        | RegistryRequest::BlobDelete { .. }
        | RegistryRequest::UploadStart { .. }
        | RegistryRequest::UploadPatch { .. }
        | RegistryRequest::UploadComplete { .. }
        | RegistryRequest::UploadCancel { .. } => true,
        RegistryRequest::Ping
        | RegistryRequest::Catalog { .. }
        | RegistryRequest::ManifestGet { .. }
        | RegistryRequest::ManifestHead { .. }
        | RegistryRequest::BlobGet { .. }
        | RegistryRequest::BlobHead { .. }
        | RegistryRequest::UploadStatus { .. }
        | RegistryRequest::Tags { .. }
        | RegistryRequest::Referrers { .. } => false,
    }
}

/// A layer may take longer than a token lives; the session that a good token began stays usable with it.
fn token_life(request: &RegistryRequest) -> TokenLife {
    match request {
        RegistryRequest::UploadPatch { .. }
        | RegistryRequest::UploadComplete { .. }
        | RegistryRequest::UploadStatus { .. }
        | RegistryRequest::UploadCancel { .. } => TokenLife::RunningUpload,
        _ => TokenLife::Strict,
    }
}

/// The account that the first segment of `name` stands for.
async fn resolve(
    identities: &dyn IdentityResolver,
    name: &RepositoryName,
) -> Result<Arc<atcr_atproto::identity::ResolvedIdentity>, RegistryError> {
    let unknown = |reason: String| RegistryError::NameUnknown {
        name: name.to_string(),
        reason,
    };
    let identifier =
        AtIdentifier::from_image_segment(name.identity()).map_err(|error| unknown(error.to_string()))?;
    identities.resolve(&identifier).await.map_err(|error| {
        if error.is_transient() {
            RegistryError::IdentityUnavailable {
                name: name.to_string(),
                reason: error.to_string(),
                source: Arc::new(error),
            }
        } else {
            unknown(error.to_string())
        }
    })
}
