//! `/v2/<name>/tags/list`.

use atcr_oci::{RegistryRequest, header, next_link, tags_path};
use atcr_registry::access::Pull;
use atcr_registry::error::RegistryError;
use axum::response::Response;
use http::StatusCode;

use super::RegistryCall;
use crate::edge::response::{json, text_header, warning_header};
use crate::state::AppState;

/// Answers a tags request.
pub(super) async fn handle(state: &AppState, call: RegistryCall) -> Result<Response, RegistryError> {
    let RegistryRequest::Tags { name, page } = &call.request else {
        return Err(RegistryError::Internal {
            what: "not a tags request".to_owned(),
        });
    };
    let listed = state.manifests.list_tags(&call.grant::<Pull>()?, page).await?;
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
