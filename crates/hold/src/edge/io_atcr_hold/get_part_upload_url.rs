//! `io.atcr.hold.getPartUploadUrl`.

use atcr_atproto::lexicon::hold_upload::{GetPartUploadUrlInput, GetPartUploadUrlOutput};
use axum::Json;
use axum::extract::State;

use super::initiate_upload::target;
use crate::edge::auth::Writer;
use crate::edge::error::EdgeError;
use crate::edge::extract::XrpcJson;
use crate::guarded_blobs::GuardedBlobs;

/// Where one part goes, for a quarter of an hour.
pub async fn get_part_upload_url(
    State(blobs): State<GuardedBlobs>,
    Writer(grant): Writer,
    XrpcJson(input): XrpcJson<GetPartUploadUrlInput>,
) -> Result<Json<GetPartUploadUrlOutput>, EdgeError> {
    let part = blobs
        .part_url(&grant, &input.upload_id, input.part_number)
        .await?;
    Ok(Json(target(part)))
}
