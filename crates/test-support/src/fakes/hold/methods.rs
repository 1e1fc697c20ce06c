//! The methods of a hold.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::{Fault, HeadAnswer, Shared, StoreKind, Upload, UrlAnswer, break_connection, digest_like, error};

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/xrpc/io.atcr.hold.initiateUpload", post(initiate))
        .route("/xrpc/io.atcr.hold.getPartUploadUrl", post(part_url))
        .route("/xrpc/io.atcr.hold.completeUpload", post(complete))
        .route("/xrpc/io.atcr.hold.abortUpload", post(abort))
        .route("/xrpc/com.atproto.sync.getBlob", get(get_blob))
}

async fn initiate(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let input: Value = serde_json::from_slice(&body).unwrap_or_default();
    let size = input["size"]
        .as_u64()
        .map(|size| format!(" size={size}"))
        .unwrap_or_default();
    let mut inner = shared.note(format!("initiateUpload{size}"));
    if let Err(refusal) = inner.authorise(&headers, true) {
        return *refusal;
    }
    let id = format!("upload-{}", inner.next_id);
    inner.next_id += 1;
    inner.uploads.insert(id.clone(), Upload::default());
    let part = json!({
        "partNumber": 1, "url": shared.url(&format!("/store/parts/{id}/1?sig=secret")), "method": "PUT", "headers": {}
    });
    axum::Json(match inner.kind {
        StoreKind::Silent => json!({ "uploadId": id }),
        StoreKind::Streaming => json!({
            "uploadId": id, "part": part, "store": { "minPartSize": 0, "hashes": true, "streaming": true }
        }),
        StoreKind::Parts { min } => json!({
            "uploadId": id, "part": part, "store": { "minPartSize": min, "hashes": false, "streaming": false }
        }),
    })
    .into_response()
}

async fn part_url(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let input: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (id, number) = (
        input["uploadId"].as_str().unwrap_or_default(),
        &input["partNumber"],
    );
    let inner = shared.note(format!("getPartUploadUrl {number}"));
    if let Err(refusal) = inner.authorise(&headers, true) {
        return *refusal;
    }
    if !inner.uploads.contains_key(id) {
        return error(StatusCode::NOT_FOUND, "InvalidUploadId", "no such upload");
    }
    let url = shared.url(&format!("/store/parts/{id}/{number}?sig=secret"));
    axum::Json(json!({ "url": url, "method": "PUT", "headers": { "x-amz-meta-store": "please" } }))
        .into_response()
}

async fn complete(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let input: Value = serde_json::from_slice(&body).unwrap_or_default();
    let id = input["uploadId"].as_str().unwrap_or_default().to_owned();
    let digest = input["digest"].as_str().unwrap_or_default().to_owned();
    let proved = if headers.contains_key("x-atcr-content-proof") {
        " proof"
    } else {
        ""
    };
    let mut inner = shared.note(format!("completeUpload{proved}"));
    if let Err(refusal) = inner.authorise(&headers, true) {
        return *refusal;
    }
    let fault = inner.take_fault(|fault| matches!(fault, Fault::CompletionLost | Fault::CompletionStatus(_)));
    if let Some(Fault::CompletionStatus(status)) = fault {
        return StatusCode::from_u16(status)
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            .into_response();
    }
    let Some(upload) = inner.uploads.get(&id) else {
        return error(StatusCode::NOT_FOUND, "InvalidUploadId", "no such upload");
    };
    let named: Vec<(u64, &str)> = input["parts"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|part| {
            (
                part["partNumber"].as_u64().unwrap_or(0),
                part["etag"].as_str().unwrap_or_default(),
            )
        })
        .collect();
    let stored: Vec<(u64, &str)> = upload
        .parts
        .iter()
        .map(|(number, (etag, _))| (u64::from(*number), etag.as_str()))
        .collect();
    if named.is_empty() || named != stored {
        return error(
            StatusCode::BAD_REQUEST,
            "MissingParts",
            "the parts named are not the parts sent",
        );
    }
    let min = match inner.kind {
        StoreKind::Streaming => 0,
        StoreKind::Parts { min } => min,
        StoreKind::Silent => 5 * 1024 * 1024,
    };
    let sizes: Vec<u64> = upload
        .parts
        .values()
        .map(|(_, bytes)| bytes.len() as u64)
        .collect();
    if sizes[..sizes.len() - 1].iter().any(|size| *size < min) {
        inner.violations.push(format!("parts of {sizes:?} bytes"));
        return error(StatusCode::BAD_REQUEST, "CompletionFailed", "EntityTooSmall");
    }
    let bytes = upload
        .parts
        .values()
        .map(|(_, bytes)| bytes.as_ref())
        .collect::<Vec<&[u8]>>()
        .concat();
    inner.uploads.remove(&id);
    // A silent hold believes what it is told.
    if inner.kind != StoreKind::Silent && digest_like(&digest, &bytes) != digest {
        return error(StatusCode::BAD_REQUEST, "InvalidDigest", "other content");
    }
    inner.blobs.insert(digest.clone(), bytes.into());
    drop(inner);
    if fault == Some(Fault::CompletionLost) {
        break_connection();
    }
    axum::Json(json!({ "status": "completed", "digest": digest })).into_response()
}

async fn abort(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let input: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut inner = shared.note("abortUpload");
    if let Err(refusal) = inner.authorise(&headers, true) {
        return *refusal;
    }
    match inner
        .uploads
        .remove(input["uploadId"].as_str().unwrap_or_default())
    {
        Some(_) => axum::Json(json!({ "status": "aborted" })).into_response(),
        None => error(StatusCode::NOT_FOUND, "InvalidUploadId", "no such upload"),
    }
}

async fn get_blob(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<HashMap<String, String>>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let digest = query.get("cid").cloned().unwrap_or_default();
    let signed_for = query.get("method").cloned();
    let asked = signed_for
        .as_ref()
        .map_or_else(|| method.to_string(), |signed_for| format!("method={signed_for}"));
    let inner = shared.note(format!("getBlob {asked}"));
    let spelling = inner.spelling;
    if method == Method::HEAD && spelling.head == HeadAnswer::GetOnly {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    if let Err(refusal) = inner.authorise(&headers, false) {
        return *refusal;
    }
    let bytes = inner.blobs.get(&digest).cloned();
    if bytes.is_none() && !spelling.signs_blindly {
        return error(StatusCode::NOT_FOUND, "BlobNotFound", "no such blob");
    }
    let bytes = bytes.unwrap_or_default();
    let url = |signed_for: &str| match spelling.elsewhere {
        Some(elsewhere) => elsewhere.to_owned(),
        None => shared.url(&format!("/store/blobs/{digest}?sig=secret-{signed_for}")),
    };
    let redirect = |signed_for: &str| (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, url(signed_for))]);
    match (signed_for.as_deref(), spelling.url, spelling.head) {
        (Some(signed_for), UrlAnswer::Json, _) => {
            axum::Json(json!({ "url": url(signed_for) })).into_response()
        }
        (Some(_), UrlAnswer::Bytes, _) => {
            ([(CONTENT_TYPE, "application/octet-stream")], bytes).into_response()
        }
        (None, _, head) if method == Method::HEAD => match head {
            HeadAnswer::Length => {
                let length = (CONTENT_LENGTH, bytes.len().to_string());
                let kind = (CONTENT_TYPE, "application/octet-stream".to_owned());
                (StatusCode::OK, [length, kind]).into_response()
            }
            HeadAnswer::Json => axum::Json(json!({ "url": url("HEAD") })).into_response(),
            HeadAnswer::Redirect => redirect("HEAD").into_response(),
            HeadAnswer::RedirectSignedForGet | HeadAnswer::GetOnly => redirect("GET").into_response(),
        },
        (Some(_), UrlAnswer::Redirect, _) | (None, ..) => redirect("GET").into_response(),
    }
}
