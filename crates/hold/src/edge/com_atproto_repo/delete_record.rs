//! `com.atproto.repo.deleteRecord`.

use std::sync::Arc;

use atcr_hold_pds::identity::HoldIdentity;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::require_own;
use super::write::{CommitMeta, collection, rkey, swap, swap_record};
use crate::administration::{Administration, Expected, ManualWrite};
use crate::edge::auth::CrewAdministrator;
use crate::edge::error::EdgeError;
use crate::edge::extract::XrpcJson;

/// Which record.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    repo: String,
    collection: String,
    rkey: String,
    #[serde(default, deserialize_with = "swap_record")]
    swap_record: Expected,
    swap_commit: Option<String>,
}

/// The commit without the record.
#[derive(Debug, Serialize)]
pub struct Output {
    commit: CommitMeta,
}

/// Deletes a record, for example a member's; succeeds if there is none.
pub async fn delete_record(
    State(identity): State<Arc<HoldIdentity>>,
    State(administration): State<Administration>,
    CrewAdministrator(grant): CrewAdministrator,
    XrpcJson(input): XrpcJson<Input>,
) -> Result<Json<Output>, EdgeError> {
    require_own(&identity, &input.repo)?;
    let collection = collection(&input.collection)?;
    let rkey = rkey(&input.rkey)?;
    let swap = swap(input.swap_commit.as_deref(), input.swap_record)?;
    let write = ManualWrite::Delete { collection, rkey };
    let written = administration.write(&grant, write, false, swap).await?;
    Ok(Json(Output {
        commit: written.outcome.commit.into(),
    }))
}
