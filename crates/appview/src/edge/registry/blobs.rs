//! Blobs: `GET`, `HEAD` and `DELETE /v2/<name>/blobs/<digest>`.
//!
//! A `GET` is answered with a redirect to the hold's store, so that the bytes do not pass through here and ranges are the store's
//! business. Clients that cannot follow it get the whole blob from here: signed-in ones that send [`BLOB_DELIVERY`]` : proxy`, and those whose
//! `User-Agent` the operator has listed.

use atcr_auth::principal::Principal;
use atcr_oci::header::DOCKER_CONTENT_DIGEST;
use atcr_oci::{BlobRequest, Digest};
use atcr_registry::access::{Delete, Granted, Permissions, Pull, Push};
use atcr_registry::blob::Blobs;
use atcr_registry::error::RegistryError;
use axum::body::Body;
use axum::response::Response;
use http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderName, StatusCode};

use super::RegistryCall;

/// Request header by which a client chooses how it gets a blob: `proxy` for the bytes from here, anything else for a redirect.
pub const BLOB_DELIVERY: HeaderName = HeaderName::from_static("x-atcr-blob-delivery");

/// Blobs are bytes; what they mean is said by the manifest.
const OCTET_STREAM: &str = "application/octet-stream";

/// Answers a request about a blob.
///
/// # Errors
/// Those of [`Blobs`].
pub async fn answer(
    blobs: &Blobs,
    permissions: &Permissions,
    request: BlobRequest,
    call: RegistryCall,
) -> Result<Response, RegistryError> {
    match request {
        BlobRequest::Head { digest } => {
            // A caller who may push asks whether the blob has to be sent; every other caller, whether it can be read.
            let size = match call.grant::<Push>(permissions).await {
                Ok(grant) => blobs.size_for_push(&grant, &digest).await?,
                Err(_) => blobs.size(&call.grant(permissions).await?, &digest).await?,
            };
            head(size, &digest)
        }
        BlobRequest::Get { digest } => {
            get(blobs, &call.grant(permissions).await?, &digest, &call.headers).await
        }
        BlobRequest::Delete { digest } => {
            blobs
                .delete(&call.grant::<Delete>(permissions).await?, &digest)
                .await?;
            finish(Response::builder().status(StatusCode::ACCEPTED), Body::empty())
        }
    }
}

fn head(size: u64, digest: &Digest) -> Result<Response, RegistryError> {
    let response = Response::builder()
        .header(CONTENT_TYPE, OCTET_STREAM)
        .header(CONTENT_LENGTH, size)
        .header(ACCEPT_RANGES, "bytes")
        .header(DOCKER_CONTENT_DIGEST, digest.to_string());
    finish(response, Body::empty())
}

async fn get(
    blobs: &Blobs,
    grant: &Granted<Pull>,
    digest: &Digest,
    headers: &HeaderMap,
) -> Result<Response, RegistryError> {
    if wants_proxy(blobs, grant.principal(), headers) {
        return proxied(blobs, grant, digest).await;
    }
    let url = blobs.url(grant, digest).await?;
    let response = Response::builder()
        .status(StatusCode::TEMPORARY_REDIRECT)
        .header(LOCATION, url.expose().as_str())
        // The URL is the caller's alone and ends soon.
        .header(CACHE_CONTROL, "private, no-store")
        .header(DOCKER_CONTENT_DIGEST, digest.to_string());
    finish(response, Body::empty())
}

/// The whole blob: a part of it cannot be checked, so a `Range` is passed over, as RFC 9110 §14.2 lets a server do.
async fn proxied(blobs: &Blobs, grant: &Granted<Pull>, digest: &Digest) -> Result<Response, RegistryError> {
    let download = blobs.open(grant, digest).await?;
    let mut response = Response::builder()
        .header(CONTENT_TYPE, OCTET_STREAM)
        .header(ACCEPT_RANGES, "none")
        .header(DOCKER_CONTENT_DIGEST, digest.to_string());
    if let Some(len) = download.len {
        response = response.header(CONTENT_LENGTH, len);
    }
    finish(response, Body::from_stream(download.bytes))
}

/// Whether the client gets the bytes from here: a signed-in one that asks for it, or one that the operator has listed.
fn wants_proxy(blobs: &Blobs, principal: &Principal, headers: &HeaderMap) -> bool {
    let asks =
        || text(headers, &BLOB_DELIVERY).is_some_and(|delivery| delivery.eq_ignore_ascii_case("proxy"));
    (principal.did().is_some() && asks())
        || text(headers, &USER_AGENT).is_some_and(|agent| blobs.wants_proxy(agent))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn finish(response: http::response::Builder, body: Body) -> Result<Response, RegistryError> {
    response.body(body).map_err(|error| RegistryError::Internal {
        what: error.to_string(),
    })
}
