use serde_json::{Value, json};
use url::Url;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::directory::{DirectoryError, PlcDirectory};
use super::log::Entry;
use super::{LogError, Operation, PlcData, PlcLog, Service};
use crate::crypto::{Curve, SigningKey};
use crate::identity::DidDocument;
use crate::syntax::Did;

/// What the reference library makes of the same keys and fields.
const REFERENCE_DID: &str = "did:plc:n3pajhb2t6vk6xpfbfsl234w";
const REFERENCE_CID: &str = "bafyreido3ycjyou7vkxv3zijms6w7fqeer3qvwte774pj4cvym667zfgsq";
const REFERENCE_SIG: &str =
    "uYTJCR68z9OtYG8EpSUROxgFsKKiWuILs1bEAqL6veZnF9OgZ6U9xXhslDLamXenZRyNMWmzUYIb3QAM0-Pmew";
const REFERENCE_NEXT_CID: &str = "bafyreib6fmska63jw3lvlf6nwbl7c7tfokylppewi3b65pybtudivvwwnu";

fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes(Curve::K256, &[byte; 32]).unwrap()
}

fn did_key(byte: u8) -> String {
    key(byte).public_key().to_did_key()
}

fn data() -> PlcData {
    let service = |kind: &str| Service {
        kind: kind.to_owned(),
        endpoint: "https://hold.example.com".to_owned(),
    };
    PlcData {
        rotation_keys: vec![did_key(0x33), did_key(0x11)],
        verification_methods: [("atproto".to_owned(), did_key(0x22))].into(),
        also_known_as: vec!["at://hold.example.com".to_owned()],
        services: [
            ("atproto_pds".to_owned(), service("AtprotoPersonalDataServer")),
            ("atcr_hold".to_owned(), service("AtcrHoldService")),
        ]
        .into(),
    }
}

fn genesis() -> Operation {
    Operation::sign(data(), None, &key(0x11))
}

fn renamed() -> Operation {
    let mut changed = data();
    changed.also_known_as = vec!["at://new.example.com".to_owned()];
    Operation::sign(changed, Some(&genesis().cid()), &key(0x11))
}

fn entry(operation: &Operation, nullified: bool) -> Value {
    json!({
        "did": REFERENCE_DID, "operation": operation, "nullified": nullified,
        "cid": operation.cid().to_string(), "createdAt": "2026-11-30T04:00:00.000Z",
    })
}

fn verify(entries: &[Value]) -> Result<PlcLog, LogError> {
    let entries: Vec<Entry> = serde_json::from_value(json!(entries)).unwrap();
    PlcLog::verify(&did(), entries)
}

fn did() -> Did {
    REFERENCE_DID.parse().unwrap()
}

#[test]
fn a_log_that_was_kept_stands_for_the_document() {
    let text = json!([entry(&genesis(), false), entry(&renamed(), false)]).to_string();
    let log = PlcLog::read(&did(), text.as_bytes()).unwrap();
    let document = DidDocument::of_plc(&did(), &log.data());
    // As the directory resolves it.
    let resolved = json!({
        "id": REFERENCE_DID, "alsoKnownAs": ["at://new.example.com"],
        "verificationMethod": [{
            "id": format!("{REFERENCE_DID}#atproto"), "type": "Multikey", "controller": REFERENCE_DID,
            "publicKeyMultibase": key(0x22).public_key().to_multikey(),
        }],
        "service": [
            { "id": "#atcr_hold", "type": "AtcrHoldService", "serviceEndpoint": "https://hold.example.com" },
            { "id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": "https://hold.example.com" },
        ],
    });
    assert_eq!(
        document,
        DidDocument::parse(&did(), resolved.to_string().as_bytes()).unwrap()
    );
    for kept in [
        text.replace("new.example.com", "bad.example.com"),
        text.replace(&did_key(0x22), &did_key(0x44)),
        "[]".to_owned(),
        "{}".to_owned(),
    ] {
        let read = PlcLog::read(&did(), kept.as_bytes());
        assert!(matches!(read, Err(LogError::Unverified { .. })), "{kept}");
    }
    let other: Did = format!("did:plc:{}", "a".repeat(24)).parse().unwrap();
    assert!(PlcLog::read(&other, text.as_bytes()).is_err());
}

#[test]
fn an_operation_is_what_the_reference_library_makes() {
    let operation = genesis();
    assert_eq!(operation.did(), Some(did()));
    assert_eq!(operation.cid().to_string(), REFERENCE_CID);
    assert_eq!(json!(operation)["sig"], REFERENCE_SIG);
    assert_eq!(json!(operation)["prev"], Value::Null);
    assert_eq!(renamed().prev(), Some(REFERENCE_CID));
    assert_eq!(renamed().cid().to_string(), REFERENCE_NEXT_CID);
}

#[test]
fn a_log_is_believed_only_from_the_hash_to_the_last_signature() {
    let log = verify(&[entry(&genesis(), false), entry(&renamed(), false)]).unwrap();
    assert_eq!(log.len(), 2);
    assert_eq!(log.data().also_known_as, ["at://new.example.com"]);
    assert!(log.changed_at().is_some());
    assert!(log.data().is_rotated_by(&key(0x33).public_key()));
    assert!(!log.data().is_rotated_by(&key(0x22).public_key()));
    let undone = verify(&[entry(&genesis(), false), entry(&renamed(), true)]).unwrap();
    assert_eq!(undone.data(), data());
    assert_eq!(undone.changed_at(), None, "creation is no change");

    let forged = Operation::sign(data(), Some(&genesis().cid()), &key(0x22));
    let mut altered = json!(renamed());
    altered["alsoKnownAs"] = json!(["at://other.example.com"]);
    let mut unknown = json!(renamed());
    unknown["more"] = json!(1);
    let raw = |operation: Value| json!({ "operation": operation, "nullified": false });
    for (entries, why) in [
        (vec![], "there are none"),
        (vec![entry(&renamed(), false)], "follow"),
        (vec![entry(&genesis(), false), entry(&genesis(), false)], "follow"),
        (vec![entry(&genesis(), false), entry(&forged, false)], "signature"),
        (vec![entry(&genesis(), false), raw(altered)], "signature"),
        (vec![entry(&genesis(), false), raw(unknown)], "form"),
        (vec![raw(json!({ "type": "create" }))], "old form"),
    ] {
        let error = verify(&entries).unwrap_err();
        assert!(error.to_string().contains(why), "{error} should say {why}");
    }
    let tombstone = raw(json!({ "type": "plc_tombstone", "prev": REFERENCE_CID, "sig": "" }));
    assert_eq!(
        verify(&[entry(&genesis(), false), tombstone]),
        Err(LogError::Deactivated { did: did() })
    );
    let other: Did = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa".parse().unwrap();
    let entries: Vec<Entry> = serde_json::from_value(json!([entry(&genesis(), false)])).unwrap();
    assert!(
        PlcLog::verify(&other, entries).is_err(),
        "another DID's log proves nothing"
    );
}

async fn directory(answers: &[(&str, &str, ResponseTemplate)]) -> (MockServer, PlcDirectory) {
    let server = MockServer::start().await;
    for (verb, suffix, answer) in answers {
        Mock::given(method(*verb))
            .and(path(format!("/base/{REFERENCE_DID}{suffix}")))
            .respond_with(answer.clone())
            .mount(&server)
            .await;
    }
    let url = Url::parse(&format!("{}/base/", server.uri())).unwrap();
    (server, PlcDirectory::new(url).unwrap())
}

#[tokio::test]
async fn an_operation_whose_answer_was_lost_counts_as_done_if_it_is_the_newest() {
    let log = ResponseTemplate::new(200).set_body_json(json!([entry(&genesis(), false)]));
    let lost = ResponseTemplate::new(502);
    let (_server, directory) = directory(&[("POST", "", lost), ("GET", "/log/audit", log)]).await;
    directory.publish(&did(), &genesis()).await.unwrap();
    let error = directory.publish(&did(), &renamed()).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
}

#[tokio::test]
async fn a_refusal_is_told_apart_from_a_directory_that_does_not_work() {
    let refused = ResponseTemplate::new(400).set_body_string("Invalid\nsignature");
    let unknown = ResponseTemplate::new(404);
    let (_server, directory) = directory(&[("POST", "", refused), ("GET", "/log/audit", unknown)]).await;
    let error = directory.publish(&did(), &genesis()).await.unwrap_err();
    assert!(!error.is_transient());
    assert!(error.to_string().contains("Invalidsignature"), "{error}");
    let error = directory.log(&did()).await.unwrap_err();
    assert!(matches!(error, DirectoryError::NotFound { .. }), "{error}");

    for answer in [
        ResponseTemplate::new(500),
        ResponseTemplate::new(200).set_body_string("{}"),
        ResponseTemplate::new(200).set_body_string(" ".repeat(2_000_000)),
    ] {
        let (_server, directory) = self::directory(&[("GET", "/log/audit", answer)]).await;
        assert!(directory.log(&did()).await.unwrap_err().is_transient());
    }
}
