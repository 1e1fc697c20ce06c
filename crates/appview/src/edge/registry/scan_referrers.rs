//! Manifests and blobs that no account has: those of the referrers that are made of scans.

use std::time::Duration;

use atcr_atproto::syntax::Did;
use atcr_oci::header::DOCKER_CONTENT_DIGEST;
use atcr_oci::{BlobRequest, Digest, ManifestRequest, MediaType, Reference, response_headers};
use atcr_registry::access::{Caller, Granted, Permissions, Pull, Push};
use atcr_registry::context::RequestContext;
use atcr_registry::error::{BlobError, RegistryError};
use atcr_server::client_address::ClientAddress;
use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};

use crate::edge::response::with_headers;
use crate::scan_referrers::{Content, ScanReferrers};
use crate::scans::NoDocument;

/// When what this server has no memory for now is to be asked for again.
const AGAIN: Duration = Duration::from_secs(10);

/// Answers a request for the manifest of such a referrer; `None` for any other.
///
/// # Errors
/// If the caller may not read here.
pub(super) async fn manifest(
    scans: &ScanReferrers,
    permissions: &Permissions,
    request: &ManifestRequest,
    (caller, context): (&Caller, &RequestContext),
) -> Result<Option<Response>, RegistryError> {
    let (reference, has_body) = match request {
        ManifestRequest::Get { reference } => (reference, true),
        ManifestRequest::Head { reference } => (reference, false),
        ManifestRequest::Put { .. } | ManifestRequest::Delete { .. } => return Ok(None),
    };
    let Reference::Digest(digest) = reference else {
        return Ok(None);
    };
    let Some(bytes) = scans.manifest((&context.owner.did, context.repository()), digest) else {
        return Ok(None);
    };
    let _granted: Granted<Pull> = permissions.grant(caller, context).await?;
    let headers = response_headers::manifest(&MediaType::OCI_IMAGE_MANIFEST, digest, bytes.len() as u64);
    let body = if has_body {
        Body::from(bytes)
    } else {
        Body::empty()
    };
    Ok(Some(with_headers(StatusCode::OK, headers, body)))
}

/// Answers a request for what such a manifest names; `None` for any other. Who may push asks whether a blob has to be sent, and it has to:
/// it is no blob of the repository.
///
/// # Errors
/// If the caller may not read here, or the hold does not give it.
pub(super) async fn blob(
    scans: &ScanReferrers,
    permissions: &Permissions,
    request: &BlobRequest,
    (caller, client, context): (&Caller, &ClientAddress, &RequestContext),
) -> Result<Option<Response>, RegistryError> {
    let (digest, has_body) = match request {
        BlobRequest::Get { digest } => (digest, true),
        BlobRequest::Head { digest } => (digest, false),
        BlobRequest::Delete { .. } => return Ok(None),
    };
    let Some(size) = scans.size((&context.owner.did, context.repository()), digest) else {
        return Ok(None);
    };
    if !has_body {
        if permissions.grant::<Push>(caller, context).await.is_ok() {
            return Ok(None);
        }
        let _granted: Granted<Pull> = permissions.grant(caller, context).await?;
        return answered(size, digest, Body::empty()).map(Some);
    }
    let grant: Granted<Pull> = permissions.grant(caller, context).await?;
    let of: (&Did, &str) = (&context.owner.did, context.repository());
    let content = scans.content((grant.principal(), client), of, digest).await;
    match content.map_err(|error| not_given(&error, digest))? {
        None => Ok(None),
        Some(Content::Bytes(bytes)) => answered(bytes.len() as u64, digest, Body::from(bytes)).map(Some),
        Some(Content::Download(download)) => {
            let len = download.length as u64;
            answered(len, digest, Body::from_stream(download.into_stream())).map(Some)
        }
    }
}

fn not_given(error: &NoDocument, digest: &Digest) -> RegistryError {
    match error {
        NoDocument::Busy | NoDocument::BeingRead => RegistryError::TooManyRequests { retry_after: AGAIN },
        NoDocument::None | NoDocument::Silent(_) | NoDocument::TooLong | NoDocument::Unreadable => {
            RegistryError::Blob(BlobError::Unknown {
                digest: digest.clone(),
            })
        }
    }
}

fn answered(len: u64, digest: &Digest, body: Body) -> Result<Response, RegistryError> {
    let response = Response::builder()
        .header(CONTENT_TYPE, "application/octet-stream")
        .header(CONTENT_LENGTH, len)
        .header(ACCEPT_RANGES, "none")
        .header(CACHE_CONTROL, "private, no-store")
        .header(DOCKER_CONTENT_DIGEST, digest.to_string());
    response.body(body).map_err(|error| RegistryError::Internal {
        what: error.to_string(),
    })
}
