//! The settings: which hold, how much is used, how pages look, what is known of the account, and how it is deleted.

use atcr_test_support::fakes::{FakeHold, PdsFault, StoreKind};
use chrono::TimeDelta;
use serde_json::json;

use crate::browser::Browser;
use crate::harness::{TestAppView, open_captain};

fn default_hold(appview: &TestAppView) -> Option<String> {
    let profile = appview
        .pds
        .record(&appview.alice, "io.atcr.sailor.profile", "self")?;
    Some(profile["defaultHold"].as_str()?.to_owned())
}

#[tokio::test]
async fn a_hold_is_checked_before_pushes_go_there_and_the_next_push_does() {
    let appview = TestAppView::start_with(|config| config.index.enabled = true).await;
    appview
        .hold
        .office()
        .set_quota(json!({ "uniqueBlobs": 1, "totalSize": 3_u64 << 30, "limit": 5_u64 << 30 }));
    let alice = Browser::alice(&appview).await;
    let page = alice.get("/settings/storage").await;
    page.assert_status(200);
    let text = page.text();
    assert!(text.contains("3.0 GiB of 5.0 GiB used, 60 %"), "{text}");
    assert_eq!(default_hold(&appview), Some(appview.hold.did()));

    let next = FakeHold::start(StoreKind::Streaming).await.unwrap();
    let choose = "/settings/storage/hold";
    // It answers, and is no hold.
    let refused = alice.submit(choose, &[("hold", &next.url())]).await;
    refused.assert_status(422);
    assert!(refused.text().contains("it is no hold"), "{}", refused.text());
    for (typed, words) in [
        ("", "Write the hold"),
        ("ftp://x", "Write the hold"),
        ("did:web:nobody.invalid", "nobody.invalid"),
    ] {
        let refused = alice.submit(choose, &[("hold", typed)]).await;
        refused.assert_status(422);
        assert!(refused.text().contains(words), "{typed}: {}", refused.text());
        assert!(refused.text().contains("Nothing was changed."), "{typed}");
    }
    let mut captain = open_captain();
    captain["allowAllCrew"] = false.into();
    next.office().set_captain(captain);
    let refused = alice.submit(choose, &[("hold", &next.url())]).await;
    refused.assert_status(422);
    assert!(
        refused.text().contains("Only members may push to"),
        "{}",
        refused.text()
    );
    assert_eq!(default_hold(&appview), Some(appview.hold.did()));
    alice
        .submit(choose, &[("hold", &next.did()), ("anyway", "true")])
        .await
        .assert_status(303);
    assert_eq!(default_hold(&appview), Some(next.did()));
    alice
        .post(choose, &[("hold", &appview.hold.did())])
        .await
        .assert_status(403);
    assert_eq!(default_hold(&appview), Some(next.did()));

    // The choice holds for the very next push.
    let image = appview.image("pushed to the next hold");
    for blob in image.blobs() {
        next.put_blob_as(
            blob.digest.as_str(),
            appview.hold.blob(blob.digest.as_str()).unwrap(),
        );
    }
    let name = "alice.test/app";
    appview
        .oauth_sailor(&appview.alice, &[name])
        .push(name, "1", &image)
        .await;
    let rkey = appview.pds.rkeys(&appview.alice, "io.atcr.manifest");
    let record = appview
        .pds
        .record(&appview.alice, "io.atcr.manifest", &rkey[0])
        .unwrap();
    assert_eq!(record["holdDid"], json!(next.did()));

    // A hold that fails costs the page nothing but its own figures.
    let text = alice.get("/settings/storage").await.text();
    assert!(text.contains("How much you use is not known."), "{text}");
    assert!(
        text.contains(&next.did()) && text.contains(&appview.hold.did()),
        "{text}"
    );
}

#[tokio::test]
async fn settings_are_changed_without_touching_what_others_wrote() {
    let appview = TestAppView::start().await;
    let alice = Browser::alice(&appview).await;
    let profile = || {
        appview
            .pds
            .record(&appview.alice, "io.atcr.sailor.profile", "self")
            .unwrap()
    };
    let mut other = profile();
    other["theirs"] = json!({ "kept": true });
    appview
        .pds
        .put_record(&appview.alice, "io.atcr.sailor.profile", "self", other);
    let path = "/settings/storage/auto-remove";
    alice.submit(path, &[("on", "true")]).await.assert_status(303);
    assert_eq!(
        (&profile()["autoRemoveUntagged"], &profile()["theirs"]["kept"]),
        (&json!(true), &json!(true))
    );
    assert!(
        alice
            .get("/settings/storage")
            .await
            .text()
            .contains("value=\"true\" checked")
    );
    // Overtaken by another writer, the change is made to what that one left.
    appview.pds.overtake(2);
    alice.submit(path, &[]).await.assert_status(303);
    assert_eq!(profile()["autoRemoveUntagged"], json!(false));
}

#[tokio::test]
async fn pages_look_as_the_browser_chose() {
    let appview = TestAppView::start().await;
    let alice = Browser::alice(&appview).await;
    let path = "/settings/appearance";
    let text = alice.get(path).await.text();
    assert!(
        !text.contains("data-theme=\"dark\"") && text.contains("value=\"\" checked"),
        "{text}"
    );
    alice
        .submit(path, &[("theme", "dark"), ("client", "podman")])
        .await
        .assert_status(303);
    let text = alice.get(path).await.text();
    for words in [
        "<html lang=\"en\" data-theme=\"dark\">",
        "value=\"dark\" checked",
        "<option value=\"podman\" selected>",
    ] {
        assert!(text.contains(words), "no {words} in {text}");
    }
    let parts = alice.get("/components").await.text();
    assert!(
        parts.contains("value=\"podman\" checked") && parts.contains("value=\"helm\" checked"),
        "{parts}"
    );
    alice
        .submit(path, &[("theme", "\"><script>"), ("client", "")])
        .await
        .assert_status(303);
    assert!(
        !alice
            .get(path)
            .await
            .text()
            .contains("<html lang=\"en\" data-theme")
    );
}

#[tokio::test]
async fn an_export_has_what_is_known_and_names_a_hold_that_does_not_answer() {
    let appview = TestAppView::start_with(|config| config.index.enabled = true).await;
    let alice = Browser::alice(&appview).await;
    alice.device("laptop").await;
    let name = "alice.test/app";
    appview
        .oauth_sailor(&appview.alice, &[name])
        .push(name, "1", &appview.image("exported"))
        .await;
    let path = "/settings/data/export";
    let export = || async {
        let file = alice.submit(path, &[]).await;
        file.assert_status(200);
        assert!(file.header("content-disposition").starts_with("attachment"));
        assert_eq!(file.header("cache-control"), "no-store");
        file.json()
    };
    let without = export().await;
    assert_eq!(without["holds"][0]["did"], json!(appview.hold.did()));
    assert_eq!(without["holds"][0]["answered"], json!(false));
    assert!(
        without["holds"][0]["reason"]
            .as_str()
            .is_some_and(|reason| !reason.is_empty())
    );
    assert_eq!(without["registry"]["devices"][0]["name"], json!("laptop"));
    assert_eq!(without["account"]["did"], json!(appview.alice));
    appview
        .hold
        .office()
        .set_user_data(json!({ "layerRecords": [{ "size": 7 }], "unknown": "kept" }));
    let with = export().await;
    assert_eq!(
        with["holds"][0]["data"],
        json!({ "layerRecords": [{ "size": 7 }], "unknown": "kept" })
    );
    alice.post(path, &[]).await.assert_status(403);
    Browser::new(&appview)
        .get("/settings/data")
        .await
        .assert_status(303);
}

#[tokio::test]
async fn an_account_is_deleted_where_its_owner_says_and_nowhere_else() {
    let appview = TestAppView::start_with(|config| config.index.enabled = true).await;
    appview.hold.office().set_user_data(json!({}));
    let name = "alice.test/app";
    let image = appview.image("deleted");
    let sailor = appview.sailor("alice.test", &[name]).await;
    sailor.push(name, "1", &image).await;
    let path = "/settings/data/delete";
    let hold = appview.hold.did();
    let records = || {
        ["io.atcr.tag", "io.atcr.manifest", "io.atcr.sailor.profile"]
            .map(|collection| appview.pds.rkeys(&appview.alice, collection).len())
    };
    let alice = Browser::alice(&appview).await;
    let secret = alice.device("laptop").await;
    let forgotten = alice.submit(path, &[("hold", &hold)]).await;
    forgotten.assert_status(422);
    assert!(
        forgotten.text().contains("Nothing was deleted."),
        "{}",
        forgotten.text()
    );
    assert_eq!((appview.hold.office().erased(), records()), (0, [1, 1, 1]));

    // The records stay unless they are chosen.
    let deleted = alice
        .submit(path, &[("understood", "true"), ("hold", &hold)])
        .await;
    deleted.assert_status(200);
    assert!(
        deleted.text().contains("has erased what it knew of you"),
        "{}",
        deleted.text()
    );
    assert_eq!((appview.hold.office().erased(), records()), (1, [1, 1, 1]));
    alice.get("/settings").await.assert_status(303);
    appview
        .token_response("alice.test", &secret, &[])
        .await
        .assert_status(401);

    // What an account's server does not do is said, and keeps nothing else from being done or shown.
    let alice = Browser::alice(&appview).await;
    let method = "com.atproto.repo.applyWrites";
    appview
        .pds
        .set_fault(method, Some(PdsFault::Status(500, "InternalServerError")));
    let all = [
        ("understood", "true"),
        ("hold", hold.as_str()),
        ("records", "true"),
    ];
    let deleted = alice.submit(path, &all).await;
    deleted.assert_status(200);
    for words in ["Not all are deleted.", "has erased what it knew of you"] {
        assert!(deleted.text().contains(words), "no {words} in {}", deleted.text());
    }
    alice.get("/settings").await.assert_status(303);
    appview.pds.set_fault(method, None);

    let alice = Browser::alice(&appview).await;
    let deleted = alice
        .submit(path, &[("understood", "true"), ("records", "true")])
        .await;
    deleted.assert_status(200);
    assert!(
        deleted.text().contains("3 deleted from your account"),
        "{}",
        deleted.text()
    );
    assert_eq!((appview.hold.office().erased(), records()), (2, [0, 0, 0]));
    Browser::new(&appview)
        .get("/r/alice.test/app")
        .await
        .assert_status(404);
}

#[tokio::test]
async fn an_export_takes_a_long_answer_of_a_hold_and_none_that_costs_more_than_it_says() {
    let appview = TestAppView::start_with(|config| config.index.enabled = true).await;
    let alice = Browser::alice(&appview).await;
    let export = async |data: &serde_json::Value| {
        appview.hold.office().set_user_data(data.clone());
        let file = alice.submit("/settings/data/export", &[]).await;
        file.assert_status(200);
        file.json()["holds"][0].clone()
    };
    let layer = |number: usize| {
        json!({
            "digest": format!("sha256:{number:064x}"), "size": number, "repository": "app",
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "createdAt": "2026-11-30T22:00:00Z",
        })
    };
    let honest = json!({ "layerRecords": (0..4_000).map(layer).collect::<Vec<_>>() });
    assert!(honest.to_string().len() > 512 * 1024);
    let hold = export(&honest).await;
    assert!(
        hold["answered"] == json!(true) && hold["data"] == honest,
        "{}",
        hold["reason"]
    );
    let deep = (0..100).fold(json!(0), |inner, _| json!([inner]));
    for hostile in [
        json!(vec![json!({ "": 0 }); 60_000]),
        deep,
        json!("x".repeat(3 << 20)),
    ] {
        let hold = export(&hostile).await;
        assert_eq!(hold["answered"], json!(false));
        assert!(
            hold["reason"].as_str().is_some_and(|reason| !reason.is_empty()),
            "{hold}"
        );
    }
}

#[tokio::test]
async fn an_account_that_cannot_be_looked_up_is_not_deleted_by_halves() {
    let appview = TestAppView::start_with(|config| config.index.enabled = true).await;
    appview.hold.office().set_user_data(json!({}));
    let name = "alice.test/app";
    let sailor = appview.sailor("alice.test", &[name]).await;
    sailor.push(name, "1", &appview.image("kept")).await;
    let alice = Browser::alice(&appview).await;
    let hold = appview.hold.did();
    let all = [
        ("understood", "true"),
        ("hold", hold.as_str()),
        ("records", "true"),
    ];
    // What is remembered of the account's identity has ended.
    appview.clock.advance(TimeDelta::minutes(16));
    appview
        .pds
        .set_fault("plc", Some(PdsFault::Status(503, "Unavailable")));
    let refused = alice.submit("/settings/data/delete", &all).await;
    assert!(refused.status.is_server_error(), "{}", refused.text());
    assert_eq!(appview.hold.office().erased(), 0);
    alice.get("/settings").await.assert_status(200);

    // A reader sees at once that the records are gone.
    appview.pds.set_fault("plc", None);
    let sailor = appview.sailor("alice.test", &[name]).await;
    let path = format!("/v2/{name}/manifests/1");
    sailor.get(&path).await.assert_status(200);
    alice
        .submit("/settings/data/delete", &all)
        .await
        .assert_status(200);
    assert_eq!(appview.hold.office().erased(), 1);
    assert!(appview.pds.rkeys(&appview.alice, "io.atcr.tag").is_empty());
    sailor.get(&path).await.assert_error(404, "MANIFEST_UNKNOWN");
}
