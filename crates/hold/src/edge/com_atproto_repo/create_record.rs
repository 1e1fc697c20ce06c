//! `com.atproto.repo.createRecord`.

use std::sync::Arc;

use atcr_hold_pds::identity::HoldIdentity;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;

use super::require_own;
use super::write::{WrittenRecord, collection, rkey, swap};
use crate::administration::{Administration, Expected, ManualWrite};
use crate::edge::auth::CrewAdministrator;
use crate::edge::error::EdgeError;
use crate::edge::extract::XrpcJson;

/// The new record. `validate` `true` demands that its lexicon be known here; `false` changes nothing.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    repo: String,
    collection: String,
    rkey: Option<String>,
    record: Value,
    validate: Option<bool>,
    swap_commit: Option<String>,
}

/// Writes a new record, for example of a member.
pub async fn create_record(
    State(identity): State<Arc<HoldIdentity>>,
    State(administration): State<Administration>,
    CrewAdministrator(grant): CrewAdministrator,
    XrpcJson(input): XrpcJson<Input>,
) -> Result<Json<WrittenRecord>, EdgeError> {
    require_own(&identity, &input.repo)?;
    let collection = collection(&input.collection)?;
    let rkey = input.rkey.as_deref().map(rkey).transpose()?;
    let swap = swap(input.swap_commit.as_deref(), Expected::Anything)?;
    let write = ManualWrite::Create {
        collection,
        rkey,
        value: input.record,
    };
    let must_be_known = input.validate == Some(true);
    let written = administration.write(&grant, write, must_be_known, swap).await?;
    Ok(Json(WrittenRecord::of(written)?))
}
