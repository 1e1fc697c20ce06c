//! Posts about pushes.

use atcr_oci::{Algorithm, Digest};
use serde_json::{Value, json};

use crate::harness::identities::Account;
use crate::harness::{Setup, TestHold};

async fn push(hold: &TestHold, owner: &Account, manifest: &str, tag: Option<&str>) -> Value {
    let mut input = json!({
        "repository": "team/app", "userDid": owner.did, "operation": "push",
        "manifestDigest": Digest::of(Algorithm::Sha256, manifest.as_bytes()),
        "manifest": { "layers": [{ "digest": Digest::of(Algorithm::Sha256, b"a"), "size": 1, "mediaType": "x" }] },
    });
    if let Some(tag) = tag {
        input["tag"] = json!(tag);
    }
    hold.call("io.atcr.hold.notifyManifest", Some(owner), &input)
        .await
        .ok()
}

async fn posts(hold: &TestHold) -> Vec<Value> {
    let path = format!(
        "com.atproto.repo.listRecords?repo={}&collection=app.bsky.feed.post&limit=100",
        hold.did()
    );
    let page = hold.query(&path).await.ok();
    page["records"].as_array().expect("records").clone()
}

#[tokio::test]
async fn a_push_with_a_tag_is_posted_about_where_the_captain_wants_it() {
    let hold = TestHold::start_with(Setup::default(), |config| {
        config.registration.enable_bluesky_posts = Some(true);
    })
    .await;
    hold.place_blobs(&["a"]);
    let sailor = hold.crew("sailor", &["blob:write"]).await;
    let posted = push(&hold, &sailor, "m", Some("latest")).await;
    assert_eq!(posted["postCreated"], true, "{posted}");
    let found = posts(&hold).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["uri"], posted["postUri"]);
    let post = &found[0]["value"];
    assert_eq!(post["text"], format!("{} pushed team/app:latest", sailor.did));
    let page = format!("http://appview.test/r/{}/team/app", sailor.did);
    assert_eq!(post["embed"]["external"]["uri"], page);
    assert_eq!(post["embed"]["external"]["description"], "1 layer, 1 B");

    let untagged = push(&hold, &sailor, "m", None).await;
    assert_eq!(untagged["postCreated"], false);
    // More than a few in an hour are not posted about, and are pushes all the same.
    for number in 0..12 {
        push(&hold, &sailor, "m", Some(&format!("t{number}"))).await;
    }
    assert_eq!(posts(&hold).await.len(), 10);

    // What the configuration leaves open the record decides; whoever set it.
    let hold = hold
        .restart(|settings| settings.enable_bluesky_posts = None)
        .await;
    assert_eq!(
        push(&hold, &sailor, "m", Some("latest")).await["postCreated"],
        true
    );
    let hold = hold
        .restart(|settings| settings.enable_bluesky_posts = Some(false))
        .await;
    assert_eq!(
        push(&hold, &sailor, "m", Some("latest")).await["postCreated"],
        false
    );
    assert_eq!(posts(&hold).await.len(), 11);
    hold.stop().await;
}
