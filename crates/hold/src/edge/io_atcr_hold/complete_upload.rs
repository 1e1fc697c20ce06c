//! `io.atcr.hold.completeUpload`.

use atcr_atproto::lexicon::hold_upload::{CONTENT_PROOF_HEADER, CompleteUploadInput, CompleteUploadOutput};
use atcr_oci::Digest;
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Deserialize;

use crate::blobs::{BlobError, ContentProof, PartTag};
use crate::edge::auth::{TokenVerifier, Writer};
use crate::edge::error::EdgeError;
use crate::edge::extract::{XrpcJson, XrpcQuery};
use crate::gc::Gc;
use crate::guarded_blobs::GuardedBlobs;

/// For which of the uploader's repositories the blob is; no part of the lexicon. Without it, it is for all of them.
#[derive(Debug, Deserialize)]
pub struct Parameters {
    repository: Option<String>,
}

/// Finishes an upload: the blob is readable under its digest, if its bytes have that digest.
///
/// With a content proof from the trusted AppView, a store that does not hash is not read back. Any other proof is ignored,
/// and the bytes are read. What takes longer than an uploader waits is promised.
pub async fn complete_upload(
    State(blobs): State<GuardedBlobs>,
    State(tokens): State<TokenVerifier>,
    State(gc): State<Gc>,
    XrpcQuery(parameters): XrpcQuery<Parameters>,
    Writer(grant): Writer,
    headers: HeaderMap,
    XrpcJson(input): XrpcJson<CompleteUploadInput>,
) -> Result<Json<CompleteUploadOutput>, EdgeError> {
    let digest: Digest = input.digest.parse().map_err(|_| EdgeError::InvalidDigest)?;
    let parts: Vec<PartTag> = input
        .parts
        .into_iter()
        .map(|part| PartTag {
            part_number: part.part_number,
            etag: part.etag,
        })
        .collect();
    let proof = headers
        .get(CONTENT_PROOF_HEADER)
        .and_then(|value| value.to_str().ok())
        .filter(|_| !blobs.store_hashes());
    let vouched = match proof {
        None => None,
        Some(token) => tokens
            .vouched_size(token, grant.subject(), &input.upload_id, &input.digest)
            .await
            .map(|size| ContentProof { size }),
    };
    gc.note_account(grant.subject()).await.map_err(BlobError::from)?;
    let completed = blobs
        .complete(&grant, &input.upload_id, &digest, &parts, vouched)
        .await
        .map_err(EdgeError::Completion)?;
    gc.link(grant.subject(), parameters.repository.as_deref(), &digest)
        .await
        .map_err(BlobError::from)?;
    if !completed.is_promised {
        metrics::counter!("hold_blobs_stored_total").increment(1);
        metrics::counter!("hold_blob_bytes_stored_total").increment(completed.size);
    }
    Ok(Json(CompleteUploadOutput::completed(digest.to_string())))
}
