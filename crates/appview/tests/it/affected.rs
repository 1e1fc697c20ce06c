//! Which of my images have this vulnerability, or this package.

use atcr_atproto::data_model::{RAW, cid_of};
use atcr_oci::{Digest, Manifest};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::harness::{Answer, TestAppView, sha256};
use crate::image_pages::{catch_up, image, index};
use crate::scan_pages::{counts, matched, report, sbom};

const NAME: &str = "alice.test/app";

struct Pushed {
    appview: TestAppView,
    /// Tagged `1.0` and `latest`.
    old: Digest,
    /// Tagged `2.0`.
    new: Digest,
    /// The only platform of what is tagged `3.0`.
    child: Digest,
}

impl Pushed {
    async fn start() -> Self {
        let appview = TestAppView::start().await;
        let alice = appview.sailor("alice.test", &[NAME]).await;
        let (old, new, child) = (
            image(&appview, "amd64"),
            image(&appview, "arm64"),
            image(&appview, "s390x"),
        );
        for (tag, manifest) in [("1.0", &old), ("latest", &old), ("2.0", &new)] {
            alice.push(NAME, tag, manifest).await;
        }
        let digest_of = |manifest: &Manifest| sha256(manifest);
        alice.push(NAME, digest_of(&child).as_str(), &child).await;
        alice.push(NAME, "3.0", &index(&[("s390x", &child)], &[])).await;
        catch_up(&appview, &appview.settings(), &appview.alice, "alice.test").await;
        Self {
            old: digest_of(&old),
            new: digest_of(&new),
            child: digest_of(&child),
            appview,
        }
    }

    /// The hold has a result for the image.
    fn scanned(&self, digest: &Digest, matches: &[Value], packages: &[Value]) {
        let mut listed = serde_json::Map::new();
        for (name, text) in [("vuln-report", report(matches)), ("sbom", sbom(packages))] {
            let cid = cid_of(RAW, text.as_bytes()).to_string();
            let document = json!({ "cid": cid, "size": text.len(), "mediaType": "application/json" });
            listed.insert(name.to_owned(), document);
            self.appview.hold.answer(&format!("/scans/{digest}/{name}"), text);
        }
        let view = json!({
            "digest": digest, "job": null, "scanners": { "enabled": true, "connected": 1 },
            "result": {
                "state": "complete", "owner": self.appview.alice, "summary": counts(0, 0), "scannerVersion": "a scanner",
                "scannedAt": "2026-11-30T12:00:00Z", "documents": listed,
            },
        });
        self.appview
            .hold
            .answer(&format!("/scans/{digest}"), view.to_string());
    }

    async fn json(&self, query: &str, token: Option<&str>) -> Answer {
        let request = self
            .appview
            .get(&format!("/affected?q={query}"))
            .header("accept", "application/json");
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        Answer::of(request).await
    }
}

fn package(name: &str, version: &str) -> Value {
    json!({ "name": name, "versionInfo": version })
}

#[tokio::test]
async fn images_with_a_vulnerability_are_found_what_can_be_acted_on_first_and_unknown_ones_are_named() {
    let pushed = Pushed::start().await;
    let mut by_alias = matched("GHSA-aaaa-bbbb-0001", "Low", "lib", Some("1.1"));
    by_alias["relatedVulnerabilities"] = json!([{ "id": "CVE-2099-0001" }]);
    pushed.scanned(
        &pushed.old,
        &[matched("CVE-2099-0001", "Critical", "lib", None)],
        &[],
    );
    pushed.scanned(
        &pushed.new,
        &[by_alias, matched("CVE-2099-00011", "High", "other", None)],
        &[],
    );
    let alice = Browser::alice(&pushed.appview).await;
    let page = alice.get("/affected?q=cve-2099-0001").await;
    page.assert_status(200);
    let text = page.text();
    assert!(text.contains("2 of 2 images with a scan have"), "{text}");
    let (fixable, other) = (
        text.find("GHSA-aaaa-bbbb-0001"),
        text.find("1.0, latest").or(text.find("latest, 1.0")),
    );
    assert!(fixable.is_some() && fixable < other, "{text}");
    assert!(!text.contains("CVE-2099-00011"), "{text}");
    assert!(
        text.contains("it was not scanned") && text.contains("3.0"),
        "{text}"
    );

    pushed.scanned(&pushed.child, &[], &[]);
    let text = alice.get("/affected?q=CVE-2099-7777").await.text();
    assert!(text.contains("None of 3 images with a scan have"), "{text}");
    assert!(!text.contains("Not known"), "{text}");
    // From a search, and only for who has images.
    let link = "href=\"/affected?q=CVE-2099-0001\"";
    assert!(alice.get("/search?q=CVE-2099-0001").await.text().contains(link));
    let visitor = Browser::new(&pushed.appview);
    assert!(!visitor.get("/search?q=CVE-2099-0001").await.text().contains(link));
    let asked = visitor.get("/affected?q=CVE-2099-0001").await;
    assert!(!asked.text().contains("GHSA-aaaa-bbbb-0001"), "{}", asked.text());
    assert_ne!(asked.status, 200);
}

#[tokio::test]
async fn images_with_a_package_are_found_for_people_and_programs() {
    let pushed = Pushed::start().await;
    let hostile = "log4j-<script>alert(1)</script>";
    pushed.scanned(
        &pushed.old,
        &[],
        &[package("log4j-core", "2.14.1"), package("zlib", "1.3")],
    );
    pushed.scanned(
        &pushed.new,
        &[],
        &[package("Log4j-core", "2.17.1"), package(hostile, "1")],
    );
    pushed.scanned(&pushed.child, &[], &[package("zlib", "1.3")]);
    let alice = Browser::alice(&pushed.appview).await;
    let text = alice.get("/affected?q=LOG4J").await.text();
    assert!(text.contains("2 of 3 images"), "{text}");
    assert!(
        !text.contains("<script>alert(1)") && text.contains("&#60;script&#62;alert(1)"),
        "{text}"
    );

    let sailor = pushed.appview.sailor("alice.test", &[NAME]).await;
    let answer = pushed.json("log4j-core@2.14.1", Some(&sailor.token)).await;
    answer.assert_status(200);
    let said = answer.json();
    assert_eq!(
        (&said["kind"], &said["lookedAt"], &said["isComplete"]),
        (&json!("package"), &json!(3), &json!(true))
    );
    assert_eq!(said["owner"], pushed.appview.alice.as_str());
    let images = said["images"].as_array().unwrap();
    assert_eq!(images.len(), 1, "{said}");
    assert_eq!(images[0]["digest"], pushed.old.as_str());
    assert_eq!(
        images[0]["packages"],
        json!([{ "name": "log4j-core", "version": "2.14.1", "kind": "" }])
    );
    let mut tags: Vec<_> = images[0]["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| tag.as_str().unwrap())
        .collect();
    tags.sort_unstable();
    assert_eq!(tags, ["1.0", "latest"]);

    let said = pushed.json("zlib", Some(&sailor.token)).await.json();
    let platforms: Vec<_> = said["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| image["platform"].clone())
        .collect();
    assert!(platforms.contains(&json!("linux/s390x")), "{said}");
    pushed.json("", Some(&sailor.token)).await.assert_status(400);
    pushed.json("zlib", None).await.assert_status(401);
    // Another account has none of these images.
    let bob = pushed.appview.sailor("bob.test", &["bob.test/app"]).await;
    let said = pushed.json("zlib", Some(&bob.token)).await.json();
    assert_eq!((&said["images"], &said["lookedAt"]), (&json!([]), &json!(0)));
}

#[tokio::test]
async fn what_a_hold_does_not_tell_is_unknown_and_not_unaffected() {
    let pushed = Pushed::start().await;
    pushed.scanned(&pushed.old, &[], &[package("zlib", "1.3")]);
    pushed.scanned(&pushed.new, &[], &[package("zlib", "1.3")]);
    pushed
        .appview
        .hold
        .answer(&format!("/scans/{}/sbom", pushed.old), "not JSON");
    pushed
        .appview
        .hold
        .answer(&format!("/scans/{}", pushed.child), "{}");
    let sailor = pushed.appview.sailor("alice.test", &[NAME]).await;
    let said = pushed.json("log4j", Some(&sailor.token)).await.json();
    assert_eq!(
        (&said["images"], &said["lookedAt"], &said["isComplete"]),
        (&json!([]), &json!(1), &json!(false))
    );
    let mut reasons: Vec<_> = said["unknown"]
        .as_array()
        .unwrap()
        .iter()
        .map(|unknown| {
            (
                unknown["digest"].as_str().unwrap().to_owned(),
                unknown["reason"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    reasons.sort();
    let mut expected = vec![
        (pushed.old.to_string(), "unreadable".to_owned()),
        (pushed.child.to_string(), "unreadable".to_owned()),
    ];
    expected.sort();
    assert_eq!(reasons, expected);
}
