//! The URLs of a store that is a folder. The signature alone authorises a request: an `Authorization` header of the client is
//! ignored.

use atcr_oci::header::DOCKER_CONTENT_DIGEST;
use atcr_oci::{ByteRange, SatisfiedRange};
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, put};

use super::error::EdgeError;
use crate::adapters::filesystem::{BLOBS, FilesystemStore, OpenObject, PARTS, SignedUrlError, UrlSignature};
use crate::blobs::DownloadMethod;

/// The routes below the store's public URL: `PUT /store/parts/…`, and `GET` and `HEAD /store/blobs/…`. Bodies are not limited
/// and not buffered here; a layer around them should bound the pauses in a body.
pub fn router(store: FilesystemStore) -> Router {
    Router::new()
        .route(&format!("{PARTS}{{upload}}/{{part}}"), put(put_part))
        .route(&format!("{BLOBS}{{*key}}"), get(get_object).head(get_object))
        .layer(DefaultBodyLimit::disable())
        .with_state(store)
}

async fn put_part(
    State(store): State<FilesystemStore>,
    Path((upload, part)): Path<(String, String)>,
    signature: Result<Query<UrlSignature>, QueryRejection>,
    body: Body,
) -> Result<Response, EdgeError> {
    let Query(signature) = signature.map_err(|_| SignedUrlError::Forbidden)?;
    let tag = store
        .receive_part(&upload, &part, &signature, body.into_data_stream())
        .await?;
    let mut response = StatusCode::OK.into_response();
    response.headers_mut().insert(header::ETAG, quoted(&tag)?);
    Ok(response)
}

async fn get_object(
    State(store): State<FilesystemStore>,
    Path(key): Path<String>,
    method: Method,
    signature: Result<Query<UrlSignature>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, EdgeError> {
    let Query(signature) = signature.map_err(|_| SignedUrlError::Forbidden)?;
    let is_head = method == Method::HEAD;
    let wanted = if is_head {
        DownloadMethod::Head
    } else {
        DownloadMethod::Get
    };
    let object = store.open_object(wanted, &key, &signature).await?;
    answer(&object, &headers, is_head)
}

/// The object, or the part of it that `asked` wants.
fn answer(object: &OpenObject, asked: &HeaderMap, is_head: bool) -> Result<Response, EdgeError> {
    let size = object.size();
    let etag = quoted(&object.version())?;
    let mut response = Response::new(Body::empty());
    let fields = response.headers_mut();
    if let Some(digest) = object.digest() {
        // A client that a registry sent here may look for what the registry would have said.
        fields.insert(DOCKER_CONTENT_DIGEST, header_value(digest.as_str())?);
    }
    fields.insert(header::ETAG, etag.clone());
    fields.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if names(asked.get(header::IF_NONE_MATCH), &etag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    fields.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    // The bytes can be anything: no browser shall make a page of them.
    fields.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    let is_current = asked.get(header::IF_RANGE).is_none_or(|value| value == etag);
    let range = asked.get(header::RANGE).and_then(|value| value.to_str().ok());
    // What is no range is ignored, as the RFC allows: a client sees from the status that it got everything.
    let range = match range.filter(|_| is_current).map(ByteRange::parse) {
        Some(Ok(Some(range))) => {
            let Some(satisfied) = range.resolve(size) else {
                let none = header_value(&SatisfiedRange::none_of(size))?;
                fields.insert(header::CONTENT_RANGE, none);
                *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
                return Ok(response);
            };
            fields.insert(header::CONTENT_RANGE, header_value(&satisfied.to_string())?);
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            satisfied.first..satisfied.first + satisfied.len()
        }
        _ => 0..size,
    };
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, (range.end - range.start).into());
    if !is_head {
        *response.body_mut() = Body::from_stream(object.bytes(range));
    }
    Ok(response)
}

fn header_value(text: &str) -> Result<HeaderValue, EdgeError> {
    HeaderValue::from_str(text).map_err(|error| SignedUrlError::Disk(std::io::Error::other(error)).into())
}

fn quoted(tag: &str) -> Result<HeaderValue, EdgeError> {
    header_value(&format!("\"{tag}\""))
}

/// Whether an `If-None-Match` header names `etag`.
fn names(condition: Option<&HeaderValue>, etag: &HeaderValue) -> bool {
    let (Some(condition), Ok(etag)) = (condition.and_then(|value| value.to_str().ok()), etag.to_str()) else {
        return false;
    };
    condition
        .split(',')
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == etag || tag == "*")
}
