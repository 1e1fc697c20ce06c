//! `app.bsky.actor.*`: the hold as clients of other applications show it.

pub mod get_profile;
pub mod get_profiles;

use atcr_atproto::syntax::Did;
use atcr_hold_pds::HoldRepo;
use atcr_hold_pds::identity::HoldIdentity;
use serde::Serialize;
use serde_json::Value;

use super::error::EdgeError;

/// Collections whose record `self` describes the account, the first that has one counts.
const PROFILES: [&str; 2] = ["app.bsky.actor.profile", "sh.tangled.actor.profile"];

/// What a profile says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    did: Did,
    handle: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar: Option<String>,
}

/// The hold's profile, if `actor`, a DID or handle, is the hold.
async fn profile_of(
    actor: &str,
    identity: &HoldIdentity,
    repo: &HoldRepo,
) -> Result<Option<Profile>, EdgeError> {
    if !identity.has_did(actor) && !actor.eq_ignore_ascii_case(identity.handle()) {
        return Ok(None);
    }
    let mut record = Value::Null;
    for collection in PROFILES {
        if let Some(found) = repo.get_record(collection, "self").await? {
            record = found.value;
            break;
        }
    }
    let text = |field: &str| record.get(field).and_then(Value::as_str).map(str::to_owned);
    let avatar = record
        .pointer("/avatar/ref/$link")
        .and_then(Value::as_str)
        .map(|cid| {
            format!(
                "{}/xrpc/com.atproto.sync.getBlob?did={}&cid={cid}",
                identity.endpoint().trim_end_matches('/'),
                identity.did()
            )
        });
    Ok(Some(Profile {
        did: identity.did().clone(),
        handle: identity.handle().to_owned(),
        display_name: text("displayName"),
        description: text("description"),
        avatar,
    }))
}
