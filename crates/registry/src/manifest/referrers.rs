//! Listing the manifests that name another one as their subject.
//!
//! Strangers decide how many such manifests an account has, how long they are and what they say, so an answer is made in a stream: some
//! rows at a time, some bytes of manifests at a time, until it is as long as it may be or has cost as much as it may.

use atcr_atproto::pds::PdsFailure;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use atcr_oci::{Descriptor, Digest, ImageIndex, Manifest, MediaType};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use crate::access::{Granted, Pull};
use crate::account::coverage::Coverage;
use crate::account::ports::{ManifestDetails, Referrer};
use crate::context::RequestContext;
use crate::error::RegistryError;
use crate::manifest::tags::Listed;
use crate::manifest::{MANIFEST_LIMIT, Manifests};

/// Manifests read at once for their artifact type and annotations.
const FETCHES_AT_ONCE: usize = 8;

/// Bytes of manifests that are held at once for all answers: four of the longest, of one account one at most, or many short ones.
pub(super) const HELD_BYTES: usize = 16 * 1024 * 1024;

/// How long a manifest waits for that.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of manifests read for one answer. What they say is kept, so the next answer goes on from there.
const FETCHED_BYTES: u64 = 16 * 1024 * 1024;

/// Rows looked at together.
const ROWS: usize = 64;

/// Most manifests that one answer looks at, whether they are wanted or not: what a manifest may name.
const REFERRERS: usize = 4_096;

/// Longest answer in bytes: what the specification asks of manifests, of which the list is one.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// What a manifest costs at least.
const KIB: u64 = 1024;

/// What came of one entry.
enum Entry {
    /// It belongs into the answer.
    Listed(Box<Descriptor>),
    /// It is of another artifact type, or cannot be described.
    LeftOut,
    /// To describe it would cost more than one answer may.
    TooCostly,
}

/// What reading manifests may still cost one answer.
struct Fetches {
    fetched: AtomicU64,
}

/// One listing: where it is for and which entries are wanted.
struct Wanted<'a> {
    context: &'a RequestContext,
    artifact_type: Option<&'a str>,
    fetches: Fetches,
}

impl Wanted<'_> {
    fn is_wanted(&self, artifact_type: Option<&str>) -> bool {
        self.artifact_type
            .is_none_or(|kind| artifact_type.unwrap_or_default() == kind)
    }
}

impl Manifests {
    /// The index of everything in the repository whose subject is `subject`, which need not exist, of one artifact type if one is
    /// given.
    ///
    /// Records of other writers do not say their artifact type; the manifest's bytes are read for it once. A manifest whose
    /// bytes are gone or damaged is left out. A list that would be larger than a manifest may be, or cost too much, is cut, which its
    /// coverage says.
    ///
    /// # Errors
    /// The PDS's.
    ///
    /// # Spec
    /// distribution-spec v1.1, end-12a and end-12b.
    pub async fn list_referrers(
        &self,
        grant: &Granted<Pull>,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Listed<ImageIndex>, RegistryError> {
        let context = grant.context();
        let mut coverage = self
            .accounts
            .ensure_synced(&context.owner, &context.requester)
            .await?;
        let wanted = Wanted {
            context,
            artifact_type,
            fetches: Fetches {
                fetched: AtomicU64::new(0),
            },
        };
        let (mut manifests, mut bytes, mut seen) = (Vec::new(), 0, 0);
        let mut after = None;
        'answer: loop {
            let page = self
                .accounts
                .index()
                .referrers(
                    &context.owner.did,
                    context.repository(),
                    subject,
                    after.as_ref(),
                    ROWS,
                )
                .await?;
            let Some(last) = page.last() else { break };
            after = Some(last.digest.clone());
            seen += page.len();
            let mut entries = stream::iter(page)
                .map(|referrer| self.describe(&wanted, referrer))
                .buffered(FETCHES_AT_ONCE);
            while let Some(entry) = entries.next().await {
                match entry? {
                    Entry::Listed(descriptor) => {
                        bytes += json_len(&descriptor);
                        if bytes > ANSWER_BYTES {
                            coverage = Coverage::Partial;
                            break 'answer;
                        }
                        manifests.push(*descriptor);
                    }
                    Entry::LeftOut => {}
                    Entry::TooCostly => {
                        coverage = Coverage::Partial;
                        break 'answer;
                    }
                }
            }
            if seen >= REFERRERS {
                coverage = Coverage::Partial;
                break;
            }
        }
        Ok(Listed {
            body: ImageIndex::new(manifests),
            next: None,
            coverage,
        })
    }

    async fn describe(&self, wanted: &Wanted<'_>, referrer: Referrer) -> Result<Entry, RegistryError> {
        let Ok(media_type) = referrer.media_type.parse::<MediaType>() else {
            return Ok(Entry::LeftOut);
        };
        let is_known = referrer.details.is_some();
        if let (Some(size), Some(details)) = (referrer.size, referrer.details) {
            if !wanted.is_wanted(details.artifact_type.as_deref()) {
                return Ok(Entry::LeftOut);
            }
            if let Some(annotations) = details.annotations {
                return Ok(Entry::Listed(Box::new(Descriptor {
                    annotations,
                    artifact_type: details.artifact_type,
                    ..Descriptor::new(media_type, referrer.digest, size)
                })));
            }
        }
        let Some(cid) = referrer.blob else {
            return Ok(Entry::LeftOut);
        };
        let cost = referrer.size.unwrap_or(MANIFEST_LIMIT).clamp(KIB, MANIFEST_LIMIT);
        if wanted.fetches.fetched.fetch_add(cost, Ordering::Relaxed) >= FETCHED_BYTES {
            return Ok(Entry::TooCostly);
        }
        let owner = &wanted.context.owner;
        let held = usize::try_from(cost).unwrap_or(usize::MAX);
        let held = self.referrers.acquire(owner.did.as_str(), held, PATIENCE).await;
        let _held = held.map_err(|_| RegistryError::TooManyRequests {
            retry_after: PATIENCE,
        })?;
        let bytes = match self.cache.find_bytes(&referrer.digest) {
            Some(bytes) => Some(bytes),
            None => {
                self.read_referrer(wanted.context, &referrer.digest, &cid, cost)
                    .await?
            }
        };
        let Some(bytes) = bytes else {
            return Ok(Entry::LeftOut);
        };
        let _parsed = self.parse_room(owner, bytes.len()).await?;
        let Ok(manifest) = Manifest::parse(bytes, Some(media_type.as_str())) else {
            return Ok(Entry::LeftOut);
        };
        let artifact_type = manifest.artifact_type();
        if !is_known {
            let details = ManifestDetails {
                artifact_type: artifact_type.clone(),
                annotations: Some(manifest.annotations().clone()),
            };
            let index = self.accounts.index();
            index
                .keep_details(&referrer.digest, manifest.size(), &details)
                .await?;
        }
        if !wanted.is_wanted(artifact_type.as_deref()) {
            return Ok(Entry::LeftOut);
        }
        Ok(Entry::Listed(Box::new(
            manifest.referrer_descriptor(referrer.digest),
        )))
    }

    /// The bytes of a manifest, which are not put into the cache: a list of long ones would leave nothing else there. `None` when they
    /// are gone, damaged or longer than `max` bytes.
    async fn read_referrer(
        &self,
        context: &RequestContext,
        digest: &Digest,
        cid: &atcr_atproto::syntax::Cid,
        max: u64,
    ) -> Result<Option<Bytes>, RegistryError> {
        let damaged = |what: &str| {
            tracing::warn!(did = %context.owner.did, %digest, what, "a referrer is left out");
            Ok(None)
        };
        match self.store.read_blob(&context.owner, cid, max).await {
            Ok(Some(bytes)) if Digest::of(digest.algorithm(), &bytes) == *digest => Ok(Some(bytes)),
            Ok(Some(_)) => damaged("the PDS gave other bytes than the digest names"),
            Ok(None) => Ok(None),
            Err(error) if error.is_damaged() || is_refusal(&error) => damaged(&error.to_string()),
            Err(error) => Err(error),
        }
    }
}

/// Whether the PDS answered that it does not give the bytes, or not now.
fn is_refusal(error: &RegistryError) -> bool {
    matches!(
        error,
        RegistryError::Pds(PdsFailure::Failed { .. } | PdsFailure::Unavailable { .. })
    )
}

/// Length of a descriptor in the answer.
fn json_len(descriptor: &Descriptor) -> usize {
    serde_json::to_vec(descriptor).map_or(ANSWER_BYTES, |json| json.len() + 1)
}
