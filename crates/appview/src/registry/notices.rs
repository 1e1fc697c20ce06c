//! Telling holds what was pushed and pulled, behind the client's back: it never waits for it, and never fails by it.
//!
//! A pull is counted once a minute for one puller and manifest: clients ask for a manifest several times in one pull, and a hold
//! signs a commit for each count.

use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::lexicon::notify_manifest::{ManifestInfo, NotifyManifestInput, PULL, PUSH};
use atcr_atproto::syntax::Did;
use atcr_auth::principal::Principal;
use atcr_config::Shutdown;
use atcr_oci::{Digest, Manifest, Tag};
use tokio::sync::Semaphore;

use super::access::{Granted, Pull, Push};
use super::context::RequestContext;
use super::error::RegistryError;
use super::hold_discovery::HoldResolver;
use super::manifest_record;
use super::ports::{HoldGateway, HoldRef, HoldTokens};

/// Notices under way at once. A pull's notice is dropped beyond that: it is a count, and the hold may be slow. A push's waits.
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
    gateway: Arc<dyn HoldGateway>,
    tokens: Arc<dyn HoldTokens>,
    resolver: HoldResolver,
    shutdown: Shutdown,
    slots: Arc<Semaphore>,
    pulls: moka::sync::Cache<PullKey, ()>,
}

impl Notices {
    /// Sends through `gateway` with `tokens`; the sending is a task of `shutdown`, which waits for it.
    #[must_use]
    pub fn new(
        gateway: Arc<dyn HoldGateway>,
        tokens: Arc<dyn HoldTokens>,
        resolver: HoldResolver,
        shutdown: Shutdown,
    ) -> Self {
        Self {
            gateway,
            tokens,
            resolver,
            shutdown,
            slots: Arc::new(Semaphore::new(AT_ONCE)),
            pulls: moka::sync::Cache::builder()
                .max_capacity(REMEMBERED_PULLS)
                .time_to_live(ONE_PULL)
                .build(),
        }
    }

    /// Tells `hold` that `manifest` was pushed, so that it records its layers.
    pub fn pushed(
        &self,
        grant: &Granted<Push>,
        hold: &HoldRef,
        digest: &Digest,
        manifest: &Manifest,
        tag: Option<&Tag>,
    ) {
        let notice = input(
            grant.context(),
            PUSH,
            digest,
            tag,
            manifest_record::notice(manifest),
        );
        let (this, principal, hold) = (self.clone(), grant.principal().clone(), hold.clone());
        self.shutdown.spawn(async move {
            let Ok(_slot) = this.slots.acquire().await else {
                return;
            };
            this.send(&principal, &hold, &notice).await;
        });
    }

    /// Tells the hold `did` that a manifest was pulled, so that it counts it. Nobody can tell it of an anonymous pull.
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
        let (this, principal, did) = (self.clone(), grant.principal().clone(), did.clone());
        self.shutdown.spawn(async move {
            let _slot = slot;
            match this.resolver.resolve(&did).await {
                Ok(hold) => this.send(&principal, &hold, &notice).await,
                Err(error) => tracing::debug!(hold.did = %did, %error, "a pull is not counted"),
            }
        });
    }

    async fn send(&self, principal: &Principal, hold: &HoldRef, notice: &NotifyManifestInput) {
        if let Err(error) = self.try_send(principal, hold, notice).await {
            let operation = notice.operation.as_str();
            if operation == PUSH {
                tracing::warn!(hold.did = %hold.did, digest = notice.manifest_digest, %error, "a hold was not told of a push");
            } else {
                tracing::debug!(hold.did = %hold.did, %error, operation, "a hold was not told");
            }
        }
    }

    async fn try_send(
        &self,
        principal: &Principal,
        hold: &HoldRef,
        notice: &NotifyManifestInput,
    ) -> Result<(), RegistryError> {
        let Some(token) = self.tokens.token_for(principal, &hold.did).await? else {
            return Ok(());
        };
        match self.gateway.notify_manifest(hold, &token, notice).await {
            Err(RegistryError::HoldUnauthorized { .. }) => {
                self.tokens.invalidate(principal, &hold.did).await;
                let Some(token) = self.tokens.token_for(principal, &hold.did).await? else {
                    return Ok(());
                };
                self.gateway.notify_manifest(hold, &token, notice).await
            }
            outcome => outcome,
        }
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
