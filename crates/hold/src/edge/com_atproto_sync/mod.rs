//! `com.atproto.sync.*`, one file per method.

pub mod get_blob;
pub mod get_blocks;
pub mod get_latest_commit;
pub mod get_record;
pub mod get_repo;
pub mod get_repo_status;
pub mod list_blobs;
pub mod list_repos;
pub mod list_repos_by_collection;
pub mod subscribe_repos;

use atcr_atproto::syntax::Tid;
use atcr_hold_pds::identity::HoldIdentity;
use serde::Deserialize;

use super::error::EdgeError;

/// Media type of a CAR.
const CAR: &str = "application/vnd.ipld.car";

/// The input of the methods that need nothing else.
#[derive(Debug, Deserialize)]
pub struct Input {
    did: String,
}

/// The revision of a parameter `since`; an empty one is none.
fn revision(since: Option<&str>) -> Result<Option<Tid>, EdgeError> {
    match since {
        None | Some("") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|error| EdgeError::InvalidRequest {
            message: format!("since: {error}"),
        }),
    }
}

/// Whether `did` names the hold's repository.
fn require_own(identity: &HoldIdentity, did: &str) -> Result<(), EdgeError> {
    if identity.has_did(did) {
        Ok(())
    } else {
        Err(EdgeError::RepoNotFound)
    }
}
