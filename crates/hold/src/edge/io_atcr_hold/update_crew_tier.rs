//! `io.atcr.hold.updateCrewTier`.

use atcr_atproto::lexicon::hold_crew::{UpdateCrewTierInput, UpdateCrewTierOutput};
use axum::Json;
use axum::extract::State;

use crate::edge::auth::TrustedAppView;
use crate::edge::error::EdgeError;
use crate::edge::extract::XrpcJson;
use crate::quota::Promotion;

/// Gives a member the tier of a rank, on the word of the AppView that this hold trusts.
pub async fn update_crew_tier(
    State(promotion): State<Promotion>,
    TrustedAppView { user }: TrustedAppView,
    XrpcJson(input): XrpcJson<UpdateCrewTierInput>,
) -> Result<Json<UpdateCrewTierOutput>, EdgeError> {
    if user != input.user_did {
        return Err(EdgeError::OtherUser);
    }
    let rank = usize::try_from(input.tier_rank).unwrap_or(usize::MAX);
    let tier_name = promotion.promote(&input.user_did, rank).await?;
    Ok(Json(UpdateCrewTierOutput { tier_name }))
}
