//! `/v2/_catalog`.

use atcr_oci::{Page, catalog_path, header, next_link};
use atcr_registry::access::GrantedCatalog;
use atcr_registry::account::catalog::Catalog;
use atcr_registry::error::RegistryError;
use axum::response::Response;
use http::StatusCode;

use crate::edge::response::{json, text_header, warning_header};

/// Answers a catalog request.
pub(super) async fn list(
    catalog: &Catalog,
    grant: &GrantedCatalog,
    page: &Page,
) -> Result<Response, RegistryError> {
    let listed = catalog.list(grant, page).await?;
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
