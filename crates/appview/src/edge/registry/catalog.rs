//! `/v2/_catalog`.

use atcr_oci::{Page, catalog_path, header, next_link};
use atcr_registry::error::RegistryError;
use axum::response::Response;
use http::StatusCode;

use super::principal::Caller;
use crate::edge::response::{json, text_header, warning_header};
use crate::state::AppState;

/// Answers a catalog request. A token must have been asked for `registry:catalog:*`.
pub(super) async fn handle(
    state: &AppState,
    caller: &Caller,
    page: &Page,
) -> Result<Response, RegistryError> {
    if let Some(claims) = &caller.claims
        && !claims
            .access
            .iter()
            .any(|entry| entry.resource_type == "registry" && entry.name == "catalog")
    {
        return Err(RegistryError::insufficient_scope());
    }
    let listed = state.catalog.list(&caller.principal, page).await?;
    let mut response = json(StatusCode::OK, &listed.body);
    if let Some(last) = listed.next {
        let link = next_link(&catalog_path(), &last, listed.body.repositories.len());
        text_header(response.headers_mut(), header::LINK, &link);
    }
    if let Some(warning) = listed.coverage.warning() {
        warning_header(response.headers_mut(), &warning);
    }
    Ok(response)
}
