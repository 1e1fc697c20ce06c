//! Our lexicon documents, and everything we write against them.

mod bodies;
mod records;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use atcr_atproto::lexicon::manifest;
use atcr_atproto::lexicon::{Record as _, nsid};
use atcr_atproto::syntax::{Datetime, Did};
use serde_json::{Value, json};

use self::bodies::bodies;
use self::records::{image, index, records, unfit, written};
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
