//! One body of each method that we call or serve.

use atcr_atproto::lexicon::hold_upload::{
    AbortUploadInput, AbortUploadOutput, CompleteUploadInput, CompleteUploadOutput, FirstPart,
    GetPartUploadUrlInput, GetPartUploadUrlOutput, InitiateUploadInput, InitiateUploadOutput, StoreTraits,
    UploadedPart,
};
use atcr_atproto::lexicon::manifest;
use atcr_atproto::lexicon::notify_manifest::{
    BlobInfo, ChildManifestInfo, LayerInfo, ManifestInfo, NotifyManifestInput, NotifyManifestOutput,
    PlatformInfo,
};
use atcr_atproto::lexicon::{BlobRef, hold_crew, hold_user_data, nsid};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{alice, digest, hold, now};

/// A body as written, which must also read back as itself.
pub(super) fn body<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) -> Value {
    let json = serde_json::to_value(value).unwrap();
    assert_eq!(&serde_json::from_value::<T>(json.clone()).unwrap(), value);
    json
}

pub(super) fn part_target() -> GetPartUploadUrlOutput {
    GetPartUploadUrlOutput {
        url: "https://s3.example.com/bucket/key?X-Amz-Signature=x".to_owned(),
        method: "PUT".to_owned(),
        headers: [("x-upload-id".to_owned(), "1".to_owned())].into(),
    }
}

pub(super) fn bodies() -> Vec<(&'static str, &'static str, Value)> {
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
