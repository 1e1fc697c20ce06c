//! What a list of referrers may cost, whatever an account has.

use atcr_appview::adapters::sqlite::account_index::SqliteAccountIndex;
use atcr_appview::adapters::sqlite::open_scratch;
use atcr_oci::{Algorithm, Digest, Manifest};
use atcr_registry::account::ports::{AccountIndex as _, ManifestDetails};
use serde_json::json;

use crate::harness::{Answer, TestAppView, descriptor, sha256};

const APP: &str = "alice.test/app";
const MIB: usize = 1024 * 1024;

/// A manifest about `subject` with annotations of `len` bytes.
fn about(appview: &TestAppView, subject: &Manifest, seed: &str, len: usize) -> Manifest {
    appview.image_with(seed, |image| {
        image.subject = Some(descriptor(subject));
        image.artifact_type = Some("application/vnd.example.noise".to_owned());
        image.annotations.insert("noise".to_owned(), "n".repeat(len));
    })
}

async fn referrers(appview: &TestAppView, token: &str, subject: &Manifest, kind: Option<&str>) -> Answer {
    let path = format!("/v2/{APP}/referrers/{}", sha256(subject));
    let mut request = appview.get(&path).bearer_auth(token);
    if let Some(kind) = kind {
        request = request.query(&[("artifactType", kind)]);
    }
    let answer = Answer::of(request).await;
    answer.assert_status(200);
    answer
}

fn listed(answer: &Answer) -> usize {
    answer.json()["manifests"].as_array().unwrap().len()
}

#[tokio::test]
async fn entries_that_are_filtered_out_cost_what_they_cost_and_are_not_read_twice() {
    let mut appview = TestAppView::start().await;
    let subject = appview.image("subject");
    {
        let alice = appview.sailor("alice.test", &[APP]).await;
        for n in 0..8 {
            let manifest = about(&appview, &subject, &format!("noise {n}"), 3 * MIB);
            alice.push(APP, sha256(&manifest).as_str(), &manifest).await;
        }
    }
    appview.restart().await;
    let token = appview.sailor("alice.test", &[APP]).await.token;
    appview.pds.forget_calls();
    let mut fetched = Vec::new();
    for _ in 0..3 {
        let answer = referrers(&appview, &token, &subject, Some("none/such")).await;
        assert_eq!(listed(&answer), 0);
        fetched.push((
            appview.pds.count("com.atproto.sync.getBlob"),
            answer.has_header("warning"),
        ));
    }
    // 16 MiB are five or six manifests of 3 MiB; the others come with the next request.
    assert!((5..=6).contains(&fetched[0].0), "{fetched:?}");
    assert_eq!(
        (fetched[0].1, fetched[1], fetched[2]),
        (true, (8, false), (8, false))
    );
}

#[tokio::test]
async fn a_list_is_no_longer_than_a_manifest_may_be_and_says_so() {
    let appview = TestAppView::start().await;
    let subject = appview.image("subject");
    let alice = appview.sailor("alice.test", &[APP]).await;
    for n in 0..60 {
        // As another writer leaves it: all of it in the record.
        let digest = Digest::of(Algorithm::Sha256, &[n]);
        let record = json!({
            "$type": "io.atcr.manifest", "repository": "app", "digest": digest, "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "createdAt": "2026-01-01T00:00:00Z",
            "artifactType": "application/vnd.example.noise", "annotations": { "noise": "n".repeat(7 * 1024) },
            "subject": { "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 2, "digest": sha256(&subject) },
            "manifestBlob": {
                "$type": "blob", "mimeType": "application/octet-stream", "size": 100,
                "ref": { "$link": "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku" },
            },
        });
        appview
            .pds
            .put_record(&appview.alice, "io.atcr.manifest", digest.hex(), record);
    }
    let answer = referrers(&appview, &alice.token, &subject, None).await;
    assert_eq!((listed(&answer), answer.has_header("warning")), (60, false));
    for n in 60..64 {
        let manifest = about(&appview, &subject, &format!("long {n}"), MIB);
        alice.push(APP, sha256(&manifest).as_str(), &manifest).await;
    }
    let answer = referrers(&appview, &alice.token, &subject, None).await;
    assert!(answer.body.len() <= 4 * MIB + 1024, "{} bytes", answer.body.len());
    assert!(answer.has_header("warning"));
}

#[tokio::test]
async fn long_annotations_are_served_and_not_kept() {
    let appview = TestAppView::start().await;
    let subject = appview.image("subject");
    let alice = appview.sailor("alice.test", &[APP]).await;
    let long = about(&appview, &subject, "long", 100 * 1024);
    alice.push(APP, sha256(&long).as_str(), &long).await;
    for _ in 0..2 {
        let answer = referrers(
            &appview,
            &alice.token,
            &subject,
            Some("application/vnd.example.noise"),
        )
        .await;
        let noise = answer.json()["manifests"][0]["annotations"]["noise"]
            .as_str()
            .map(str::len);
        assert_eq!(noise, Some(100 * 1024));
    }
    let scratch = open_scratch(&appview.data().join("data/ui-scratch.db"))
        .await
        .unwrap();
    let kept: i64 = sqlx::query_scalar(
        "SELECT coalesce(max(length(annotations)), 0) FROM \
         (SELECT annotations FROM manifest UNION ALL SELECT annotations FROM manifest_detail)",
    )
    .fetch_one(scratch.readers())
    .await
    .unwrap();
    assert!(kept <= 8 * 1024, "{kept} bytes");
}

#[tokio::test]
async fn of_what_was_read_from_bytes_only_the_newest_stays() {
    let folder = tempfile::tempdir().unwrap();
    let database = open_scratch(&folder.path().join("scratch.db")).await.unwrap();
    let index = SqliteAccountIndex::new(database.clone()).keeping_details(10);
    for n in 0..25_u8 {
        let digest = Digest::of(Algorithm::Sha256, &[n]);
        let details = ManifestDetails::default();
        index.keep_details(&digest, 1, &details).await.unwrap();
    }
    let kept: Vec<String> = sqlx::query_scalar("SELECT digest FROM manifest_detail ORDER BY id")
        .fetch_all(database.readers())
        .await
        .unwrap();
    let newest: Vec<String> = (15..25_u8)
        .map(|n| Digest::of(Algorithm::Sha256, &[n]).to_string())
        .collect();
    assert_eq!(kept, newest);
}
