//! `/v2/<name>/referrers/<digest>`.

use atcr_oci::{RegistryRequest, response_headers};
use atcr_registry::access::Pull;
use atcr_registry::error::RegistryError;
use axum::body::Body;
use axum::response::Response;
use http::StatusCode;

use super::RegistryCall;
use crate::edge::response::{warning_header, with_headers};
use crate::state::AppState;

/// Answers a referrers request.
pub(super) async fn handle(state: &AppState, call: RegistryCall) -> Result<Response, RegistryError> {
    let RegistryRequest::Referrers {
        digest,
        artifact_type,
        ..
    } = &call.request
    else {
        return Err(RegistryError::Internal {
            what: "not a referrers request".to_owned(),
        });
    };
    let grant = call.grant::<Pull>()?;
    let listed = state
        .manifests
        .list_referrers(&grant, digest, artifact_type.as_deref())
        .await?;
    let body = serde_json::to_vec(&listed.body).map_err(|error| RegistryError::Internal {
        what: error.to_string(),
    })?;
    let headers = response_headers::referrers(artifact_type.is_some());
    let mut response = with_headers(StatusCode::OK, headers, Body::from(body));
    if let Some(warning) = listed.coverage.warning() {
        warning_header(response.headers_mut(), &warning);
    }
    Ok(response)
}
