//! Record keys, and records as older and foreign writers write them.

use atcr_atproto::lexicon::captain::CaptainRecord;
use atcr_atproto::lexicon::crew::{self, CrewRecord};
use atcr_atproto::lexicon::hold_legacy::HoldLegacyRecord;
use atcr_atproto::lexicon::hold_upload::{GetPartUploadUrlOutput, InitiateUploadOutput, S3_MIN_PART_SIZE};
use atcr_atproto::lexicon::manifest::{self, ManifestRecord};
use atcr_atproto::lexicon::notify_manifest::NotifyManifestInput;
use atcr_atproto::lexicon::sailor_profile::{SailorProfileRecord, has_legacy_hold};
use atcr_atproto::lexicon::star::{self, StarRecord};
use atcr_atproto::lexicon::tag::{self, TagRecord};
use atcr_atproto::lexicon::{BlobRef, Record, RecordError, repo_page, scan, stats};
use atcr_atproto::syntax::Did;
use serde_json::{Value, json};

const HEX: &str = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
const AT: &str = "2025-10-03T12:00:00Z";

fn alice() -> Did {
    "did:plc:7iza6de2dwap2sbkpav7c6c6".parse().unwrap()
}

fn read<R: Record>(value: Value) -> R {
    R::from_value(value).unwrap()
}

#[test]
fn a_manifest_is_found_under_its_digest() {
    assert_eq!(manifest::rkey(&format!("sha256:{HEX}")).unwrap(), HEX);
    let sha512 = format!("sha512:{HEX}{HEX}");
    assert_eq!(manifest::rkey(&sha512).unwrap(), sha512.as_str());
    for digest in [
        "",
        HEX,
        "sha256:",
        "sha256:AB",
        "sha512:00",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        "sha256:../x",
    ] {
        assert!(manifest::rkey(digest).is_err(), "{digest}");
    }
    assert!(manifest::rkey(&format!("sha256:{}", HEX.to_uppercase())).is_err());
    assert_eq!(scan::rkey(&format!("sha256:{HEX}")).unwrap(), HEX);
}

#[test]
fn a_further_repository_has_a_key_of_its_own_for_the_same_manifest() {
    let digest = format!("sha256:{HEX}");
    let rkey = manifest::rkey_in_repository(&digest, "team/app").unwrap();
    // printf %s team/app | sha256sum, in base32
    assert_eq!(rkey, format!("{HEX}.4rxx25dyhacpviqc").as_str());
    assert_eq!(
        manifest::digest_from_rkey(rkey.as_str()).as_deref(),
        Some(digest.as_str())
    );
    assert_eq!(manifest::digest_from_rkey(HEX).as_deref(), Some(digest.as_str()));
    let sha512 = format!("sha512:{HEX}{HEX}");
    assert_eq!(manifest::digest_from_rkey(&sha512), Some(sha512));
    for rkey in ["", "self", "3kznmn7xqxl22", "md5:00"] {
        assert_eq!(manifest::digest_from_rkey(rkey), None, "{rkey}");
    }
}

#[test]
fn hashed_keys_are_base32_of_sixteen_bytes() {
    // printf %s <text> | sha256sum | cut -c1-32, in base32
    assert_eq!(
        stats::rkey(&alice(), "team/app").unwrap(),
        "jk37glbm34dmjwbkgtznbboxty"
    );
    assert_eq!(
        star::rkey(&alice(), "team/app").unwrap(),
        "jk37glbm34dmjwbkgtznbboxty"
    );
    assert_eq!(crew::rkey(&alice()).unwrap(), "fftjniysvajzmkowk2oxkk2xzq");
}

#[test]
fn tag_and_page_keys_escape_slashes() {
    let rkey = tag::rkey("team/app", "v1.0").unwrap();
    assert_eq!(rkey, "team~app_v1.0");
    assert!(rkey.as_str().starts_with(&tag::rkey_prefix("team/app")));
    assert_eq!(
        tag::split_rkey(&rkey),
        Some(("team/app".to_owned(), "v1.0".to_owned()))
    );
    assert_eq!(repo_page::rkey("team/app").unwrap(), "team~app");
    assert!(tag::rkey("team app", "x").is_err());
    let (one, other) = (
        tag::rkey_beside("a_b", "c").unwrap(),
        tag::rkey_beside("a", "b_c").unwrap(),
    );
    assert_eq!(tag::rkey("a_b", "c"), tag::rkey("a", "b_c"));
    assert_ne!(one, other);
}

#[test]
fn a_tag_points_at_its_digest_in_every_generation() {
    let digest = format!("sha256:{HEX}");
    let uri = format!("at://{}/io.atcr.manifest/{HEX}", alice());
    let other = format!("sha256:{}", "0".repeat(64));
    let cases = [
        (json!({"manifest": uri, "updatedAt": AT}), Some(&digest)),
        (json!({"manifest": uri, "manifestDigest": other}), Some(&digest)),
        (json!({"manifestDigest": digest, "createdAt": AT}), Some(&digest)),
        (
            json!({"manifest": "nonsense", "manifestDigest": digest}),
            Some(&digest),
        ),
        (json!({"manifest": null, "manifestDigest": digest}), Some(&digest)),
        (
            json!({"manifest": format!("at://{}/io.atcr.manifest/self", alice())}),
            None,
        ),
        (json!({"manifestDigest": "latest"}), None),
        (json!({}), None),
    ];
    for (mut value, expected) in cases {
        value["$type"] = json!("io.atcr.tag");
        value["repository"] = json!("app");
        value["tag"] = json!("latest");
        assert_eq!(
            read::<TagRecord>(value.clone()).digest().as_ref(),
            expected,
            "{value}"
        );
    }
}

#[test]
fn a_manifest_of_an_old_writer_names_its_hold_by_url() {
    let mut value = json!({
        "$type": "io.atcr.manifest",
        "repository": "app",
        "digest": format!("sha256:{HEX}"),
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "schemaVersion": 2,
        "createdAt": AT,
        "holdEndpoint": "http://localhost:8080",
        "layers": null,
        "annotations": {"a": "b", "c": 3},
        "unknownField": {"x": [1]},
    });
    let record: ManifestRecord = read(value.clone());
    assert_eq!(record.hold().unwrap(), "did:web:localhost%3A8080");
    assert!(!record.is_index() && record.layers.is_empty());
    assert_eq!(record.annotations.len(), 1);
    value["holdDid"] = json!("did:web:hold.example.com");
    assert_eq!(
        read::<ManifestRecord>(value.clone()).hold().unwrap(),
        "did:web:hold.example.com"
    );
    value["holdDid"] = json!("");
    assert_eq!(
        read::<ManifestRecord>(value).hold().unwrap(),
        "did:web:localhost%3A8080"
    );
}

#[test]
fn a_hold_with_a_port_has_one_spelling_whatever_the_record_says() {
    for hold in [
        json!({"holdDid": "did:web:172.28.0.3:8080"}),
        json!({"holdDid": "did:web:172.28.0.3%3a8080"}),
        json!({"holdDid": "did:web:172.28.0.3%3A8080", "holdEndpoint": "http://elsewhere.example.com"}),
        json!({"holdEndpoint": "http://172.28.0.3:8080"}),
        json!({"holdEndpoint": "did:web:172.28.0.3:8080"}),
    ] {
        let mut record = json!({
            "$type": "io.atcr.manifest", "repository": "app", "digest": format!("sha256:{HEX}"),
            "mediaType": "application/json", "schemaVersion": 2, "createdAt": AT,
        });
        for (name, value) in hold.as_object().unwrap() {
            record[name] = value.clone();
        }
        let named = read::<ManifestRecord>(record).hold().unwrap();
        assert_eq!(named.as_str(), "did:web:172.28.0.3%3A8080", "{hold}");
    }
}

#[test]
fn a_profile_with_a_hold_url_reads_as_one_with_its_did() {
    let old = json!({"$type": "io.atcr.sailor.profile", "createdAt": AT, "defaultHold": "https://hold.example.com/"});
    assert!(has_legacy_hold(&old));
    let profile: SailorProfileRecord = read(old);
    assert_eq!(profile.default_hold.as_ref().unwrap(), "did:web:hold.example.com");
    assert!(!has_legacy_hold(&profile.to_value().unwrap()));
    for value in [
        json!({"createdAt": AT, "defaultHold": null}),
        json!({"createdAt": AT, "defaultHold": ""}),
    ] {
        assert!(!has_legacy_hold(&value));
        assert_eq!(read::<SailorProfileRecord>(value).default_hold, None);
    }
}

#[test]
fn fields_of_newer_writers_survive_a_change_of_the_profile() {
    let newer = json!({"$type": "io.atcr.sailor.profile", "createdAt": AT, "theme": {"dark": true}});
    let mut profile: SailorProfileRecord = read(newer);
    profile.auto_remove_untagged = Some(true);
    let value = profile.to_value().unwrap();
    assert_eq!(value["theme"], json!({"dark": true}));
    assert_eq!(value["$type"], "io.atcr.sailor.profile");
}

#[test]
fn stars_of_both_generations_name_the_same_repository() {
    let newer = json!({"subject": format!("at://{}/io.atcr.repo.page/team~app", alice()), "createdAt": AT});
    let older = json!({"subject": {"did": alice(), "repository": "team/app"}, "createdAt": AT});
    for value in [newer, older] {
        assert_eq!(
            read::<StarRecord>(value).repository(),
            Some((alice(), "team/app".to_owned()))
        );
    }
    let elsewhere = json!({"subject": "at://did:plc:x/app.bsky.feed.post/1", "createdAt": AT});
    assert_eq!(read::<StarRecord>(elsewhere).repository(), None);
}

#[test]
fn older_holds_are_read() {
    let captain =
        json!({"owner": alice(), "public": true, "deployedAt": AT, "provider": "fly.io", "region": "fra"});
    assert!(!read::<CaptainRecord>(captain).allow_all_crew);
    let member: CrewRecord =
        read(json!({"member": alice(), "role": "write", "permissions": null, "addedAt": AT}));
    assert!(!member.has_permission(crew::BLOB_WRITE));
    let announced = |endpoint| json!({"endpoint": endpoint, "owner": alice(), "createdAt": AT});
    let hold = |endpoint| {
        read::<HoldLegacyRecord>(announced(endpoint))
            .hold()
            .map(String::from)
    };
    assert_eq!(
        hold("https://hold.example.com").as_deref(),
        Some("did:web:hold.example.com")
    );
    assert_eq!(
        hold("localhost:8080").as_deref(),
        Some("did:web:localhost%3A8080")
    );
    assert_eq!(hold("https://hold.example.com/path"), None);
    assert_eq!(hold(""), None);
}

#[test]
fn a_record_of_another_type_is_refused() {
    let value = json!({"$type": "io.atcr.tag", "createdAt": AT});
    assert!(matches!(
        SailorProfileRecord::from_value(value),
        Err(RecordError::Type { .. })
    ));
    assert!(matches!(
        SailorProfileRecord::from_value(json!({"createdAt": 3})),
        Err(RecordError::Shape(_))
    ));
    assert!(matches!(
        SailorProfileRecord::from_value(json!([])),
        Err(RecordError::Shape(_))
    ));
}

#[test]
fn blob_references_have_the_protocol_s_form() {
    let blob = BlobRef::of(b"", "text/plain");
    let json = json!({
        "$type": "blob",
        "ref": {"$link": "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"},
        "mimeType": "text/plain",
        "size": 0,
    });
    assert_eq!(serde_json::to_value(&blob).unwrap(), json);
    assert_eq!(serde_json::from_value::<BlobRef>(json).unwrap(), blob);
    assert!(serde_json::from_value::<BlobRef>(json!({"$type": "blob", "mimeType": "x", "size": 1})).is_err());
}

#[test]
fn a_hold_that_says_nothing_of_its_store_is_taken_for_s3() {
    let output: InitiateUploadOutput = serde_json::from_value(json!({"uploadId": "u"})).unwrap();
    let store = output.store_traits();
    assert_eq!(store.min_part_size, S3_MIN_PART_SIZE);
    assert!(!store.hashes && !store.streaming);
    let part: GetPartUploadUrlOutput =
        serde_json::from_value(json!({"url": "https://s3", "headers": null})).unwrap();
    assert_eq!(part.method, "PUT");
    assert!(
        !format!("{part:?}").contains("s3"),
        "a presigned URL must not reach a log"
    );
}

#[test]
fn a_bare_notice_of_an_original_peer_is_read() {
    let notice = json!({
        "repository": "app",
        "userDid": alice(),
        "manifestDigest": format!("sha256:{HEX}"),
        "manifest": {"layers": [{"digest": format!("sha256:{HEX}"), "size": 3}]},
    });
    let notice: NotifyManifestInput = serde_json::from_value(notice).unwrap();
    assert_eq!(notice.operation, "push");
    assert_eq!(notice.manifest.layers.len(), 1);
}
