//! `io.atcr.hold.getQuota`.

use atcr_atproto::lexicon::hold_crew::GetQuotaOutput;
use atcr_atproto::syntax::Did;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use crate::edge::error::EdgeError;
use crate::edge::extract::XrpcQuery;
use crate::quota::Quotas;

/// Whose use.
#[derive(Debug, Deserialize)]
pub struct Input {
    #[serde(rename = "userDid")]
    user_did: String,
}

/// What a user keeps here, every blob once, and may keep. Public, like the records it is counted from.
pub async fn get_quota(
    State(quotas): State<Quotas>,
    XrpcQuery(input): XrpcQuery<Input>,
) -> Result<Json<GetQuotaOutput>, EdgeError> {
    let user: Did = input.user_did.parse().map_err(|_| EdgeError::InvalidUserDid)?;
    let standing = quotas.standing(&user).await?;
    Ok(Json(GetQuotaOutput {
        user_did: user,
        unique_blobs: standing.usage.unique_blobs,
        total_size: standing.usage.total_bytes,
        limit: standing.limit,
        tier: standing.tier,
    }))
}
