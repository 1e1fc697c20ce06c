//! `com.atproto.sync.getBlob`: where an OCI blob can be read, and the bytes of a blob of the hold's own records.

use std::sync::Arc;

use atcr_atproto::lexicon::BlobRef;
use atcr_atproto::lexicon::hold_upload::BlobUrlOutput;
use atcr_atproto::syntax::{Cid, Did};
use atcr_hold_pds::access::{BlobRead, Granted};
use atcr_hold_pds::identity::HoldIdentity;
use atcr_oci::Digest;
use atcr_scan_protocol::DocumentKind;
use atcr_server::client_address::ClientAddress;
use axum::Json;
use axum::body::Body;
use axum::extract::{FromRef, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    LOCATION, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::require_own;
use crate::blobs::{BlobError, DownloadMethod};
use crate::edge::auth::{Reader, TokenVerifier};
use crate::edge::error::EdgeError;
use crate::edge::extract::XrpcQuery;
use crate::gc::Gc;
use crate::guarded_blobs::GuardedBlobs;
use crate::repo_blobs::RepoBlobs;
use crate::state::AppState;

/// The hold does not know what an OCI blob contains.
const OPAQUE: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// A signed URL is a credential, and short-lived.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Records' blobs come from whoever wrote the record. A browser that is sent to one shows it in no page of the hold's.
const HARMLESS: [(HeaderName, HeaderValue); 3] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; sandbox"),
    ),
    (CONTENT_DISPOSITION, HeaderValue::from_static("attachment")),
];

/// The blob, and the method for which its URL is requested. `did` is the image's owner; with `repository`, which is no part of the
/// lexicon, a blob that was deleted from that repository is not there. Of a blob of the hold's own records `did` is the hold.
#[derive(Debug, Deserialize)]
pub struct Input {
    did: Option<String>,
    cid: String,
    repository: Option<String>,
    method: Option<String>,
}

/// What both methods answer from.
#[derive(Clone, Debug)]
pub struct Sources {
    identity: Arc<HoldIdentity>,
    tokens: TokenVerifier,
    blobs: GuardedBlobs,
    repo_blobs: RepoBlobs,
    gc: Gc,
}

impl FromRef<AppState> for Sources {
    fn from_ref(state: &AppState) -> Self {
        Self {
            identity: state.identity.clone(),
            tokens: state.tokens.clone(),
            blobs: state.blobs.clone(),
            repo_blobs: state.repo_blobs.clone(),
            gc: state.gc.clone(),
        }
    }
}

/// `GET`: a URL for the method named, or without one a redirect to the bytes; the bytes of a record's blob.
pub async fn get_blob(
    State(sources): State<Sources>,
    reader: Result<Reader, EdgeError>,
    parts: Parts,
    XrpcQuery(input): XrpcQuery<Input>,
) -> Result<Response, EdgeError> {
    if let Some(cid) = record_blob(&sources, &input)? {
        let reference = sources.repo_blobs.stat(&cid).await?;
        let reference = reference.ok_or(EdgeError::BlobNotFound)?;
        require_reader(&reference, reader)?;
        let blob = sources
            .repo_blobs
            .read(&cid, parts.extensions.get::<ClientAddress>())
            .await?
            .ok_or(EdgeError::BlobNotFound)?;
        let headers = described(&blob.reference);
        return Ok((headers, HARMLESS, Body::from_stream(blob.slot.bound(blob.bytes))).into_response());
    }
    let digest = digest(&input)?;
    let Reader(grant) = reader?;
    note_promise(&sources, &input).await?;
    require_linked(&sources, &input, &digest).await?;
    let Sources { blobs, tokens, .. } = sources;
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
    State(sources): State<Sources>,
    reader: Result<Reader, EdgeError>,
    parts: Parts,
    XrpcQuery(input): XrpcQuery<Input>,
) -> Result<Response, EdgeError> {
    if let Some(cid) = record_blob(&sources, &input)? {
        let blob = sources
            .repo_blobs
            .stat(&cid)
            .await?
            .ok_or(EdgeError::BlobNotFound)?;
        require_reader(&blob, reader)?;
        return Ok((described(&blob), HARMLESS, Body::empty()).into_response());
    }
    if input.method.is_some() {
        return get_blob(State(sources), reader, parts, XrpcQuery(input)).await;
    }
    let digest = digest(&input)?;
    let Reader(grant) = reader?;
    note_promise(&sources, &input).await?;
    require_linked(&sources, &input, &digest).await?;
    let Sources { blobs, tokens, .. } = sources;
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

/// The image's owner may name in a manifest what is said to be here.
async fn note_promise(sources: &Sources, input: &Input) -> Result<(), EdgeError> {
    let Some(Ok(did)) = input.did.as_ref().map(|did| did.parse::<Did>()) else {
        return Ok(());
    };
    let noted = sources.gc.note_promise(&did).await;
    Ok(noted.map_err(BlobError::from)?)
}

/// A blob that was deleted from the repository in whose name it is asked for is not there.
async fn require_linked(sources: &Sources, input: &Input, digest: &Digest) -> Result<(), EdgeError> {
    let (Some(did), Some(repository)) = (&input.did, &input.repository) else {
        return Ok(());
    };
    let Ok(did) = did.parse::<Did>() else {
        return Ok(());
    };
    if sources
        .gc
        .is_unlinked(&did, repository, digest)
        .await
        .map_err(BlobError::from)?
    {
        return Err(EdgeError::BlobNotFound);
    }
    Ok(())
}

/// The digest of an OCI blob.
fn digest(input: &Input) -> Result<Digest, EdgeError> {
    input.cid.parse().map_err(|_| EdgeError::InvalidDigest)
}

/// The CID of a blob of the hold's own records, which are public even if the images are not; `None` for a digest.
fn record_blob(sources: &Sources, input: &Input) -> Result<Option<Cid>, EdgeError> {
    if input.cid.contains(':') {
        return Ok(None);
    }
    if let Some(did) = &input.did {
        require_own(&sources.identity, did)?;
    }
    let cid = input.cid.parse().map_err(|_| EdgeError::InvalidRequest {
        message: "cid is neither a CID nor a digest".to_owned(),
    })?;
    Ok(Some(cid))
}

/// What was found in an image is for those who may read the image, also if a record names it that was written while the hold was public.
fn require_reader(blob: &BlobRef, reader: Result<Reader, EdgeError>) -> Result<(), EdgeError> {
    let is_document = DocumentKind::ALL
        .iter()
        .any(|kind| kind.media_type() == blob.mime_type);
    if is_document {
        reader?;
    }
    Ok(())
}

fn described(blob: &BlobRef) -> [(HeaderName, HeaderValue); 2] {
    let media_type = HeaderValue::from_str(&blob.mime_type).unwrap_or(OPAQUE);
    [
        (CONTENT_TYPE, media_type),
        (CONTENT_LENGTH, HeaderValue::from(blob.size)),
    ]
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
