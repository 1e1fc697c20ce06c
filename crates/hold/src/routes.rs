//! Every route on one page, and who may enter it.

use std::fmt;
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
use axum::routing::{MethodRouter, delete, get, post, put};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{Any, CorsLayer};
use tower_http::timeout::RequestBodyTimeoutLayer;

use crate::edge::app_bsky_actor::{get_profile, get_profiles};
use crate::edge::auth::{DPOP, DPOP_NONCE};
use crate::edge::com_atproto_identity::resolve_handle::resolve_handle;
use crate::edge::com_atproto_repo::{
    apply_writes, create_record, delete_record, describe_repo, get_record, list_records, put_record,
    upload_blob,
};
use crate::edge::com_atproto_server::describe_server::describe_server;
use crate::edge::com_atproto_sync::{
    get_blob, get_blocks, get_latest_commit, get_record as sync_get_record, get_repo, get_repo_status,
    list_blobs, list_repos, list_repos_by_collection, subscribe_repos,
};
use crate::edge::error::{EdgeError, limited, panicked};
use crate::edge::health::xrpc_health;
use crate::edge::io_atcr_hold::{
    abort_upload, complete_upload, delete_user_data, export_user_data, get_part_upload_url, get_quota,
    initiate_upload, list_tiers, notify_manifest, request_crew, subscribe_scan_jobs, update_crew_tier,
};
use crate::edge::well_known;
use crate::edge::{repository_blobs, scans};
use crate::state::AppState;

/// The largest JSON input of most methods in bytes: more than the parts of the largest upload take.
const MAX_JSON_BODY: usize = 1024 * 1024;
/// The largest notice in bytes: more than the notice of a manifest of 4 MiB takes.
const MAX_NOTICE: usize = 5 * 1024 * 1024;

/// Who may call a method. The handlers' extractors decide; a test tries every caller on every method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Every caller, without a token: the hold's repository is public even if its blobs are not.
    Everyone,
    /// `blob:read`; on a public hold every caller.
    Reader,
    /// Every account.
    SignedIn,
    /// `blob:write` to tell of a push, `blob:read` and a token to tell of a pull.
    Notifier,
    /// `blob:write`.
    Writer,
    /// `crew:admin`.
    CrewAdmin,
    /// Whoever shows the secret for scanners.
    Scanner,
    /// The AppView that the configuration names.
    AppView,
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Everyone => "every caller",
            Self::Reader => "readers",
            Self::SignedIn => "every account",
            Self::Notifier => "push: writers; pull: readers with a token",
            Self::Writer => "writers",
            Self::CrewAdmin => "crew administrators",
            Self::Scanner => "scanners, by their secret",
            Self::AppView => "the trusted AppView",
        })
    }
}

/// One XRPC method.
struct XrpcMethod {
    nsid: &'static str,
    door: Door,
    handler: MethodRouter<AppState>,
}

/// Every XRPC method served, with its access rule.
pub fn doors() -> impl Iterator<Item = (&'static str, Door)> {
    xrpc_methods()
        .into_iter()
        .map(|method| (method.nsid, method.door))
}

#[rustfmt::skip]
fn xrpc_methods() -> Vec<XrpcMethod> {
    use Door::{AppView, CrewAdmin, Everyone, Notifier, Reader, Scanner, SignedIn, Writer};
    let method = |nsid, door, handler| XrpcMethod { nsid, door, handler };
    let get_blob = get(get_blob::get_blob).head(get_blob::head_blob);
    let notify_manifest = post(notify_manifest::notify_manifest).layer(DefaultBodyLimit::max(MAX_NOTICE));
    // It bounds its body itself.
    let upload_blob = post(upload_blob::upload_blob).layer(DefaultBodyLimit::disable());
    vec![
        method("_health", Everyone, get(xrpc_health)),
        method("app.bsky.actor.getProfile", Everyone, get(get_profile::get_profile)),
        method("app.bsky.actor.getProfiles", Everyone, get(get_profiles::get_profiles)),
        method("com.atproto.identity.resolveHandle", Everyone, get(resolve_handle)),
        method("com.atproto.repo.applyWrites", CrewAdmin, post(apply_writes::apply_writes)),
        method("com.atproto.repo.createRecord", CrewAdmin, post(create_record::create_record)),
        method("com.atproto.repo.deleteRecord", CrewAdmin, post(delete_record::delete_record)),
        method("com.atproto.repo.describeRepo", Everyone, get(describe_repo::describe_repo)),
        method("com.atproto.repo.getRecord", Everyone, get(get_record::get_record)),
        method("com.atproto.repo.listRecords", Everyone, get(list_records::list_records)),
        method("com.atproto.repo.putRecord", CrewAdmin, post(put_record::put_record)),
        method("com.atproto.repo.uploadBlob", CrewAdmin, upload_blob),
        method("com.atproto.server.describeServer", Everyone, get(describe_server)),
        method("com.atproto.sync.getBlob", Reader, get_blob),
        method("com.atproto.sync.getBlocks", Everyone, get(get_blocks::get_blocks)),
        method("com.atproto.sync.getLatestCommit", Everyone, get(get_latest_commit::get_latest_commit)),
        method("com.atproto.sync.getRecord", Everyone, get(sync_get_record::get_record)),
        method("com.atproto.sync.getRepo", Everyone, get(get_repo::get_repo)),
        method("com.atproto.sync.getRepoStatus", Everyone, get(get_repo_status::get_repo_status)),
        method("com.atproto.sync.listBlobs", Everyone, get(list_blobs::list_blobs)),
        method("com.atproto.sync.listRepos", Everyone, get(list_repos::list_repos)),
        method("com.atproto.sync.listReposByCollection", Everyone, get(list_repos_by_collection::list_repos_by_collection)),
        method("com.atproto.sync.subscribeRepos", Everyone, get(subscribe_repos::subscribe_repos)),
        method("io.atcr.hold.abortUpload", Writer, post(abort_upload::abort_upload)),
        method("io.atcr.hold.completeUpload", Writer, post(complete_upload::complete_upload)),
        method("io.atcr.hold.deleteUserData", SignedIn, post(delete_user_data::delete_user_data)),
        method("io.atcr.hold.exportUserData", SignedIn, get(export_user_data::export_user_data)),
        method("io.atcr.hold.getPartUploadUrl", Writer, post(get_part_upload_url::get_part_upload_url)),
        method("io.atcr.hold.getQuota", Everyone, get(get_quota::get_quota)),
        method("io.atcr.hold.initiateUpload", Writer, post(initiate_upload::initiate_upload)),
        method("io.atcr.hold.listTiers", Everyone, get(list_tiers::list_tiers)),
        method("io.atcr.hold.notifyManifest", Notifier, notify_manifest),
        method("io.atcr.hold.requestCrew", SignedIn, post(request_crew::request_crew)),
        method("io.atcr.hold.subscribeScanJobs", Scanner, get(subscribe_scan_jobs::subscribe_scan_jobs)),
        method("io.atcr.hold.updateCrewTier", AppView, post(update_crew_tier::update_crew_tier)),
    ]
}

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
    /// The gate that counts requests without a token by address, except those that load balancers and browsers send on
    /// their own.
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

    /// The same gate for methods that look at no token: a header that nothing checks does not make a caller an account.
    fn gate_for_everyone(&self) -> Arc<AddressGate> {
        Arc::new(AddressGate {
            counts: |request| request.method() != Method::OPTIONS,
            ..AddressGate::clone(&self.anonymous)
        })
    }
}

/// The hold's routes. `others` are the pages, and those of a store that serves its own URLs, whose requests are not counted: their
/// signature was given to a caller who was.
pub fn router(state: AppState, others: Router, front: Front) -> Router {
    // Inside CORS, so that a page of another origin can read the refusal.
    let for_everyone = middleware::from_fn_with_state(front.gate_for_everyone(), address_gate::layer);
    let counted = middleware::from_fn_with_state(front.anonymous, address_gate::layer);
    let xrpc = xrpc_methods()
        .into_iter()
        .fold(Router::new(), |router, method| {
            let handler = match method.door {
                Door::Everyone => method.handler.layer(for_everyone.clone()),
                _ => method.handler.layer(counted.clone()),
            };
            router.route(&format!("/{}", method.nsid), handler)
        })
        .fallback(async || EdgeError::MethodNotImplemented)
        .method_not_allowed_fallback(async || EdgeError::WrongVerb)
        .layer(DefaultBodyLimit::max(MAX_JSON_BODY))
        .layer(cors());
    let well_known = Router::new()
        .route("/did.json", get(well_known::did_document))
        .route("/atproto-did", get(well_known::atproto_did))
        .layer(counted.clone())
        .layer(cors());

    let scans = Router::new()
        .route("/scans/{digest}", get(scans::scan))
        .route("/scans/{digest}/{document}", get(scans::document))
        .layer(counted.clone())
        .layer(cors());
    // It bounds its body itself.
    let receive_document = put(scans::receive).layer(DefaultBodyLimit::disable());

    Router::new()
        .route("/robots.txt", get(well_known::robots_txt))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/scan-results/{seq}/{document}", receive_document)
        .route("/repository-blobs/{digest}", delete(repository_blobs::delete))
        .layer(counted)
        .merge(scans)
        .nest("/.well-known", well_known)
        .nest("/xrpc", xrpc)
        .with_state(state)
        .merge(others)
        .layer(middleware::from_fn_with_state(
            front.proxies,
            client_address::layer,
        ))
        .layer(RequestBodyTimeoutLayer::new(front.read_timeout))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(request_log::layer))
}

/// What a hold that is built without pages has in their place.
#[cfg(not(feature = "pages"))]
pub fn without_pages(state: &AppState) -> Router {
    Router::new()
        .route("/", get(well_known::landing))
        .with_state(state.identity.clone())
}

/// A page of any origin may call XRPC methods and read the hold's identity, since none of these is authorised by a cookie. All
/// other routes are for the hold's own pages.
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
            DPOP,
            HeaderName::from_static("x-upload-id"),
            HeaderName::from_static("x-part-number"),
            HeaderName::from_static("x-atcr-content-proof"),
        ])
        .expose_headers([
            header::ETAG,
            header::CONTENT_RANGE,
            header::RETRY_AFTER,
            header::WWW_AUTHENTICATE,
            DPOP_NONCE,
            X_REQUEST_ID,
        ])
}
