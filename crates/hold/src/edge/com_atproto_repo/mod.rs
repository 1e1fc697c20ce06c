//! `com.atproto.repo.*`, one file per method.

pub mod apply_writes;
pub mod create_record;
pub mod delete_record;
pub mod describe_repo;
pub mod get_record;
pub mod list_records;
pub mod put_record;
pub mod upload_blob;
pub mod write;

use atcr_hold_pds::identity::HoldIdentity;

use super::error::EdgeError;

/// Whether `repo`, a DID or handle, names the hold's repository.
fn require_own(identity: &HoldIdentity, repo: &str) -> Result<(), EdgeError> {
    if identity.has_did(repo) || repo.eq_ignore_ascii_case(identity.handle()) {
        Ok(())
    } else {
        Err(EdgeError::RepoNotFound)
    }
}
