//! A manifest restated as the fields of its record, for readers that do not fetch the bytes, and read back from the bytes where
//! the record leaves something out.

use atcr_atproto::lexicon::BlobRef;
use atcr_atproto::lexicon::manifest::{
    BlobReference, ManifestRecord, ManifestReference, RecordPlatform, UNTYPED, short_media_type,
};
use atcr_atproto::lexicon::notify_manifest::{
    BlobInfo, ChildManifestInfo, LayerInfo, ManifestInfo, PlatformInfo,
};
use atcr_atproto::syntax::{Datetime, Did};
use atcr_oci::{Descriptor, Digest, Manifest, Platform};
use bytes::Bytes;

use crate::hold::ports::HoldRef;
use crate::manifest::pushed_content::{BlobChildren, blob_children};

/// Longest operating system and architecture in bytes that a notice holds.
const MAX_NOTICE_PLATFORM_LEN: usize = 64;

/// Length in bytes from which on a manifest may have been too much for its record; the record of a shorter one names no content
/// only because there is none.
const PARTIAL_FROM_BYTES: u64 = 1024;

/// The record of `manifest` in `repository`, whose blobs are on `hold`. It conforms to its lexicon, and may be longer than what a
/// PDS takes.
#[must_use]
pub fn record(
    repository: &str,
    digest: &Digest,
    manifest: &Manifest,
    blob_children: &BlobChildren,
    hold: &HoldRef,
    blob: BlobRef,
    created_at: Datetime,
) -> ManifestRecord {
    let mut record = ManifestRecord::new(
        repository,
        digest.to_string(),
        manifest.media_type().to_string(),
        created_at,
    );
    record.hold_did = Some(hold.did.clone());
    record.hold_endpoint = Some(endpoint(hold));
    restate_content(&mut record, manifest, blob_children);
    record.subject = manifest.subject().map(blob_reference);
    record.artifact_type = manifest.stated_artifact_type().map(str::to_owned);
    record.annotations = manifest.annotations().clone();
    record.manifest_blob = Some(blob);
    record.conforming()
}

/// Whether `record` may leave out what its manifest names, or its media type.
#[must_use]
pub fn is_partial(record: &ManifestRecord) -> bool {
    let names_nothing = record.layers.is_empty() && record.manifests.is_empty();
    record.manifest_blob.as_ref().is_some_and(|blob| {
        record.media_type == UNTYPED || (names_nothing && blob.size >= PARTIAL_FROM_BYTES)
    })
}

/// Puts into `record` what it leaves out, from the manifest's `bytes`; nothing if they are no manifest.
pub fn complete(record: &mut ManifestRecord, bytes: &Bytes) {
    let stated = Some(record.media_type.as_str()).filter(|kind| *kind != UNTYPED);
    let uploaded = record.manifest_blob.as_ref().map(|blob| blob.mime_type.as_str());
    // The bytes usually name their type themselves. If not, it is the record's, or the one under which they were uploaded.
    let parsed = [stated, uploaded]
        .into_iter()
        .flatten()
        .map(Some)
        .chain([None])
        .find_map(|kind| Manifest::parse(bytes.clone(), kind).ok());
    if let Some(manifest) = parsed {
        record.media_type = manifest.media_type().to_string();
        restate_content(record, &manifest, &blob_children(&manifest));
    }
}

/// The record that a manifest's `bytes` make in `repository`, for the index of accounts; `None` if they are no manifest.
#[must_use]
pub fn of_bytes(
    repository: &str,
    digest: &Digest,
    media_type: &str,
    hold: Option<&Did>,
    blob: BlobRef,
    bytes: &Bytes,
    created_at: Datetime,
) -> Option<ManifestRecord> {
    let manifest = Manifest::parse(bytes.clone(), Some(media_type)).ok()?;
    let mut record = ManifestRecord::new(repository, digest.to_string(), media_type, created_at);
    record.hold_did = hold.cloned();
    restate_content(&mut record, &manifest, &blob_children(&manifest));
    record.subject = manifest.subject().map(blob_reference);
    record.artifact_type = manifest.stated_artifact_type().map(str::to_owned);
    record.annotations = manifest.annotations().clone();
    record.manifest_blob = Some(blob);
    Some(record)
}

/// The hold's base URL, as readers older than `holdDid` look for it.
fn endpoint(hold: &HoldRef) -> String {
    hold.endpoint.as_str().trim_end_matches('/').to_owned()
}

/// Children of an index that are blobs stand among the layers as well: what looks for blobs in records looks there.
fn restate_content(record: &mut ManifestRecord, manifest: &Manifest, blob_children: &BlobChildren) {
    record.config = manifest.config().map(blob_reference);
    record.layers = blobs(manifest, blob_children).map(blob_reference).collect();
    record.manifests = manifest.manifests().iter().map(manifest_reference).collect();
}

/// The layers of an image, or the children of an index that are blobs.
fn blobs<'a>(
    manifest: &'a Manifest,
    blob_children: &'a BlobChildren,
) -> impl Iterator<Item = &'a Descriptor> {
    let children = manifest.manifests().iter();
    let children = children.filter(|child| blob_children.contains(&child.digest));
    manifest.layers().iter().chain(children)
}

/// What a hold is told of `manifest`. What its lexicon does not take is shortened or left out, as in the record.
#[must_use]
pub fn notice(manifest: &Manifest, blob_children: &BlobChildren) -> ManifestInfo {
    ManifestInfo {
        media_type: Some(short_media_type(manifest.media_type().as_str()).to_owned()),
        config: manifest.config().map(|config| BlobInfo {
            digest: config.digest.to_string(),
            size: config.size,
        }),
        layers: blobs(manifest, blob_children)
            .map(|layer| LayerInfo {
                digest: layer.digest.to_string(),
                size: layer.size,
                media_type: short_media_type(layer.media_type.as_str()).to_owned(),
            })
            .collect(),
        manifests: manifest
            .manifests()
            .iter()
            .filter(|child| !blob_children.contains(&child.digest))
            .map(|child| ChildManifestInfo {
                digest: child.digest.to_string(),
                size: child.size,
                media_type: short_media_type(child.media_type.as_str()).to_owned(),
                platform: child.platform.as_ref().and_then(platform_info),
            })
            .collect(),
    }
}

fn blob_reference(descriptor: &Descriptor) -> BlobReference {
    BlobReference {
        media_type: descriptor.media_type.to_string(),
        size: descriptor.size,
        digest: descriptor.digest.to_string(),
        urls: descriptor.urls.clone(),
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

fn platform_info(platform: &Platform) -> Option<PlatformInfo> {
    let fits = platform.os.len() <= MAX_NOTICE_PLATFORM_LEN
        && platform.architecture.len() <= MAX_NOTICE_PLATFORM_LEN;
    fits.then(|| PlatformInfo {
        os: platform.os.clone(),
        architecture: platform.architecture.clone(),
    })
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
