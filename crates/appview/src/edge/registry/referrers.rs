//! `/v2/<name>/referrers/<digest>`.

use atcr_oci::{Digest, response_headers};
use atcr_registry::access::{Granted, Pull};
use atcr_registry::error::RegistryError;
use atcr_registry::manifest::Manifests;
use axum::body::Body;
use axum::response::Response;
use http::StatusCode;

use crate::edge::response::{warning_header, with_headers};
use crate::scan_referrers::ScanReferrers;

/// Answers a referrers request: what the owner has pushed, then the bills of materials that the image's hold tells of.
pub(super) async fn list(
    (manifests, scans): (&Manifests, &ScanReferrers),
    grant: &Granted<Pull>,
    digest: &Digest,
    artifact_type: Option<&str>,
) -> Result<Response, RegistryError> {
    let mut listed = manifests.list_referrers(grant, digest, artifact_type).await?;
    let context = grant.context();
    let of = (&context.owner.did, context.repository());
    match scans.list(grant.principal(), of, digest, artifact_type).await {
        Ok(made) => listed.body.manifests.extend(made),
        Err(error) => tracing::warn!(%error, "referrers are listed without what scans found"),
    }
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
