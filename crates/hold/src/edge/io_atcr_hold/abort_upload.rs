//! `io.atcr.hold.abortUpload`.

use atcr_atproto::lexicon::hold_upload::{AbortUploadInput, AbortUploadOutput};
use axum::Json;
use axum::extract::State;

use crate::edge::auth::Writer;
use crate::edge::error::EdgeError;
use crate::edge::extract::XrpcJson;
use crate::guarded_blobs::GuardedBlobs;

/// Gives an upload up.
pub async fn abort_upload(
    State(blobs): State<GuardedBlobs>,
    Writer(grant): Writer,
    XrpcJson(input): XrpcJson<AbortUploadInput>,
) -> Result<Json<AbortUploadOutput>, EdgeError> {
    blobs
        .abort(&grant, &input.upload_id)
        .await
        .map_err(EdgeError::Abort)?;
    Ok(Json(AbortUploadOutput::aborted()))
}
