//! What every start writes into the hold's own repository.

use atcr_atproto::clock::Clock;
use atcr_atproto::lexicon::captain::CaptainRecord;
use atcr_hold_pds::HoldRepo;
use atcr_hold_pds::records::captain::{self, CaptainSettings};
use atcr_hold_pds::records::crew;

use super::StartError;
use crate::settings::HoldSettings;

/// Makes the captain record say what the settings say, and leaves each member one record.
pub(super) async fn write_own_records(
    repo: &HoldRepo,
    settings: &HoldSettings,
    clock: &dyn Clock,
) -> Result<CaptainRecord, StartError> {
    let captain_settings = CaptainSettings {
        owner: settings.owner.clone(),
        public: settings.public,
        allow_all_crew: settings.allow_all_crew,
        enable_bluesky_posts: settings.enable_bluesky_posts,
        region: settings.region.clone(),
        first_region: settings.first_region.clone(),
        successor: settings.successor.clone(),
        first_profile: settings.first_profile.clone(),
    };
    let captain = captain::ensure(repo, &captain_settings, clock.now_datetime()).await?;
    match crew::keep_one_each(repo).await {
        Ok(0) => {}
        Ok(deleted) => tracing::warn!(deleted, "crew records beside the one that counts were deleted"),
        // The one that counts is known all the same.
        Err(error) => tracing::warn!(%error, "members may have more than one crew record"),
    }
    Ok(captain)
}
