//! `com.atproto.sync.getBlob`: where an OCI blob can be read.

use atcr_atproto::lexicon::hold_upload::BlobUrlOutput;
use atcr_atproto::syntax::Did;
use atcr_hold_pds::access::{BlobRead, Granted};
use atcr_oci::Digest;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::blobs::DownloadMethod;
use crate::edge::auth::{Reader, TokenVerifier};
use crate::edge::error::EdgeError;
use crate::edge::extract::XrpcQuery;
use crate::guarded_blobs::GuardedBlobs;

/// The hold does not know what an OCI blob contains.
const OPAQUE: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// A signed URL is a credential, and short-lived.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The blob, and the method for which its URL is requested. `did` is the image's owner and has no effect.
#[derive(Debug, Deserialize)]
pub struct Input {
    cid: String,
    method: Option<String>,
}

/// `GET`: a URL for the method named, or without one a redirect to the bytes.
pub async fn get_blob(
    State(blobs): State<GuardedBlobs>,
    State(tokens): State<TokenVerifier>,
    reader: Result<Reader, EdgeError>,
    parts: Parts,
    XrpcQuery(input): XrpcQuery<Input>,
) -> Result<Response, EdgeError> {
    let digest = digest(&input)?;
    let Reader(grant) = reader?;
    let wanted = method(&input)?;
    let caller = caller(&blobs, &tokens, &grant, &parts, &digest).await?;
    let url = blobs
        .download_url(
            &grant,
            caller.as_ref(),
            &digest,
            wanted.unwrap_or(DownloadMethod::Get),
        )
        .await?
        .ok_or(EdgeError::BlobNotFound)?
        .url;
    let response = match wanted {
        Some(_) => Json(BlobUrlOutput { url: url.into() }).into_response(),
        None => (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, String::from(url))]).into_response(),
    };
    Ok(([(CACHE_CONTROL, NO_STORE)], response).into_response())
}

/// `HEAD`: the blob's size; with a method named, the head of what `GET` would answer.
pub async fn head_blob(
    State(blobs): State<GuardedBlobs>,
    State(tokens): State<TokenVerifier>,
    reader: Result<Reader, EdgeError>,
    parts: Parts,
    XrpcQuery(input): XrpcQuery<Input>,
) -> Result<Response, EdgeError> {
    if input.method.is_some() {
        return get_blob(State(blobs), State(tokens), reader, parts, XrpcQuery(input)).await;
    }
    let digest = digest(&input)?;
    let Reader(grant) = reader?;
    let caller = caller(&blobs, &tokens, &grant, &parts, &digest).await?;
    let blob = blobs
        .stat(&grant, caller.as_ref(), &digest)
        .await?
        .ok_or(EdgeError::BlobNotFound)?;
    let headers = [
        (CONTENT_TYPE, OPAQUE),
        (CONTENT_LENGTH, HeaderValue::from(blob.size)),
    ];
    Ok((headers, Body::empty()).into_response())
}

/// Who asks, if that matters. A public hold looks at a token only for a blob that is promised to an account; there an invalid token
/// is passed over, as any is.
async fn caller(
    blobs: &GuardedBlobs,
    tokens: &TokenVerifier,
    grant: &Granted<BlobRead>,
    parts: &Parts,
    digest: &Digest,
) -> Result<Option<Did>, EdgeError> {
    if let Some(caller) = grant.subject() {
        return Ok(Some(caller.clone()));
    }
    if !parts.headers.contains_key(AUTHORIZATION) || !blobs.is_promised(grant, digest).await? {
        return Ok(None);
    }
    match tokens.signed_in(parts).await {
        Ok(did) => Ok(Some(did)),
        Err(error) => {
            tracing::debug!(%error, "the token of a reader of a public hold is passed over");
            Ok(None)
        }
    }
}

/// The digest of an OCI blob. A CID would name a blob of the hold's own records, which have none.
fn digest(input: &Input) -> Result<Digest, EdgeError> {
    if input.cid.contains(':') {
        input.cid.parse().map_err(|_| EdgeError::InvalidDigest)
    } else {
        Err(EdgeError::BlobNotFound)
    }
}

fn method(input: &Input) -> Result<Option<DownloadMethod>, EdgeError> {
    match input.method.as_deref() {
        None => Ok(None),
        Some("GET") => Ok(Some(DownloadMethod::Get)),
        Some("HEAD") => Ok(Some(DownloadMethod::Head)),
        Some(_) => Err(EdgeError::InvalidRequest {
            message: "method must be GET or HEAD".to_owned(),
        }),
    }
}
