//! Listings, notices and answers that strangers make slow, long or dangerous.

use atcr_server::HumanDuration;
use atcr_test_support::fakes::{FakeHold, FakePds, PdsFault, StoreKind};
use http::Method;
use serde_json::json;

use crate::harness::{Answer, PASSWORD, Sailor, TestAppView, open_captain, sha256};

const APP: &str = "alice.test/app";

fn profile(hold: &str) -> serde_json::Value {
    json!({ "$type": "io.atcr.sailor.profile", "createdAt": "2026-01-01T00:00:00Z", "defaultHold": hold })
}

async fn listed(appview: &TestAppView, account: &str) -> Answer {
    let name = format!("{account}/app");
    let token = appview
        .token("bob.test", &[&format!("repository:{name}:pull")])
        .await;
    Answer::of(appview.get(&format!("/v2/{name}/tags/list")).bearer_auth(token)).await
}

#[tokio::test]
async fn accounts_of_one_slow_pds_keep_nobody_from_listing_those_of_another() {
    let appview = TestAppView::start().await;
    let good = FakePds::start().await.unwrap();
    let carol = good.add_account("carol.test", PASSWORD);
    good.put_record(
        &carol,
        "io.atcr.tag",
        "app_v1",
        json!({
            "$type": "io.atcr.tag", "repository": "app", "tag": "v1", "createdAt": "2026-01-01T00:00:00Z",
            "manifestDigest": format!("sha256:{}", "a".repeat(64)),
        }),
    );
    assert_eq!(appview.pds.add_account("carol.test", PASSWORD), carol);
    appview.pds.move_account(&carol, &good.url());
    let slow: Vec<String> = ('a'..='p').map(|letter| format!("slow{letter}.test")).collect();
    let gates: Vec<_> = slow
        .iter()
        .map(|handle| appview.pds.gate_pages(&appview.pds.add_account(handle, PASSWORD)))
        .collect();
    let stuck = futures_util::future::join_all(slow.iter().map(|handle| listed(&appview, handle)));
    let others = async {
        // Two of them are under way, and the rest have asked.
        let arrivals = gates.iter().map(|gate| Box::pin(gate.arrived()));
        futures_util::future::select_all(arrivals).await;
        let answer = listed(&appview, "carol.test").await;
        answer.assert_status(200);
        assert_eq!(answer.json()["tags"], json!(["v1"]));
        for gate in &gates {
            gate.let_through(100);
        }
    };
    let (answers, ()) = tokio::join!(stuck, others);
    assert_eq!(answers.len(), slow.len());
}

#[tokio::test]
async fn a_page_whose_manifests_do_not_arrive_is_kept_without_them() {
    let mut appview = TestAppView::start().await;
    let image = appview.image_with("many", |image| {
        image.layers = (0..1_500).map(|n| appview.blob(&format!("layer {n}"))).collect();
    });
    {
        let alice = appview.sailor("alice.test", &[APP]).await;
        alice.push(APP, "v1", &image).await;
    }
    // The record names no layers: they are taken from the manifest's bytes, for which its server makes us wait.
    let (digest, carol) = (sha256(&image), appview.pds.add_account("carol.test", PASSWORD));
    for (collection, rkey) in [("io.atcr.manifest", digest.hex()), ("io.atcr.tag", "app_v1")] {
        let record = appview.pds.record(&appview.alice, collection, rkey).unwrap();
        appview.pds.put_record(&carol, collection, rkey, record);
    }
    appview
        .pds
        .set_fault("com.atproto.sync.getBlob", Some(PdsFault::Silence));
    appview.configure(|config| config.upstream.pds_timeout = HumanDuration::from_secs(5));
    appview.restart().await;
    let answer = listed(&appview, "carol.test").await;
    answer.assert_status(200);
    assert_eq!(answer.json()["tags"], json!(["v1"]));
    assert!(!answer.header("warning").is_empty());
}

#[tokio::test]
async fn silent_holds_do_not_keep_a_hold_that_answers_from_being_told() {
    let appview = TestAppView::start_with(|config| {
        config.upstream.hold_timeout = HumanDuration::from_secs(600);
    })
    .await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let first = appview.image("first");
    alice.push(APP, "v0", &first).await;
    appview
        .hold
        .office()
        .notice("push", sha256(&first).as_str())
        .await;
    let mut silent = Vec::new();
    for letter in 'a'..='r' {
        let (hold, handle) = (
            FakeHold::start(StoreKind::Streaming).await.unwrap(),
            format!("quiet{letter}.test"),
        );
        hold.office().fall_silent();
        let did = appview.pds.add_account(&handle, PASSWORD);
        appview
            .pds
            .put_record(&did, "io.atcr.sailor.profile", "self", profile(&hold.did()));
        let name = format!("{handle}/app");
        let sailor = appview.sailor(&handle, &[&name]).await;
        for n in 0..4 {
            let image = appview.image(&format!("{letter}{n}"));
            for blob in image.blobs() {
                hold.put_blob(appview.hold.blob(blob.digest.as_str()).unwrap());
            }
            sailor.push(&name, "v1", &image).await;
        }
        silent.push(hold);
    }
    // One that answered before goes on as before.
    let image = appview.image("told");
    alice.push(APP, "v1", &image).await;
    let digest = sha256(&image);
    let told = appview.hold.office().notice("push", digest.as_str());
    let told = tokio::time::timeout(std::time::Duration::from_mins(1), told).await;
    assert!(told.is_ok(), "the hold was not told");
}

#[tokio::test]
async fn whoever_signed_in_becomes_crew_of_a_hold_that_takes_everybody_before_they_are_refused_a_pull() {
    let appview = TestAppView::start().await;
    let mut captain = open_captain();
    captain["public"] = json!(false);
    appview.hold.office().set_captain(captain);
    appview.hold.set_private(true);
    appview.hold.set_members(&["nobody"]);
    let alice = appview.sailor("alice.test", &[APP]).await;
    let image = appview.image("private");
    alice.push(APP, "v1", &image).await;
    let scope = format!("repository:{APP}:pull");
    let bob = Sailor {
        appview: &appview,
        token: appview.token("bob.test", &[&scope]).await,
    };
    let layer = format!("/v2/{APP}/blobs/{}", image.layers()[0].digest);
    bob.get(&layer).await.assert_status(307);
    let service = format!("Bearer service:{}:{}", appview.bob, appview.hold.did());
    assert!(appview.hold.office().crew().contains(&service));
}

#[tokio::test]
async fn a_browser_makes_no_page_of_what_is_below_v2() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let manifest = json!({ "schemaVersion": 2, "config": appview.blob("{}"), "layers": [] });
    let push = alice
        .request(Method::PUT, &format!("/v2/{APP}/manifests/page"))
        .header("content-type", "text/html")
        .body(serde_json::to_vec(&manifest).unwrap());
    Answer::of(push).await.assert_status(201);
    let blob = format!("/v2/{APP}/blobs/{}", appview.blob("{}").digest);
    for path in [
        "/v2/",
        "/v2/nothing/such/",
        "/v2/alice.test/app/manifests/page",
        "/v2/alice.test/app/tags/list",
        &blob,
    ] {
        let answer = alice.get(path).await;
        assert_eq!(
            answer.header("content-security-policy"),
            "default-src 'none'; sandbox",
            "{path}"
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
    }
}

#[tokio::test]
async fn a_pull_does_not_fail_because_the_index_cannot_be_written() {
    let mut appview = TestAppView::start().await;
    let image = appview.image("pulled");
    appview
        .sailor("alice.test", &[APP])
        .await
        .push(APP, "v1", &image)
        .await;
    appview.stop().await;
    let path = appview.data().join("data/ui-scratch.db");
    let scratch = atcr_appview::adapters::sqlite::open_scratch(&path).await.unwrap();
    for statement in [
        "DELETE FROM manifest",
        "CREATE TRIGGER broken BEFORE INSERT ON manifest BEGIN SELECT RAISE(FAIL, 'broken'); END",
    ] {
        sqlx::query(statement).execute(scratch.writer()).await.unwrap();
    }
    scratch.close().await;
    appview.restart().await;
    let alice = appview.sailor("alice.test", &[APP]).await;
    let answer = alice.get(&format!("/v2/{APP}/manifests/v1")).await;
    answer.assert_status(200);
}
