//! Blobs of single repositories, beside the lexicons: how one is deleted.

use atcr_oci::Digest;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;

use super::auth::Writer;
use super::error::EdgeError;
use super::extract::XrpcQuery;
use crate::gc::{Gc, Unlinked};
use crate::guarded_blobs::GuardedBlobs;

/// Longest name of a repository, in bytes.
const MAX_REPOSITORY_LEN: usize = 256;

/// From which of the caller's repositories.
#[derive(Debug, Deserialize)]
pub struct Parameters {
    repository: String,
}

/// `DELETE`: takes a blob away from a repository of the caller's. Other repositories keep it, and its bytes stay until nothing names
/// them. 202; 404 if it is not there; 409 while a manifest of the repository names it.
pub async fn delete(
    State(gc): State<Gc>,
    State(blobs): State<GuardedBlobs>,
    Writer(grant): Writer,
    Path(digest): Path<String>,
    XrpcQuery(parameters): XrpcQuery<Parameters>,
) -> Result<StatusCode, EdgeError> {
    let digest: Digest = digest.parse().map_err(|_| EdgeError::InvalidDigest)?;
    let repository = parameters.repository;
    if repository.is_empty() || repository.len() > MAX_REPOSITORY_LEN {
        return Err(EdgeError::InvalidRequest {
            message: "repository must have 1 to 256 bytes".to_owned(),
        });
    }
    match blobs.unlink(&grant, &gc, &repository, &digest).await? {
        Unlinked::Yes => Ok(StatusCode::ACCEPTED),
        Unlinked::Absent => Err(EdgeError::BlobNotFound),
        Unlinked::Named { manifest } => Err(EdgeError::BlobInUse { manifest }),
    }
}
