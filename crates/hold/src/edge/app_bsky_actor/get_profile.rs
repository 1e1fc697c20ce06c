//! `app.bsky.actor.getProfile`.

use std::sync::Arc;

use atcr_hold_pds::HoldRepo;
use atcr_hold_pds::identity::HoldIdentity;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use super::{Profile, profile_of};
use crate::edge::error::EdgeError;
use crate::edge::extract::XrpcQuery;

/// Whose profile.
#[derive(Debug, Deserialize)]
pub struct Input {
    actor: String,
}

/// The hold's own profile; it knows no other.
pub async fn get_profile(
    State(identity): State<Arc<HoldIdentity>>,
    State(repo): State<HoldRepo>,
    XrpcQuery(input): XrpcQuery<Input>,
) -> Result<Json<Profile>, EdgeError> {
    let profile = profile_of(&input.actor, &identity, &repo).await?;
    profile.map(Json).ok_or_else(|| EdgeError::InvalidRequest {
        message: "this hold has one profile, its own".to_owned(),
    })
}
