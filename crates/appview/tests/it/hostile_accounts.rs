//! Accounts whose owners, or whose PDSes, are not what one would wish: endless, restless, with records beyond measure.

use atcr_oci::{Algorithm, Digest};
use chrono::TimeDelta;
use http::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Sailor, TestAppView, sha256};

const APP: &str = "alice.test/app";
const STRANGE: &str = "bob.test/app";
const LIST: &str = "com.atproto.repo.listRecords";

/// A caller that did not sign in.
async fn nobody(appview: &TestAppView) -> Sailor<'_> {
    let scope = [("scope", format!("repository:{STRANGE}:pull"))];
    let answer = Answer::of(appview.get("/auth/token").query(&scope)).await.json();
    Sailor {
        appview,
        token: answer["token"].as_str().unwrap().to_owned(),
    }
}

fn tag_of(repository: &str, tag: &str) -> Value {
    json!({
        "$type": "io.atcr.tag", "repository": repository, "tag": tag,
        "manifestDigest": Digest::of(Algorithm::Sha256, b"x").as_str(), "updatedAt": "2026-01-01T00:00:00Z",
    })
}

#[tokio::test]
async fn others_push_while_an_endless_account_is_listed_and_its_list_says_that_it_is_cut() {
    let appview = TestAppView::start_with(|config| config.registry.listed_records = 3_000).await;
    appview.pds.set_endless(&appview.bob);
    let gate = appview.pds.gate_pages(&appview.bob);
    let (alice, nobody) = (appview.sailor("alice.test", &[APP]).await, nobody(&appview).await);
    let path = format!("/v2/{STRANGE}/tags/list");
    let listing = nobody.get(&path);
    let meanwhile = async {
        for page in 0..10 {
            gate.arrived().await;
            let tag = format!("v{page}");
            alice.push(APP, &tag, &appview.image(&tag)).await;
            let path = format!("/v2/{APP}/blobs/uploads/");
            Answer::of(alice.request(Method::POST, &path))
                .await
                .assert_status(202);
            gate.let_through(1);
        }
        gate.let_through(1_000);
    };
    let (answer, ()) = tokio::join!(listing, meanwhile);
    answer.assert_status(200);
    assert_eq!(answer.json()["tags"].as_array().unwrap().len(), 3_000);
    assert!(
        answer
            .header("warning")
            .starts_with("299 - \"this list is incomplete"),
        "{}",
        answer.header("warning")
    );
    // Alice's account is listed as well, for her first push: tags and manifests.
    assert_eq!(appview.pds.count(LIST), 30 + 2, "and no page more");

    // The answer about a manifest that was not listed does not claim that it does not exist.
    nobody
        .get(&format!("/v2/{STRANGE}/manifests/absent"))
        .await
        .assert_error(404, "MANIFEST_UNKNOWN");
    let answer = nobody.get(&format!("/v2/{STRANGE}/manifests/absent")).await;
    assert!(answer.message().contains("too many"), "{}", answer.message());

    let own = alice.get(&format!("/v2/{APP}/tags/list")).await;
    assert_eq!(own.json()["tags"].as_array().unwrap().len(), 10);
    assert!(!own.has_header("warning"));
}

#[tokio::test]
async fn the_owner_of_an_account_too_large_can_delete_tags_but_no_manifests() {
    let appview = TestAppView::start_with(|config| config.registry.listed_records = 3_000).await;
    let bob = appview.sailor("bob.test", &[STRANGE]).await;
    let image = appview.image("large");
    bob.push(STRANGE, "v1", &image).await;
    appview.pds.set_endless(&appview.bob);
    appview
        .pds
        .put_record(&appview.bob, "io.atcr.tag", "app_v2", tag_of("app", "v2"));
    let path = format!("/v2/{STRANGE}/manifests/{}", sha256(&image));
    let answer = bob.delete(&path).await;
    answer.assert_error(405, "UNSUPPORTED");
    assert!(answer.message().contains("more records"), "{}", answer.message());
    bob.get(&path).await.assert_status(200);
}

#[tokio::test]
async fn an_account_that_changes_at_every_look_is_not_listed_at_every_look() {
    let appview = TestAppView::start().await;
    let bob = appview.sailor("bob.test", &[STRANGE]).await;
    let image = appview.image("restless");
    bob.push(STRANGE, "v1", &image).await;
    appview.pds.set_restless(&appview.bob, true);
    let nobody = nobody(&appview).await;
    let path = format!("/v2/{STRANGE}/tags/list");
    appview.pds.forget_calls();
    let mut warned = 0;
    for _ in 0..40 {
        let answer = nobody.get(&path).await;
        answer.assert_status(200);
        assert_eq!(answer.json()["tags"], json!(["v1"]));
        warned += usize::from(answer.header("warning").contains("out of date"));
    }
    assert!(warned > 30, "{warned} answers said that they may be out of date");
    assert!(appview.pds.count(LIST) < 40, "{} pages", appview.pds.count(LIST));

    // What cannot be known is not denied, and what is pushed here is seen at once.
    let absent = nobody.get(&format!("/v2/{STRANGE}/manifests/absent")).await;
    absent.assert_error(429, "TOOMANYREQUESTS");
    assert!(absent.has_header("retry-after"));
    bob.push(STRANGE, "v2", &image).await;
    let answer = nobody.get(&path).await;
    assert_eq!(answer.json()["tags"], json!(["v1", "v2"]));

    // It rests, and is listed again when its time has come.
    appview.pds.set_restless(&appview.bob, false);
    appview
        .pds
        .put_record(&appview.bob, "io.atcr.tag", "app_v3", tag_of("app", "v3"));
    appview.clock.advance(TimeDelta::minutes(6));
    let nobody = self::nobody(&appview).await;
    let answer = nobody.get(&path).await;
    assert_eq!(answer.json()["tags"], json!(["v1", "v2", "v3"]));
    assert!(!answer.has_header("warning"));
}

#[tokio::test]
async fn a_push_during_a_listing_is_in_it_and_is_no_reason_to_list_again() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    for n in 0..250 {
        let tag = format!("t{n:03}");
        let (rkey, record) = (format!("app_{tag}"), tag_of("app", &tag));
        appview
            .pds
            .put_record(&appview.alice, "io.atcr.tag", &rkey, record);
    }
    let gate = appview.pds.gate_pages(&appview.alice);
    let path = format!("/v2/{APP}/tags/list");
    let (listed, ()) = tokio::join!(alice.get(&path), async {
        gate.arrived().await;
        gate.let_through(1);
        gate.arrived().await;
        // Newest keys come first: this one belongs to the page that was read already.
        alice.push(APP, "z", &appview.image("z")).await;
        gate.let_through(1_000);
    });
    let tags = listed.json()["tags"].as_array().unwrap().clone();
    assert_eq!(tags.len(), 251);
    assert_eq!(tags[250], "z");
    assert!(!listed.has_header("warning"));
    assert_eq!(
        appview.pds.count(LIST),
        6,
        "three pages of tags, one of manifests, and what ends each"
    );
    appview.pds.forget_calls();
    assert_eq!(
        alice.get(&path).await.json()["tags"].as_array().unwrap().len(),
        251
    );
    assert_eq!(appview.pds.count(LIST), 0);
}

#[tokio::test]
async fn a_record_beyond_measure_is_passed_over_and_the_list_says_so() {
    let appview = TestAppView::start().await;
    let mut monster = tag_of("app", "monster");
    monster["padding"] = json!("x".repeat(2 * 1024 * 1024));
    for (tag, record) in [
        ("a", tag_of("app", "a")),
        ("monster", monster),
        ("z", tag_of("app", "z")),
    ] {
        let rkey = format!("app_{tag}");
        appview.pds.put_record(&appview.bob, "io.atcr.tag", &rkey, record);
    }
    let answer = nobody(&appview)
        .await
        .get(&format!("/v2/{STRANGE}/tags/list"))
        .await;
    answer.assert_status(200);
    assert_eq!(answer.json()["tags"], json!(["z"]));
    assert!(answer.header("warning").contains("incomplete"));
}

#[tokio::test]
async fn what_is_no_tag_is_not_listed_as_one() {
    let appview = TestAppView::start().await;
    let long = "x".repeat(200);
    for (rkey, tag) in [("one", "v1"), ("two", "not a tag"), ("three", &long)] {
        appview
            .pds
            .put_record(&appview.bob, "io.atcr.tag", rkey, tag_of("app", tag));
    }
    let answer = nobody(&appview)
        .await
        .get(&format!("/v2/{STRANGE}/tags/list"))
        .await;
    assert_eq!(answer.json()["tags"], json!(["v1"]));
}
