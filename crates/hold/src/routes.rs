//! Every route on one page.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use atcr_server::address_gate::{self, AddressGate};
use atcr_server::client_address::{self, TrustedProxies};
use atcr_server::request_log::{self, X_REQUEST_ID};
use atcr_server::{health, rate_limit};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, Method, header};
use axum::middleware;
use axum::routing::{MethodRouter, get, post};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{Any, CorsLayer};
use tower_http::timeout::RequestBodyTimeoutLayer;

use crate::edge::com_atproto_identity::resolve_handle::resolve_handle;
use crate::edge::com_atproto_repo::{
    create_record, delete_record, describe_repo, get_record, list_records, put_record,
};
use crate::edge::com_atproto_server::describe_server::describe_server;
use crate::edge::com_atproto_sync::{
    get_blob, get_latest_commit, get_record as sync_get_record, get_repo, get_repo_status, list_repos,
};
use crate::edge::error::{EdgeError, limited, panicked};
use crate::edge::health::xrpc_health;
use crate::edge::io_atcr_hold::{
    abort_upload, complete_upload, get_part_upload_url, get_quota, initiate_upload, list_tiers,
    notify_manifest, request_crew,
};
use crate::edge::well_known;
use crate::state::AppState;

/// The largest JSON input in bytes: what a manifest of 4 MiB can turn into in a notice, and then some.
const MAX_JSON_BODY: usize = 5 * 1024 * 1024;

/// What stands in front of the routes.
#[derive(Clone, Debug)]
pub struct Front {
    /// The longest pause of a client inside a request body.
    pub read_timeout: Duration,
    /// The proxies in front of the hold.
    pub proxies: Arc<TrustedProxies>,
    /// Counts requests without a token.
    pub anonymous: Arc<AddressGate>,
}

impl Front {
    /// The gate that counts requests without a token by address, but for those that a load balancer or a browser sends by itself.
    #[must_use]
    pub fn anonymous_gate(limit: rate_limit::RateLimit<IpAddr>, exempt: address_gate::Exempt) -> AddressGate {
        AddressGate {
            limit,
            exempt,
            counts: |request| {
                !request.headers().contains_key(header::AUTHORIZATION)
                    && request.method() != Method::OPTIONS
                    && !matches!(request.uri().path(), "/livez" | "/readyz")
            },
            refuse: limited,
        }
    }
}

/// The hold's routes. `store` are those of a store that serves its own URLs, whose requests are not counted: their signature was
/// given to a caller who was.
pub fn router(state: AppState, store: Router, front: Front) -> Router {
    let xrpc = Router::new()
        .route("/_health", get(xrpc_health))
        .method("com.atproto.identity.resolveHandle", get(resolve_handle))
        .method("com.atproto.repo.describeRepo", get(describe_repo::describe_repo))
        .method("com.atproto.repo.getRecord", get(get_record::get_record))
        .method("com.atproto.repo.listRecords", get(list_records::list_records))
        .method(
            "com.atproto.repo.createRecord",
            post(create_record::create_record),
        )
        .method("com.atproto.repo.putRecord", post(put_record::put_record))
        .method(
            "com.atproto.repo.deleteRecord",
            post(delete_record::delete_record),
        )
        .method("com.atproto.server.describeServer", get(describe_server))
        .method(
            "com.atproto.sync.getBlob",
            get(get_blob::get_blob).head(get_blob::head_blob),
        )
        .method(
            "com.atproto.sync.getLatestCommit",
            get(get_latest_commit::get_latest_commit),
        )
        .method("com.atproto.sync.getRecord", get(sync_get_record::get_record))
        .method("com.atproto.sync.getRepo", get(get_repo::get_repo))
        .method(
            "com.atproto.sync.getRepoStatus",
            get(get_repo_status::get_repo_status),
        )
        .method("com.atproto.sync.listRepos", get(list_repos::list_repos))
        .method("io.atcr.hold.abortUpload", post(abort_upload::abort_upload))
        .method(
            "io.atcr.hold.completeUpload",
            post(complete_upload::complete_upload),
        )
        .method(
            "io.atcr.hold.getPartUploadUrl",
            post(get_part_upload_url::get_part_upload_url),
        )
        .method("io.atcr.hold.getQuota", get(get_quota::get_quota))
        .method(
            "io.atcr.hold.initiateUpload",
            post(initiate_upload::initiate_upload),
        )
        .method("io.atcr.hold.listTiers", get(list_tiers::list_tiers))
        .method(
            "io.atcr.hold.notifyManifest",
            post(notify_manifest::notify_manifest),
        )
        .method("io.atcr.hold.requestCrew", post(request_crew::request_crew))
        .fallback(async || EdgeError::MethodNotImplemented)
        .method_not_allowed_fallback(async || EdgeError::WrongVerb)
        .layer(DefaultBodyLimit::max(MAX_JSON_BODY));

    Router::new()
        .route("/", get(well_known::landing))
        .route("/robots.txt", get(well_known::robots_txt))
        .route("/.well-known/did.json", get(well_known::did_document))
        .route("/.well-known/atproto-did", get(well_known::atproto_did))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .nest("/xrpc", xrpc)
        .with_state(state)
        .layer(middleware::from_fn_with_state(
            front.anonymous,
            address_gate::layer,
        ))
        .merge(store)
        .layer(middleware::from_fn_with_state(
            front.proxies,
            client_address::layer,
        ))
        .layer(RequestBodyTimeoutLayer::new(front.read_timeout))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(cors())
        .layer(middleware::from_fn(request_log::layer))
}

/// Any page may call the hold; none can make use of a visitor's rights, since there are no cookies.
fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::OPTIONS,
        ])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::RANGE,
            HeaderName::from_static("dpop"),
            HeaderName::from_static("x-upload-id"),
            HeaderName::from_static("x-part-number"),
            HeaderName::from_static("x-atcr-content-proof"),
        ])
        .expose_headers([
            header::ETAG,
            header::CONTENT_RANGE,
            header::RETRY_AFTER,
            header::WWW_AUTHENTICATE,
            X_REQUEST_ID,
        ])
}

/// Routes by NSID.
trait XrpcRoutes {
    fn method(self, nsid: &str, handler: MethodRouter<AppState>) -> Self;
}

impl XrpcRoutes for Router<AppState> {
    fn method(self, nsid: &str, handler: MethodRouter<AppState>) -> Self {
        self.route(&format!("/{nsid}"), handler)
    }
}
