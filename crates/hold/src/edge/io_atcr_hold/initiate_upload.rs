//! `io.atcr.hold.initiateUpload`.

use atcr_atproto::lexicon::hold_upload::{
    FirstPart, GetPartUploadUrlOutput, InitiateUploadInput, InitiateUploadOutput, StoreTraits,
};
use axum::Json;
use axum::extract::State;

use crate::blobs::{BlobError, PartUrl};
use crate::edge::auth::Writer;
use crate::edge::error::EdgeError;
use crate::edge::extract::XrpcJson;
use crate::gc::Gc;
use crate::guarded_blobs::GuardedBlobs;

/// Begins an upload. `digest` is any path-safe name: the AppView does not know the digest yet.
///
/// The answer also says what the store can do and where part 1 goes, which an AppView of another make ignores.
pub async fn initiate_upload(
    State(blobs): State<GuardedBlobs>,
    State(gc): State<Gc>,
    Writer(grant): Writer,
    XrpcJson(input): XrpcJson<InitiateUploadInput>,
) -> Result<Json<InitiateUploadOutput>, EdgeError> {
    gc.note_account(grant.subject()).await.map_err(BlobError::from)?;
    let initiated = blobs.initiate(&grant, &input.digest, input.size).await?;
    Ok(Json(InitiateUploadOutput {
        upload_id: initiated.upload_id,
        store: Some(StoreTraits {
            min_part_size: initiated.store.min_part_size,
            max_part_size: initiated.store.max_part_size,
            hashes: initiated.store.hashes,
            streaming: initiated.store.streaming,
        }),
        part: Some(FirstPart {
            part_number: 1,
            target: target(initiated.first_part),
        }),
    }))
}

/// A part's URL as the wire has it.
pub(super) fn target(part: PartUrl) -> GetPartUploadUrlOutput {
    GetPartUploadUrlOutput {
        url: part.url.into(),
        method: part.method.to_owned(),
        headers: part.headers,
    }
}
