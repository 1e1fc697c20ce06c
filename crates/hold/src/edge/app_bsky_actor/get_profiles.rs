//! `app.bsky.actor.getProfiles`.

use std::sync::Arc;

use atcr_hold_pds::HoldRepo;
use atcr_hold_pds::identity::HoldIdentity;
use axum::Json;
use axum::extract::{RawQuery, State};
use serde::Serialize;
use url::form_urlencoded;

use super::{Profile, profile_of};
use crate::edge::error::EdgeError;

/// Actors of one question.
const MAX_ACTORS: usize = 25;

/// The profiles that are known here.
#[derive(Debug, Serialize)]
pub struct Output {
    profiles: Vec<Profile>,
}

/// The hold's own profile, if it is among those asked for.
pub async fn get_profiles(
    State(identity): State<Arc<HoldIdentity>>,
    State(repo): State<HoldRepo>,
    RawQuery(query): RawQuery,
) -> Result<Json<Output>, EdgeError> {
    let query = query.unwrap_or_default();
    let actors = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "actors");
    let mut profiles = Vec::new();
    for (count, (_, actor)) in actors.enumerate() {
        if count == MAX_ACTORS {
            return Err(EdgeError::InvalidRequest {
                message: format!("at most {MAX_ACTORS} actors are asked for at once"),
            });
        }
        if profiles.is_empty() {
            profiles.extend(profile_of(&actor, &identity, &repo).await?);
        }
    }
    Ok(Json(Output { profiles }))
}
