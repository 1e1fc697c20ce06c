//! Telling holds what was pushed and pulled, behind the client's back: it never waits for it, and never fails by it. A push is told
//! for certain ([`PushNotices`]), a pull if nothing goes wrong.
//!
//! A pull is counted once a minute for one puller and manifest: clients ask for a manifest several times in one pull, and a hold
//! signs a commit for each count.

pub mod push_outbox;
mod retry;
pub mod sender;

use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::lexicon::notify_manifest::{ManifestInfo, NotifyManifestInput, PULL, PUSH};
use atcr_atproto::syntax::Did;
use atcr_oci::{Digest, Tag};
use atcr_server::Shutdown;
use atcr_server::supervise::Task;
use tokio::sync::Semaphore;

use crate::access::{Granted, Pull, Push};
use crate::context::RequestContext;
use crate::hold::notices::push_outbox::PushNotices;
use crate::hold::notices::sender::NoticeSender;
use crate::hold::ports::HoldRef;

/// The telling of pulls, in logs and metrics.
const PULLS: Task = Task::new("send_pull_notices");

/// Notices of pulls under way at once. One is dropped beyond that: it is a count, and the hold may be slow.
const AT_ONCE: usize = 32;

/// How long the same manifest pulled by the same puller is the same pull.
const ONE_PULL: Duration = Duration::from_mins(1);

/// Pulls remembered at once.
const REMEMBERED_PULLS: u64 = 50_000;

/// Puller, owner, repository, manifest.
type PullKey = (Did, Did, String, Digest);

/// Sends notices.
#[derive(Clone)]
pub struct Notices {
    sender: NoticeSender,
    pushes: PushNotices,
    shutdown: Shutdown,
    slots: Arc<Semaphore>,
    pulls: moka::sync::Cache<PullKey, ()>,
}

impl Notices {
    /// Sends notices of pushes with `pushes`, others through `sender`; the sending is a task of `shutdown`, which waits for it.
    #[must_use]
    pub fn new(sender: NoticeSender, pushes: PushNotices, shutdown: Shutdown) -> Self {
        Self {
            sender,
            pushes,
            shutdown,
            slots: Arc::new(Semaphore::new(AT_ONCE)),
            pulls: moka::sync::Cache::builder()
                .max_capacity(REMEMBERED_PULLS)
                .time_to_live(ONE_PULL)
                .build(),
        }
    }

    /// Has `hold` told that the manifest `digest` was pushed, so that it records its layers. When this returns, it will be told.
    pub async fn pushed(
        &self,
        grant: &Granted<Push>,
        hold: &HoldRef,
        digest: &Digest,
        manifest: ManifestInfo,
        tag: Option<&Tag>,
    ) {
        let notice = input(grant.context(), PUSH, digest, tag, manifest);
        self.pushes.add(grant.principal(), &hold.did, notice).await;
    }

    /// Tells the hold `did` that a manifest was pulled, so that it counts it. An anonymous pull is not told.
    pub fn pulled(
        &self,
        grant: &Granted<Pull>,
        did: &Did,
        digest: &Digest,
        media_type: &str,
        tag: Option<&Tag>,
    ) {
        let Some(puller) = grant.principal().did() else {
            return;
        };
        let context = grant.context();
        let key = (
            puller.clone(),
            context.owner.did.clone(),
            context.repository().to_owned(),
            digest.clone(),
        );
        if !self.pulls.entry(key).or_insert(()).is_fresh() {
            return;
        }
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            metrics::counter!("atcr_appview_pull_notices_dropped_total").increment(1);
            return;
        };
        let info = ManifestInfo {
            media_type: Some(media_type.to_owned()),
            ..ManifestInfo::default()
        };
        let notice = input(grant.context(), PULL, digest, tag, info);
        let (sender, principal, did) = (self.sender.clone(), grant.principal().clone(), did.clone());
        PULLS.spawn(&self.shutdown, async move {
            let _slot = slot;
            if let Err(error) = sender.send(&principal, &did, &notice).await {
                tracing::debug!(hold.did = %did, %error, "a pull is not counted");
            }
        });
    }
}

impl std::fmt::Debug for Notices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notices").finish_non_exhaustive()
    }
}

fn input(
    context: &RequestContext,
    operation: &str,
    digest: &Digest,
    tag: Option<&Tag>,
    manifest: ManifestInfo,
) -> NotifyManifestInput {
    NotifyManifestInput {
        repository: context.repository().to_owned(),
        user_did: context.owner.did.clone(),
        manifest_digest: digest.to_string(),
        manifest,
        tag: tag.map(ToString::to_string),
        operation: operation.to_owned(),
    }
}
