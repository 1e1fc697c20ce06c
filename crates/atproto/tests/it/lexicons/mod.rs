//! Our lexicon documents, and everything we write against them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use atcr_atproto::lexicon::captain::CaptainRecord;
use atcr_atproto::lexicon::crew::{self, CrewRecord};
use atcr_atproto::lexicon::hold_legacy::HoldLegacyRecord;
use atcr_atproto::lexicon::hold_upload::{
    AbortUploadInput, AbortUploadOutput, CompleteUploadInput, CompleteUploadOutput, FirstPart,
    GetPartUploadUrlInput, GetPartUploadUrlOutput, InitiateUploadInput, InitiateUploadOutput, StoreTraits,
    UploadedPart,
};
use atcr_atproto::lexicon::layer::LayerRecord;
use atcr_atproto::lexicon::manifest::{
    self, BlobReference, ManifestRecord, ManifestReference, RecordPlatform,
};
use atcr_atproto::lexicon::notify_manifest::{
    BlobInfo, ChildManifestInfo, LayerInfo, ManifestInfo, NotifyManifestInput, NotifyManifestOutput,
    PlatformInfo,
};
use atcr_atproto::lexicon::repo_page::RepoPageRecord;
use atcr_atproto::lexicon::sailor_profile::SailorProfileRecord;
use atcr_atproto::lexicon::scan::{ScanRecord, SeverityCounts};
use atcr_atproto::lexicon::star::StarRecord;
use atcr_atproto::lexicon::stats::StatsRecord;
use atcr_atproto::lexicon::tag::TagRecord;
use atcr_atproto::lexicon::{BlobRef, Record, hold_crew, hold_user_data, nsid};
use atcr_atproto::syntax::{Datetime, Did};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::lexicon_validator::Lexicons;

const HEX: &str = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("lexicons")
}

fn did(text: &str) -> Did {
    text.parse().unwrap()
}

fn alice() -> Did {
    did("did:plc:7iza6de2dwap2sbkpav7c6c6")
}

fn hold() -> Did {
    did("did:web:localhost%3A8080")
}

fn now() -> Datetime {
    "2026-11-23T12:00:00.000Z".parse().unwrap()
}

fn digest() -> String {
    format!("sha256:{HEX}")
}

fn sha512() -> String {
    format!("sha512:{HEX}{HEX}")
}

/// The record as written, which must also read back as itself.
fn written<R: Record + PartialEq + std::fmt::Debug>(record: &R) -> Value {
    let value = record.to_value().unwrap();
    assert_eq!(&R::from_value(value.clone()).unwrap(), record);
    value
}

fn image() -> ManifestRecord {
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

fn index() -> ManifestRecord {
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
fn unfit(record: ManifestRecord) -> ManifestRecord {
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

fn records() -> Vec<Value> {
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

#[test]
fn documents_are_well_formed_and_named_by_their_path() {
    let lexicons = Lexicons::read(&folder());
    for (nsid, document) in lexicons.documents() {
        assert!(
            folder()
                .join(format!("{}.json", nsid.replace('.', "/")))
                .is_file(),
            "{nsid}"
        );
        assert_eq!(lexicons.document(document), Ok(()), "{nsid}");
    }
}

#[test]
fn every_live_collection_and_method_has_a_document() {
    let lexicons = Lexicons::read(&folder());
    let documented: BTreeSet<&str> = lexicons.documents().map(|(nsid, _)| nsid).collect();
    let methods = [
        nsid::HOLD_INITIATE_UPLOAD,
        nsid::HOLD_GET_PART_UPLOAD_URL,
        nsid::HOLD_COMPLETE_UPLOAD,
        nsid::HOLD_ABORT_UPLOAD,
        nsid::HOLD_NOTIFY_MANIFEST,
        nsid::HOLD_REQUEST_CREW,
        nsid::HOLD_UPDATE_CREW_TIER,
        nsid::HOLD_GET_QUOTA,
        nsid::HOLD_LIST_TIERS,
        nsid::HOLD_EXPORT_USER_DATA,
        nsid::HOLD_DELETE_USER_DATA,
    ];
    let expected: BTreeSet<&str> = nsid::LIVE_COLLECTIONS
        .into_iter()
        .chain(methods)
        .chain([nsid::HOLD, nsid::AUTH_FULL_APP])
        .collect();
    assert_eq!(documented, expected);
}

#[test]
fn every_record_we_make_conforms() {
    let lexicons = Lexicons::read(&folder());
    let records = records();
    for record in &records {
        assert_eq!(lexicons.record(record), Ok(()), "{record:#}");
    }
    let covered: BTreeSet<&str> = records
        .iter()
        .filter_map(|record| record["$type"].as_str())
        .collect();
    assert!(
        nsid::LIVE_COLLECTIONS
            .iter()
            .all(|collection| covered.contains(collection)),
        "{covered:?}"
    );
}

#[test]
fn the_permission_set_covers_the_collections_of_users() {
    let lexicons = Lexicons::read(&folder());
    let (_, document) = lexicons
        .documents()
        .find(|(nsid, _)| *nsid == nsid::AUTH_FULL_APP)
        .unwrap();
    let permissions = document["defs"]["main"]["permissions"].as_array().unwrap();
    assert_eq!(permissions.len(), 1);
    let collections: BTreeSet<&str> = permissions[0]["collection"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let of_users = [
        nsid::MANIFEST,
        nsid::TAG,
        nsid::SAILOR_PROFILE,
        nsid::SAILOR_STAR,
        nsid::REPO_PAGE,
    ]
    .into_iter()
    .collect();
    assert_eq!(collections, of_users);
}

/// A body as written, which must also read back as itself.
fn body<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) -> Value {
    let json = serde_json::to_value(value).unwrap();
    assert_eq!(&serde_json::from_value::<T>(json.clone()).unwrap(), value);
    json
}

fn part_target() -> GetPartUploadUrlOutput {
    GetPartUploadUrlOutput {
        url: "https://s3.example.com/bucket/key?X-Amz-Signature=x".to_owned(),
        method: "PUT".to_owned(),
        headers: [("x-upload-id".to_owned(), "1".to_owned())].into(),
    }
}

fn bodies() -> Vec<(&'static str, &'static str, Value)> {
    let store = StoreTraits {
        max_part_size: Some(5 << 30),
        hashes: true,
        streaming: true,
        ..StoreTraits::default()
    };
    let part = FirstPart {
        part_number: 1,
        target: part_target(),
    };
    let initiated = InitiateUploadOutput {
        upload_id: "u".to_owned(),
        store: Some(store),
        part: Some(part),
    };
    let bare = InitiateUploadOutput {
        upload_id: "u".to_owned(),
        store: None,
        part: None,
    };
    let layer = LayerInfo {
        digest: digest(),
        size: 5,
        media_type: "application/x-tar".to_owned(),
    };
    let child = ChildManifestInfo {
        digest: digest(),
        size: 5,
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        platform: Some(PlatformInfo {
            os: "linux".to_owned(),
            architecture: "amd64".to_owned(),
        }),
    };
    let notice = NotifyManifestInput {
        repository: "team/app".to_owned(),
        user_did: alice(),
        manifest_digest: digest(),
        manifest: ManifestInfo {
            media_type: Some("application/vnd.oci.image.manifest.v1+json".to_owned()),
            config: Some(BlobInfo {
                digest: digest(),
                size: 2,
            }),
            layers: vec![layer],
            manifests: vec![child],
        },
        tag: Some("latest".to_owned()),
        operation: "push".to_owned(),
    };
    let noticed = NotifyManifestOutput {
        success: true,
        operation: "push".to_owned(),
        stats_updated: true,
        layers_created: Some(1),
        post_created: Some(false),
        post_uri: Some(
            "at://did:web:localhost%3A8080/app.bsky.feed.post/3kznmn7xqxl22"
                .parse()
                .unwrap(),
        ),
    };
    let quota = hold_crew::GetQuotaOutput {
        user_did: alice(),
        unique_blobs: 3,
        total_size: 9,
        limit: Some(10),
        tier: Some("bosun".to_owned()),
    };
    let tier = hold_crew::TierInfo {
        name: "deckhand".to_owned(),
        quota_bytes: 5 << 30,
        quota_formatted: "5.0 GB".to_owned(),
        scan_on_push: false,
    };
    let membership = hold_crew::RequestCrewOutput {
        status: hold_crew::CrewStatus::AlreadyMember,
        uri: Some(
            "at://did:web:localhost%3A8080/io.atcr.hold.crew/abc"
                .parse()
                .unwrap(),
        ),
        cid: Some(BlobRef::of(b"", "x").cid.into()),
        message: Some("Welcome".to_owned()),
    };
    let export = hold_user_data::ExportUserDataOutput {
        exported_at: now(),
        hold_did: hold(),
        user_did: alice(),
        is_captain: false,
        crew_record: Some(hold_user_data::ExportedCrew {
            role: "member".to_owned(),
            permissions: vec!["blob:read".to_owned()],
            tier: None,
            added_at: now(),
        }),
        layer_records: vec![hold_user_data::ExportedLayer {
            digest: digest(),
            size: 1,
            media_type: "application/x-tar".to_owned(),
            manifest: manifest::at_uri(&alice(), &digest()).unwrap(),
            created_at: now(),
        }],
        stats_records: vec![hold_user_data::ExportedStats {
            repository: "app".to_owned(),
            pull_count: 1,
            push_count: 0,
            last_pull: Some(now()),
            last_push: None,
            updated_at: now(),
        }],
        bluesky_posts: vec![hold_user_data::ExportedPost {
            uri: "at://did:web:localhost%3A8080/app.bsky.feed.post/3kznmn7xqxl22"
                .parse()
                .unwrap(),
            text: "alice pushed app".to_owned(),
            created_at: now(),
        }],
    };
    let deleted = hold_user_data::DeleteUserDataOutput {
        success: true,
        crew_deleted: true,
        layers_deleted: 1,
        stats_deleted: 1,
    };
    let parts = vec![UploadedPart {
        part_number: 1,
        etag: "\"abc\"".to_owned(),
    }];
    let upload_id = || "u".to_owned();
    let begin = InitiateUploadInput {
        digest: "uploads/temp-1".to_owned(),
        size: Some(3),
    };
    let complete = CompleteUploadInput {
        upload_id: upload_id(),
        digest: digest(),
        parts,
    };
    let crew_request = hold_crew::RequestCrewInput {
        role: Some("member".to_owned()),
        permissions: Some(vec!["blob:read".to_owned()]),
    };
    vec![
        (nsid::HOLD_INITIATE_UPLOAD, "input", body(&begin)),
        (nsid::HOLD_INITIATE_UPLOAD, "output", body(&initiated)),
        (nsid::HOLD_INITIATE_UPLOAD, "output", body(&bare)),
        (
            nsid::HOLD_GET_PART_UPLOAD_URL,
            "input",
            body(&GetPartUploadUrlInput {
                upload_id: upload_id(),
                part_number: 1,
            }),
        ),
        (nsid::HOLD_GET_PART_UPLOAD_URL, "output", body(&part_target())),
        (nsid::HOLD_COMPLETE_UPLOAD, "input", body(&complete)),
        (
            nsid::HOLD_COMPLETE_UPLOAD,
            "output",
            body(&CompleteUploadOutput::completed(digest())),
        ),
        (
            nsid::HOLD_ABORT_UPLOAD,
            "input",
            body(&AbortUploadInput {
                upload_id: upload_id(),
            }),
        ),
        (
            nsid::HOLD_ABORT_UPLOAD,
            "output",
            body(&AbortUploadOutput::aborted()),
        ),
        (nsid::HOLD_NOTIFY_MANIFEST, "input", body(&notice)),
        (nsid::HOLD_NOTIFY_MANIFEST, "output", body(&noticed)),
        (
            nsid::HOLD_REQUEST_CREW,
            "input",
            body(&hold_crew::RequestCrewInput::default()),
        ),
        (nsid::HOLD_REQUEST_CREW, "input", body(&crew_request)),
        (nsid::HOLD_REQUEST_CREW, "output", body(&membership)),
        (
            nsid::HOLD_UPDATE_CREW_TIER,
            "input",
            body(&hold_crew::UpdateCrewTierInput {
                user_did: alice(),
                tier_rank: 1,
            }),
        ),
        (
            nsid::HOLD_UPDATE_CREW_TIER,
            "output",
            body(&hold_crew::UpdateCrewTierOutput {
                tier_name: "bosun".to_owned(),
            }),
        ),
        (nsid::HOLD_GET_QUOTA, "output", body(&quota)),
        (
            nsid::HOLD_LIST_TIERS,
            "output",
            body(&hold_crew::ListTiersOutput { tiers: vec![tier] }),
        ),
        (nsid::HOLD_EXPORT_USER_DATA, "output", body(&export)),
        (nsid::HOLD_DELETE_USER_DATA, "output", body(&deleted)),
    ]
}

#[test]
fn a_record_of_any_manifest_conforms_without_what_does_not_fit() {
    let lexicons = Lexicons::read(&folder());
    for record in [image(), index()] {
        assert_eq!(record.clone().conforming(), record, "what fits stays");
        let unfit = unfit(record);
        assert!(lexicons.record(&written(&unfit)).is_err());
        let fit = unfit.conforming();
        assert_eq!(lexicons.record(&written(&fit)), Ok(()));
        assert_eq!(fit.media_type, manifest::UNTYPED);
        assert_eq!(fit.artifact_type, None);
        assert_eq!(fit.annotations.keys().collect::<Vec<_>>(), ["kept"]);
        for blob in fit.config.iter().chain(&fit.layers).chain(&fit.subject) {
            assert_eq!(blob.media_type, "application/x");
            assert_eq!(blob.urls, ["https://example.com/a"]);
        }
        if let [child, without_platform] = &fit.manifests[..] {
            let platform = child.platform.as_ref().unwrap();
            assert_eq!((platform.os.as_str(), &platform.variant), ("linux", &None));
            assert_eq!(platform.os_features, ["win32k"]);
            assert_eq!(without_platform.platform, None);
        }
    }
}

#[test]
fn every_body_we_send_conforms() {
    let lexicons = Lexicons::read(&folder());
    for (nsid, which, value) in bodies() {
        assert_eq!(lexicons.body(nsid, which, &value), Ok(()), "{value:#}");
    }
}

#[test]
fn the_checks_above_can_fail() {
    let lexicons = Lexicons::read(&folder());
    let mut record = image().to_value().unwrap();
    record["layers"][0]["size"] = json!("5");
    assert!(lexicons.record(&record).is_err());
    assert!(
        lexicons
            .body(nsid::HOLD_ABORT_UPLOAD, "input", &json!({}))
            .is_err()
    );
}
