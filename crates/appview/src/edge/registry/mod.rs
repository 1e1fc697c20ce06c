//! From a request under `/v2/` to the use case that answers it: parsed once, authenticated, its repository's owner resolved.

pub mod blobs;
mod catalog;
pub mod manifest_memory;
mod manifests;
pub mod principal;
mod referrers;
mod scan_referrers;
mod tags;
pub mod uploads;

use std::net::SocketAddr;
use std::sync::Arc;

use atcr_atproto::identity::IdentityResolver;
use atcr_atproto::identity::IdentityUnavailable;
use atcr_atproto::syntax::AtIdentifier;
use atcr_auth::principal::Principal;
use atcr_oci::{
    AccessScope, BearerChallenge, RegistryRequest, RepositoryName, RepositoryRequest, UploadRequest, header,
};
use atcr_registry::access::{Action, Caller, Granted, Permissions};
use atcr_registry::account::catalog::Catalog;
use atcr_registry::blob::Blobs;
use atcr_registry::context::RequestContext;
use atcr_registry::error::{AccessError, AccountError, RegistryError};
use atcr_registry::manifest::Manifests;
use atcr_registry::upload::Uploads;
use atcr_server::client_address::ClientAddress;
use atcr_server::request_log::RoutePattern;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use http::header::{CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, StatusCode};

use self::manifest_memory::ManifestMemory;
use self::principal::{Authenticator, TokenLife};
use crate::edge::dialect::oci;
use crate::edge::error::EdgeError;
use crate::edge::limits::Limits;
use crate::edge::response::json;
use crate::scan_referrers::ScanReferrers;
use atcr_server::client_address::TrustedProxies;

/// What requests under `/v2/` work with.
#[derive(Clone)]
pub struct RegistryParts {
    /// Reading blobs.
    pub blobs: Arc<Blobs>,
    /// Writing blobs.
    pub uploads: Arc<Uploads>,
    /// Manifests, tags, referrers.
    pub manifests: Arc<Manifests>,
    /// Memory for manifests that are served and pushed.
    pub manifest_memory: ManifestMemory,
    /// What scans found, as referrers.
    pub scan_referrers: Arc<ScanReferrers>,
    /// Listing repositories.
    pub catalog: Arc<Catalog>,
    /// Who may do what.
    pub permissions: Permissions,
    /// Finds out who sends a request.
    pub authenticator: Arc<Authenticator>,
    /// Where tokens are had.
    pub realm: Arc<TokenRealm>,
    /// The proxies in front of this server.
    pub proxies: Arc<TrustedProxies>,
    /// Whose repository a name is.
    pub identities: Arc<dyn IdentityResolver>,
    /// What one client or account may ask for.
    pub limits: Arc<Limits>,
}

/// A request about a repository that is authenticated and whose repository's owner is resolved.
#[derive(Debug)]
pub struct RegistryCall {
    /// Who asks.
    pub caller: Caller,
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
    /// See [`Permissions::grant`].
    pub fn grant<A: Action>(
        &self,
        permissions: &Permissions,
    ) -> impl Future<Output = Result<Granted<A>, RegistryError>> + Send {
        permissions.grant(&self.caller, &self.context)
    }
}

/// Where clients get tokens, for challenges.
#[derive(Clone, Debug)]
pub struct TokenRealm {
    /// URL of the token endpoint.
    pub realm: String,
    /// Name of this registry.
    pub service: String,
    /// Its host and port, as images' names have them.
    pub host: String,
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
            Some(RegistryRequest::Repository { name, request }) => {
                Some(AccessScope::repository(name, request.actions()))
            }
            Some(RegistryRequest::Ping) | None => None,
        };
        BearerChallenge::new(&self.realm, &self.service).with_scopes(&scope)
    }
}

/// What browsers may do with an answer: a manifest has the media type that its pusher chose, `text/html` for example.
const NOT_A_PAGE: &str = "default-src 'none'; sandbox";

/// Answers every request under `/v2/`.
pub async fn serve(
    State(parts): State<RegistryParts>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let parsed = RegistryRequest::parse(head.method.as_str(), head.uri.path(), head.uri.query());
    let mut response = match parsed {
        Ok(request) => {
            let challenge = parts.realm.challenge(Some(&request));
            let incoming = Incoming {
                body,
                client: parts.proxies.client(peer, &head.headers),
                headers: head.headers,
            };
            match dispatch(&parts, request, incoming).await {
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
    response.extensions_mut().insert(RoutePattern(pattern(&path)));
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
    parts: &RegistryParts,
    request: RegistryRequest,
    incoming: Incoming,
) -> Result<Response, EdgeError> {
    let life = token_life(&request);
    let authenticated = parts
        .authenticator
        .authenticate(&incoming.headers, life, incoming.client)
        .await;
    // A request without good credentials counts as anonymous, whatever it is answered.
    let principal = authenticated
        .as_ref()
        .map_or(&Principal::Anonymous, |caller| &caller.principal);
    parts.limits.registry_request(principal, &incoming.client)?;
    let caller = authenticated?;
    let is_anonymous = caller.principal == Principal::Anonymous;
    let is_write =
        matches!(&request, RegistryRequest::Repository { request, .. } if request.actions() != ["pull"]);
    match answer(parts, request, caller, incoming).await {
        // Its token covers what everybody may do, and no other token would cover more.
        Err(EdgeError::Registry(RegistryError::Access(AccessError::NotCovered)))
            if is_anonymous && is_write =>
        {
            Err(EdgeError::NotSignedIn {
                registry: parts.realm.host.clone(),
            })
        }
        answer => answer,
    }
}

async fn answer(
    parts: &RegistryParts,
    request: RegistryRequest,
    caller: Caller,
    incoming: Incoming,
) -> Result<Response, EdgeError> {
    let (name, request) = match request {
        RegistryRequest::Ping => return Ok(json(StatusCode::OK, &serde_json::json!({}))),
        RegistryRequest::Catalog { page } => {
            let grant = parts.permissions.grant_catalog(&caller)?;
            return Ok(catalog::list(&parts.catalog, &grant, &page).await?);
        }
        RegistryRequest::Repository { name, request } => (name, request),
    };
    let owner = resolve(parts.identities.as_ref(), &name).await?;
    let requester = requester(&caller.principal, &incoming.client);
    let client = incoming.client;
    let call = RegistryCall {
        caller,
        context: RequestContext {
            name,
            owner,
            requester,
        },
        headers: incoming.headers,
        body: incoming.body,
    };
    let permissions = &parts.permissions;
    match request {
        RepositoryRequest::Manifest(request) => {
            let made = scan_referrers::manifest(
                &parts.scan_referrers,
                permissions,
                &request,
                (&call.caller, &call.context),
            );
            if let Some(made) = made.await? {
                return Ok(made);
            }
            let memory = &parts.manifest_memory;
            manifests::answer(&parts.manifests, memory, permissions, request, call).await
        }
        RepositoryRequest::Blob(request) => {
            let made = scan_referrers::blob(
                &parts.scan_referrers,
                permissions,
                &request,
                (&call.caller, &client, &call.context),
            );
            if let Some(made) = made.await? {
                return Ok(made);
            }
            Ok(blobs::answer(&parts.blobs, permissions, request, call).await?)
        }
        RepositoryRequest::Upload(request) => {
            uploads::answer(&parts.uploads, permissions, request, call).await
        }
        RepositoryRequest::Tags { page } => {
            let grant = call.grant(permissions).await?;
            Ok(tags::list(&parts.manifests, &grant, &page).await?)
        }
        RepositoryRequest::Referrers {
            digest,
            artifact_type,
        } => {
            let grant = call.grant(permissions).await?;
            let known = (&*parts.manifests, &*parts.scan_referrers);
            Ok(referrers::list(known, &grant, &digest, artifact_type.as_deref()).await?)
        }
    }
}

/// Who asks, for shares of what many ask for: the account, or the address of a client without one.
fn requester(principal: &Principal, client: &ClientAddress) -> Arc<str> {
    match principal.did() {
        Some(did) => did.as_str().into(),
        None => client.key().to_string().into(),
    }
}

/// A layer may take longer than a token lives; the session that a good token began stays usable with it.
fn token_life(request: &RegistryRequest) -> TokenLife {
    match request {
        RegistryRequest::Repository {
            request: RepositoryRequest::Upload(upload),
            ..
        } if !matches!(upload, UploadRequest::Start { .. }) => TokenLife::RunningUpload,
        _ => TokenLife::Strict,
    }
}

/// The account that the first segment of `name` stands for.
async fn resolve(
    identities: &dyn IdentityResolver,
    name: &RepositoryName,
) -> Result<Arc<atcr_atproto::identity::ResolvedIdentity>, RegistryError> {
    let unknown = |reason: String| {
        RegistryError::Account(AccountError::NameUnknown {
            name: name.to_string(),
            reason,
        })
    };
    let segment = name.identity();
    let identifier = AtIdentifier::from_image_segment(segment).map_err(|_| {
        unknown(format!(
            "{segment} is neither a handle nor a permanent ID (DID); a handle has a dot, such as alice.example.com"
        ))
    })?;
    identities.resolve(&identifier).await.map_err(|error| {
        if error.is_transient() {
            IdentityUnavailable::new(name.to_string(), error).into()
        } else {
            unknown(error.to_string())
        }
    })
}
