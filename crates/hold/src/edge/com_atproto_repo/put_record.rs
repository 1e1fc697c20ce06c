//! `com.atproto.repo.putRecord`.

use std::sync::Arc;

use atcr_hold_pds::identity::HoldIdentity;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;

use super::require_own;
use super::write::{WrittenRecord, collection, rkey, swap, swap_record};
use crate::administration::{Administration, Expected, ManualWrite};
use crate::edge::auth::CrewAdministrator;
use crate::edge::error::EdgeError;
use crate::edge::extract::XrpcJson;

/// The record and its key; `swapRecord` `null` demands that it be new. `validate` as for `createRecord`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    repo: String,
    collection: String,
    rkey: String,
    record: Value,
    validate: Option<bool>,
    #[serde(default, deserialize_with = "swap_record")]
    swap_record: Expected,
    swap_commit: Option<String>,
}

/// Writes a record, new or not: changes what a member may do, or makes an account a member.
pub async fn put_record(
    State(identity): State<Arc<HoldIdentity>>,
    State(administration): State<Administration>,
    CrewAdministrator(grant): CrewAdministrator,
    XrpcJson(input): XrpcJson<Input>,
) -> Result<Json<WrittenRecord>, EdgeError> {
    require_own(&identity, &input.repo)?;
    let collection = collection(&input.collection)?;
    let rkey = rkey(&input.rkey)?;
    let swap = swap(input.swap_commit.as_deref(), input.swap_record)?;
    let write = ManualWrite::Put {
        collection,
        rkey,
        value: input.record,
    };
    let must_be_known = input.validate == Some(true);
    let written = administration.write(&grant, write, must_be_known, swap).await?;
    Ok(Json(WrittenRecord::of(written)?))
}
