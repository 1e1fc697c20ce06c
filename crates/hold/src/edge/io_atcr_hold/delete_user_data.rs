//! `io.atcr.hold.deleteUserData`.

use atcr_atproto::lexicon::hold_user_data::DeleteUserDataOutput;
use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::edge::auth::SignedInDirectly;
use crate::edge::error::EdgeError;
use crate::user_data::UserData;

/// What goes later, for a human being. The captain's membership stays.
const LATER: &str = "Your membership, your layer records and the counts of your repositories are deleted here. Layers that no one else \
                     keeps, and results of scans, are removed later, by garbage collection. Your manifests are in your own account \
                     and stay there, but can no longer be pulled once their layers are gone. What the captain noted of changes to \
                     your membership keeps your DID, and so do posts of this hold about your pushes.";
const LATER_OF_CAPTAIN: &str = "Your layer records and the counts of your repositories are deleted here; you stay the captain. Layers \
                                that no one else keeps, and results of scans, are removed later, by garbage collection. Your \
                                manifests are in your own account and stay there, but can no longer be pulled once their layers are \
                                gone. Your changes on the admin site stay noted with your DID, and so do posts of this hold about \
                                your pushes.";

/// The output of the lexicon, and a text beyond it.
#[derive(Debug, Serialize)]
pub struct Output {
    #[serde(flatten)]
    deleted: DeleteUserDataOutput,
    message: &'static str,
}

/// Erases what the hold's records say of the caller.
pub async fn delete_user_data(
    State(data): State<UserData>,
    SignedInDirectly(did): SignedInDirectly,
) -> Result<Json<Output>, EdgeError> {
    let erased = data.erase(&did).await.map_err(EdgeError::Erasure)?;
    Ok(Json(Output {
        deleted: DeleteUserDataOutput {
            success: true,
            crew_deleted: erased.crew,
            layers_deleted: erased.layers,
            stats_deleted: erased.stats,
        },
        message: if erased.is_captain {
            LATER_OF_CAPTAIN
        } else {
            LATER
        },
    }))
}
