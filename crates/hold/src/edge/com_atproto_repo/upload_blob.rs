//! `com.atproto.repo.uploadBlob`.

use atcr_atproto::lexicon::BlobRef;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use serde::Serialize;

use crate::edge::auth::CrewAdministrator;
use crate::edge::error::EdgeError;
use crate::repo_blobs::{MAX_BYTES, RepoBlobError, RepoBlobs};

/// The blob, as a record refers to it.
#[derive(Debug, Serialize)]
pub struct Output {
    blob: BlobRef,
}

/// Stores the body, for a record that refers to it soon.
pub async fn upload_blob(
    State(blobs): State<RepoBlobs>,
    CrewAdministrator(_): CrewAdministrator,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Output>, EdgeError> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    // Refused before it is read.
    let length = text(CONTENT_LENGTH).and_then(|length| length.parse().ok());
    if length.is_some_and(|length: u64| length > MAX_BYTES) {
        return Err(RepoBlobError::TooLarge.into());
    }
    let media_type = text(CONTENT_TYPE).unwrap_or_default();
    let blob = blobs.upload(media_type, body.into_data_stream()).await?;
    Ok(Json(Output { blob }))
}
