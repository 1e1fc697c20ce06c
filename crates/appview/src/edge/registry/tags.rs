//! `/v2/<name>/tags/list`.

use atcr_oci::{Page, header, next_link, tags_path};
use atcr_registry::access::{Granted, Pull};
use atcr_registry::error::RegistryError;
use atcr_registry::manifest::Manifests;
use axum::response::Response;
use http::StatusCode;

use crate::edge::response::{json, text_header, warning_header};

/// Answers a tags request.
pub(super) async fn list(
    manifests: &Manifests,
    grant: &Granted<Pull>,
    page: &Page,
) -> Result<Response, RegistryError> {
    let name = &grant.context().name;
    let listed = manifests.list_tags(grant, page).await?;
    let mut response = json(StatusCode::OK, &listed.body);
    if let Some(last) = listed.next {
        let link = next_link(&tags_path(name), &last, listed.body.tags.len());
        text_header(response.headers_mut(), header::LINK, &link);
    }
    if let Some(warning) = listed.coverage.warning() {
        warning_header(response.headers_mut(), &warning);
    }
    Ok(response)
}
