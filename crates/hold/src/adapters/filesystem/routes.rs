//! What the store's URLs answer. The signature is the whole authorisation: a header that the client sends besides is ignored.

use std::fs::File;
use std::io;
use std::sync::Arc;

use atcr_oci::header::DOCKER_CONTENT_DIGEST;
use atcr_oci::{ByteRange, SatisfiedRange};
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::json;
use uuid::Uuid;

use super::ingest::{self, PartError};
use super::signed_url::{BLOBS, PARTS, Signature};
use super::{FilesystemStore, Shared, is_absent, read};
use crate::blobs::{MAX_PART_NUMBER, ObjectKey, StoreError};

/// The routes below the store's public URL: `PUT /store/parts/…`, and `GET` and `HEAD /store/blobs/…`. Bodies are not limited
/// and not buffered here; a layer around them should bound the pauses in a body.
pub fn router(store: FilesystemStore) -> Router {
    Router::new()
        .route(&format!("{PARTS}{{upload}}/{{part}}"), put(put_part))
        .route(&format!("{BLOBS}{{*key}}"), get(get_object).head(get_object))
        .layer(DefaultBodyLimit::disable())
        .with_state(store.shared)
}

/// Why a URL is not served.
#[derive(Debug)]
enum Refusal {
    Forbidden,
    NotFound,
    BadPartNumber,
    Part(PartError),
    Io(io::Error),
}

async fn put_part(
    State(store): State<Arc<Shared>>,
    Path((upload, part)): Path<(String, String)>,
    signature: Result<Query<Signature>, axum::extract::rejection::QueryRejection>,
    body: Body,
) -> Result<Response, Refusal> {
    let Query(signature) = signature.map_err(|_| Refusal::Forbidden)?;
    let path = format!("{PARTS}{upload}/{part}");
    if !store.signer.allows("PUT", &path, &signature, store.clock.now()) {
        return Err(Refusal::Forbidden);
    }
    let upload = Uuid::try_parse(&upload).map_err(|_| Refusal::Forbidden)?;
    let part_number = part
        .parse()
        .ok()
        .filter(|number| (1..=MAX_PART_NUMBER).contains(number))
        .ok_or(Refusal::BadPartNumber)?;
    let tag = ingest::receive(&store.uploads, upload, part_number, body)
        .await
        .map_err(Refusal::Part)?;
    let mut response = StatusCode::OK.into_response();
    response.headers_mut().insert(header::ETAG, quoted(&tag)?);
    Ok(response)
}

async fn get_object(
    State(store): State<Arc<Shared>>,
    Path(key): Path<String>,
    method: Method,
    signature: Result<Query<Signature>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let Query(signature) = signature.map_err(|_| Refusal::Forbidden)?;
    let path = format!("{BLOBS}{key}");
    if !store
        .signer
        .allows(method.as_str(), &path, &signature, store.clock.now())
    {
        return Err(Refusal::Forbidden);
    }
    let key: ObjectKey = key.parse().map_err(|_| Refusal::Forbidden)?;
    let path = store.path(&key);
    let opened = tokio::task::spawn_blocking(move || {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        Ok((file, metadata))
    });
    let (file, metadata) = match opened.await.map_err(io::Error::other).and_then(|outcome| outcome) {
        Ok((file, metadata)) if metadata.is_file() => (file, metadata),
        Ok(_) => return Err(Refusal::NotFound),
        Err(error) if is_absent(&error) => return Err(Refusal::NotFound),
        Err(error) => return Err(Refusal::Io(error)),
    };
    let size = metadata.len();
    let digest = key.blob_digest();
    let etag = quoted(&digest.as_ref().map_or_else(
        // Anything else is never overwritten either; its key names it as well as its content would.
        || data_encoding::HEXLOWER.encode(key.as_str().as_bytes()),
        |digest| digest.hex().to_owned(),
    ))?;
    let mut response = Response::new(Body::empty());
    let fields = response.headers_mut();
    if let Some(digest) = digest {
        // Whom a registry sent here may look for what the registry would have said.
        fields.insert(DOCKER_CONTENT_DIGEST, header_value(digest.as_str())?);
    }
    fields.insert(header::ETAG, etag.clone());
    fields.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if names(headers.get(header::IF_NONE_MATCH), &etag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    fields.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    // The bytes are anybody's: no browser shall make a page of them.
    fields.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    let is_current = headers.get(header::IF_RANGE).is_none_or(|value| value == etag);
    let asked = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    // What is no range is ignored, as the RFC allows: a client sees from the status that it got everything.
    let range = match asked.filter(|_| is_current).map(ByteRange::parse) {
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
    if method == Method::GET {
        *response.body_mut() = Body::from_stream(read::stream(Arc::new(file), range));
    }
    Ok(response)
}

fn header_value(text: &str) -> Result<HeaderValue, Refusal> {
    HeaderValue::from_str(text).map_err(|error| Refusal::Io(io::Error::other(error)))
}

fn quoted(tag: &str) -> Result<HeaderValue, Refusal> {
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

impl From<&Refusal> for (StatusCode, &'static str, String) {
    fn from(refusal: &Refusal) -> Self {
        let error = match refusal {
            Refusal::Forbidden => {
                let message = "the URL is not signed for this, or has expired";
                return (StatusCode::FORBIDDEN, "Forbidden", message.to_owned());
            }
            Refusal::NotFound => {
                let message = "there is no such object";
                return (StatusCode::NOT_FOUND, "BlobNotFound", message.to_owned());
            }
            Refusal::BadPartNumber => {
                let message = "part numbers go from 1 to 10000";
                return (StatusCode::BAD_REQUEST, "InvalidPartNumber", message.to_owned());
            }
            Refusal::Io(_) => {
                let message = "the store failed";
                return (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "InternalServerError",
                    message.to_owned(),
                );
            }
            Refusal::Part(error) => error,
        };
        let (status, name) = match error {
            PartError::OutOfOrder { .. } => (StatusCode::BAD_REQUEST, "InvalidPartNumber"),
            PartError::Sealed | PartError::Superseded => (StatusCode::CONFLICT, "UploadFailed"),
            PartError::Body(_) => (StatusCode::BAD_REQUEST, "UploadFailed"),
            PartError::Store(StoreError::UnknownUpload) => (StatusCode::NOT_FOUND, "InvalidUploadId"),
            PartError::Store(StoreError::Full(_)) => (StatusCode::INSUFFICIENT_STORAGE, "UploadFailed"),
            PartError::Store(
                StoreError::PartMismatch { .. } | StoreError::PartTooSmall | StoreError::Unavailable { .. },
            ) => (StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError"),
        };
        let message = match error {
            PartError::Store(StoreError::UnknownUpload) => "there is no such upload".to_owned(),
            error => error.to_string(),
        };
        (status, name, message)
    }
}

impl Refusal {
    fn cause(&self) -> &(dyn std::error::Error + 'static) {
        match self {
            Self::Io(error) => error,
            Self::Part(PartError::Store(error)) => error,
            Self::Part(error) => error,
            Self::Forbidden | Self::NotFound | Self::BadPartNumber => &NoCause,
        }
    }
}

/// Nothing but the request is to blame.
#[derive(Debug, thiserror::Error)]
#[error("none")]
struct NoCause;

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, name, message) = <(StatusCode, &str, String)>::from(&self);
        let status_code = status.as_u16();
        if status.is_server_error() {
            tracing::error!(status_code, error = self.cause(), "the store's routes failed");
        } else {
            tracing::debug!(status_code, error = self.cause(), "the store's routes refused");
        }
        (status, Json(json!({"error": name, "message": message}))).into_response()
    }
}
