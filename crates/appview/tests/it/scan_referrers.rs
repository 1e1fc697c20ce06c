//! Bills of materials that a hold's scanner made, as referrers.

use atcr_atproto::data_model::{RAW, cid_of};
use atcr_oci::{Algorithm, Digest};
use serde_json::{Value, json};

use crate::harness::{Answer, TestAppView, sha256};
use crate::image_pages::{catch_up, image};

const NAME: &str = "alice.test/app";
const SPDX: &str = r#"{"spdxVersion":"SPDX-2.3","packages":[]}"#;
const CYCLONEDX: &str = r#"{"bomFormat":"CycloneDX"}"#;

/// Alice has pushed an image, of which the hold has two lists.
async fn scanned() -> (TestAppView, Digest) {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[NAME]).await;
    let image = image(&appview, "amd64");
    alice.push(NAME, "1.0", &image).await;
    catch_up(&appview, &appview.settings(), &appview.alice, "alice.test").await;
    let digest = sha256(&image);
    let mut documents = serde_json::Map::new();
    for (name, text) in [
        ("sbom", SPDX),
        ("sbom-cyclonedx", CYCLONEDX),
        ("vuln-report", "{}"),
    ] {
        let cid = cid_of(RAW, text.as_bytes()).to_string();
        let document = json!({ "cid": cid, "size": text.len(), "mediaType": "application/json" });
        documents.insert(name.to_owned(), document);
        appview.hold.answer(&format!("/scans/{digest}/{name}"), text);
    }
    let view = json!({
        "digest": digest, "job": null, "scanners": { "enabled": true, "connected": 1 },
        "result": {
            "state": "complete", "owner": appview.alice, "summary": null, "scannerVersion": "a scanner",
            "scannedAt": "2026-11-30T12:00:00Z", "documents": documents,
        },
    });
    appview.hold.answer(&format!("/scans/{digest}"), view.to_string());
    (appview, digest)
}

async fn get(appview: &TestAppView, token: &str, path: &str) -> Answer {
    Answer::of(appview.get(&format!("/v2/{NAME}/{path}")).bearer_auth(token)).await
}

fn types(list: &Value) -> Vec<&str> {
    let manifests = list["manifests"].as_array().unwrap().iter();
    manifests
        .map(|entry| entry["artifactType"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn lists_of_packages_are_listed_by_what_they_are_and_fetched_whole() {
    let (appview, digest) = scanned().await;
    let scope = format!("repository:{NAME}:pull");
    let bob = appview.token("bob.test", &[&scope]).await;
    let list = get(&appview, &bob, &format!("referrers/{digest}")).await;
    list.assert_status(200);
    let list = list.json();
    assert_eq!(
        types(&list),
        ["application/spdx+json", "application/vnd.cyclonedx+json"]
    );
    let filtered = get(
        &appview,
        &bob,
        &format!("referrers/{digest}?artifactType=application/spdx%2Bjson"),
    )
    .await;
    assert_eq!(filtered.header("oci-filters-applied"), "artifactType");
    assert_eq!(types(&filtered.json()), ["application/spdx+json"]);
    let other = get(&appview, &bob, &format!("referrers/{digest}?artifactType=a/b")).await;
    assert_eq!(types(&other.json()), Vec::<&str>::new());

    for (entry, content) in list["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .zip([SPDX, CYCLONEDX])
    {
        let address = entry["digest"].as_str().unwrap();
        let manifest = get(&appview, &bob, &format!("manifests/{address}")).await;
        manifest.assert_status(200);
        assert_eq!(manifest.header("docker-content-digest"), address);
        let text = manifest.text();
        assert_eq!(Digest::of(Algorithm::Sha256, text.as_bytes()).as_str(), address);
        assert_eq!(json!(text.len()), entry["size"]);
        let manifest: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(manifest["subject"]["digest"], digest.as_str());
        assert_eq!(manifest["artifactType"], entry["artifactType"]);
        let says = &manifest["annotations"];
        assert_eq!(says["org.opencontainers.image.authors"], appview.hold.did());
        assert_eq!(says["org.opencontainers.image.created"], "2026-11-30T12:00:00Z");
        assert_eq!(says, &entry["annotations"]);
        for (part, bytes) in [(&manifest["layers"][0], content), (&manifest["config"], "{}")] {
            let blob = format!("blobs/{}", part["digest"].as_str().unwrap());
            let fetched = get(&appview, &bob, &blob).await;
            fetched.assert_status(200);
            assert_eq!(fetched.text(), bytes);
            assert_eq!(part["size"], json!(bytes.len()));
            let head = appview.request(http::Method::HEAD, &format!("/v2/{NAME}/{blob}"));
            let head = Answer::of(head.bearer_auth(&bob)).await;
            head.assert_status(200);
            assert_eq!(head.header("content-length"), bytes.len().to_string());
        }
    }
}

#[tokio::test]
async fn who_pushes_the_same_is_not_told_that_it_is_there() {
    let (appview, digest) = scanned().await;
    let alice = appview.sailor("alice.test", &[NAME]).await.token;
    let list = get(&appview, &alice, &format!("referrers/{digest}")).await.json();
    assert_eq!(types(&list).len(), 2);
    let blob = Digest::of(Algorithm::Sha256, SPDX.as_bytes());
    let head = appview.request(http::Method::HEAD, &format!("/v2/{NAME}/blobs/{blob}"));
    Answer::of(head.bearer_auth(&alice)).await.assert_status(404);
    get(&appview, &alice, &format!("blobs/{blob}"))
        .await
        .assert_status(200);
}

#[tokio::test]
async fn a_private_hold_tells_its_members_only() {
    let (appview, digest) = scanned().await;
    let alice = appview.sailor("alice.test", &[NAME]).await.token;
    let list = get(&appview, &alice, &format!("referrers/{digest}")).await.json();
    let manifest = list["manifests"][0]["digest"].as_str().unwrap().to_owned();
    let anonymous = Answer::of(appview.get(&format!("/auth/token?scope=repository:{NAME}:pull"))).await;
    let anonymous = anonymous.json()["token"].as_str().unwrap().to_owned();
    appview.hold.set_private(true);
    let nothing = get(&appview, &anonymous, &format!("referrers/{digest}"))
        .await
        .json();
    assert_eq!(types(&nothing), Vec::<&str>::new());
    let blob = Digest::of(Algorithm::Sha256, SPDX.as_bytes());
    get(&appview, &anonymous, &format!("blobs/{blob}"))
        .await
        .assert_status(404);
    // Of another image nothing is told, whoever asks.
    let other = Digest::of(Algorithm::Sha256, b"another image");
    let nothing = get(&appview, &alice, &format!("referrers/{other}")).await.json();
    assert_eq!(types(&nothing), Vec::<&str>::new());
    get(&appview, &alice, &format!("manifests/{manifest}"))
        .await
        .assert_status(200);
}
