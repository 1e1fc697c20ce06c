//! Scans beside the lexicons: what readers are told, and where scanners upload documents.

use atcr_atproto::lexicon::BlobRef;
use atcr_oci::Digest;
use atcr_scan_protocol::{DocumentKind, ScanView, UploadReceipt};
use atcr_server::client_address::ClientAddress;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};

use super::auth::Reader;
use super::error::EdgeError;
use super::scanner::Scanner;
use crate::scanning::Scanning;

/// `GET`: what is known about the scan of a manifest.
pub async fn scan(
    State(scanning): State<Scanning>,
    Reader(grant): Reader,
    Path(digest): Path<String>,
) -> Result<([(HeaderName, HeaderValue); 1], Json<ScanView>), EdgeError> {
    let digest: Digest = digest.parse().map_err(|_| EdgeError::InvalidDigest)?;
    let view = scanning.view(&grant, &digest).await?;
    Ok((
        [(CACHE_CONTROL, HeaderValue::from_static("no-store"))],
        Json(view),
    ))
}

/// `GET`: a document of its last result.
pub async fn document(
    State(scanning): State<Scanning>,
    Reader(grant): Reader,
    Path((digest, document)): Path<(String, String)>,
    client: Option<Extension<ClientAddress>>,
) -> Result<Response, EdgeError> {
    let digest: Digest = digest.parse().map_err(|_| EdgeError::InvalidDigest)?;
    let kind: DocumentKind = document.parse().map_err(|_| EdgeError::BlobNotFound)?;
    let client = client.map(|Extension(client)| client);
    let blob = scanning.document(&grant, &digest, kind, client.as_ref()).await?;
    let blob = blob.ok_or(EdgeError::BlobNotFound)?;
    let headers = headers(kind, &blob.reference);
    Ok((headers, Body::from_stream(blob.slot.bound(blob.bytes))).into_response())
}

/// The content is a stranger's: no browser shows it as a page of the hold.
fn headers(kind: DocumentKind, blob: &BlobRef) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind.media_type()));
    if blob.mime_type != kind.media_type() {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(blob.size));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let sandbox = HeaderValue::from_static("default-src 'none'; sandbox");
    headers.insert(CONTENT_SECURITY_POLICY, sandbox);
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{}\"", blob.cid)) {
        headers.insert(ETAG, etag);
    }
    headers
}

/// `PUT`: a document of the scan with this number.
pub async fn receive(
    State(scanning): State<Scanning>,
    _: Scanner,
    Path((seq, document)): Path<(u64, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<UploadReceipt>, EdgeError> {
    let kind: DocumentKind = document.parse().map_err(|_| EdgeError::BlobNotFound)?;
    let encoding = headers.get(CONTENT_ENCODING);
    if encoding.is_none_or(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"gzip")) {
        return Err(EdgeError::InvalidRequest {
            message: "Content-Encoding must be gzip".to_owned(),
        });
    }
    let receipt = scanning.receive(seq, kind, body.into_data_stream()).await?;
    Ok(Json(receipt))
}
