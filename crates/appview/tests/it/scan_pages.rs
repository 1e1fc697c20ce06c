//! What pages say of scans: what the hold says, whatever it says does no harm, and what is not known is never "clean".

use atcr_atproto::clock::Clock as _;
use atcr_atproto::data_model::{RAW, cid_of};
use atcr_atproto::lexicon::scan;
use atcr_atproto::syntax::Did;
use atcr_index::Collection;
use atcr_index::change::{Batch, Change, Proof, RecordsStep, Step};
use atcr_index::fact::RecordFact;
use atcr_index::ports::IndexWriter as _;
use atcr_index_sqlite::SqliteIndex;
use atcr_oci::Digest;
use atcr_test_support::fakes::{FakeHold, StoreKind};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::harness::{Answer, TestAppView, sha256};
use crate::image_pages::{catch_up, image, whole};

/// Texts that are markup, script, or that turn a line around.
const HOSTILE: [&str; 8] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "</td></table><iframe src=//evil.test>",
    "{{ 7*7 }}",
    "a\u{202e}gnp.exe",
    "<svg/onload=alert(1)>\0\u{1b}[2J",
];

struct Scanned {
    appview: TestAppView,
    digest: Digest,
}

impl Scanned {
    /// Alice has pushed an image for one platform.
    async fn start() -> Self {
        let appview = TestAppView::start().await;
        let name = "alice.test/app";
        let alice = appview.sailor("alice.test", &[name]).await;
        let image = image(&appview, "amd64");
        alice.push(name, "1.0", &image).await;
        catch_up(&appview, &appview.settings(), &appview.alice, "alice.test").await;
        Self {
            appview,
            digest: sha256(&image),
        }
    }

    fn query(&self) -> String {
        format!("owner=alice.test&repository=app&digest={}", self.digest)
    }

    async fn badge(&self) -> String {
        let visitor = Browser::new(&self.appview);
        let page = visitor.get(&format!("/api/scan-result?{}", self.query())).await;
        page.assert_status(200);
        page.text()
    }

    async fn details(&self, more: &str) -> String {
        let visitor = Browser::new(&self.appview);
        let page = visitor
            .get(&format!("/api/vuln-details?{}{more}", self.query()))
            .await;
        page.assert_status(200);
        page.text()
    }

    /// What the hold says.
    fn says(&self, result: &Value, job: &Value) {
        let view = json!({
            "digest": self.digest, "result": result, "job": job,
            "scanners": { "enabled": true, "connected": 1 },
        });
        self.appview
            .hold
            .answer(&format!("/scans/{}", self.digest), view.to_string());
    }

    /// The index has a record of the scan, by `hold`, whose report is `report`.
    async fn publish(&self, hold: &str, critical: u64, report: &str) {
        self.publish_counts(hold, (critical, critical), report).await;
    }

    /// The same of findings without a severity.
    async fn publish_total(&self, total: u64) {
        self.publish_counts(&self.appview.hold.did(), (0, total), &report(&[]))
            .await;
    }

    async fn publish_counts(&self, hold: &str, (critical, total): (u64, u64), report: &str) {
        let hold: Did = hold.parse().unwrap();
        let cid = cid_of(RAW, report.as_bytes());
        let record = json!({
            "$type": "io.atcr.hold.scan", "manifest": format!("at://{}/io.atcr.manifest/{}", self.appview.alice, self.digest.hex()),
            "repository": "app", "userDid": self.appview.alice, "scannerVersion": "published",
            "critical": critical, "high": 0, "medium": 0, "low": 0, "total": total, "scannedAt": format!("2026-11-29T12:{critical:02}:00Z"),
            "vulnReportBlob": {
                "$type": "blob", "ref": { "$link": cid.to_string() }, "mimeType": "application/json", "size": report.len(),
            },
        });
        let rkey = scan::rkey(self.digest.as_str()).unwrap();
        let step = Step::Records(RecordsStep {
            did: hold.clone(),
            base: None,
            base_data: None,
            rev: "3kabcdefghi2x".parse().unwrap(),
            data: None,
            proof: Proof::Owner,
            coverage: whole(),
            changes: vec![Change::Put(RecordFact::read(
                &hold,
                Collection::Scan,
                rkey,
                cid,
                record,
            ))],
        });
        let index = SqliteIndex::open(&self.appview.settings().paths.index)
            .await
            .unwrap();
        index
            .apply(&Batch::of(step), self.appview.clock.now())
            .await
            .unwrap();
        index.close().await;
    }

    /// A result with these documents.
    fn found(&self, state: &str, counts: &Value, documents: &[(&str, String)]) -> Value {
        let mut listed = serde_json::Map::new();
        for (name, text) in documents {
            let path = format!("/scans/{}/{name}", self.digest);
            self.appview.hold.answer(&path, text.clone());
            let cid = cid_of(RAW, text.as_bytes()).to_string();
            let document = json!({ "cid": cid, "size": text.len(), "mediaType": "application/json" });
            listed.insert((*name).to_owned(), document);
        }
        json!({
            "state": state, "owner": self.appview.alice, "summary": counts, "scannerVersion": "atcr-scanner-v1.0.0",
            "scannedAt": "2026-11-30T12:00:00Z", "databaseBuilt": "2026-11-28T04:00:00Z", "documents": listed,
        })
    }
}

pub(crate) fn counts(critical: u64, total: u64) -> Value {
    json!({ "critical": critical, "high": 0, "medium": 0, "low": 0, "total": total })
}

pub(crate) fn matched(id: &str, severity: &str, package: &str, fixed: Option<&str>) -> Value {
    let fix = match fixed {
        Some(version) => json!({ "state": "fixed", "versions": [version] }),
        None => json!({ "state": "not-fixed" }),
    };
    json!({
        "vulnerability": { "id": id, "severity": severity, "fix": fix },
        "artifact": { "name": package, "version": "1.0", "type": "deb" },
    })
}

pub(crate) fn report(matches: &[Value]) -> String {
    json!({ "matches": matches }).to_string()
}

pub(crate) fn sbom(packages: &[Value]) -> String {
    json!({ "spdxVersion": "SPDX-2.3", "packages": packages }).to_string()
}

#[tokio::test]
async fn the_pages_of_an_image_load_what_the_hold_says_and_link_to_all_of_it() {
    let scanned = Scanned::start().await;
    let report = report(&[
        matched("CVE-2099-0001", "Critical", "planted-deb", None),
        matched("GHSA-aaaa-bbbb-0002", "Medium", "planted-py", Some("1.0.1")),
    ]);
    let sbom = sbom(&[
        json!({ "name": "planted-deb", "versionInfo": "1.0", "licenseDeclared": "GPL-2.0-only" }),
        json!({ "name": "zlib", "versionInfo": "1.3", "licenseDeclared": "Zlib" }),
    ]);
    let cyclonedx = r#"{"bomFormat":"CycloneDX"}"#;
    let documents = [
        ("vuln-report", report),
        ("sbom", sbom.clone()),
        ("sbom-cyclonedx", cyclonedx.to_owned()),
    ];
    let result = scanned.found("complete", &counts(1, 2), &documents);
    scanned.says(
        &result,
        &json!({ "state": "done", "queuedAt": "2026-11-30T11:00:00Z", "tries": 0 }),
    );

    let visitor = Browser::new(&scanned.appview);
    for path in ["/r/alice.test/app", "/r/alice.test/app:1.0"] {
        let text = visitor.get(path).await.text();
        let link = format!(
            "hx-get=\"/api/scan-result?owner=alice.test&#38;repository=app&#38;digest=sha256%3A{}\"",
            scanned.digest.hex()
        );
        assert!(text.contains(&link), "{path}: {text}");
        assert!(
            text.contains("href=\"/api/vuln-details?owner=alice.test"),
            "{path}"
        );
    }
    let badge = scanned.badge().await;
    for part in [
        "1 critical",
        "1 unknown",
        "atcr-scanner-v1.0.0",
        "28 November 2026",
    ] {
        assert!(badge.contains(part), "no {part} in {badge}");
    }
    assert!(!badge.contains("<html"), "{badge}");

    let text = scanned.details("").await;
    // What an update ends comes first.
    assert!(
        text.find("GHSA-aaaa-bbbb-0002") < text.find("CVE-2099-0001"),
        "{text}"
    );
    for part in [
        "href=\"https://nvd.nist.gov/vuln/detail/CVE-2099-0001\"",
        "href=\"https://github.com/advisories/GHSA-aaaa-bbbb-0002\"",
        "An update fixes 1 of them",
        "no fix yet",
        "2 packages",
        "GPL-2.0-only",
    ] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    let text = scanned.details("&q=ZLIB").await;
    assert!(
        text.contains("1 of 2 packages") && !text.contains("GPL-2.0-only"),
        "{text}"
    );

    let file = visitor.get(&format!("/api/sbom?{}", scanned.query())).await;
    file.assert_status(200);
    assert_eq!(file.text(), sbom);
    assert!(
        file.header("content-disposition")
            .starts_with("attachment; filename=\"app-")
    );
    assert_eq!(file.header("content-type"), "application/spdx+json");
    assert!(
        scanned
            .details("")
            .await
            .contains("&#38;format=cyclonedx\" download")
    );
    let file = visitor
        .get(&format!("/api/sbom?{}&format=cyclonedx", scanned.query()))
        .await;
    file.assert_status(200);
    assert_eq!(file.text(), cyclonedx);
    assert_eq!(file.header("content-type"), "application/vnd.cyclonedx+json");
    assert!(file.header("content-disposition").ends_with(".cdx.json\""));
    let file = visitor
        .get(&format!("/api/sbom?{}&format=pdf", scanned.query()))
        .await;
    file.assert_status(404);
}

#[tokio::test]
async fn nothing_that_a_scanner_says_is_markup() {
    let scanned = Scanned::start().await;
    let mut matches = Vec::new();
    let mut packages = Vec::new();
    for text in HOSTILE {
        matches.push(json!({
            "vulnerability": {
                "id": text, "severity": text, "dataSource": "javascript:alert(1)",
                "fix": { "state": "fixed", "versions": [text, text] },
            },
            "relatedVulnerabilities": [{ "id": text, "dataSource": "javascript:alert(1)" }],
            "artifact": { "name": text, "version": text, "type": text },
        }));
        packages.push(json!({
            "name": text, "versionInfo": text, "licenseDeclared": text,
            "externalRefs": [{ "referenceType": "purl", "referenceLocator": format!("pkg:{text}") }],
        }));
    }
    let documents = [("vuln-report", report(&matches)), ("sbom", sbom(&packages))];
    let mut result = scanned.found("partial", &counts(1, 1), &documents);
    for text in HOSTILE {
        result["scannerVersion"] = text.into();
        let job = json!({
            "state": "failed", "queuedAt": "2026-11-30T11:00:00Z", "tries": 1, "stage": text,
            "failure": { "class": text, "message": text },
        });
        scanned.says(&result, &job);
        let query = url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        for page in [
            scanned.badge().await,
            scanned.details("").await,
            scanned.details(&format!("&q={query}")).await,
        ] {
            for bad in [
                "<script>alert",
                "<img src",
                "<iframe",
                "<svg/onload",
                "onmouseover='",
                "href=\"javascript",
                "\u{202e}",
                "\0",
                "\u{1b}",
            ] {
                assert!(!page.contains(bad), "{bad} of {text} in {page}");
            }
        }
        // Without a result the reason stands alone.
        scanned.says(&Value::Null, &job);
        let badge = scanned.badge().await;
        assert!(
            badge.contains("scan failed") && !badge.contains("<script>alert"),
            "{badge}"
        );
    }
}

#[tokio::test]
async fn what_is_not_known_is_said_and_is_never_clean() {
    let scanned = Scanned::start().await;
    let job = |state: &str| json!({ "state": state, "queuedAt": "2026-11-30T11:00:00Z", "tries": 0, "ahead": 2, "reason": "index" });
    // Another program, which has no such answer.
    assert!(scanned.badge().await.contains("has published no scan of it"));
    for (state, words) in [
        ("ready", "Waiting, number 3 in line"),
        ("running", "Being scanned"),
        ("failed", "scan failed"),
        ("not-applicable", "each by itself"),
    ] {
        scanned.says(&Value::Null, &job(state));
        let badge = scanned.badge().await;
        assert!(badge.contains(words) && !badge.contains("badge--good"), "{badge}");
    }
    // With a database, nothing was looked up in it: no package was recognised.
    let mut only_packages = scanned.found("sbom-only", &Value::Null, &[]);
    scanned.says(&only_packages, &Value::Null);
    let (badge, page) = (scanned.badge().await, scanned.details("").await);
    for text in [badge, page] {
        assert!(
            text.contains("nothing recognised to check") && !text.contains("badge--good"),
            "{text}"
        );
    }
    only_packages["databaseBuilt"] = Value::Null;
    scanned.says(&only_packages, &Value::Null);
    let badge = scanned.badge().await;
    assert!(
        badge.contains("packages only") && !badge.contains("badge--good"),
        "{badge}"
    );
    let clean = scanned.found("complete", &counts(0, 0), &[("vuln-report", report(&[]))]);
    scanned.says(&clean, &Value::Null);
    assert!(scanned.badge().await.contains("no known vulnerabilities"));
    assert!(scanned.details("").await.contains("The report has no findings"));

    // Nonsense, about another image, and nothing.
    let path = format!("/scans/{}", scanned.digest);
    let other =
        json!({ "digest": format!("sha256:{:064}", 0), "scanners": { "enabled": true, "connected": 1 } });
    for nonsense in [
        "<html>".to_owned(),
        "{}".to_owned(),
        "[]".to_owned(),
        other.to_string(),
    ] {
        scanned.appview.hold.answer(&path, nonsense);
        let badge = scanned.badge().await;
        assert!(
            badge.contains("makes no sense") && !badge.contains("badge--good"),
            "{badge}"
        );
    }
    scanned.appview.hold.set_silent(true);
    let badge = scanned.badge().await;
    assert!(
        badge.contains("does not answer") && !badge.contains("badge--good"),
        "{badge}"
    );
    let details = scanned.details("").await;
    assert!(details.contains("does not answer"), "{details}");
}

#[tokio::test]
async fn a_document_that_is_not_what_its_hash_says_is_not_shown() {
    let scanned = Scanned::start().await;
    let documents = [("vuln-report", report(&[])), ("sbom", sbom(&[]))];
    let result = scanned.found("complete", &counts(1, 1), &documents);
    scanned.says(&result, &Value::Null);
    let forged = report(&[matched("CVE-2099-0009", "Low", "forged", None)]);
    scanned
        .appview
        .hold
        .answer(&format!("/scans/{}/vuln-report", scanned.digest), forged);
    scanned
        .appview
        .hold
        .answer(&format!("/scans/{}/sbom", scanned.digest), "not JSON");
    let text = scanned.details("").await;
    assert!(!text.contains("CVE-2099-0009"), "{text}");
    assert_eq!(text.matches("is no document of this kind").count(), 2, "{text}");
}

#[tokio::test]
async fn a_private_hold_tells_its_members_only() {
    let scanned = Scanned::start().await;
    let result = scanned.found("complete", &counts(3, 3), &[("vuln-report", report(&[]))]);
    scanned.says(&result, &Value::Null);
    scanned.appview.hold.set_private(true);
    let badge = scanned.badge().await;
    assert!(
        badge.contains("members only") && !badge.contains("3 critical"),
        "{badge}"
    );
    let alice = Browser::alice(&scanned.appview).await;
    let page = alice.get(&format!("/api/scan-result?{}", scanned.query())).await;
    assert!(page.text().contains("3 critical"), "{}", page.text());
}

#[tokio::test]
async fn long_lists_are_in_pages_and_what_is_not_there_is_missing() {
    let scanned = Scanned::start().await;
    let matches: Vec<Value> = (0..450)
        .map(|number| matched(&format!("CVE-2099-{number:04}"), "High", "p", None))
        .collect();
    let packages: Vec<Value> = (0..450)
        .map(|number| json!({ "name": format!("package-{number:04}") }))
        .collect();
    let documents = [("vuln-report", report(&matches)), ("sbom", sbom(&packages))];
    let result = scanned.found("complete", &counts(0, 450), &documents);
    scanned.says(&result, &Value::Null);
    let first = scanned.details("").await;
    assert!(
        first.contains("CVE-2099-0199") && !first.contains("CVE-2099-0200"),
        "{first}"
    );
    assert!(first.contains("package-0199") && !first.contains("package-0200"));
    let last = scanned.details("&f=2&p=99999").await;
    assert!(
        last.contains("CVE-2099-0449") && last.contains("package-0449"),
        "{last}"
    );

    let visitor = Browser::new(&scanned.appview);
    for query in [
        String::new(),
        "?owner=alice.test&repository=app&digest=sha256:x".to_owned(),
        format!("?owner=alice.test&repository=app&digest=sha256:{:064}", 7),
        format!("?owner=alice.test&repository=none&digest={}", scanned.digest),
        format!("?owner=nobody.test&repository=app&digest={}", scanned.digest),
    ] {
        for path in ["/api/scan-result", "/api/vuln-details", "/api/sbom"] {
            visitor.get(&format!("{path}{query}")).await.assert_status(404);
        }
    }
}

#[tokio::test]
async fn programs_are_told_the_same_in_json() {
    let scanned = Scanned::start().await;
    let appview = &scanned.appview;
    let ask = async |path: &str, more: &str, token: Option<&str>| {
        let request = appview
            .get(&format!("{path}?{}{more}", scanned.query()))
            .header("accept", "application/json");
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = Answer::of(request).await;
        assert_eq!(answer.header("content-type"), "application/json");
        answer
    };
    let result = async || {
        let answer = ask("/api/scan-result", "", None).await;
        answer.assert_status(200);
        answer.json()
    };
    assert_eq!(result().await["state"], "not-scanned");
    let mut matches: Vec<Value> = (0..5_001)
        .map(|number| matched(&format!("CVE-2099-{number:05}"), "High", "p", None))
        .collect();
    matches.push(matched("CVE-2099-99999", "Low", "q", Some("1.1")));
    let documents = [("vuln-report", report(&matches))];
    scanned.says(
        &scanned.found("complete", &counts(1, 3), &documents),
        &Value::Null,
    );
    let said = result().await;
    assert_eq!(
        (&said["state"], &said["counts"]),
        (
            &json!("found"),
            &json!({ "critical": 1, "high": 0, "medium": 0, "low": 0, "other": 2, "total": 3 })
        )
    );
    assert_eq!(
        (&said["databaseBuilt"], &said["partial"], &said["owner"]),
        (
            &json!("2026-11-28T04:00:00Z"),
            &json!(false),
            &json!(appview.alice)
        )
    );
    assert!(said.get("findings").is_none());
    let first = ask("/api/vuln-details", "", None).await.json();
    assert_eq!(
        (&first["findingsTotal"], &first["fixable"], &first["next"]),
        (&json!(5_002), &json!(1), &json!(5_000))
    );
    let fields = [
        "id",
        "severity",
        "package",
        "installed",
        "fixedIn",
        "fixState",
        "knownExploited",
    ];
    assert_eq!(
        fields.map(|field| first["findings"][0][field].clone()),
        [
            json!("CVE-2099-99999"),
            json!("low"),
            json!("q"),
            json!("1.0"),
            json!(["1.1"]),
            json!("fixed"),
            json!(false)
        ]
    );
    let rest = ask("/api/vuln-details", "&after=5000", None).await.json();
    assert_eq!(
        (rest["findings"].as_array().map(Vec::len), rest.get("next")),
        (Some(2), None)
    );

    // A result without a report, and one without counts.
    scanned.says(&scanned.found("complete", &counts(1, 1), &[]), &Value::Null);
    let said = ask("/api/vuln-details", "", None).await.json();
    assert_eq!(said["noFindings"], "The scan has no report of vulnerabilities.");
    scanned.says(&scanned.found("sbom-only", &Value::Null, &[]), &Value::Null);
    let said = result().await;
    assert_eq!(
        (&said["state"], said.get("counts")),
        (&json!("packages-only"), None)
    );

    appview.hold.set_silent(true);
    assert_eq!(result().await["state"], "no-answer");
    appview.hold.set_silent(false);
    // A private hold answers its members, known by a registry token, and refuses a bad token.
    scanned.says(&scanned.found("complete", &counts(0, 0), &[]), &Value::Null);
    appview.hold.set_private(true);
    let said = result().await;
    assert_eq!(
        (&said["state"], said.get("counts")),
        (&json!("members-only"), None)
    );
    let token = appview
        .token("alice.test", &["repository:alice.test/app:pull"])
        .await;
    let said = ask("/api/scan-result", "", Some(&token)).await.json();
    assert_eq!(said["state"], "clean");
    ask("/api/scan-result", "", Some("nonsense"))
        .await
        .assert_status(401);
    let missing = appview
        .get("/api/scan-result?owner=alice.test&repository=none&digest=sha256:x")
        .header("accept", "application/json");
    let missing = Answer::of(missing).await;
    missing.assert_status(404);
    assert_eq!(missing.json()["error"], "NotFound");
}

#[tokio::test]
async fn what_a_member_was_shown_is_not_shown_to_a_stranger() {
    let scanned = Scanned::start().await;
    let report = report(&[matched("CVE-2099-0001", "High", "secret", None)]);
    let result = scanned.found("complete", &counts(0, 1), &[("vuln-report", report.clone())]);
    scanned.says(&result, &Value::Null);
    // The hold published the same report.
    scanned.publish(&scanned.appview.hold.did(), 0, &report).await;
    scanned.appview.hold.set_private(true);
    let path = format!("/api/vuln-details?{}", scanned.query());
    let alice = Browser::alice(&scanned.appview).await;
    for _ in 0..2 {
        let page = alice.get(&path).await.text();
        assert!(page.contains("CVE-2099-0001"), "{page}");
    }
    let page = scanned.details("").await;
    assert!(
        !page.contains("CVE-2099-0001") && !page.contains("secret"),
        "{page}"
    );
    // It is read once for all who may see it.
    let reads = scanned.appview.hold.calls();
    let reads = reads.iter().filter(|call| call.contains("vuln-report")).count();
    assert!(reads <= 1, "{reads}");
}

#[tokio::test]
async fn what_another_hold_published_is_said_to_be_its_word() {
    let scanned = Scanned::start().await;
    let page = scanned.details("").await;
    assert!(!page.contains("Scanned by the hold"), "{page}");
    let appview = &scanned.appview;
    // A second repository has the same image, in another hold.
    let other = FakeHold::start(StoreKind::Streaming).await.unwrap();
    let record = format!("{}_other", scanned.digest.hex());
    let mut manifest = appview
        .pds
        .record(&appview.alice, "io.atcr.manifest", scanned.digest.hex())
        .unwrap();
    manifest["repository"] = json!("other");
    manifest["holdDid"] = json!(other.did());
    appview
        .pds
        .put_record(&appview.alice, "io.atcr.manifest", &record, manifest);
    catch_up(appview, &appview.settings(), &appview.alice, "alice.test").await;
    scanned.publish(&other.did(), 7, &report(&[])).await;
    let host = other.did().replace("did:web:", "").replace("%3A", ":");
    let own = appview.hold.did().replace("did:web:", "").replace("%3A", ":");
    let badge = scanned.badge().await;
    assert!(badge.contains("7 critical") && badge.contains(&host), "{badge}");
    // The details name the hold that scanned, and no hold where there is no result.
    let by = |hold: &str| format!("Scanned by the hold <bdi>{hold}</bdi>");
    let page = scanned.details("").await;
    assert!(page.contains(&by(&host)) && !page.contains(&by(&own)), "{page}");
    let json = appview
        .get(&format!("/api/scan-result?{}", scanned.query()))
        .header("accept", "application/json");
    assert_eq!(Answer::of(json).await.json()["hold"]["did"], json!(other.did()));
    // The hold that has the image has published as well, earlier.
    scanned.publish(&appview.hold.did(), 2, &report(&[])).await;
    let badge = scanned.badge().await;
    assert!(badge.contains("2 critical") && !badge.contains(&host), "{badge}");
    assert!(!badge.contains(&own), "{badge}");
}

/// The addresses of the late badges on a page, and where their links lead without scripts.
fn late_badges(page: &str) -> Vec<(String, String)> {
    let links = page.split("<a class=\"scan-badge\" href=\"").skip(1);
    let of = |text: &str| {
        let address = text.split('"').next().unwrap();
        address.replace("&#38;", "&").replace("&amp;", "&")
    };
    links
        .map(|link| (of(link.split("hx-get=\"").nth(1).unwrap()), of(link)))
        .collect()
}

#[tokio::test]
async fn lists_of_tags_search_results_and_owner_pages_say_what_scans_found() {
    let scanned = Scanned::start().await;
    let result = scanned.found("complete", &counts(2, 5), &[("vuln-report", report(&[]))]);
    scanned.says(&result, &Value::Null);
    let visitor = Browser::new(&scanned.appview);
    let mut badges = Vec::new();
    for list in ["/r/alice.test/app/-/tags", "/search?q=app", "/u/alice.test"] {
        let page = visitor.get(list).await.text();
        let found = late_badges(&page);
        assert_eq!(found.len(), 1, "{list}: {page}");
        badges.extend(found);
    }
    for (badge, details) in &badges {
        let badge = visitor.get(badge).await;
        badge.assert_status(200);
        assert!(badge.text().contains("2 critical"), "{}", badge.text());
        let page = visitor.get(details).await;
        page.assert_status(200);
        assert!(
            page.text().contains(scanned.digest.as_str()),
            "the link leads to the same image"
        );
    }
    // What the hold has published is not asked for once more.
    scanned
        .publish(&scanned.appview.hold.did(), 4, &report(&[]))
        .await;
    scanned.appview.hold.forget_calls();
    for (badge, _) in &badges {
        let badge = visitor.get(badge).await.text();
        assert!(badge.contains("4 critical"), "{badge}");
    }
    let calls = scanned.appview.hold.calls();
    assert!(!calls.iter().any(|call| call.contains("/scans/")), "{calls:?}");
    for missing in ["tag=none", "digest=none", ""] {
        let badge = format!("/api/scan-badge?owner=alice.test&repository=app&{missing}");
        visitor.get(&badge).await.assert_status(404);
    }
}

#[tokio::test]
async fn what_has_no_severity_is_not_said_to_be_clean_before_the_hold_is_asked() {
    let scanned = Scanned::start().await;
    scanned.publish_total(3).await;
    let visitor = Browser::new(&scanned.appview);
    for page in [
        "/r/alice.test/app".to_owned(),
        format!("/r/alice.test/app@{}", scanned.digest),
    ] {
        let page = visitor.get(&page).await.text();
        assert!(
            page.contains("3 unknown") && !page.contains("no known vulnerabilities"),
            "{page}"
        );
    }
}

#[tokio::test]
async fn two_images_are_compared_by_packages_and_vulnerabilities() {
    let appview = TestAppView::start().await;
    let name = "alice.test/app";
    let alice = appview.sailor("alice.test", &[name]).await;
    let images = [image(&appview, "amd64"), image(&appview, "arm64")];
    alice.push(name, "1.0", &images[0]).await;
    alice.push(name, "2.0", &images[1]).await;
    catch_up(&appview, &appview.settings(), &appview.alice, "alice.test").await;
    let package = |name: &str, version: &str| json!({ "name": name, "versionInfo": version });
    let both = [
        (
            [
                matched("CVE-2099-0001", "High", "zlib", Some("2")),
                matched("CVE-2099-0002", "Low", "curl", None),
            ],
            vec![package("curl", "8"), package("zlib", "1")],
        ),
        (
            [
                matched("CVE-2099-0002", "Low", "curl", None),
                matched("CVE-2099-0003", "Critical", HOSTILE[0], None),
            ],
            vec![
                package("curl", "8"),
                package("zlib", "2"),
                package(HOSTILE[0], "1"),
            ],
        ),
    ];
    let mut scanned = Scanned {
        appview,
        digest: sha256(&images[0]),
    };
    for (image, (findings, packages)) in images.iter().zip(&both) {
        scanned.digest = sha256(image);
        let documents = [("vuln-report", report(findings)), ("sbom", sbom(packages))];
        scanned.says(
            &scanned.found("complete", &counts(0, 1), &documents),
            &Value::Null,
        );
    }
    let appview = &scanned.appview;
    let visitor = Browser::new(appview);
    let page = visitor
        .get("/r/alice.test/app/-/diff?from=1.0&to=2.0")
        .await
        .text();
    let late = page.split("id=\"scan-diff\" hx-get=\"").nth(1).unwrap();
    let late = late.split('"').next().unwrap().replace("&#38;", "&");
    assert!(
        page.contains(">Compare packages and vulnerabilities</a>"),
        "{page}"
    );
    let page = visitor.get(&late).await;
    page.assert_status(200);
    let page = page.text();
    for part in ["1 gone, 1 new, 1 in both", "2 packages differ", "1 is the same"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let (new, gone) = page.split_once("<h3>Gone</h3>").unwrap();
    assert!(
        new.contains("CVE-2099-0003") && !new.contains("CVE-2099-0001"),
        "{new}"
    );
    assert!(
        gone.contains("CVE-2099-0001") && !page.contains("CVE-2099-0002"),
        "{page}"
    );
    assert!(!page.contains(HOSTILE[0]), "{page}");
    // One side was scanned without some kinds of packages.
    let (findings, packages) = &both[1];
    let documents = [("vuln-report", report(findings)), ("sbom", sbom(packages))];
    scanned.says(&scanned.found("partial", &counts(0, 1), &documents), &Value::Null);
    let page = visitor.get(&late).await.text();
    for (many, kind) in [("findings", "1 gone, 1 new"), ("packages", "2 packages differ")] {
        let sentence =
            format!("without some kinds of packages, so {many} that are listed for alice.test/app@");
        assert!(page.contains(&sentence) && page.contains(kind), "{page}");
    }
    // An image that was not scanned is not said to have lost everything.
    appview.hold.answer(
        &format!("/scans/{}", sha256(&images[1])),
        json!({ "digest": sha256(&images[1]), "scanners": { "enabled": false, "connected": 0 } }).to_string(),
    );
    let page = visitor.get(&late).await.text();
    assert!(
        page.contains("There is no scan of this image") && !page.contains("gone,"),
        "{page}"
    );
    // Each side's own word: why the one has none, and what the other has.
    assert!(page.matches("has no scanner.").count() >= 3, "{page}");
    assert!(page.contains("1 unknown"), "{page}");
}
