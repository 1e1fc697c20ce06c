//! Tags, catalog, referrers.

use atcr_oci::{Algorithm, Digest, MediaType, parse_next_link};
use http::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Sailor, TestAppView, descriptor, sha256};

const APP: &str = "alice.test/app";

async fn pages(sailor: &Sailor<'_>, first: &str, field: &str) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut next = Some(first.to_owned());
    while let Some(path) = next.take() {
        let answer = sailor.get(&path).await;
        answer.assert_status(200);
        pages.push(serde_json::from_value(answer.json()[field].clone()).unwrap());
        next = parse_next_link(answer.header("link")).map(str::to_owned);
        assert!(pages.len() < 20, "the pages do not end");
    }
    pages
}

#[tokio::test]
async fn tags_come_in_byte_order_page_by_page() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let image = appview.image("tags");
    for tag in ["b", "B", "a", "latest", "1.0", "_x"] {
        alice.push(APP, tag, &image).await;
    }
    let sorted = ["1.0", "B", "_x", "a", "b", "latest"];
    let list = format!("/v2/{APP}/tags/list");
    let whole = alice.get(&list).await;
    assert_eq!(whole.json(), json!({ "name": APP, "tags": sorted }));
    assert!(!whole.has_header("link"));

    for n in 1..=7 {
        let pages = pages(&alice, &format!("{list}?n={n}"), "tags").await;
        assert!(pages.iter().all(|page| page.len() <= n));
        assert_eq!(pages.concat(), sorted, "n={n}");
        assert_eq!(pages.len(), sorted.len().div_ceil(n), "n={n}");
    }
    assert_eq!(
        alice.get(&format!("{list}?last=_x")).await.json()["tags"],
        json!(["a", "b", "latest"])
    );
    // A last that does not exist is a place in the order all the same.
    assert_eq!(
        alice.get(&format!("{list}?last=b0&n=1")).await.json()["tags"],
        json!(["latest"])
    );
    let none = alice.get(&format!("{list}?n=0")).await;
    assert_eq!(none.json()["tags"], json!([]));
    assert!(!none.has_header("link"));
    assert_eq!(alice.get(&format!("{list}?n=x")).await.status, 400);
}

#[tokio::test]
async fn a_repository_without_anything_is_unknown() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP, "alice.test/nothing"]).await;
    alice
        .get("/v2/alice.test/nothing/tags/list")
        .await
        .assert_error(404, "NAME_UNKNOWN");
    alice
        .push(APP, sha256(&appview.image("x")).as_str(), &appview.image("x"))
        .await;
    assert_eq!(
        alice.get(&format!("/v2/{APP}/tags/list")).await.json()["tags"],
        json!([])
    );
}

#[tokio::test]
async fn listings_show_what_others_wrote_and_list_the_account_only_then() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let image = appview.image("others");
    let list = format!("/v2/{APP}/tags/list");
    alice.push(APP, "v1", &image).await;
    alice.get(&list).await.assert_status(200);
    alice.push(APP, "v2", &image).await;
    appview.pds.forget_calls();
    assert_eq!(alice.get(&list).await.json()["tags"], json!(["v1", "v2"]));
    assert_eq!(
        appview.pds.count("com.atproto.repo.listRecords"),
        0,
        "own writes are carried over"
    );

    let theirs = json!({
        "$type": "io.atcr.tag", "repository": "app", "tag": "theirs", "manifestDigest": sha256(&image).as_str(),
        "updatedAt": "2026-01-01T00:00:00Z",
    });
    appview
        .pds
        .put_record(&appview.alice, "io.atcr.tag", "app_theirs", theirs);
    appview.pds.put_record(
        &appview.alice,
        "io.atcr.tag",
        "junk",
        json!({ "$type": "io.atcr.tag", "tag": 7 }),
    );
    assert_eq!(
        alice.get(&list).await.json()["tags"],
        json!(["theirs", "v1", "v2"])
    );
    appview.pds.delete_record(&appview.alice, "io.atcr.tag", "app_v1");
    assert_eq!(alice.get(&list).await.json()["tags"], json!(["theirs", "v2"]));
}

#[tokio::test]
async fn an_account_of_many_records_is_listed_to_the_end() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let digest = Digest::of(Algorithm::Sha256, b"x");
    for n in 0..250 {
        let tag = json!({
            "$type": "io.atcr.tag", "repository": "app", "tag": format!("t{n:03}"), "manifestDigest": digest.as_str(),
            "updatedAt": "2026-01-01T00:00:00Z",
        });
        appview
            .pds
            .put_record(&appview.alice, "io.atcr.tag", &format!("app_t{n:03}"), tag);
    }
    let tags = alice.get(&format!("/v2/{APP}/tags/list")).await.json();
    assert_eq!(tags["tags"].as_array().unwrap().len(), 250);
}

#[tokio::test]
async fn the_catalog_is_the_callers() {
    let appview = TestAppView::start().await;
    let names = [APP, "alice.test/team/web", "alice.test/base"];
    let alice = appview.sailor("alice.test", &names).await;
    for name in names {
        alice.push(name, "v1", &appview.image(name)).await;
    }
    let bob = appview.sailor("bob.test", &["bob.test/own"]).await;
    bob.push("bob.test/own", "v1", &appview.image("bob")).await;

    let token = appview.token("alice.test", &["registry:catalog:*"]).await;
    let alice = Sailor {
        appview: &appview,
        token,
    };
    let sorted = ["alice.test/app", "alice.test/base", "alice.test/team/web"];
    assert_eq!(
        alice.get("/v2/_catalog").await.json(),
        json!({ "repositories": sorted })
    );
    for n in 1..=3 {
        let pages = pages(&alice, &format!("/v2/_catalog?n={n}"), "repositories").await;
        assert_eq!(pages.concat(), sorted, "n={n}");
    }
    assert_eq!(
        alice.get("/v2/_catalog?last=alice.test").await.json()["repositories"],
        json!(sorted)
    );
    assert_eq!(
        alice.get("/v2/_catalog?last=bob.test/x").await.json()["repositories"],
        json!([])
    );

    let answer = Answer::of(
        appview
            .get("/auth/token")
            .query(&[("scope", "registry:catalog:*")]),
    )
    .await;
    let token = answer.json()["token"].as_str().unwrap().to_owned();
    let nobody = Sailor {
        appview: &appview,
        token,
    };
    assert_eq!(
        nobody.get("/v2/_catalog").await.json(),
        json!({ "repositories": [] })
    );
    let plain = appview.token("alice.test", &[]).await;
    let answer = Answer::of(appview.get("/v2/_catalog").bearer_auth(plain)).await;
    answer.assert_error(401, "UNAUTHORIZED");
}

async fn referrers(sailor: &Sailor<'_>, subject: &Digest, filter: Option<&str>) -> (Answer, Vec<Value>) {
    let path = format!("/v2/{APP}/referrers/{subject}");
    let request = sailor.request(Method::GET, &path);
    let answer = Answer::of(match filter {
        Some(kind) => request.query(&[("artifactType", kind)]),
        None => request,
    })
    .await;
    answer.assert_status(200);
    assert_eq!(answer.header("content-type"), MediaType::OCI_IMAGE_INDEX.as_str());
    let body = answer.json();
    assert_eq!(
        (&body["schemaVersion"], &body["mediaType"]),
        (&json!(2), &json!(MediaType::OCI_IMAGE_INDEX))
    );
    let manifests = body["manifests"].as_array().unwrap().clone();
    (answer, manifests)
}

#[tokio::test]
async fn referrers_are_described_and_filtered() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let subject = appview.image("subject");
    let (_, none) = referrers(&alice, &sha256(&subject), None).await;
    assert!(none.is_empty(), "nothing refers to what does not exist");

    let signature = appview.image_with("signature", |image| {
        image.subject = Some(descriptor(&subject));
        image.artifact_type = Some("application/vnd.example.signature".to_owned());
        image.annotations.insert("who".to_owned(), "alice".to_owned());
    });
    let plain = appview.image_with("plain", |image| image.subject = Some(descriptor(&subject)));
    for artifact in [&signature, &plain] {
        alice.push(APP, sha256(artifact).as_str(), artifact).await;
    }
    let (answer, all) = referrers(&alice, &sha256(&subject), None).await;
    assert_eq!(all.len(), 2);
    assert!(!answer.has_header("oci-filters-applied"));
    let find = |image: &atcr_oci::Manifest| {
        all.iter()
            .find(|entry| entry["digest"] == sha256(image).as_str())
            .unwrap()
            .clone()
    };
    assert_eq!(
        find(&signature),
        json!({
            "mediaType": MediaType::OCI_IMAGE_MANIFEST, "digest": sha256(&signature), "size": signature.size(),
            "artifactType": "application/vnd.example.signature", "annotations": { "who": "alice" },
        })
    );
    assert_eq!(find(&plain)["artifactType"], MediaType::OCI_IMAGE_CONFIG.as_str());

    let kind = "application/vnd.example.signature";
    let (answer, filtered) = referrers(&alice, &sha256(&subject), Some(kind)).await;
    assert_eq!(answer.header("oci-filters-applied"), "artifactType");
    assert_eq!(filtered, [find(&signature)]);
    assert!(
        referrers(&alice, &sha256(&subject), Some("nothing/such"))
            .await
            .1
            .is_empty()
    );

    alice
        .delete(&format!("/v2/{APP}/manifests/{}", sha256(&signature)))
        .await
        .assert_status(202);
    assert_eq!(referrers(&alice, &sha256(&subject), None).await.1.len(), 1);
}

#[tokio::test]
async fn referrers_of_records_that_say_too_little_are_read_from_the_bytes() {
    let mut appview = TestAppView::start().await;
    let subject = appview.image("subject");
    let artifact = appview.image_with("artifact", |image| {
        image.subject = Some(descriptor(&subject));
        image.artifact_type = Some("application/vnd.example.sbom".to_owned());
        image.annotations.insert("k".to_owned(), "v".to_owned());
    });
    let rkey = sha256(&artifact).hex().to_owned();
    appview
        .sailor("alice.test", &[APP])
        .await
        .push(APP, "sbom", &artifact)
        .await;
    // As other writers leave it.
    let mut record = appview
        .pds
        .record(&appview.alice, "io.atcr.manifest", &rkey)
        .unwrap();
    record.as_object_mut().unwrap().remove("artifactType");
    record.as_object_mut().unwrap().remove("annotations");
    appview
        .pds
        .put_record(&appview.alice, "io.atcr.manifest", &rkey, record);
    appview.restart().await;

    let alice = appview.sailor("alice.test", &[APP]).await;
    for _ in 0..2 {
        let (_, all) = referrers(&alice, &sha256(&subject), Some("application/vnd.example.sbom")).await;
        assert_eq!(all.len(), 1);
        assert_eq!(all[0]["annotations"], json!({ "k": "v" }));
        assert_eq!(all[0]["size"], artifact.size());
    }
    assert_eq!(
        appview.pds.count("com.atproto.sync.getBlob"),
        1,
        "once read, it is known"
    );
}
