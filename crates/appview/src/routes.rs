//! Every route on one page.

use atcr_server::{health, request_log};
use atcr_web::{assets, origin, security_headers};
use axum::Router;
use axum::middleware;
use axum::routing::{any, delete, get, post};

use crate::edge::pages::{
    approve_device, crawlers, devices, gallery, home, images, install, learn_more, not_found, settings,
};
use crate::edge::{api, credential_helper, device, limits, oauth, panics, registry, token, well_known};
use crate::state::AppState;

/// The router of the main listener.
///
/// Bodies are bounded where they are read, since a blob may have any size; what is awaited from other servers is bounded by the
/// adapters' time limits.
pub fn router(state: AppState) -> Router {
    Router::new()
        // Container clients.
        .route("/v2", any(registry::serve))
        .route("/v2/", any(registry::serve))
        .route("/v2/{*rest}", any(registry::serve))
        .route("/auth/token", get(token::serve).post(token::serve))
        // The credential helper.
        .merge(device_flow(&state))
        .route("/api/credential-helper/version", get(credential_helper::version))
        .route("/dist/{file}", get(credential_helper::file))
        .route("/install.sh", get(install::shell))
        .route("/install.ps1", get(install::powershell))
        .route("/static/install.sh", get(install::shell))
        .route("/static/install.ps1", get(install::powershell))
        // Browsers.
        .merge(pages(&state))
        .merge(forms(&state))
        .merge(json(&state))
        .route("/static/{hash}/{name}", get(assets::serve))
        .route("/robots.txt", get(crawlers::robots))
        // Other servers.
        .route("/.well-known/did.json", get(well_known::did_json))
        .route(
            "/oauth-client-metadata.json",
            get(oauth::client_metadata::metadata),
        )
        .route("/client-metadata.json", get(oauth::client_metadata::metadata))
        .route("/oauth-jwks.json", get(oauth::client_metadata::jwks))
        // Operators.
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .fallback(not_found::serve)
        .layer(middleware::from_fn_with_state(state.clone(), panics::layer))
        .layer(middleware::from_fn_with_state(
            state.clone(),
            security_headers::layer,
        ))
        .layer(middleware::from_fn(request_log::layer))
        .with_state(state)
}

/// What the credential helper signs a device in with.
fn device_flow(state: &AppState) -> Router<AppState> {
    Router::new()
        .route("/auth/device/code", post(device::code))
        .route("/auth/device/token", post(device::token))
        .route("/auth/device/revoke", post(device::revoke))
        .route_layer(middleware::from_fn_with_state(
            state.clone(),
            limits::of_device_flow,
        ))
}

/// What forms of pages send.
fn forms(state: &AppState) -> Router<AppState> {
    Router::new()
        .route("/auth/logout", post(oauth::logout::serve))
        .route("/device/approve", post(approve_device::decide))
        .route("/settings/devices/{id}/revoke", post(settings::revoke_device))
        .route("/r/{identity}/{*rest}", post(images::submit))
        .route("/settings/storage/hold", post(settings::storage::choose))
        .route(
            "/settings/storage/auto-remove",
            post(settings::storage::auto_remove),
        )
        .route("/settings/data/export", post(settings::data::export))
        .route("/settings/data/delete", post(settings::data::delete))
        .route(
            "/settings/sign-out-everywhere",
            post(settings::sign_out_everywhere),
        )
        .route_layer(middleware::from_fn_with_state(state.clone(), limits::of_pages))
}

/// What programs in a browser ask for.
fn json(state: &AppState) -> Router<AppState> {
    Router::new()
        .route("/api/devices", get(devices::list))
        .route("/api/devices/{id}", delete(devices::revoke))
        .route("/api/v1/openapi.json", get(api::description))
        .route("/api/v1/search", get(api::search))
        .route("/api/v1/u/{identity}", get(api::account))
        .route("/api/v1/r/{identity}/{*rest}", get(api::repository))
        .route_layer(middleware::from_fn_with_state(state.clone(), limits::of_json))
}

/// What people have in their address bar.
fn pages(state: &AppState) -> Router<AppState> {
    let sign_in = get(oauth::login::page).post(oauth::login::start);
    Router::new()
        .route("/", get(home::page))
        .route("/search", get(images::search::page))
        .route("/affected", get(images::affected::page))
        .route("/u/{identity}", get(images::user::repositories))
        .route("/u/{identity}/-/stars", get(images::user::stars))
        .route("/r/{identity}/{*rest}", get(images::serve))
        .route("/api/scan-result", get(images::scans::result))
        .route("/api/scan-badge", get(images::scans::badge))
        .route("/api/vuln-details", get(images::scans::details))
        .route("/api/scan-diff", get(images::diff::scans))
        .route("/api/sbom", get(images::scans::sbom))
        .route("/install", get(install::page))
        .route("/learn-more", get(learn_more::page))
        .route("/sitemap.xml", get(crawlers::index))
        .route("/sitemap/{file}", get(crawlers::map))
        .route("/components", get(gallery::page))
        .route("/device", get(approve_device::page))
        .route("/settings", get(settings::page))
        .route("/settings/storage", get(settings::storage::page))
        .route(
            "/settings/appearance",
            get(settings::appearance::page).post(settings::appearance::save),
        )
        .route("/settings/data", get(settings::data::page))
        .route("/auth/oauth/login", sign_in.clone())
        .route("/auth/oauth/authorize", sign_in)
        .route("/auth/oauth/callback", get(oauth::callback::serve))
        .route_layer(middleware::from_fn_with_state(state.clone(), origin::layer))
        .route_layer(middleware::from_fn_with_state(state.clone(), limits::of_pages))
}
