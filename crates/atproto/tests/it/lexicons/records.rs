//! One record of each kind that we make, and the odd ones among them.

use atcr_atproto::lexicon::captain::CaptainRecord;
use atcr_atproto::lexicon::crew::{self, CrewRecord};
use atcr_atproto::lexicon::hold_legacy::HoldLegacyRecord;
use atcr_atproto::lexicon::layer::LayerRecord;
use atcr_atproto::lexicon::manifest::{
    self, BlobReference, ManifestRecord, ManifestReference, RecordPlatform,
};
use atcr_atproto::lexicon::repo_page::RepoPageRecord;
use atcr_atproto::lexicon::sailor_profile::SailorProfileRecord;
use atcr_atproto::lexicon::scan::{ScanRecord, SeverityCounts};
use atcr_atproto::lexicon::star::StarRecord;
use atcr_atproto::lexicon::stats::StatsRecord;
use atcr_atproto::lexicon::tag::TagRecord;
use atcr_atproto::lexicon::{BlobRef, Record};
use serde_json::Value;

use super::{alice, did, digest, hold, now, sha512};

/// The record as written, which must also read back as itself.
pub(super) fn written<R: Record + PartialEq + std::fmt::Debug>(record: &R) -> Value {
    let value = record.to_value().unwrap();
    assert_eq!(&R::from_value(value.clone()).unwrap(), record);
    value
}

pub(super) fn image() -> ManifestRecord {
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let mut record = ManifestRecord::new("team/app", digest(), media_type, now());
    record.hold_did = Some(hold());
    record.config = Some(BlobReference::new(
        "application/vnd.oci.image.config.v1+json",
        digest(),
        2,
    ));
    let mut layer = BlobReference::new("application/vnd.oci.image.layer.v1.tar+gzip", sha512(), 5 << 40);
    layer.urls.push("https://example.com/layer".to_owned());
    layer.annotations.insert("org.example".to_owned(), "x".to_owned());
    record.layers = vec![layer];
    record.subject = Some(BlobReference::new(media_type, digest(), 7));
    record.artifact_type = Some("application/vnd.example".to_owned());
    record
        .annotations
        .insert("org.opencontainers.image.title".to_owned(), "App".to_owned());
    record.manifest_blob = Some(BlobRef::of(b"{}", media_type));
    record
}

pub(super) fn index() -> ManifestRecord {
    let mut record = ManifestRecord::new("app", sha512(), "application/vnd.oci.image.index.v1+json", now());
    let mut child = ManifestReference::new("application/vnd.oci.image.manifest.v1+json", digest(), 9);
    child.platform = Some(RecordPlatform {
        architecture: "arm".to_owned(),
        os: "linux".to_owned(),
        os_version: Some("10".to_owned()),
        os_features: vec!["win32k".to_owned()],
        variant: Some("v7".to_owned()),
    });
    record.manifests = vec![child];
    record.subject = Some(BlobReference::new(
        "application/vnd.oci.image.manifest.v1+json",
        digest(),
        7,
    ));
    record.artifact_type = Some("application/vnd.example+type".to_owned());
    record
        .annotations
        .insert("org.opencontainers.image.title".to_owned(), "All".to_owned());
    record
}

/// What a manifest may say and a record may not.
pub(super) fn unfit(record: ManifestRecord) -> ManifestRecord {
    let mut record = record;
    let odd_keys = [("$link", "x"), ("$bytes", "x"), ("$type", "blob"), ("kept", "x")];
    let annotations: std::collections::BTreeMap<_, _> = odd_keys
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    let long = || format!("application/{}", "x".repeat(127));
    record.media_type = long();
    record.artifact_type = Some("x".repeat(256));
    record.annotations.clone_from(&annotations);
    for blob in record
        .config
        .iter_mut()
        .chain(&mut record.layers)
        .chain(&mut record.subject)
    {
        blob.media_type = format!("application/x;{}", "y".repeat(300));
        blob.annotations.clone_from(&annotations);
        blob.urls = [
            "https://example.com/a",
            "no URI",
            "git+ssh://example.com",
            "file:///a",
            "https://",
        ]
        .map(str::to_owned)
        .to_vec();
    }
    let long_os = |mut child: ManifestReference| {
        if let Some(platform) = &mut child.platform {
            platform.os = "o".repeat(33);
        }
        child
    };
    record.manifests = record
        .manifests
        .into_iter()
        .flat_map(|child| [child.clone(), long_os(child)])
        .collect();
    for child in &mut record.manifests {
        child.media_type = long();
        child.annotations.clone_from(&annotations);
        if let Some(platform) = &mut child.platform {
            platform.variant = Some("v".repeat(33));
            platform.os_version = Some("1".repeat(65));
            platform.os_features = vec!["f".repeat(65), "win32k".to_owned()];
        }
    }
    record
}

pub(super) fn records() -> Vec<Value> {
    let mut profile = SailorProfileRecord::new(Some(hold()), now());
    profile.auto_remove_untagged = Some(true);
    let mut page = RepoPageRecord::new("team/app", now());
    page.description = Some("# App".to_owned());
    page.avatar = Some(BlobRef::of(b"png", "image/png"));
    let mut captain = CaptainRecord::new(alice(), now());
    captain.public = true;
    captain.region = Some("eu-central-1".to_owned());
    captain.successor = Some(did("did:web:hold2.example.com"));
    let mut member = CrewRecord::new(alice(), "member", [crew::BLOB_READ, crew::BLOB_WRITE], now());
    member.tier = Some("deckhand".to_owned());
    let manifest = manifest::at_uri(&alice(), &sha512()).unwrap();
    let mut stats = StatsRecord::new(alice(), "app", now());
    stats.count_pull(now());
    stats.count_push(now());
    let severities = SeverityCounts {
        critical: 1,
        high: 2,
        medium: 3,
        low: 4,
        total: 12,
    };
    let mut scan = ScanRecord::new(
        manifest.clone(),
        "app",
        alice(),
        severities,
        "atcr-scanner-v1.0.0",
        now(),
    );
    scan.sbom_blob = Some(BlobRef::of(b"{}", "application/spdx+json"));
    scan.vuln_report_blob = Some(BlobRef::of(b"{}", "application/vnd.atcr.vulnerabilities+json"));
    let legacy = HoldLegacyRecord {
        endpoint: "https://hold.example.com".to_owned(),
        owner: alice(),
        created_at: now(),
        public: true,
    };
    vec![
        written(&ManifestRecord::new(
            "app",
            digest(),
            "application/vnd.example",
            now(),
        )),
        written(&image()),
        written(&index()),
        written(&TagRecord::new(&alice(), "team/app", "latest", &digest(), now()).unwrap()),
        written(&TagRecord::new(&alice(), "team/app", "v1.0", &sha512(), now()).unwrap()),
        written(&SailorProfileRecord::new(None, now())),
        written(&profile),
        written(&StarRecord::new(&alice(), "team/app", now()).unwrap()),
        written(&RepoPageRecord::new("app", now())),
        written(&page),
        written(&legacy),
        written(&CaptainRecord::new(alice(), now())),
        written(&captain),
        written(&member),
        written(&LayerRecord::new(
            digest(),
            5 << 40,
            "application/vnd.oci.image.layer.v1.tar",
            manifest,
            alice(),
            now(),
        )),
        written(&StatsRecord::new(alice(), "app", now())),
        written(&stats),
        written(&scan),
    ]
}
