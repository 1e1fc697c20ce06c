//! A manifest restated as the fields of its record, for readers that do not fetch the bytes.

use atcr_atproto::lexicon::BlobRef;
use atcr_atproto::lexicon::manifest::{BlobReference, ManifestRecord, ManifestReference, RecordPlatform};
use atcr_atproto::lexicon::notify_manifest::{
    BlobInfo, ChildManifestInfo, LayerInfo, ManifestInfo, PlatformInfo,
};
use atcr_atproto::syntax::{Datetime, Did};
use atcr_oci::{Descriptor, Digest, Manifest, Platform};

/// Size in bytes that a record should not exceed as JSON. A repository takes records of up to 1 MB and the reference PDS
/// requests of as much, in which one record may appear twice (a move); other servers take less.
const RECORD_BUDGET: usize = 120 * 1024;

/// The record of `manifest` in `repository`, whose blobs are on `hold`.
///
/// Annotations are left out, the largest part first, where they would make the record too big; they are still in the
/// bytes. `artifactType` is then left out too, so that a reader knows to look there.
#[must_use]
pub fn record(
    repository: &str,
    digest: &Digest,
    manifest: &Manifest,
    hold: &Did,
    blob: BlobRef,
    created_at: Datetime,
) -> ManifestRecord {
    let mut record = ManifestRecord::new(
        repository,
        digest.to_string(),
        manifest.media_type().to_string(),
        created_at,
    );
    record.hold_did = Some(hold.clone());
    record.config = manifest.config().map(blob_reference);
    record.layers = manifest.layers().iter().map(blob_reference).collect();
    record.manifests = manifest.manifests().iter().map(manifest_reference).collect();
    record.subject = manifest.subject().map(blob_reference);
    record.artifact_type = manifest.artifact_type();
    record.annotations = manifest.annotations().clone();
    record.manifest_blob = Some(blob);
    if size(&record) > RECORD_BUDGET {
        record.annotations.clear();
        record.artifact_type = None;
    }
    if size(&record) > RECORD_BUDGET {
        let blobs = record
            .config
            .iter_mut()
            .chain(&mut record.layers)
            .chain(&mut record.subject);
        blobs.for_each(|blob| blob.annotations.clear());
        record
            .manifests
            .iter_mut()
            .for_each(|child| child.annotations.clear());
    }
    record
}

/// What a hold is told of `manifest`.
#[must_use]
pub fn notice(manifest: &Manifest) -> ManifestInfo {
    ManifestInfo {
        media_type: Some(manifest.media_type().to_string()),
        config: manifest.config().map(|config| BlobInfo {
            digest: config.digest.to_string(),
            size: config.size,
        }),
        layers: manifest
            .layers()
            .iter()
            .map(|layer| LayerInfo {
                digest: layer.digest.to_string(),
                size: layer.size,
                media_type: layer.media_type.to_string(),
            })
            .collect(),
        manifests: manifest
            .manifests()
            .iter()
            .map(|child| ChildManifestInfo {
                digest: child.digest.to_string(),
                size: child.size,
                media_type: child.media_type.to_string(),
                platform: child.platform.as_ref().map(|platform| PlatformInfo {
                    os: platform.os.clone(),
                    architecture: platform.architecture.clone(),
                }),
            })
            .collect(),
    }
}

fn blob_reference(descriptor: &Descriptor) -> BlobReference {
    BlobReference {
        media_type: descriptor.media_type.to_string(),
        size: descriptor.size,
        digest: descriptor.digest.to_string(),
        // A record's `urls` are URIs; what is none stays in the bytes.
        urls: descriptor
            .urls
            .iter()
            .filter(|url| url::Url::parse(url).is_ok())
            .cloned()
            .collect(),
        annotations: descriptor.annotations.clone(),
    }
}

fn manifest_reference(descriptor: &Descriptor) -> ManifestReference {
    ManifestReference {
        media_type: descriptor.media_type.to_string(),
        size: descriptor.size,
        digest: descriptor.digest.to_string(),
        platform: descriptor.platform.as_ref().map(platform),
        annotations: descriptor.annotations.clone(),
    }
}

fn platform(platform: &Platform) -> RecordPlatform {
    RecordPlatform {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        os_version: platform.os_version.clone(),
        os_features: platform.os_features.clone(),
        variant: platform.variant.clone(),
    }
}

fn size(record: &ManifestRecord) -> usize {
    serde_json::to_vec(record).map_or(0, |json| json.len())
}
