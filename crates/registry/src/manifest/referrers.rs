//! Listing the manifests that name another one as their subject.

use atcr_oci::{Descriptor, Digest, ImageIndex, Manifest, MediaType};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::access::{Granted, Pull};
use crate::account::coverage::Coverage;
use crate::account::ports::{ManifestDetails, Referrer};
use crate::context::RequestContext;
use crate::error::RegistryError;
use crate::manifest::Manifests;
use crate::manifest::cache::Presence;
use crate::manifest::tags::Listed;

/// Manifests fetched at once for their artifact type and annotations.
const FETCHES_AT_ONCE: usize = 8;

/// Most manifests in a list of referrers, and most bytes of their annotations: what the specification asks of manifests, of which
/// the list is one.
const REFERRERS: usize = 4_096;
const ANNOTATION_BYTES: usize = 4 * 1024 * 1024;

impl Manifests {
    /// The index of everything in the repository whose subject is `subject`, which need not exist, of one artifact type if one is
    /// given.
    ///
    /// Records of other writers do not say their artifact type; the manifest's bytes are read for it once. A manifest whose
    /// bytes are gone or damaged is left out. A list that would be larger than a manifest may be is cut, which its coverage says.
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
        let mut coverage = self.accounts.ensure_synced(&context.owner).await?;
        let mut referrers = self
            .accounts
            .index()
            .referrers(&context.owner.did, context.repository(), subject, REFERRERS + 1)
            .await?;
        if referrers.len() > REFERRERS {
            referrers.truncate(REFERRERS);
            coverage = Coverage::Partial;
        }
        let mut described = stream::iter(referrers)
            .map(|referrer| self.describe(context, referrer))
            .buffered(FETCHES_AT_ONCE);
        let (mut manifests, mut bytes) = (Vec::new(), 0);
        while let Some(found) = described.try_next().await? {
            let Some(found) = found.filter(|found| {
                artifact_type.is_none_or(|kind| found.artifact_type.as_deref().unwrap_or_default() == kind)
            }) else {
                continue;
            };
            bytes += annotation_bytes(&found);
            if bytes > ANNOTATION_BYTES {
                coverage = Coverage::Partial;
                break;
            }
            manifests.push(found);
        }
        Ok(Listed {
            body: ImageIndex::new(manifests),
            next: None,
            coverage,
        })
    }

    async fn describe(
        &self,
        context: &RequestContext,
        referrer: Referrer,
    ) -> Result<Option<Descriptor>, RegistryError> {
        let Ok(media_type) = referrer.media_type.parse::<MediaType>() else {
            return Ok(None);
        };
        if let (Some(size), Some(details)) = (referrer.size, referrer.details) {
            return Ok(Some(Descriptor {
                annotations: details.annotations,
                artifact_type: details.artifact_type,
                ..Descriptor::new(media_type, referrer.digest, size)
            }));
        }
        let Some(blob) = referrer.blob else {
            return Ok(None);
        };
        let presence = Presence {
            media_type: referrer.media_type,
            blob,
            hold: None,
        };
        let bytes = match self.read(context, &referrer.digest, &presence).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(None),
            Err(RegistryError::Corrupt { what }) => {
                tracing::warn!(did = %context.owner.did, what, "a referrer is left out");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let Ok(manifest) = Manifest::parse(bytes, Some(media_type.as_str())) else {
            return Ok(None);
        };
        let details = ManifestDetails {
            artifact_type: manifest.artifact_type(),
            annotations: manifest.annotations().clone(),
        };
        self.accounts
            .index()
            .keep_details(&referrer.digest, manifest.size(), &details)
            .await?;
        Ok(Some(manifest.referrer_descriptor(referrer.digest)))
    }
}

fn annotation_bytes(descriptor: &Descriptor) -> usize {
    let pairs = descriptor.annotations.iter();
    pairs.map(|(name, value)| name.len() + value.len()).sum()
}
