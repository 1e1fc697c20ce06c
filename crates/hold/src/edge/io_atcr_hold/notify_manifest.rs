//! `io.atcr.hold.notifyManifest`.

use atcr_atproto::lexicon::notify_manifest::{NotifyManifestInput, NotifyManifestOutput, PULL, PUSH};
use atcr_hold_pds::access::Access;
use axum::Json;
use axum::extract::State;

use crate::edge::auth::SignedIn;
use crate::edge::error::EdgeError;
use crate::edge::extract::XrpcJson;
use crate::manifests::{ManifestNotices, Notice};
use crate::posts::PushPosts;

/// Takes note of a manifest: after a push by its owner, its layers and the count, and perhaps a post; after a pull by any reader, the count.
pub async fn notify_manifest(
    State(notices): State<ManifestNotices>,
    State(access): State<Access>,
    State(posts): State<PushPosts>,
    SignedIn(did): SignedIn,
    XrpcJson(input): XrpcJson<NotifyManifestInput>,
) -> Result<Json<NotifyManifestOutput>, EdgeError> {
    match input.operation.as_str() {
        PUSH => {
            let grant = access.write(&did).await?;
            let notice = Notice::parse(input, notices.max_layers())?;
            let subject = PushPosts::subject(&notice);
            let recorded = notices.pushed(&grant, notice).await?;
            let posted = match &subject {
                Some(subject) => posts.post(subject).await,
                None => None,
            };
            Ok(Json(NotifyManifestOutput {
                success: true,
                operation: PUSH.to_owned(),
                stats_updated: recorded.stats_updated,
                layers_created: u64::try_from(recorded.layers_created).ok(),
                post_created: Some(posted.is_some()),
                post_uri: posted,
            }))
        }
        PULL => {
            access.read(&did).await?;
            let notice = Notice::parse(input, notices.max_layers())?;
            let recorded = notices.pulled(&did, notice).await?;
            Ok(Json(NotifyManifestOutput {
                success: true,
                operation: PULL.to_owned(),
                stats_updated: recorded.stats_updated,
                layers_created: None,
                post_created: None,
                post_uri: None,
            }))
        }
        _ => Err(EdgeError::InvalidOperation),
    }
}
