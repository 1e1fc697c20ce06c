//! A new repository may take the place of one that followers know: of the same account, or of another one at the same host.

use atcr_atproto::clock::Clock;
use atcr_atproto::syntax::Did;
use atcr_hold_pds::Seen;

use crate::adapters::relay_client::RelayClient;
use crate::backup::{BackupError, download};
use crate::compose::backup_store;
use crate::relays::seen::seen_by_relays;
use crate::settings::HoldSettings;

/// What followers may have got before a repository of `did` begins here, as far as the relays and the backup tell.
pub(crate) async fn seen_before(settings: &HoldSettings, did: &Did, clock: &dyn Clock) -> Seen {
    let mut seen = Seen::default();
    if !settings.relays.is_empty() {
        match RelayClient::new() {
            Ok(api) => {
                let hostname = settings.hostname();
                let asked = seen_by_relays(&api, &settings.relays, &hostname, did, clock).await;
                for unknown in &asked.unknown {
                    tracing::warn!(
                        "{unknown}. If it followed a hold at this host before, it may drop what this one writes at first"
                    );
                }
                seen = asked.seen;
            }
            Err(error) => tracing::warn!(%error, "the relays cannot be asked what they have of this host"),
        }
    }
    if let Some(store) = backup_store(settings) {
        match download::newest_head_soon(&*store, did).await {
            Ok(head) => seen.seq = seen.seq.max(head.seq),
            Err(BackupError::None { .. }) => {}
            Err(error) => tracing::warn!(%error, "the backup does not tell which events there were before"),
        }
    }
    seen
}
