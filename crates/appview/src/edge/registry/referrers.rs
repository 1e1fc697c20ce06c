//! `/v2/<name>/referrers/<digest>`.

use atcr_oci::{Digest, response_headers};
use atcr_registry::access::{Granted, Pull};
use atcr_registry::error::RegistryError;
use atcr_registry::manifest::Manifests;
use axum::body::Body;
use axum::response::Response;
use http::StatusCode;

use crate::edge::response::{warning_header, with_headers};

/// Answers a referrers request.
pub(super) async fn list(
    manifests: &Manifests,
    grant: &Granted<Pull>,
    digest: &Digest,
    artifact_type: Option<&str>,
) -> Result<Response, RegistryError> {
    let listed = manifests.list_referrers(grant, digest, artifact_type).await?;
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
