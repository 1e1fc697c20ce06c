//! The store behind a hold, by signed URL.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, ETAG, RANGE, TRANSFER_ENCODING};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, put};
use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};

use super::{Fault, Shared, StoreKind, break_connection, hex};

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/store/parts/{upload}/{number}", put(put_part))
        .route("/store/blobs/{digest}", any(store_blob))
}

async fn put_part(
    State(shared): State<Arc<Shared>>,
    Path((id, number)): Path<(String, u32)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let (fault, kind) = {
        let mut inner = shared.note(format!("part {number}"));
        if headers.contains_key(AUTHORIZATION) {
            inner.violations.push(format!("part {number} came with a token"));
        }
        let fault = inner.take_fault(|fault| match fault {
            Fault::PartStatus { number: at, .. } | Fault::PartBreaks { number: at } => *at == number,
            _ => false,
        });
        (fault, inner.kind)
    };
    if kind != StoreKind::Streaming && headers.contains_key(TRANSFER_ENCODING) {
        shared
            .lock()
            .violations
            .push(format!("part {number} came without its length"));
        return StatusCode::LENGTH_REQUIRED.into_response();
    }
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::new();
    if let Some(Fault::PartBreaks { .. }) = fault {
        let _ = stream.next().await;
        break_connection();
    }
    while let Some(piece) = stream.next().await {
        match piece {
            Ok(piece) => bytes.extend_from_slice(&piece),
            Err(_) => {
                drop(shared.note(format!("part {number} broken")));
                return StatusCode::BAD_REQUEST.into_response();
            }
        }
    }
    if let Some(Fault::PartStatus { status, .. }) = fault {
        return StatusCode::from_u16(status)
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            .into_response();
    }
    let mut inner = shared.note(format!("part {number} stored {}", bytes.len()));
    let Some(upload) = inner.uploads.get_mut(&id) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let last = upload.parts.keys().next_back().copied().unwrap_or(0);
    if kind == StoreKind::Streaming && (number < last || number > last + 1) {
        inner
            .violations
            .push(format!("part {number} came after part {last}"));
        return StatusCode::CONFLICT.into_response();
    }
    let etag = hex(&Sha256::digest(&bytes))[..32].to_owned();
    upload.parts.insert(number, (etag.clone(), bytes.into()));
    (StatusCode::OK, [(ETAG, format!("\"{etag}\""))]).into_response()
}

async fn store_blob(
    State(shared): State<Arc<Shared>>,
    Path(digest): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let mut inner = shared.note(format!("blob {method}"));
    if headers.contains_key(AUTHORIZATION) {
        inner
            .violations
            .push("a blob was asked for with a token".to_owned());
    }
    // The method is part of what is signed.
    if query.get("sig").map(String::as_str) != Some(format!("secret-{method}").as_str()) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let Some(bytes) = inner.blobs.get(&digest).cloned() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if method == Method::HEAD {
        return (StatusCode::OK, [(CONTENT_LENGTH, bytes.len().to_string())]).into_response();
    }
    let range = headers
        .get(RANGE)
        .and_then(|value| value.to_str().ok()?.strip_prefix("bytes=")?.split_once('-'));
    let Some((first, last)) = range else {
        return bytes.into_response();
    };
    let (first, last) = (
        first.parse().unwrap_or(0),
        last.parse().unwrap_or(bytes.len() - 1),
    );
    if first >= bytes.len() {
        let range = format!("bytes */{}", bytes.len());
        return (StatusCode::RANGE_NOT_SATISFIABLE, [(CONTENT_RANGE, range)]).into_response();
    }
    let last = last.min(bytes.len() - 1);
    let range = format!("bytes {first}-{last}/{}", bytes.len());
    (
        StatusCode::PARTIAL_CONTENT,
        [(CONTENT_RANGE, range)],
        bytes.slice(first..=last),
    )
        .into_response()
}
