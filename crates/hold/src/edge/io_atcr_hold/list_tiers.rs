//! `io.atcr.hold.listTiers`.

use atcr_atproto::lexicon::hold_crew::ListTiersOutput;
use axum::Json;

/// No tiers: this hold sets no limits yet.
pub async fn list_tiers() -> Json<ListTiersOutput> {
    Json(ListTiersOutput { tiers: Vec::new() })
}
