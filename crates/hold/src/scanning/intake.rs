//! Which manifests of a push are scanned, and in which order.

use std::sync::Arc;

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_hold_pds::RepoError;
use atcr_oci::Digest;
use chrono::TimeDelta;

use super::{Candidate, ScanTableError, Scanning};
use crate::manifests::{Notice, NoticeError, PushObserver};

/// The captain's images come first. Tiers, once there are any, go between these.
const CAPTAIN: i64 = 0;
const CREW: i64 = 10;
/// Nobody waits for it, but it may tell of something new.
pub(super) const REMATCH: i64 = 90;
/// What nobody waits for.
pub(super) const RESCAN: i64 = 100;

/// A result that is younger is not made again for a push of the same manifest.
const FRESH: TimeDelta = TimeDelta::hours(24);

/// Images that were refused since their owner has as many waiting as one may have.
const REFUSED: &str = "hold_scan_jobs_refused_total";

/// Why a manifest is not scanned.
const INDEX: &str = "index";
const ATTESTATION: &str = "attestation";
const ARTIFACT: &str = "artifact";

/// Why nothing was queued.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The table failed.
    #[error(transparent)]
    Table(#[from] ScanTableError),
    /// The captain is not known.
    #[error("the captain record cannot be read")]
    Repo(#[from] RepoError),
}

impl Scanning {
    /// Queues what a push names: an image, or the images of an index. What is none of these is noted as not applicable. Without a secret
    /// there is nothing to do. Doing it again changes nothing.
    ///
    /// # Errors
    /// [`IntakeError`]; nothing was queued.
    pub async fn queue(&self, notice: &Notice) -> Result<(), IntakeError> {
        if !self.is_enabled() {
            return Ok(());
        }
        let inner = &*self.inner;
        let priority = self.priority_of(notice.owner()).await?;
        let now = inner.clock.now();
        let candidates = candidates(notice, priority);
        let most = inner.options.jobs_of_owner;
        let queued = inner.table.queue(&candidates, now, now - FRESH, most).await?;
        if queued.refused > 0 {
            metrics::counter!(REFUSED).increment(queued.refused);
            tracing::warn!(
                did = %notice.owner(), repository = notice.repository(), refused = queued.refused, most,
                "images are not scanned until they are pushed again: their owner has as many waiting as one may have"
            );
        }
        if queued.ready > 0 {
            inner.announce_ready();
        }
        Ok(())
    }

    async fn priority_of(&self, owner: &Did) -> Result<i64, RepoError> {
        let captain = self.inner.repo.captain().await?;
        let is_captain = captain.is_some_and(|captain| captain.owner == *owner);
        Ok(if is_captain { CAPTAIN } else { CREW })
    }
}

#[async_trait]
impl PushObserver for Scanning {
    async fn pushed(&self, notice: &Notice) -> Result<(), NoticeError> {
        let queued = self.queue(notice).await;
        queued.map_err(|error| {
            tracing::error!(
                did = %notice.owner(), repository = notice.repository(), %error,
                "a push is refused: it cannot be queued for a scan"
            );
            NoticeError::Observer(Arc::new(error))
        })
    }
}

fn candidates(notice: &Notice, priority: i64) -> Vec<Candidate> {
    let candidate = |digest: Digest, not_applicable| Candidate {
        digest,
        owner: notice.owner().clone(),
        repository: notice.repository().to_owned(),
        tag: notice.tag().map(str::to_owned),
        priority,
        not_applicable,
    };
    let own = if notice.is_index() {
        Some(INDEX)
    } else {
        reason_by_layers(notice.layer_types())
    };
    let children = notice.children().iter().map(|child| {
        let is_attestation = child
            .platform
            .as_ref()
            .is_some_and(|platform| platform.os == "unknown" && platform.architecture == "unknown");
        candidate(child.digest.clone(), is_attestation.then_some(ATTESTATION))
    });
    let mut all: Vec<_> = children.collect();
    if let Some(digest) = notice.digest() {
        all.push(candidate(digest, own));
    }
    all
}

/// An image has at least one layer of a file system, or no layer at all; a scanner looks more closely.
fn reason_by_layers<'a>(media_types: impl Iterator<Item = &'a str>) -> Option<&'static str> {
    let mut reason = None;
    for media_type in media_types {
        if media_type.contains("image.layer.") || media_type.contains("image.rootfs.") {
            return None;
        }
        let is_statement = media_type.starts_with("application/vnd.in-toto");
        reason = Some(if is_statement { ATTESTATION } else { ARTIFACT });
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_scanned_shows_in_the_layers() {
        let cases: [(&[&str], Option<&str>); 6] = [
            (&[], None),
            (&["application/vnd.oci.image.layer.v1.tar+gzip"], None),
            (&["application/vnd.docker.image.rootfs.diff.tar.gzip"], None),
            (&["application/vnd.in-toto+json"], Some(ATTESTATION)),
            (
                &["application/vnd.cncf.helm.chart.content.v1.tar+gzip"],
                Some(ARTIFACT),
            ),
            (
                &["text/plain", "application/vnd.oci.image.layer.v1.tar+zstd"],
                None,
            ),
        ];
        for (types, reason) in cases {
            assert_eq!(reason_by_layers(types.iter().copied()), reason, "{types:?}");
        }
    }
}
