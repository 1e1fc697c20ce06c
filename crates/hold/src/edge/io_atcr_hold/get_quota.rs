//! `io.atcr.hold.getQuota`.

use atcr_atproto::lexicon::hold_crew::GetQuotaOutput;
use atcr_atproto::syntax::Did;
use atcr_hold_pds::HoldRepo;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use crate::edge::error::EdgeError;
use crate::edge::extract::XrpcQuery;

/// Whose use.
#[derive(Debug, Deserialize)]
pub struct Input {
    #[serde(rename = "userDid")]
    user_did: String,
}

/// What a user keeps here, every blob once. There are no tiers yet, so there is no limit. Public, like the layer records it
/// is counted from.
pub async fn get_quota(
    State(repo): State<HoldRepo>,
    XrpcQuery(input): XrpcQuery<Input>,
) -> Result<Json<GetQuotaOutput>, EdgeError> {
    let user: Did = input.user_did.parse().map_err(|_| EdgeError::InvalidUserDid)?;
    let usage = repo.usage_of(&user).await?;
    Ok(Json(GetQuotaOutput {
        user_did: user,
        unique_blobs: usage.unique_blobs,
        total_size: usage.total_bytes,
        limit: None,
        tier: None,
    }))
}
